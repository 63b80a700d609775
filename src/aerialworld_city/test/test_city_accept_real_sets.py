"""Every real PLATEAU set, converted and compared with what its files say: counts, places, heights, volumes, surfaces.

The truth comes from `accept_city_truth` (ElementTree, PROJ, a byte-wise GLB reader), not from AerialWorld.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial import cKDTree

from aerialworld_city.convert import convert
from aerialworld_city.options import ConversionOptions

sys.path.insert(0, str(Path(__file__).parent))
import accept_city_truth as truth

pytestmark = pytest.mark.skipif(
    not truth.PLATEAU.is_dir(), reason=f"no real PLATEAU files below {truth.PLATEAU}: set AERIALWORLD_SHARED"
)

#: No simplification, nothing beside the world: what is compared is where things are.
EXACT = {"preview": False, "workers": 1, "keep_tiles": False, "target_faces": 10**8}
#: A millimetre, and float32 a kilometre from the origin.
NEAR = 1.1e-3
SETS = ("01", "02", "03", "04", "05", "07", "08", "09", "10", "11")
BODIES = ("building", "bridge", "furniture", "vegetation")


def folder_of(number):
    return next(truth.PLATEAU.glob(f"{number}_*"))


def sources(number):
    """The truth of a set's files, without modules that are not converted (land use)."""
    return [truth.read_gml(p) for p in sorted(folder_of(number).rglob("*.gml")) if "_luse_" not in p.name]


def things(number, *kinds):
    return [t for s in sources(number) for t in s.things if t.kind in kinds and t.faces]


_WORLDS = {}


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """`world("07")`: the set's world, converted once; `.result` is what convert returned."""

    def get(number):
        if number not in _WORLDS:
            out = tmp_path_factory.mktemp(number) / "world"
            result = convert(folder_of(number), out, ConversionOptions(**EXACT))
            _WORLDS[number] = truth.World(out)
            _WORLDS[number].result = result
        return _WORLDS[number]

    yield get
    _WORLDS.clear()


def corners(faces, city):
    return np.concatenate([truth.place(r, city) for f in faces for r in f.rings if len(r)])


def distances(points, others, columns=3):
    return cKDTree(np.unique(others[:, :columns], axis=0)).query(points[:, :columns], workers=1)[0]


def off_the_mesh(points, triangles, columns=3):
    """Distance from each point to the nearest corner or, where none is near, to the nearest edge: a corner in the
    middle of a straight line needs no corner in the mesh."""
    away = distances(points, triangles.reshape(-1, 3), columns)
    begin = triangles[:, [0, 1, 2], :columns].reshape(-1, columns)
    along = triangles[:, [1, 2, 0], :columns].reshape(-1, columns) - begin
    square = np.maximum((along**2).sum(axis=1), 1e-12)
    for row in np.flatnonzero(away > NEAR):
        offset = points[row, :columns] - begin
        share = np.clip((offset * along).sum(axis=1) / square, 0, 1)
        away[row] = np.linalg.norm(offset - share[:, None] * along, axis=1).min()
    return away


# --- what is there ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", SETS)
def test_every_building_is_listed_once_at_its_best_level(world, number):
    expected = sorted({(t.id, t.best) for t in things(number, "building")})  # One id of 04 stands in two files.
    listed = sorted((b["id"], b["lod"]) for b in world(number).city["buildings"])
    assert listed == expected
    assert world(number).result.skipped == [] or number in ("03", "05")


@pytest.mark.parametrize(
    ("number", "kind", "count"), [("03", "bridge", 21), ("03", "furniture", 2), ("09", "vegetation", 6)]
)
def test_other_bodies_are_counted(world, number, kind, count):
    assert len(things(number, kind)) == count
    assert world(number).city["objects"][kind] == count


@pytest.mark.parametrize(
    ("number", "epsg"), [("01", 6677), ("02", 6677), ("03", 6677), ("04", 6677), ("05", 6677), ("07", 6674),
                         ("08", 6674), ("09", 6677), ("10", 6677), ("11", 6677)],
)  # fmt: skip
def test_the_zone_is_the_official_one(world, number, epsg):
    assert world(number).city["crs"]["epsg"] == epsg


