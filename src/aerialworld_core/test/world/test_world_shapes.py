"""Shapes beyond boxes and planes: cones, capsules, submeshes, surfaces with two sides."""

import numpy as np
import pytest

from aerialworld_core.errors import WorldError
from aerialworld_core.world import load_world

OBJ = "v 0 0 0\nv 1 0 0\nv 0 1 0\no low\nf 1 2 3\nv 10 0 4\nv 12 0 4\nv 10 2 4\nv 10 0 8\no high\nf 4 5 6\nf 4 6 7\n"


def volume(scene):
    t = scene.triangles.astype(np.float64)
    return np.einsum("ij,ij->i", t[:, 0], np.cross(t[:, 1], t[:, 2])).sum() / 6


def inward_rays(count=2000, seed=1):
    random = np.random.default_rng(seed)
    origin = random.normal(size=(count, 3))
    origin *= 9 / np.linalg.norm(origin, axis=1, keepdims=True)
    return origin, random.uniform(-0.3, 0.3, (count, 3)) - origin


def test_a_cone_is_closed_and_true_to_a_millimetre(make_world, sdf):
    world = make_world(sdf.model("m", sdf.visual("<cone><radius>1</radius><length>3</length></cone>")))
    assert volume(world.scene) == pytest.approx(np.pi, rel=2e-3)
    origin, direction = inward_rays()
    distance, face = world.cast(origin, direction)
    hit = origin + direction / np.linalg.norm(direction, axis=1, keepdims=True) * distance[:, None]
    assert (face >= 0).all()
    wall = hit[:, 2] > -1.4999
    # Height 3, radius 1: the wall's distance from the axis falls by a third of a metre per metre.
    off = np.hypot(hit[wall, 0], hit[wall, 1]) - (1.5 - hit[wall, 2]) / 3
    assert np.abs(off).max() < 1e-3 and np.allclose(hit[~wall, 2], -1.5, atol=1e-6) and (~wall).any()
    slope = world.scene.normals[face[wall]][:, 0]
    assert np.allclose(slope[:, 2], 1 / np.sqrt(10), atol=1e-6)  # (3, 1) / √10: out and up


def test_a_capsule_is_closed_and_true_to_a_millimetre(make_world, sdf):
    world = make_world(sdf.model("m", sdf.visual("<capsule><radius>1</radius><length>3</length></capsule>")))
    assert volume(world.scene) == pytest.approx(3 * np.pi + 4 / 3 * np.pi, rel=2e-3)
    origin, direction = inward_rays()
    distance, face = world.cast(origin, direction)
    hit = origin + direction / np.linalg.norm(direction, axis=1, keepdims=True) * distance[:, None]
    centre = np.zeros_like(hit)
    centre[:, 2] = np.clip(hit[:, 2], -1.5, 1.5)
    assert np.abs(np.linalg.norm(hit - centre, axis=1) - 1).max() < 1e-3
    outward = world.scene.normals[face][:, 0]
    assert (np.einsum("ij,ij->i", outward, hit - centre) > 0.99).all()
    assert world.scene.uv.min() >= 0 and world.scene.uv.max() <= 1


@pytest.mark.parametrize("shape", ["cone", "capsule", "cylinder"])
def test_round_shapes_need_sizes(make_world, sdf, shape):
    with pytest.raises(WorldError, match="positive"):
        make_world(sdf.model("m", sdf.visual(f"<{shape}><radius>1</radius><length>0</length></{shape}>")))
    with pytest.raises(WorldError, match="has no <length>"):
        make_world(sdf.model("m", sdf.visual(f"<{shape}><radius>1</radius></{shape}>")))


def submesh(name, center="", scale=""):
    return f"<mesh><uri>t.obj</uri><submesh><name>{name}</name>{center}</submesh>{scale}</mesh>"


