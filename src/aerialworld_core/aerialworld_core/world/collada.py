"""COLLADA 1.4 and 1.5 meshes (.dae) as Gazebo shows them: triangles and polygons of the visual scene, diffuse colours
and textures.

Follows Khronos' COLLADA 1.4.1 specification; where Gazebo (gz-common's ColladaLoader) departs from it, Gazebo counts:
`<up_axis>` is not applied, a node's transform is its `<matrix>`, or else translate, rotates, scale in that order. Skins
(animated bodies) are not read. The XML goes through `safexml`; only the caller's `find_image` opens other files.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aerialworld_core.errors import WorldError
from aerialworld_core.frames import Array
from aerialworld_core.safexml import parse
from aerialworld_core.world.collada_skins import ColladaSkins
from aerialworld_core.world.mesh import ImageFinder, MeshPart, Skin
from aerialworld_core.world.sdf import Notes, parse_numbers

_MAX_DEPTH = 64
#: Instances of nodes may multiply each other: this many are visited at most.
_MAX_NODES = 100_000
_LEFT_OUT = ("lines", "linestrips", "trifans", "tristrips")


def read_collada(path: Path, context: str, notes: Notes, find_image: ImageFinder | None = None) -> list[MeshPart]:
    """The parts of a COLLADA file in metres (its `<unit>` is applied), one per list of polygons, named by their nodes.

    Raises InputError (not well-formed XML), UnsafeInputError (DOCTYPE, too large) or WorldError (broken references,
    indices, numbers), naming the file.
    """
    root = parse(path, what="COLLADA file")
    _strip_namespaces(root)
    if root.tag != "COLLADA":
        raise WorldError(f"{context}: the root element is <{root.tag}>, not <COLLADA>")
    return list(_Collada(root, context, notes, find_image).parts())


def _strip_namespaces(root: Any) -> None:
    for element in root.iter():
        if isinstance(element.tag, str):
            element.tag = element.tag.rpartition("}")[2]


class _Collada:
    def __init__(self, root: Any, context: str, notes: Notes, find_image: ImageFinder | None) -> None:
        self.root, self.context, self.notes = root, context, notes
        self.by_id: dict[str, Any] = {}
        for element in root.iter():
            if element.get("id") is not None:
                self.by_id.setdefault(element.get("id"), element)
        self.skins = ColladaSkins(self.by_id, context, notes, find_image)
        self._visited = 0
        self._sources: dict[str, Array] = {}

    def parts(self) -> Iterator[MeshPart]:
        unit = self.root.find("asset/unit")
        text = unit.get("meter", "1") if unit is not None else "1"
        metres = float(parse_numbers(text, 1, f"{self.context}: <unit> meter")[0])
        if metres <= 0:
            raise WorldError(f"{self.context}: <unit> of {metres:g} m")
        up = (self.root.findtext("asset/up_axis") or "Y_UP").strip()
        if up != "Z_UP":
            self.notes.add(f"{self.context}: <up_axis> {up} is not applied, as in Gazebo: z of the file is up")
        instance = self.root.find("scene/instance_visual_scene")
        if instance is None:
            self.notes.add(f"{self.context}: has no visual scene")
            return
        for node in self._found(instance.get("url"), "visual_scene").findall("node"):
            yield from self._node(node, np.diag([metres, metres, metres, 1.0]), "", 0)

    def _found(self, url: str | None, tag: str) -> Any:
        element = self.by_id.get((url or "").removeprefix("#"))
        if element is None or element.tag != tag:
            raise WorldError(f"{self.context}: there is no <{tag}> {url!r}; only references within the file are read")
        return element

    def _node(self, node: Any, above: Array, name: str, depth: int) -> Iterator[MeshPart]:
        self._visited += 1
        if depth > _MAX_DEPTH or self._visited > _MAX_NODES:
            raise WorldError(f"{self.context}: more than {_MAX_NODES} nodes, or nested more than {_MAX_DEPTH} deep")
        matrix, name = above @ self._transform(node), node.get("name") or name
        for child in node:
            if child.tag == "node":
                yield from self._node(child, matrix, name, depth + 1)
            elif child.tag == "instance_node":
                yield from self._node(self._found(child.get("url"), "node"), matrix, name, depth + 1)
            elif child.tag == "instance_geometry":
                yield from self._geometry(child, matrix, name)
            elif child.tag == "instance_controller":
                self.notes.add(f"{self.context}: <instance_controller> (a skinned body) is not read; it is missing")

    def _transform(self, node: Any) -> Array:
        context = f"{self.context}: node {node.get('name') or node.get('id')}"
        result = np.eye(4)
        whole = node.find("matrix")
        if whole is not None:
            result = parse_numbers(whole.text, 16, f"{context}: <matrix>").reshape(4, 4)
        else:
            if (move := node.find("translate")) is not None:
                result[:3, 3] = parse_numbers(move.text, 3, f"{context}: <translate>")
            for turn in node.findall("rotate"):
                result = result @ _turned(parse_numbers(turn.text, 4, f"{context}: <rotate>"))
            if (scale := node.find("scale")) is not None:
                result = result @ np.diag([*parse_numbers(scale.text, 3, f"{context}: <scale>"), 1.0])
            for tag in ("lookat", "skew"):
                if node.find(tag) is not None:
                    self.notes.add(f"{self.context}: <{tag}> is not applied, as in Gazebo")
        if abs(np.linalg.det(result[:3, :3])) < 1e-18:
            raise WorldError(f"{context}: its transform flattens space")
        return result

    def _geometry(self, instance: Any, matrix: Array, name: str) -> Iterator[MeshPart]:
        geometry = self._found(instance.get("url"), "geometry")
        mesh = geometry.find("mesh")
        if mesh is None:
            self.notes.add(f"{self.context}: geometry {geometry.get('id')} is no <mesh>; it is missing")
            return
        bound = {m.get("symbol"): m.get("target") for m in instance.iterfind("bind_material//instance_material")}
        for element in mesh:
            if element.tag in _LEFT_OUT:
                self.notes.add(f"{self.context}: <{element.tag}> is not read")
            elif element.tag in ("triangles", "polylist", "polygons"):
                symbol = element.get("material")
                skin = self.skins.skin(bound.get(symbol, symbol)) if symbol else None
                part = self._polygons(element, f"{self.context}: geometry {geometry.get('id')}", matrix, name, skin)
                if part is not None:
                    yield part

    def _polygons(self, element: Any, context: str, matrix: Array, name: str, skin: Skin | None) -> MeshPart | None:
        inputs, stride = self._inputs(element, context)
        counts, index = _corners(element, stride, context)
        if element.find("ph") is not None:
            self.notes.add(f"{context}: polygons with holes (<ph>) are not read")
        fans = _fans(counts)
        if not len(fans):
            return None
        corners = index.reshape(-1, stride)[fans]
        used: dict[str, tuple[Array, NDArray[np.int64]]] = {}
        for semantic, (values, offset) in inputs.items():
            rows = corners[:, :, offset]
            if rows.min() < 0 or rows.max() >= len(values):
                raise WorldError(f"{context}: {semantic} {rows.max()} of {len(values)}")
            used[semantic] = values, rows
        if "POSITION" not in used:
            raise WorldError(f"{context}: <{element.tag}> has no positions")
        (vertices, faces), uv, normals = used["POSITION"], used.get("TEXCOORD"), used.get("NORMAL")
        return MeshPart(
            vertices,
            faces,
            None if uv is None else uv[0],
            None if normals is None else normals[0],
            name,
            skin,
            None if uv is None else uv[1],
            None if normals is None else normals[1],
            matrix,
        )

    def _inputs(self, element: Any, context: str) -> tuple[dict[str, tuple[Array, int]], int]:
        """Per semantic its table and offset; and how many numbers make a corner. Of several TEXCOORD the first."""
        result: dict[str, tuple[Array, int]] = {}
        stride = 0
        for entry in element.findall("input"):
            offset = _whole(entry.get("offset"), context)
            stride = max(stride, offset + 1)
            entries = [entry]
            if entry.get("semantic") == "VERTEX":
                entries = self._found(entry.get("source"), "vertices").findall("input")
            for inner in entries:
                semantic = inner.get("semantic")
                if semantic == "COLOR":
                    self.notes.add(f"{self.context}: vertex colours are not shown")
                elif semantic in ("POSITION", "NORMAL", "TEXCOORD") and semantic not in result:
                    result[semantic] = self._source(inner.get("source"), 2 if semantic == "TEXCOORD" else 3), offset
        return result, stride

    def _source(self, url: str | None, width: int) -> Array:
        """A `<source>`'s table, (n, width)."""
        key = f"{url} {width}"
        if key not in self._sources:
            source = self._found(url, "source")
            context = f"{self.context}: source {url}"
            accessor = source.find("technique_common/accessor")
            if accessor is None:
                raise WorldError(f"{context}: has no <accessor>")
            values = _floats(source.findtext("float_array"), context)
            stride, count = _whole(accessor.get("stride", "1"), context), _whole(accessor.get("count"), context)
            first = _whole(accessor.get("offset", "0"), context)
            if stride < width or first + count * stride > len(values):
                raise WorldError(
                    f"{context}: {count} rows of {stride} (need {width} or more) are not in its {len(values)} numbers"
                )
            self._sources[key] = values[first : first + count * stride].reshape(count, stride)[:, :width]
        return self._sources[key]