def test_objects_without_geometry_are_told(world):
    """38 of the 59 bridges at Shinjuku have none."""
    told = sum("brid" in s.file for s in world("03").result.skipped)
    text = str(world("03").report)
    assert told == 38 or "38" in text


@pytest.mark.parametrize("number", ["01", "02", "03", "05", "07", "08", "10"])
def test_heights_are_those_of_the_coordinates(world, number):
    listed = {b["id"]: b for b in world(number).city["buildings"]}
    for thing in things(number, "building"):
        z = np.concatenate([r[:, 2] for f in thing.faces[thing.best] for r in f.rings])
        assert listed[thing.id]["height"] == pytest.approx(np.ptp(z), abs=2e-3), thing.id


@pytest.mark.parametrize("number", ["01", "02", "05", "07", "08", "10"])
def test_volumes_are_those_of_the_polygons_and_point_outward(world, number):
    city = world(number).city
    listed = {b["id"]: b for b in city["buildings"]}
    for thing in things(number, "building"):
        expected = truth.fan_volume(thing.faces[thing.best], city)
        assert expected > 0 and listed[thing.id]["closed"], thing.id
        assert listed[thing.id]["volume"] == pytest.approx(expected, rel=2e-3, abs=0.05), thing.id


def test_measured_heights_and_usages_are_handed_on(world):
    for number in ("05", "07", "10"):
        listed = {b["id"]: b for b in world(number).city["buildings"]}
        for thing in things(number, "building"):
            try:
                value = float(thing.measured_height)
            except (TypeError, ValueError):
                value = None
            if value is not None and value <= 0:
                value = None
            assert listed[thing.id]["measured_height"] == value, (number, thing.id)
            assert listed[thing.id]["usage"] == thing.usage, (number, thing.id)
    labels = {b["usage"]: b["usage_label"] for b in world("10").city["buildings"]}
    assert set(labels) == {"461"} and (labels["461"] is None or "不明" in labels["461"])


def test_two_schema_years_have_the_same_buildings_with_equal_heights(world):
    new, old = world("01").city, world("02").city
    by_height = {}
    for name, city in (("new", new), ("old", old)):
        boxes = np.array([b["bbox"] for b in city["buildings"]])
        shift = np.array([city["crs"]["origin_east"], city["crs"]["origin_north"]])
        by_height[name] = np.column_stack([(boxes[:, :2] + boxes[:, 3:5]) / 2 + shift,
                                           [b["height"] for b in city["buildings"]]])  # fmt: skip
    gap = np.abs(by_height["new"][:, None] - by_height["old"][None]).max(axis=2).min(axis=1)
    assert len(gap) == 9 and np.sort(gap)[:8].max() < 0.01


# --- where it is ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", ["01", "02", "03", "05", "07", "08", "09", "10"])
def test_every_corner_of_the_source_is_a_corner_of_the_world(world, number):
    w = world(number)
    for kind in BODIES:
        faces = [f for t in things(number, kind) for f in t.faces[t.best]]
        if faces:
            expected = np.unique(corners(faces, w.city), axis=0)
            gap = off_the_mesh(expected, w.triangles(kind))
            # A base that was lowered to the ground moves straight down; nothing else may move.
            lowered = expected[gap > NEAR]
            assert len(lowered) < 0.5 * len(expected), (kind, len(lowered), len(expected))
            if len(lowered):
                assert off_the_mesh(lowered, w.triangles(kind), 2).max() <= NEAR, kind
                assert kind == "building", lowered[:4]


@pytest.mark.parametrize("number", ["01", "03", "05", "07", "08", "09"])
def test_no_corner_of_the_world_is_anywhere_else(world, number):
    """A corner of a written body is a corner of the source, lies on one of its polygons, or below one (lowered)."""
    w = world(number)
    for kind in BODIES:
        faces = [f for t in things(number, kind) for f in t.faces[t.best]]
        if not faces:
            continue
        expected = corners(faces, w.city)
        written = np.unique(w.triangles(kind).reshape(-1, 3), axis=0)
        extra = written[distances(written, expected) > NEAR]
        extra = extra[~_on_an_edge_in_plan(extra, faces, w.city)]
        extra = extra[~_on_a_polygon(extra, faces, w.city)]
        assert len(extra) == 0, (kind, len(extra), extra[:3])


