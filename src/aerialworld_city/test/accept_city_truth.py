"""Truth for the acceptance tests, found without the code under test: CityGML by ElementTree, PROJ for the plane,
written GLB files read byte by byte.

Nothing here imports aerialworld_city.
"""

from __future__ import annotations

import json
import os
import re
import struct
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np
import pyproj

SHARED = Path(os.environ.get("AERIALWORLD_SHARED", Path(__file__).resolve().parents[4] / "shared"))
PLATEAU = SHARED / "data" / "plateau"

KIND_OF_TAG = {
    "Building": "building",
    "Bridge": "bridge",
    "CityFurniture": "furniture",
    "SolitaryVegetationObject": "vegetation",
    "PlantCover": "vegetation",
    "Road": "road",
    "WaterBody": "water",
    "ReliefFeature": "terrain",
}
_GML_ID = "id"
_LOD = re.compile(r"lod(\d)")


def local(tag):
    return tag.rpartition("}")[2]


def attribute(element, name):
    return next((v for k, v in element.attrib.items() if local(k) == name), None)


@dataclass(eq=False)
class Face:
    """A polygon as the file has it: `rings` [(N, 3) latitude, longitude, height], ids, the surface it belongs to."""

    id: str | None
    rings: list[np.ndarray]
    ring_ids: list[str | None]
    surface: str
    function: str | None = None


@dataclass(eq=False)
class Thing:
    """A city object: `faces[lod]` are its own polygons (not those it only refers to) at each level."""

    id: str
    kind: str
    faces: dict[int, list[Face]] = field(default_factory=dict)
    measured_height: str | None = None
    usage: str | None = None
    parts: int = 0

    @property
    def best(self):
        return max(self.faces, default=0)


@dataclass(eq=False)
class Source:
    path: Path
    things: list[Thing]
    triangles: np.ndarray  # (K, 3, 3) relief, latitude, longitude, height
    texture: dict[str, tuple[str, np.ndarray]]  # ring id → image URI, (N, 2) uv
    images: list[str]


def numbers(text):
    return np.array((text or "").split(), float)


def rings_of(polygon):
    for ring in polygon.iter():
        if local(ring.tag) == "LinearRing":
            text = " ".join(p.text or "" for p in ring if local(p.tag) in ("posList", "pos"))
            yield attribute(ring, _GML_ID), numbers(text).reshape(-1, 3)


def collect(element, thing, lod, surface, function, triangles):
    name = local(element.tag)
    level = _LOD.match(name)
    if level:
        lod = int(level[1])
    if name.endswith("Surface") and name[0].isupper() and not name.startswith(("Composite", "Multi", "Triangulated")):
        surface = name
    if name in ("TrafficArea", "AuxiliaryTrafficArea"):
        surface = name
        function = next((c.text for c in element if local(c.tag) == "function"), None)
    if name == "BuildingPart":
        thing.parts += 1
    if name == "measuredHeight":
        thing.measured_height = element.text
    if name == "usage" and thing.usage is None:
        thing.usage = element.text
    if name == "Triangle":
        triangles.extend(ring[:3] for _, ring in rings_of(element))
        return
    if name == "Polygon":
        if lod:
            found = list(rings_of(element))
            face = Face(attribute(element, _GML_ID), [r for _, r in found], [i for i, _ in found], surface, function)
            thing.faces.setdefault(lod, []).append(face)
        return
    for child in element:
        collect(child, thing, lod, surface, function, triangles)


