"""Set 06, a whole real tile, against its README, its own coordinates and what real Gazebo saw of it.

Read back by `accept_city_truth` and trimesh, not by AerialWorld.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pyproj
import pytest
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from aerialworld_city.convert import convert
from aerialworld_city.options import ConversionOptions

sys.path.insert(0, str(Path(__file__).parent))
import accept_city_truth as truth

pytestmark = pytest.mark.skipif(
    not truth.PLATEAU.is_dir(), reason=f"no real PLATEAU files below {truth.PLATEAU}: set AERIALWORLD_SHARED"
)
QUICK = {"preview": False, "workers": 1, "keep_tiles": False}
EAST, NORTH = -8100.0, -37400.0


def folder_of(number):
    return next(truth.PLATEAU.glob(f"{number}_*"))


def origin_of_the_reference():
    longitude, latitude = pyproj.Transformer.from_crs(6677, 6668, always_xy=True).transform(EAST, NORTH)
    return latitude, longitude


def read_obj(path):
    """(T, 3, 3) and the connected component of each triangle; equal vertices are one."""
    vertices, faces = [], []
    for line in path.read_text().splitlines():
        if line.startswith("v "):
            vertices.append([float(w) for w in line.split()[1:4]])
        elif line.startswith("f "):
            faces.append([int(w.split("/")[0]) - 1 for w in line.split()[1:4]])
    vertices, faces = np.array(vertices), np.array(faces)
    _, same = np.unique(vertices, axis=0, return_inverse=True)
    nodes = same.reshape(-1)[faces]
    edges = np.concatenate([nodes[:, :2], nodes[:, 1:]])
    graph = coo_matrix((np.ones(len(edges)), (edges[:, 0], edges[:, 1])), shape=(nodes.max() + 1,) * 2)
    _, piece = np.unique(connected_components(graph, directed=False)[1][nodes[:, 0]], return_inverse=True)
    return vertices[faces], piece


@pytest.fixture(scope="module")
def roppongi(tmp_path_factory):
    out = tmp_path_factory.mktemp("06") / "world"
    options = ConversionOptions(**QUICK, origin=origin_of_the_reference())
    result = convert(folder_of("06"), out, options)
    world = truth.World(out)
    world.result = result
    return world


@pytest.fixture(scope="module")
def obj():
    triangles, piece = read_obj(next(folder_of("06").rglob("*_bldg_*.obj")))
    return triangles - np.array([EAST, NORTH, 0.0]), piece


def test_the_tile_has_915_buildings_of_the_stated_size(roppongi):
    buildings = roppongi.city["buildings"]
    assert len(buildings) == roppongi.result.written["buildings"] == 915
    assert max(b["height"] for b in buildings) == pytest.approx(235.46, abs=0.005)
    assert np.median([b["height"] for b in buildings]) == pytest.approx(10.27, abs=0.01)
    assert sum(b["closed"] for b in buildings) >= 914 and all(b["volume"] > 0 for b in buildings)
    low, high = np.array(roppongi.city["bounds"]["buildings"])
    assert (high - low)[:2] == pytest.approx([1157.97, 977.80], abs=0.01)
    assert low[:2] + np.array([EAST, NORTH]) == pytest.approx([-8694.38, -37911.74], abs=0.01)
    assert roppongi.city["crs"]["epsg"] == 6677 and roppongi.city["terrain"]["source_triangles"] == 44663
    assert 20 < len(roppongi.models) < 80


def test_each_building_of_the_tile_has_the_volume_and_the_box_of_its_triangles(roppongi, obj):
    triangles, piece = obj
    count = piece.max() + 1
    centre = np.array([triangles[piece == i].reshape(-1, 3).mean(axis=0) for i in range(count)])
    p = triangles - centre[piece][:, None]
    volume = np.bincount(piece, (p[:, 0] * np.cross(p[:, 1], p[:, 2])).sum(axis=1) / 6)
    boxes = np.array([[triangles[piece == i].reshape(-1, 3).min(axis=0), triangles[piece == i].reshape(-1, 3).max(axis=0)] for i in range(count)])  # fmt: skip # noqa: E501
    ours = np.array([b["bbox"] for b in roppongi.city["buildings"]])
    key = np.concatenate([boxes[:, 0, :2], boxes[:, 1]], axis=1)
    gap, match = cKDTree(key).query(ours[:, [0, 1, 3, 4, 5]])
    assert gap.max() < 5e-3 and len(set(match)) == 915
    assert [b["volume"] for b in roppongi.city["buildings"]] == pytest.approx(volume[match], rel=1e-4, abs=0.05)


def test_every_corner_of_the_tile_is_in_the_written_meshes_and_no_other(roppongi, obj):
    corners = np.unique(obj[0].reshape(-1, 3), axis=0)
    written = np.unique(roppongi.triangles("building").reshape(-1, 3), axis=0)
    away = cKDTree(written).query(corners)[0]
    lowered = roppongi.result.changed["buildings whose base was lowered to the ground"]
    assert lowered <= 10
    simplified = (away > 1.1e-3).mean()
    assert simplified < 0.05 and cKDTree(written[:, :2]).query(corners[:, :2])[0].max() < 0.2


def test_written_triangles_are_those_that_the_report_counts(roppongi):
    trimesh = pytest.importorskip("trimesh")
    total = 0
    for name in roppongi.names("building"):
        for path in roppongi.visuals[name]:
            with open(path, "rb") as handle:
                scene = trimesh.load(handle, file_type="glb", process=False)
            for geometry in scene.geometry.values():
                total += len(geometry.faces)
    assert total == roppongi.result.written["building triangles"]
    expected = sum(b["volume"] for b in roppongi.city["buildings"])
    # A flipped building would take away twice its volume; lowered bases add a little.
    whole = truth.signed_volume(roppongi.triangles("building"))
    assert whole == pytest.approx(expected, rel=0.01)


def test_bases_of_the_tile_reach_the_ground(roppongi):
    trimesh = pytest.importorskip("trimesh")
    ground = roppongi.triangles("terrain")
    mesh = trimesh.Trimesh(ground.reshape(-1, 3), np.arange(len(ground) * 3).reshape(-1, 3), process=False)
    boxes = np.array([b["bbox"] for b in roppongi.city["buildings"]])
    share = np.linspace(0, 1, 5)
    x = boxes[:, 0, None, None] + (boxes[:, 3] - boxes[:, 0])[:, None, None] * share[:, None]
    y = boxes[:, 1, None, None] + (boxes[:, 4] - boxes[:, 1])[:, None, None] * share
    places = np.stack(np.broadcast_arrays(x, y), axis=-1).reshape(-1, 2)
    origins = np.column_stack([places, np.full(len(places), 400.0)])
    hit = mesh.ray.intersects_first(origins, np.tile([0.0, 0, -1], (len(places), 1)))
    height = np.full(len(places), np.nan)
    t = ground[hit[hit >= 0]]
    normal = np.cross(t[:, 1] - t[:, 0], t[:, 2] - t[:, 0])
    delta = places[hit >= 0] - t[:, 0, :2]
    height[hit >= 0] = t[:, 0, 2] - (normal[:, :2] * delta).sum(axis=1) / normal[:, 2]
    assert np.isfinite(height).mean() > 0.99
    assert (boxes[:, 2] <= np.nanmax(height.reshape(len(boxes), -1), axis=1) + 0.35).all()


def rotation(roll, pitch, yaw):
    cr, sr, cp, sp, cy, sy = (f(a) for a in (roll, pitch, yaw) for f in (np.cos, np.sin))
    return (
        np.array([[cy, -sy, 0], [sy, cy, 0], [0, 0, 1]])
        @ np.array([[cp, 0, sp], [0, 1, 0], [-sp, 0, cp]])
        @ np.array([[1, 0, 0], [0, cr, -sr], [0, sr, cr]])
    )


@pytest.fixture(scope="module")
def rays(roppongi):
    trimesh = pytest.importorskip("trimesh")
    parts = {k: roppongi.triangles(k) for k in ("building", "terrain")}
    triangles = np.concatenate(list(parts.values()))
    label = np.repeat([15, 14], [len(p) for p in parts.values()])
    mesh = trimesh.Trimesh(triangles.reshape(-1, 3), np.arange(len(triangles) * 3).reshape(-1, 3), process=False)
    return triangles, label, mesh.ray


@pytest.mark.parametrize("pose", ["pose0", "pose2", "pose4"])
def test_rays_into_the_written_meshes_meet_what_gazebo_saw(rays, pose):
    """Per cube face: median difference ≤ 0.2 mm, ≤ 0.05 % of pixels beyond 5 cm, classes equal."""
    triangles, label, caster = rays
    turns = {"front": (0, 0), "left": (0, 90), "back": (0, 180), "right": (0, -90), "up": (-90, 0), "down": (90, 0)}
    centre = (np.arange(400)[::2] + 0.5 - 200) / 200
    y, z = np.meshgrid(-centre, -centre)
    direction = np.stack([np.ones_like(y), y, z], -1).reshape(-1, 3)
    with np.load(truth.SHARED / "reference" / "gazebo" / "tile06" / f"{pose}.npz", allow_pickle=False) as data:
        rig = data["pose_xyzrpy"]
        for face, (pitch, yaw) in turns.items():
            depth = data[f"{face}_depth"][::2, ::2].ravel().astype(float)
            classes = data[f"{face}_label"][::2, ::2].ravel()
            turn = rotation(*rig[3:]) @ rotation(0, np.radians(pitch), np.radians(yaw))
            world_direction = direction @ turn.T
            hit = caster.intersects_first(np.tile(rig[:3], (len(direction), 1)), world_direction)
            ours = np.full(len(hit), np.inf)
            rows = np.flatnonzero(hit >= 0)
            t = triangles[hit[rows]]
            normal = np.cross(t[:, 1] - t[:, 0], t[:, 2] - t[:, 0])
            # With x forward and unit x component the ray's parameter is the depth.
            along = ((t[:, 0] - rig[:3]) * normal).sum(axis=1) / (world_direction[rows] * normal).sum(axis=1)
            ours[rows] = along
            ours[ours * np.linalg.norm(direction, axis=1) > 300] = np.inf
            seen, both = np.isfinite(depth), np.isfinite(depth) & np.isfinite(ours)
            assert (np.isfinite(ours) | ~seen).mean() > 0.9998, face
            # Only where the ground goes on beyond the source's edge do we see more than Gazebo did.
            more = np.isfinite(ours) & ~seen
            assert (label[hit[more]] == 14).all(), face
            if both.any():
                off = np.abs(ours[both] - depth[both])
                assert np.median(off) <= 2e-4 and (off > 0.05).mean() <= 5e-4, (
                    face,
                    np.median(off),
                    (off > 0.05).mean(),
                )
                assert (label[hit[both]] != classes[both]).mean() <= 5e-4, face