def _on_a_polygon(points, faces, city):
    """Which points lie within a polygon's box and within 3 cm of its plane (released polygons bend up to 22 mm)."""
    on = np.zeros(len(points), bool)
    for face in faces:
        ring = truth.place(truth.opened(face.rings[0]), city)
        rows = np.flatnonzero(
            ~on & (points >= ring.min(axis=0) - 0.03).all(axis=1) & (points <= ring.max(axis=0) + 0.03).all(axis=1)
        )
        if len(rows):
            normal = np.linalg.svd(ring - ring.mean(axis=0))[2][2]
            on[rows] = np.abs((points[rows] - ring.mean(axis=0)) @ normal) < 0.03
    return on


def _on_an_edge_in_plan(points, faces, city):
    """Which points lie within 2 mm of a ring's edge, seen from above, and no higher than that edge's upper end."""
    parts = [truth.place(r, city) for f in faces for r in f.rings if len(r) > 1]
    begin, end = np.concatenate([p[:-1] for p in parts]), np.concatenate([p[1:] for p in parts])
    tree = cKDTree((begin[:, :2] + end[:, :2]) / 2)
    along = (end - begin)[:, :2]
    square = np.maximum((along**2).sum(axis=1), 1e-12)
    on = np.zeros(len(points), bool)
    for reach in (3.0, 30.0, np.sqrt(square.max()) / 2 + 0.01):
        rows = np.flatnonzero(~on)
        for row, near in zip(rows, tree.query_ball_point(points[rows, :2], reach), strict=True):
            offset = points[row, :2] - begin[near, :2]
            share = np.clip((offset * along[near]).sum(axis=1) / square[near], 0, 1)
            away = np.linalg.norm(offset - share[:, None] * along[near], axis=1)
            top = np.maximum(begin[near, 2], end[near, 2])
            on[row] = ((away < 2e-3) & (points[row, 2] <= top + 2e-3)).any()
    return on


# --- surfaces that lie on the ground ----------------------------------------------------------------------------------

ROADS = ("road", "sidewalk", "flat", "planting")


@pytest.mark.parametrize("number", ["04", "07", "08", "09", "11"])
def test_roads_have_the_area_of_their_polygons_once(world, number):
    w = world(number)
    faces = [f for t in things(number, "road") for f in t.faces[t.best]]
    expected = sum(truth.plan_area(f, w.city) for f in faces)
    triangles = w.triangles(*ROADS)
    assert truth.plan_areas(truth.without_backs(triangles)).sum() == pytest.approx(expected, rel=0.005)
    up = np.cross(triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0])[:, 2] > 0
    assert truth.plan_areas(truth.without_backs(triangles[up])).sum() == pytest.approx(expected, rel=0.005)


@pytest.mark.parametrize("number", ["04", "07", "08", "09", "11"])
def test_corners_of_roads_are_where_they_were(world, number):
    w = world(number)
    expected = corners([f for t in things(number, "road") for f in t.faces[t.best]], w.city)
    assert off_the_mesh(expected, w.triangles(*ROADS), 2).max() <= NEAR


@pytest.mark.parametrize(("number", "lod"), [("08", 3), ("09", 3), ("04", 1)])
def test_roads_with_real_heights_keep_them(world, number, lod):
    """Each corner at its own height; where the ground lies higher, just above the ground."""
    w = world(number)
    faces = [f for t in things(number, "road") if t.best == lod for f in t.faces[lod]]
    expected = np.unique(corners(faces, w.city), axis=0)
    written = w.triangles(*ROADS).reshape(-1, 3)
    found = cKDTree(written[:, :2]).query_ball_point(expected[:, :2], NEAR)
    lift = np.array(
        [np.abs(written[i, 2] - z).min() if i else np.nan for i, z in zip(found, expected[:, 2], strict=True)]
    )
    ground = heights_below(w.triangles("terrain"), expected[:, :2])
    laid = [bool(i) and np.abs(written[i, 2] - g - w.city["terrain"]["road_offset"]).min() < 0.035
            for i, g in zip(found, ground, strict=True)]  # fmt: skip
    right = (lift <= NEAR) | ((ground + 0.06 > expected[:, 2]) & laid) | np.isnan(lift)
    assert right.mean() > 0.97, (right.mean(), expected[~right][:3], lift[~right][:3])