@cache
def read_gml(path):
    """Every city object of a CityGML file, its textures, and its relief."""
    root = ElementTree.parse(path).getroot()  # noqa: S314 - files of our own
    things, triangles, texture, images = [], [], {}, []
    for member in root:
        if local(member.tag) == "cityObjectMember":
            for element in member:
                kind = KIND_OF_TAG.get(local(element.tag))
                if kind:
                    thing = Thing(attribute(element, _GML_ID), kind)
                    collect(element, thing, 0, "", None, triangles)
                    things.append(thing)
    for entry in root.iter():
        if local(entry.tag) != "ParameterizedTexture":
            continue
        uri = next(c.text.strip() for c in entry if local(c.tag) == "imageURI")
        images.append(uri)
        for places in entry.iter():
            if local(places.tag) == "textureCoordinates":
                texture[attribute(places, "ring").lstrip("#")] = (uri, numbers(places.text).reshape(-1, 2))
    return Source(path, things, np.array(triangles).reshape(-1, 3, 3), texture, images)


@cache
def transformer(epsg):
    return pyproj.Transformer.from_crs(6668, epsg, always_xy=True)


def place(points, city):
    """(N, 3) latitude, longitude, height → map of a converted world, by PROJ and the two numbers in city.json."""
    points = np.asarray(points, float).reshape(-1, 3)
    east, north = transformer(city["crs"]["epsg"]).transform(points[:, 1], points[:, 0])
    x, y = east - city["crs"]["origin_east"], north - city["crs"]["origin_north"]
    return np.column_stack([x, y, points[:, 2] - city["georeference"].get("height", 0.0)])


def opened(ring):
    return ring[:-1] if len(ring) > 1 and (ring[0] == ring[-1]).all() else ring


def fan_volume(faces, city):
    """Signed volume below polygons by fans of their rings: exact for planar rings, holes wound the other way."""
    rings = [place(opened(r), city) for f in faces for r in f.rings if len(r) >= 3]
    middle = np.concatenate(rings).mean(axis=0)
    total = 0.0
    for ring in rings:
        p = ring - middle
        total += np.einsum("ij,ij->i", np.broadcast_to(p[0], p[1:-1].shape), np.cross(p[1:-1], p[2:])).sum() / 6
    return total


def plan_area(face, city):
    """Area of a polygon seen from above, holes taken out, whichever way it winds; m²."""
    areas = []
    for ring in face.rings:
        p = place(ring, city)[:, :2]
        p = p - p[0]
        q = np.roll(p, -1, axis=0)
        areas.append(abs((p[:, 0] * q[:, 1] - p[:, 1] * q[:, 0]).sum()) / 2)
    return areas[0] - sum(areas[1:])


@dataclass(eq=False)
class Primitive:
    positions: np.ndarray  # (V, 3)
    normals: np.ndarray  # (V, 3)
    uv: np.ndarray | None  # (V, 2) from the top-left, as in glTF
    triangles: np.ndarray  # (T, 3) int
    image: bytes | None
    colour: tuple
    double_sided: bool
    repeats: bool


_TYPES = {5120: "i1", 5121: "u1", 5122: "<i2", 5123: "<u2", 5125: "<u4", 5126: "<f4"}
_WIDTH = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4}


