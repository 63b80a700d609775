"""Collects the visuals of a world into one `Scene`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aerialworld_core.errors import WorldError
from aerialworld_core.frames import Array
from aerialworld_core.labels import NUM_CLASSES
from aerialworld_core.safexml import MIB, CountedFile
from aerialworld_core.world.heightmap import read_heightmap
from aerialworld_core.world.mesh import MeshPart
from aerialworld_core.world.meshes import load_mesh
from aerialworld_core.world.primitives import box, cylinder, ellipsoid, plane
from aerialworld_core.world.scene import Material, Scene
from aerialworld_core.world.sdf import Document, Notes, colour, number, numbers, text_of, transform, where
from aerialworld_core.world.textures import decode
from aerialworld_core.world.tree import PlacedLink, label_of
from aerialworld_core.world.uris import Files

#: A visual without a material is grey, as in Gazebo.
_GREY = Material("grey", np.full(3, 0.7, dtype=np.float32))

_MAX_INSTANCES = 65535
_MAX_FACES = 100_000_000


class SceneBuilder:
    """Add links, then `build` the scene."""

    def __init__(self, files: Files, notes: Notes) -> None:
        self.files, self.notes = files, notes
        self._vertices: list[NDArray[np.float32]] = []
        self._faces: list[NDArray[np.int32]] = []
        self._columns: dict[str, list[NDArray[Any]]] = {
            k: [] for k in ("label", "instance", "material", "uv", "normal")
        }
        self._vertex_count = 0
        self._face_count = 0
        self._materials: list[Material] = []
        self._material_index: dict[tuple[int, float], int] = {}
        self._kept: list[Material] = []  # keeps ids of the materials that were asked for unique
        self._instances: list[str] = []
        self._instance_index: dict[tuple[str, str], int] = {}
        self._meshes: dict[Path, list[MeshPart]] = {}
        self._textures: dict[Path, NDArray[np.uint8]] = {}
        self._unlabelled = 0

    def add_link(self, link: PlacedLink) -> None:
        """All visuals of a link. Raises WorldError."""
        for visual in link.element.findall("visual"):
            self._add_visual(link, visual)
        if link.element.find("light") is not None:
            self.notes.add(f"model {link.model}: lights on links are not shown")

    def build(self) -> Scene:
        """The scene of everything added; an empty one when there was nothing."""
        if self._unlabelled:
            self.notes.add(f"{self._unlabelled} visuals have no Label: their class is 0 (others)")
        if len(self._instances) >= _MAX_INSTANCES:
            self.notes.add(f"there are more than {_MAX_INSTANCES} instances: the rest have no number")
        c = self._columns
        return Scene(
            vertices=_joined(self._vertices, np.zeros((0, 3), np.float32)),
            faces=_joined(self._faces, np.zeros((0, 3), np.int32)),
            face_class=_joined(c["label"], np.zeros(0, np.uint8)),
            face_instance=_joined(c["instance"], np.zeros(0, np.uint16)),
            face_material=_joined(c["material"], np.zeros(0, np.int32)),
            uv=_joined(c["uv"], np.zeros((0, 3, 2), np.float32)),
            normals=_joined(c["normal"], np.zeros((0, 3, 3), np.float32)),
            materials=self._materials,
            instances=self._instances,
        )

    def _add_visual(self, link: PlacedLink, visual: Any) -> None:
        document = link.document
        context = f"model {link.model}: {where(document, visual)}"
        parts = self._geometry(document, visual, context)
        if not parts:
            return
        label = label_of(document, visual, link.label)
        if label is None:
            self._unlabelled += 1
        elif label >= NUM_CLASSES:
            self.notes.add(f"label {label} of {link.model} is no class of Occ3D-nuScenes (0 to {NUM_CLASSES - 1})")
        if number(document, visual, "transparency", 0.0) > 0:
            self.notes.add(f"model {link.model}: transparency is shown as opaque")
        retro = number(document, visual, "laser_retro", 0.0)
        own = self._material(document, visual, context)
        matrix = link.place(visual.find("pose"))
        if visual.find("geometry/heightmap") is not None and not np.array_equal(matrix, np.eye(4)):
            self.notes.add(f"model {link.model}: its pose does not move its heightmap, as in Gazebo")
            matrix = np.eye(4)
        several = len({part.name for part in parts}) > 1
        for part in parts:
            material = own or part.material or _GREY
            self._add_part(
                part, matrix, label or 0, (link.model, part.name if several else ""), material, retro, context
            )

    def _geometry(self, document: Document, visual: Any, context: str) -> list[MeshPart]:
        geometry = visual.find("geometry")
        if geometry is None or len(geometry) == 0:
            raise WorldError(f"{context}: has no <geometry>")
        for shape in geometry:
            if shape.tag == "mesh":
                return self._mesh(document, shape, context)
            if shape.tag == "heightmap":
                return self._heightmap(document, shape, context)
            if shape.tag == "box":
                return [box(_positive(numbers(document, shape, "size", 3), context))]
            if shape.tag == "plane":
                size = _positive(numbers(document, shape, "size", 2, (1.0, 1.0)), context)
                normal = numbers(document, shape, "normal", 3, (0.0, 0.0, 1.0))
                if not np.linalg.norm(normal) > 0:
                    raise WorldError(f"{context}: the plane's normal has no length")
                return [plane(size, normal)]
            if shape.tag == "sphere":
                return [ellipsoid(_positive(np.full(3, number(document, shape, "radius")), context))]
            if shape.tag == "ellipsoid":
                return [ellipsoid(_positive(numbers(document, shape, "radii", 3), context))]
            if shape.tag == "cylinder":
                radius, length = number(document, shape, "radius"), number(document, shape, "length")
                _positive(np.array([radius, length]), context)
                return [cylinder(radius, length)]
            if shape.tag != "empty":
                self.notes.add(f"model geometry <{shape.tag}> is not read; its visuals are missing")
        return []

    def _mesh(self, document: Document, shape: Any, context: str) -> list[MeshPart]:
        resolved = self.files.resolve(document, text_of(shape, "uri") or "", context)
        self.files.use(resolved)
        if shape.find("submesh") is not None:
            self.notes.add(f"{resolved.name}: <submesh> is not honoured; the whole mesh is shown")
        if resolved.path not in self._meshes:
            self._meshes[resolved.path] = load_mesh(resolved.path, context, self.notes)
        scale = numbers(document, shape, "scale", 3, (1.0, 1.0, 1.0))
        if (scale == 0).any():
            raise WorldError(f"{context}: a scale of 0 leaves nothing of the mesh")
        parts = self._meshes[resolved.path]
        return parts if (scale == 1).all() else [_scaled(part, scale) for part in parts]

    def _heightmap(self, document: Document, shape: Any, context: str) -> list[MeshPart]:
        resolved = self.files.resolve(document, text_of(shape, "uri") or "", context)
        self.files.use(resolved)
        if resolved.path.suffix.lower() not in (".png", ".jpg", ".jpeg"):
            self.notes.add(f"{resolved.name}: heightmaps are read from PNG and JPEG; this ground is missing")
            return []
        if number(document, shape, "sampling", 1.0) != 1:
            self.notes.add(f"{resolved.name}: <sampling> is read as 1; the ground is the same")
        textures = shape.findall("texture")
        if len(textures) > 1:
            self.notes.add(f"{resolved.name}: of several textures the first is shown")
        material, repeat = None, 1.0
        if textures:
            repeat = float(_positive(numbers(document, textures[0], "size", 1, (10.0,)), context)[0])
            uri = text_of(textures[0], "diffuse")
            if uri:
                white = np.ones(3, dtype=np.float32)
                material = Material(resolved.name, white, self._texture(document, uri, context))
        with CountedFile(resolved.path, max_bytes=256 * MIB, what="heightmap") as handle:
            data = handle.read()
        size = numbers(document, shape, "size", 3, (1.0, 1.0, 1.0))
        position = numbers(document, shape, "pos", 3, (0.0, 0.0, 0.0))
        return [read_heightmap(data, f"{context}: {resolved.path.name}", size, position, material, repeat)]

    def _texture(self, document: Document, uri: str, context: str) -> NDArray[np.uint8]:
        resolved = self.files.resolve(document, uri, context)
        self.files.use(resolved)
        if resolved.path not in self._textures:
            with CountedFile(resolved.path, max_bytes=256 * MIB, what="texture") as handle:
                self._textures[resolved.path] = decode(handle.read(), f"{context}: {resolved.path.name}")
        return self._textures[resolved.path]

    def _material(self, document: Document, visual: Any, context: str) -> Material | None:
        element = visual.find("material")
        if element is None:
            return None
        if element.find("script") is not None:
            self.notes.add(f"{document.name}: material scripts are not read")
        diffuse = colour(document, element, "diffuse", (1.0, 1.0, 1.0)).astype(np.float32)
        uri = text_of(element, "pbr/metal/albedo_map") or text_of(element, "pbr/specular/albedo_map")
        texture = self._texture(document, uri, context) if uri else None
        return Material(visual.get("name", ""), diffuse, texture)

    def _add_part(
        self,
        part: MeshPart,
        matrix: Array,
        label: int,
        instance: tuple[str, str],
        material: Material,
        retro: float,
        context: str,
    ) -> None:
        self._face_count += len(part.faces)
        if self._face_count > _MAX_FACES:
            raise WorldError(f"{context}: the world has more than {_MAX_FACES} triangles; make it smaller")
        vertices = transform(matrix, part.vertices).astype(np.float32)
        if not np.isfinite(vertices).all():
            raise WorldError(f"{context}: vertices reach beyond what float32 holds")
        corners = vertices[part.faces].astype(np.float64)
        cross = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        area = np.linalg.norm(cross, axis=1)
        solid = area > 1e-10
        dropped = int(len(area) - solid.sum())
        if dropped:
            self.notes.add(f"{instance[1] or instance[0]}: {dropped} triangles without area were left out")
        count = int(solid.sum())
        if not count:
            return
        flat = np.repeat((cross[solid] / area[solid, None])[:, None], 3, axis=1)
        normals = flat
        if part.normals is not None:
            normals = part.normals[solid] @ matrix[:3, :3].T
            length = np.linalg.norm(normals, axis=-1, keepdims=True)
            good = np.isfinite(length) & (length > 1e-6)
            normals = np.where(good, normals / np.where(good, length, 1.0), flat)
        uv = np.zeros((count, 3, 2)) if part.uv is None else part.uv[solid]
        faces = part.faces[solid]
        used = np.zeros(len(vertices), dtype=bool)
        used[faces] = True
        if not used.all():  # primitives of a mesh may share one long list
            faces = (np.cumsum(used) - 1)[faces]
            vertices = vertices[used]
        self._vertices.append(vertices)
        self._faces.append((faces + self._vertex_count).astype(np.int32))
        self._vertex_count += len(vertices)
        columns = self._columns
        columns["label"].append(np.full(count, label, np.uint8))
        columns["instance"].append(np.full(count, self._instance(instance), np.uint16))
        columns["material"].append(np.full(count, self._material_number(material, retro), np.int32))
        columns["uv"].append(uv.astype(np.float32))
        columns["normal"].append(normals.astype(np.float32))

    def _instance(self, key: tuple[str, str]) -> int:
        if key not in self._instance_index:
            if len(self._instances) >= _MAX_INSTANCES:
                return 0
            self._instances.append(key[1] or key[0])
            self._instance_index[key] = len(self._instances)
        return self._instance_index[key]

    def _material_number(self, material: Material, retro: float) -> int:
        key = (id(material), retro)
        if key not in self._material_index:
            self._kept.append(material)
            self._material_index[key] = len(self._materials)
            self._materials.append(Material(material.name, material.colour, material.texture, retro))
        return self._material_index[key]


def _positive(values: Array, context: str) -> Array:
    if (values <= 0).any():
        raise WorldError(f"{context}: sizes must be positive, not {values.tolist()}")
    return values


def _scaled(part: MeshPart, scale: Array) -> MeshPart:
    """A mesh stretched along its axes; a mirrored one is wound again so that outside stays outside."""
    faces, uv, normals = part.faces, part.uv, part.normals
    normals = None if normals is None else normals / scale
    if np.prod(scale) < 0:
        faces = faces[:, ::-1]
        uv = None if uv is None else uv[:, ::-1]
        normals = None if normals is None else normals[:, ::-1]
    return MeshPart(part.vertices * scale, faces, uv, normals, part.name, part.material)


def _joined(arrays: list[NDArray[Any]], empty: NDArray[Any]) -> NDArray[Any]:
    return np.concatenate(arrays) if arrays else empty