@pytest.mark.parametrize(
    ("number", "lod"),
    [("08", 3), ("04", 1)],
)
def test_a_fitted_ground_does_not_lift_roads_that_have_heights(world, number, lod):
    """Without relief, surveyed roads tell the ground's height better than the buildings beside them."""
    w = world(number)
    faces = [f for t in things(number, "road") if t.best == lod for f in t.faces[lod]]
    expected = np.unique(corners(faces, w.city), axis=0)
    assert (off_the_mesh(expected, w.triangles(*ROADS)) > 0.09).mean() < 0.05


def test_classes_of_road_parts(world):
    """Suginami: a crossing and a sidewalk among traffic areas, three islands beside them."""
    w = world("11")
    areas = {}
    for face in (f for t in things("11", "road") for f in t.faces[2]):
        key = (face.surface, face.function)
        areas[key] = areas.get(key, 0) + truth.plan_area(face, w.city)
    written = {k: truth.plan_areas(truth.without_backs(w.triangles(k))).sum() for k in ROADS}
    assert written["road"] == pytest.approx(areas[("TrafficArea", "1020")], rel=0.005)
    assert written["sidewalk"] == pytest.approx(areas[("TrafficArea", "2000")], rel=0.005)
    assert written["flat"] == pytest.approx(areas[("AuxiliaryTrafficArea", "3000")], rel=0.005)


# --- ground -----------------------------------------------------------------------------------------------------------


def test_relief_triangles_stay_where_they_are(tmp_path):
    """Set 04's relief lies two kilometres from its buildings; alone it is a world of its own."""
    convert(folder_of("04"), tmp_path / "world", ConversionOptions(**EXACT, modules=("dem",)))
    w = truth.World(tmp_path / "world")
    source = next(s for s in sources("04") if len(s.triangles))
    expected = truth.place(source.triangles.reshape(-1, 3), w.city)
    assert w.report["read"]["Triangle"] == len(source.triangles) == 44
    assert distances(expected, w.triangles("terrain").reshape(-1, 3)).max() <= NEAR
    middles = expected.reshape(-1, 3, 3).mean(axis=1)
    assert heights_below(w.triangles("terrain"), middles[:, :2]) == pytest.approx(middles[:, 2], abs=2e-3)


def heights_below(triangles, places):
    """Ground height under each place, by the triangles' own planes; NaN where there is none."""
    trimesh = pytest.importorskip("trimesh")
    mesh = trimesh.Trimesh(triangles.reshape(-1, 3), np.arange(len(triangles) * 3).reshape(-1, 3), process=False)
    top = triangles[..., 2].max() + 100
    origins = np.column_stack([places, np.full(len(places), top)])
    hit = mesh.ray.intersects_first(origins, np.tile([0.0, 0, -1], (len(places), 1)))
    found = np.full(len(places), np.nan)
    rows = np.flatnonzero(hit >= 0)
    t = triangles[hit[rows]]
    normal = np.cross(t[:, 1] - t[:, 0], t[:, 2] - t[:, 0])
    delta = places[rows] - t[:, 0, :2]
    found[rows] = t[:, 0, 2] - (normal[:, :2] * delta).sum(axis=1) / normal[:, 2]
    return found


@pytest.mark.parametrize("number", ["01", "03", "07", "08", "10"])
def test_no_building_floats_and_none_is_buried_by_a_made_up_ground(world, number):
    w = world(number)
    boxes = np.array([b["bbox"] for b in w.city["buildings"]])
    share = np.linspace(0.02, 0.98, 6)
    x = boxes[:, 0, None, None] + (boxes[:, 3] - boxes[:, 0])[:, None, None] * share[:, None]
    y = boxes[:, 1, None, None] + (boxes[:, 4] - boxes[:, 1])[:, None, None] * share
    places = np.stack(np.broadcast_arrays(x, y), axis=-1).reshape(-1, 2)
    below = heights_below(w.triangles("terrain"), places).reshape(len(boxes), -1)
    assert np.isfinite(below).all()
    assert (boxes[:, 2] <= below.max(axis=1) + 0.35).all()
    # Buried no deeper than the source's neighbours make it: a third of its own height at most stays above ground.
    heights = np.array([b["height"] for b in w.city["buildings"]])
    assert (boxes[:, 5] - np.median(below, axis=1) > heights / 3).all()


