"""Worlds that are poor but not wrong go through the engine: it renders what is there, and finite where nothing is."""

from dataclasses import replace

import numpy as np
import pytest

from aerialworld_core.errors import WorldError
from aerialworld_core.frames import Pose
from aerialworld_core.plan import Plan
from aerialworld_core.rig import CameraSpec, Rig
from aerialworld_core.world import load_body, load_rig, load_world
from aerialworld_sim import Engine, Vehicle

LABEL = '<plugin filename="gz-sim-label-system" name="gz::sim::systems::Label"><label>15</label></plugin>'
MODEL = (
    '<model name="m"><static>true</static>{}<link name="l"><visual name="v"><geometry>{}</geometry></visual></link>'
    "</model>"
)
MESH = "<mesh><uri>t.obj</uri></mesh>"
WALL = "v 10 -50 -50\nv 10 50 -50\nv 10 50 50\nv 10 -50 50\n"


def world_of(folder, geometry, obj="", scene=""):
    (folder / "t.obj").write_text(obj)
    body = MODEL.format(LABEL, geometry) if geometry else ""
    (folder / "world.sdf").write_text(f'<sdf version="1.10"><world name="w">{scene}{body}</world></sdf>')
    return load_world(folder)


def render(world):
    """A camera at the origin that looks along +x, and its depth twin."""
    spec = CameraSpec("front", Pose.from_rpy(0, 0, 0), 64, 48, np.pi / 2, 0.1, 100.0, 10.0)
    rig = Rig("one", (spec,), (spec,))
    t = np.arange(4.0)
    plan = Plan("p", "v", "drone", "line", "all", 0, t, np.zeros((4, 3)), np.tile([0.0, 0.0, 0.0, 1.0], (4, 1)))
    return Engine(world, {"v": Vehicle(rig, plan.trajectory())}).render("v")


@pytest.mark.parametrize(
    ("geometry", "obj"),
    [("", ""), (MESH, "# nothing\n"), (MESH, WALL + "f 1 2 2\n"), ("<empty/>", "")],
    ids=["no model", "no triangles", "no area", "empty geometry"],
)
def test_an_empty_world_is_all_background(tmp_path, geometry, obj):
    world = world_of(tmp_path, geometry, obj, "<scene><background>1 0 0</background></scene>")
    assert "the world is empty: no visual has a triangle" in world.notes
    frame = render(world)
    assert (frame.images["front"] == [255, 0, 0]).all() and np.isposinf(frame.depth["front"]).all()
    assert (frame.semantic["front"] == 0).all() and np.isnan(frame.ground_z)


def test_flat_triangles_beside_good_ones_leave_no_trace(tmp_path):
    good = "f 1 4 3\nf 1 3 2\n"
    alone = render(world_of(tmp_path, MESH, WALL + good))
    beside = render(world_of(tmp_path, MESH, WALL + "f 1 1 1\n" + good + "f 1 2 1\nf 2 3 3\n"))
    assert np.allclose(alone.depth["front"], 10.0) and (alone.semantic["front"] == 15).all()
    assert (alone.depth["front"] == beside.depth["front"]).all()
    assert (alone.images["front"] == beside.images["front"]).all()


def test_both_sides_of_a_double_sided_wall(tmp_path):
    paint = "<material><diffuse>1 1 1</diffuse><double_sided>true</double_sided></material>"
    obj = WALL + "f 1 2 3\nf 1 3 4\n"  # it looks along +x, away from the camera
    assert np.isposinf(render(world_of(tmp_path, MESH, obj)).depth["front"]).all()
    body = MODEL.format(LABEL, MESH).replace("</visual>", f"{paint}</visual>")
    (tmp_path / "world.sdf").write_text(f'<sdf version="1.10"><world name="w">{body}</world></sdf>')
    frame = render(load_world(tmp_path))
    assert np.allclose(frame.depth["front"], 10.0) and (frame.semantic["front"] == 15).all()


def test_a_camera_without_pixels_is_refused(tmp_path):
    from aerialworld_core.resources import model_path

    text = model_path("rig_small").read_text()
    assert "<width>" in text
    start = text.index("<width>")
    (tmp_path / "model.sdf").write_text(text[:start] + "<width>0</width>" + text[text.index("</width>") + 8 :])
    with pytest.raises(WorldError, match=r"model\.sdf"):
        load_rig(tmp_path)


@pytest.mark.parametrize("name", ["drone", "rover"])
def test_a_shipped_vehicle_is_a_scene_that_the_engine_takes(tmp_path, name):
    body = load_body(name)
    world = world_of(tmp_path, "<box><size>1 1 1</size></box>")
    # Its middle 1.5 m ahead of the camera.
    middle = body.bounds.mean(axis=0)
    world.scene = replace(body, vertices=(body.vertices + np.float32([1.5, 0, 0]) - middle).astype(np.float32))
    frame = render(world)
    seen = np.isfinite(frame.depth["front"])
    depth, half = frame.depth["front"][seen], (body.bounds[1, 0] - body.bounds[0, 0]) / 2
    assert len(depth) > 5 and depth.min() >= 1.5 - half - 1e-3 and depth.max() <= 1.5 + half + 1e-3
    assert (frame.semantic["front"][seen] == body.face_class[0]).all()
