"""Bodies that move: the shipped vehicles, models of one's own, boxes."""

import numpy as np
import pytest

from aerialworld_core.errors import InputError, UnsafeInputError, WorldError
from aerialworld_core.labels import CAR
from aerialworld_core.world import box_body, load_body


def box_of(scene, material):
    """(2, 3) the box around what has a colour."""
    number = [i for i, m in enumerate(scene.materials) if np.allclose(m.colour, material)]
    corners = scene.vertices[scene.faces[np.isin(scene.face_material, number)]].reshape(-1, 3)
    return np.stack([corners.min(axis=0), corners.max(axis=0)])


def test_the_shipped_drone_is_in_base_link_with_its_colours():
    notes = []
    scene = load_body("drone", notes=notes)
    assert notes == [] and (scene.face_class == 0).all()
    # The nose, a red box of 0.02 × 0.1 × 0.05 m at (0.13, 0, 0.02) of base_link.
    assert np.allclose(box_of(scene, [0.85, 0.2, 0.1]), [[0.12, -0.05, -0.005], [0.14, 0.05, 0.045]], atol=1e-6)
    # Four propellers of radius 0.13 at ±0.2121: the drone's reach.
    assert np.allclose(scene.bounds[:, :2], [[-0.3421] * 2, [0.3421] * 2], atol=1e-3)
    assert np.allclose(np.linalg.norm(scene.normals, axis=2), 1, atol=1e-5)


def test_the_shipped_rover_stands_on_wheels():
    scene = load_body("rover")
    assert len(scene.faces) > 100 and (scene.face_instance > 0).all()
    # Left and right are alike.
    assert np.allclose(scene.bounds[0, 1], -scene.bounds[1, 1], atol=1e-4)


def test_a_body_is_told_in_base_link_wherever_that_lies_in_its_model(tmp_path, sdf):
    base = f'<link name="base_link"><pose>5 0 1 0 0 1.5707963267948966</pose>{sdf.visual(sdf.box(2, 4, 6))}</link>'
    # 3 m further along the model's y is 3 m ahead of base_link, which looks that way.
    ahead = f'<link name="l"><pose>5 3 1 0 0 0</pose>{sdf.visual(sdf.box(1, 1, 1), extra=sdf.LABEL.format(CAR))}</link>'
    (tmp_path / "model.sdf").write_text(f'<sdf version="1.10"><model name="m">{base}{ahead}</model></sdf>')
    for source in (tmp_path, tmp_path / "model.sdf", str(tmp_path / "model.sdf")):
        scene = load_body(source)
        assert np.allclose(scene.bounds, [[-1, -2, -3], [3.5, 2, 3]], atol=1e-5)
        assert scene.face_class.tolist() == [0] * 12 + [CAR] * 12 and scene.instances == ["m"]


def test_what_is_no_body(tmp_path, sdf):
    with pytest.raises(InputError, match="nothing_of_this_name"):
        load_body("nothing_of_this_name")
    path = tmp_path / "model.sdf"
    path.write_text('<sdf version="1.10"><model name="ghost"><link name="l"/></model></sdf>')
    with pytest.raises(WorldError, match="ghost has no visuals"):
        load_body(path)
    path.write_text('<sdf version="1.10"><world name="w"/></sdf>')
    with pytest.raises(WorldError, match="holds 0 models"):
        load_body(path)
    (tmp_path / "a.dae").write_text("<COLLADA/>")
    path.write_text(
        f'<sdf version="1.10"><model name="m"><link name="l">{sdf.visual(sdf.mesh("a.dae"))}</link></model></sdf>'
    )
    with pytest.raises(UnsafeInputError, match=r"a\.dae.*trust"):
        load_body(path)


def test_a_box_body():
    scene = box_body([4, 2, 1.5], CAR, [0.1, 0.2, 0.3], name="car_1")
    assert np.allclose(scene.bounds, [[-2, -1, -0.75], [2, 1, 0.75]])
    assert len(scene.faces) == 12 and (scene.face_class == CAR).all() and (scene.face_instance == 1).all()
    assert scene.instances == ["car_1"] and np.allclose(scene.materials[0].colour, [0.1, 0.2, 0.3])
    corners = scene.triangles.astype(float)
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    assert (np.einsum("ij,ij->i", normal, corners.mean(axis=1)) > 0).all()  # outside is outside
    volume = np.einsum("ij,ij->i", corners[:, 0], np.cross(corners[:, 1], corners[:, 2])).sum() / 6
    assert volume == pytest.approx(12.0)


@pytest.mark.parametrize(
    ("size", "label", "colour", "said"),
    [
        ([0, 1, 1], 4, [0, 0, 0], "size"),
        ([1, np.nan, 1], 4, [0, 0, 0], "size"),
        ([1, 1], 4, [0, 0, 0], "size"),
        ([1, 1, 1], 256, [0, 0, 0], "label"),
        ([1, 1, 1], 1.5, [0, 0, 0], "label"),
        ([1, 1, 1], 4, [-1, 0, 0], "colour"),
        ([1, 1, 1], 4, [np.inf, 0, 0], "colour"),
    ],
)
def test_boxes_that_are_none(size, label, colour, said):
    with pytest.raises(InputError, match=f"body box: .*{said}"):
        box_body(size, label, colour)