# --- one model per building: what other readers make of it ------------------------------------------------------------


def only_t_junctions(mesh):
    """Whether the open edges of a mesh run along each other: a corner on a neighbour's straight edge, nothing gapes."""
    edges, count = np.unique(mesh.edges_sorted, axis=0, return_counts=True)
    assert count.max() <= 2
    open_edges = edges[count == 1]
    p = mesh.vertices
    covered = []
    for a, b in open_edges:
        along = p[b] - p[a]
        length = np.linalg.norm(along)
        spans = []
        for c, d in open_edges:
            if {c, d} == {a, b}:
                continue
            share = np.array([(p[i] - p[a]) @ along / length for i in (c, d)])
            away = [np.linalg.norm(p[i] - p[a] - s * along / length) for i, s in zip((c, d), share, strict=True)]
            if max(away) < 2e-3 and share.max() > 1e-4 and share.min() < length - 1e-4:
                spans.append(np.clip(np.sort(share), 0, length))
        spans.sort(key=lambda s: s[0])
        reach = 0.0
        for begin, end in spans:
            if begin <= reach + 2e-3:
                reach = max(reach, end)
        covered.append(reach >= length - 2e-3)
    return all(covered)


@pytest.mark.parametrize("number", ["01", "08"])
def test_each_building_alone_is_a_closed_body_of_its_volume(tmp_path, number):
    """Read by trimesh, corners merged: watertight, wound outward, the report's triangles, bounds and volume."""
    trimesh = pytest.importorskip("trimesh")
    out = tmp_path / "world"
    result = convert(folder_of(number), out, ConversionOptions(**EXACT, per_building=True))
    w = truth.World(out)
    names = [b["model"] for b in w.city["buildings"]]
    assert len(set(names)) == len(names) == len(things(number, "building"))
    total = 0
    lowered = sum(v for k, v in result.changed.items() if "lowered" in k)
    differs = 0
    for building in w.city["buildings"]:
        (path,) = w.visuals[building["model"]]
        with open(path, "rb") as handle:
            scene = trimesh.load(handle, file_type="glb", process=False)
        mesh = trimesh.util.concatenate([trimesh.Trimesh(g.vertices, g.faces) for g in scene.geometry.values()])
        total += len(mesh.faces)
        mesh.merge_vertices(digits_vertex=4)
        assert mesh.is_watertight or only_t_junctions(mesh), building["id"]
        differs += mesh.volume != pytest.approx(building["volume"], rel=1e-3, abs=0.1)
        assert mesh.bounds.ravel() == pytest.approx(building["bbox"], abs=2e-3)
    assert differs <= lowered
    assert total == result.written["building triangles"]


@pytest.mark.parametrize("number", ["01", "03", "07", "09"])
def test_written_meshes_have_unit_normals_and_agree_with_trimesh(world, number):
    trimesh = pytest.importorskip("trimesh")
    w = world(number)
    for name in w.models:
        for path in w.visuals[name]:
            with open(path, "rb") as handle:
                scene = trimesh.load(handle, file_type="glb", process=False)
            ours = truth.read_glb(path)
            assert sum(len(g.faces) for g in scene.geometry.values()) == sum(len(p.triangles) for p in ours)
            for part in ours:
                assert np.isfinite(part.positions).all()
                assert np.linalg.norm(part.normals, axis=1) == pytest.approx(1.0, abs=1e-3)
                t = part.positions[part.triangles].astype(float)
                face = np.cross(t[:, 1] - t[:, 0], t[:, 2] - t[:, 0])
                along = (face * part.normals[part.triangles].sum(axis=1)).sum(axis=1)
                large = np.linalg.norm(face, axis=1) > 1e-3  # A sliver's normal is its neighbours'.
                assert (along[large] > 0).all(), path