def test_a_submesh_alone_and_centred(write_world, sdf, tmp_path):
    (tmp_path / "t.obj").write_text(OBJ)
    world = load_world(write_world(sdf.model("m", sdf.visual(submesh("high")), label=15)))
    assert world.bounds.tolist() == [[10, 0, 4], [12, 2, 8]] and world.notes == []
    centred = submesh("high", "<center>true</center>", "<scale>1 1 2</scale>")
    world = load_world(write_world(sdf.model("m", sdf.visual(centred, pose="0 0 100 0 0 0"), label=15)))
    assert world.bounds.tolist() == [[-1, -1, 96], [1, 1, 104]]
    with pytest.raises(WorldError, match=r"t\.obj: has no submesh 'roof'; it has 'high', 'low'"):
        load_world(write_world(sdf.model("m", sdf.visual(submesh("roof")))))


def test_double_sided_is_seen_from_both_sides(write_world, sdf):
    plane = "<plane><normal>0 0 1</normal><size>4 4</size></plane>"
    material = "<material><diffuse>1 1 1</diffuse><double_sided>{}</double_sided></material>"
    for both, faces in (("true", 4), ("false", 2)):
        world = load_world(write_world(sdf.model("m", sdf.visual(plane, extra=material.format(both)), label=14)))
        assert len(world.scene.faces) == faces and world.notes == []
        random = np.random.default_rng(0)
        origin = random.uniform(-1.9, 1.9, (2000, 3))
        origin[:, 2] = 5.0
        down = np.array([0.1, 0.05, -1.0]) + random.uniform(-0.02, 0.02, (2000, 3))
        origin[:, :2] *= 0.5
        above, _ = world.cast(origin, down)
        below, face = world.cast(origin * [1, 1, -1], down * [1, 1, -1])
        assert np.isfinite(above).all()
        assert np.allclose(below, above) if both == "true" else np.isinf(below).all()
        if both == "true":
            assert np.allclose(world.scene.normals[face], [0, 0, -1])
            assert world.terrain_height(np.zeros((1, 2)))[0] == 0.0
    with pytest.raises(WorldError, match="double_sided"):
        load_world(write_world(sdf.model("m", sdf.visual(plane, extra=material.format("maybe")))))


def test_long_shared_vertex_lists_are_cut_to_what_is_used(write_world, sdf, tmp_path):
    rows = "".join(f"v {i} 0 0\nv {i} 1 0\nv {i} 0 1\nvn 0 0 1\nvt {i / 100} 0\n" for i in range(100))
    groups = "".join(
        f"g part{i}\nf {3 * i + 1}/{i + 1}/1 {3 * i + 2}/{i + 1}/1 {3 * i + 3}/{i + 1}/1\n" for i in range(100)
    )
    (tmp_path / "t.obj").write_text(rows + groups)
    scene = load_world(write_world(sdf.model("m", sdf.visual(sdf.mesh("t.obj")), label=15))).scene
    assert len(scene.vertices) == 300 and len(scene.instances) == 100
    assert scene.triangles[70].tolist() == [[70, 0, 0], [70, 1, 0], [70, 0, 1]]
    assert np.allclose(scene.uv[70, :, 0], 0.7) and np.allclose(scene.normals, [0, 0, 1])


def test_normals_of_stretched_and_turned_meshes_stay_upright(write_world, sdf, tmp_path):
    # A slope z = x / 2 has the normal (−1, 0, 2); stretched four times along z, z = 2 x has (−2, 0, 1).
    (tmp_path / "t.obj").write_text("v 0 0 0\nv 2 0 1\nv 2 2 1\nvn -0.447214 0 0.894427\nf 1//1 2//1 3//1\n")
    visual = sdf.visual(sdf.mesh("t.obj", "1 1 4"), pose="0 0 0 0 0 1.5707963267948966")
    scene = load_world(write_world(sdf.model("m", visual, label=15))).scene
    assert np.allclose(scene.normals, np.array([0, -2, 1]) / np.sqrt(5), atol=1e-5)
