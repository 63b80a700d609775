"""Validation against a real world: solids by ray casting, recall and precision by the truth oracle."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("embreex", reason="needs aerialworld_core[world]")
pytest.importorskip("numba", reason="needs aerialworld_core[world]")

from aerialworld_core.labels import FREE, MANMADE, TERRAIN
from aerialworld_core.occupancy import Occupancy
from aerialworld_core.session import validate
from aerialworld_core.world import Light, Scene, World
from aerialworld_core.world.truth import visible_surface

#: The plane lies within a voxel here, not on a face, where rounding would decide.
DATUM = -1.3
CORNERS = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (0, 1)], np.float64)
QUADS = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]


@pytest.fixture(scope="module")
def world(synthetic):
    """The analytic city as triangles, faces outwards."""
    vertices = [np.array([[-90, -90, 0], [90, -90, 0], [90, 90, 0], [-90, 90, 0]], np.float64)]
    faces, classes = [(0, 1, 2), (0, 2, 3)], [TERRAIN, TERRAIN]
    for x, y, half, height in synthetic.City().boxes:
        first = sum(map(len, vertices))
        vertices.append(CORNERS * [half, half, height] + [x, y, 0])
        for a, b, c, d in QUADS:
            faces += [(first + a, first + b, first + c), (first + a, first + c, first + d)]
            classes += [MANMADE, MANMADE]
    v, f = np.concatenate(vertices).astype(np.float32), np.array(faces, np.int32)
    normal = np.cross(v[f[:, 1]] - v[f[:, 0]], v[f[:, 2]] - v[f[:, 0]])
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    n = len(f)
    scene = Scene(
        vertices=v,
        faces=f,
        face_class=np.array(classes, np.uint8),
        face_instance=np.zeros(n, np.uint16),
        face_material=np.zeros(n, np.int32),
        uv=np.zeros((n, 3, 2), np.float32),
        normals=np.repeat(normal[:, None], 3, axis=1).astype(np.float32),
        materials=[],
    )
    down, zero = np.array([0.0, 0, -1]), np.zeros(3)
    return World("boxes", Path("boxes.sdf"), "ab" * 32, None, scene, Light(down, zero, zero, zero, False))


@pytest.fixture(scope="module")
def seen(world, synthetic, recorded):
    """The recording with exactly the voxels that the oracle calls visible."""
    made = []
    for frame, _, images in recorded[:4]:
        surface = visible_surface(world, synthetic.RIG, frame.state.pose, synthetic.GRID, DATUM)
        occupancy = surface.reshape(synthetic.GRID.shape).astype(np.uint8)
        semantics = np.where(occupancy, np.uint8(MANMADE), np.uint8(FREE))
        made.append((frame, Occupancy(occupancy, semantics, np.ones(occupancy.shape, bool)), images))
    return made


def test_what_is_visible_scores_one(tmp_path, world, synthetic, seen):
    report = validate(synthetic.write(tmp_path, seen, datum=DATUM), world, truth_frames=2)
    f = report.figures
    assert f["poses_inside_solids"] == 0
    assert f["recall"] == pytest.approx(1.0, abs=1e-3) and f["precision"] > 0.999
    assert [s["frame"] for s in f["truth"]] == [0, 3]
    assert not any("recall" in t or "precision" in t for t in report.errors + report.warnings)


def test_missing_and_invented_voxels_are_told(tmp_path, world, synthetic, seen):
    def change(entry, occupancy):
        semantics = np.where(occupancy, np.uint8(MANMADE), np.uint8(FREE))
        return entry[0], Occupancy(occupancy, semantics, np.ones(occupancy.shape, bool)), entry[2]

    half = []
    for entry in seen:
        occupancy = entry[1].occupancy.copy()
        at = np.argwhere(occupancy)[::2]
        occupancy[tuple(at.T)] = 0
        half.append(change(entry, occupancy))
    report = validate(synthetic.write(tmp_path / "half", half, datum=DATUM), world, truth_frames=2)
    assert report.figures["recall"] == pytest.approx(0.5, abs=0.01) and report.figures["precision"] > 0.999
    assert any("recall of the surface is" in t for t in report.warnings + report.errors)
    lifted = [change(e, np.roll(e[1].occupancy, 6, axis=2)) for e in seen]
    report = validate(synthetic.write(tmp_path / "lifted", lifted, datum=DATUM), world, truth_frames=1)
    assert any("precision of the surface" in e for e in report.errors)


def test_a_flight_through_a_building_is_an_error(tmp_path, world, synthetic, seen):
    """Shifted so that frame 0 (16, 0, 8) lies in the box at the origin."""
    through = []
    for frame, occupancy, images in seen:
        pose = replace(frame.state.pose, position=frame.state.pose.position - np.array([14.0, 0, 2.0]))
        through.append((replace(frame, state=replace(frame.state, pose=pose)), occupancy, images))
    report = validate(synthetic.write(tmp_path, through, datum=DATUM), world)
    inside = synthetic.City().inside(np.array([f.state.pose.position for f, _, _ in through]))
    assert report.figures["poses_inside_solids"] == inside.sum() > 0
    assert any("lie inside a solid, the first at frame 0" in e for e in report.errors)