def _turned(axis_angle: Array) -> Array:
    """4×4 of `<rotate>`: an axis and degrees."""
    length = np.linalg.norm(axis_angle[:3])
    result = np.eye(4)
    if length > 0:
        x, y, z = axis_angle[:3] / length
        k = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
        angle = np.radians(axis_angle[3])
        result[:3, :3] += np.sin(angle) * k + (1 - np.cos(angle)) * k @ k
    return result


def _corners(element: Any, stride: int, context: str) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """How many corners each polygon has (n,), and the `<p>` numbers of all."""
    lists = [_integers(p.text, context) for p in element.findall("p")]
    index = np.concatenate(lists) if lists else np.zeros(0, np.int64)
    if stride == 0 or any(len(p) % stride for p in lists):
        raise WorldError(f"{context}: <p> has numbers that do not make whole corners of {stride}")
    total = len(index) // stride
    if element.tag == "polylist":
        counts = _integers(element.findtext("vcount"), context)
    elif element.tag == "polygons":
        counts = np.array([len(p) // stride for p in lists], np.int64)
    else:
        counts = np.full(total // 3, 3, np.int64)
    if (counts < 0).any() or counts.sum() != total:
        raise WorldError(f"{context}: <{element.tag}> of {total} corners does not make its {len(counts)} polygons")
    return counts, index


def _fans(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Triangles (t, 3), as rows of the list of corners, of polygons that follow one another: fans, as in Gazebo."""
    triangles = np.maximum(counts - 2, 0)
    first = np.repeat(np.cumsum(counts) - counts, triangles)
    step = np.arange(triangles.sum()) - np.repeat(np.cumsum(triangles) - triangles, triangles)
    return np.stack([first, first + step + 1, first + step + 2], axis=1)


def _floats(text: str | None, context: str) -> Array:
    try:
        return np.array((text or "").split(), dtype=np.float64)
    except ValueError as error:
        raise WorldError(f"{context}: {error}") from error


def _integers(text: str | None, context: str) -> NDArray[np.int64]:
    try:
        return np.array((text or "").split(), dtype=np.int64)
    except (ValueError, OverflowError) as error:
        raise WorldError(f"{context}: {error}") from error


def _whole(text: str | None, context: str) -> int:
    if text is None or not text.strip().isdecimal() or len(text) > 12:
        raise WorldError(f"{context}: {text!r} is no whole number from 0")
    return int(text)