@cache
def read_glb(path):
    """The primitives of a GLB file, read from its two chunks; nodes must not move anything."""
    data = path.read_bytes()
    magic, version, total = struct.unpack_from("<III", data)
    assert (magic, version, total) == (0x46546C67, 2, len(data)), path
    length, kind = struct.unpack_from("<II", data, 12)
    assert kind == 0x4E4F534A
    document = json.loads(data[20 : 20 + length])
    blob = data[28 + length :]
    assert struct.unpack_from("<II", data, 20 + length)[1] == 0x004E4942
    assert not any(k in n for n in document["nodes"] for k in ("matrix", "rotation", "scale", "translation"))

    def view(index):
        entry = document["bufferViews"][index]
        start = entry.get("byteOffset", 0)
        return blob[start : start + entry["byteLength"]]

    def accessor(index):
        entry = document["accessors"][index]
        kind, width = np.dtype(_TYPES[entry["componentType"]]), _WIDTH[entry["type"]]
        raw = view(entry["bufferView"])[entry.get("byteOffset", 0) :]
        values = np.frombuffer(raw, kind, entry["count"] * width)
        return values.reshape(-1, width) if width > 1 else values

    found = []
    for mesh in document["meshes"]:
        for primitive in mesh["primitives"]:
            assert primitive.get("mode", 4) == 4
            fields = primitive["attributes"]
            material = document.get("materials", [{}])[primitive.get("material", 0)]
            look = material.get("pbrMetallicRoughness", {})
            image, repeats = None, False
            if "baseColorTexture" in look:
                texture = document["textures"][look["baseColorTexture"]["index"]]
                image = bytes(view(document["images"][texture["source"]]["bufferView"]))
                sampler = document["samplers"][texture["sampler"]] if "sampler" in texture else {}
                repeats = sampler.get("wrapS", 10497) == sampler.get("wrapT", 10497) == 10497
            found.append(
                Primitive(
                    accessor(fields["POSITION"]),
                    accessor(fields["NORMAL"]),
                    accessor(fields["TEXCOORD_0"]) if "TEXCOORD_0" in fields else None,
                    accessor(primitive["indices"]).astype(np.int64).reshape(-1, 3),
                    image,
                    tuple(look.get("baseColorFactor", (1, 1, 1, 1))),
                    material.get("doubleSided", False),
                    repeats,
                )
            )
    return found


class World:
    """A written world folder, read back through its SDF: which mesh is a visual, of which class, where."""

    def __init__(self, folder):
        self.folder = Path(folder)
        self.city = json.loads((self.folder / "city.json").read_text(encoding="utf-8"))
        self.report = json.loads((self.folder / "conversion_report.json").read_text(encoding="utf-8"))
        root = ElementTree.parse(self.folder / "world.sdf").getroot()  # noqa: S314
        names = [i.findtext("uri") for i in root.iter("include")]
        assert all(n.startswith("model://") for n in names)
        self.models = [n.removeprefix("model://") for n in names]
        self.visuals, self.collisions = {}, {}
        for name in self.models:
            base = self.folder / "models" / name
            model = ElementTree.parse(base / "model.sdf").getroot()  # noqa: S314
            for kind, found in (("visual", self.visuals), ("collision", self.collisions)):
                found[name] = [
                    base / u.text for e in model.iter(kind) for u in e.iter("uri") if u.text.endswith(".glb")
                ]

    def kind(self, name):
        """`{chunk}_{class}[_{part}]`: the class in a model's name."""
        words = [w for w in name.split("_") if w in _KINDS]
        return words[-1] if words else "building"

    def names(self, *kinds):
        return [n for n in self.models if self.kind(n) in kinds]

    def primitives(self, *kinds, names=None):
        for name in names if names is not None else self.names(*kinds):
            for path in self.visuals[name]:
                yield from read_glb(path)

    def triangles(self, *kinds, names=None):
        """(T, 3, 3) of the visuals."""
        parts = [p.positions[p.triangles] for p in self.primitives(*kinds, names=names)]
        return np.concatenate(parts).astype(float) if parts else np.zeros((0, 3, 3))


_KINDS = (
    "building",
    "bridge",
    "furniture",
    "vegetation",
    "terrain",
    "road",
    "sidewalk",
    "flat",
    "planting",
    "water",
)


def without_backs(triangles):
    """Each triangle once, also where its back was written as well; corners to a tenth of a millimetre."""
    corners = np.round(triangles * 1e4).astype(np.int64)
    order = np.lexsort((corners[..., 2], corners[..., 1], corners[..., 0]), axis=1)
    key = np.take_along_axis(corners, order[..., None], axis=1).reshape(len(corners), 9)
    return triangles[np.sort(np.unique(key, axis=0, return_index=True)[1])]


def plan_areas(triangles):
    a, b = triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0]
    return np.abs(a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]) / 2


def signed_volume(triangles):
    p = triangles - triangles.reshape(-1, 3).mean(axis=0)
    return float(np.einsum("ij,ij->i", p[:, 0], np.cross(p[:, 1], p[:, 2])).sum() / 6)
