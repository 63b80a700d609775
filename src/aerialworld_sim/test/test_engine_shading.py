"""Textures, shadows and light: where colours come from."""

import numpy as np

from aerialworld_core.errors import WorldError
from aerialworld_core.frames import Pose
from aerialworld_core.world.scene import Light, Material
from aerialworld_sim.textures import (
    DECODE,
    ENCODE,
    ENCODE_STEPS,
    pack_texels,
    pack_textures,
    srgb_from_linear,
    unpack_texels,
)

AMBIENT_ONLY = Light(np.array([0, 0, -1.0]), np.zeros(3), np.full(3, np.pi), np.zeros(3), False)


def wall(world, texture, uv=((0, 0), (1, 0), (1, 1), (0, 1)), x=5.0, half=5.0):
    """A wall that faces −x; its uv is (0, 0) at the lower left as one looks at it (left is +y)."""
    corners = [[x, half, -half], [x, -half, -half], [x, -half, half], [x, half, half]]
    uv = np.array(uv, float)
    world.add(corners, [[0, 1, 2], [0, 2, 3]], colour=(1, 1, 1), texture=texture, uv=uv[[[0, 1, 2], [0, 2, 3]]])


def test_textures_are_upright_and_not_mirrored(world, camera, engine_at):
    """Row 0 of the image is the top of the wall, column 0 its left; light of 1 shows the texture's own grey levels."""
    world.light = AMBIENT_ONLY
    texture = np.arange(8 * 8 * 3, dtype=np.uint8).reshape(8, 8, 3)
    wall(world, texture)
    spec = camera(width=88, height=88, hfov=np.pi / 2)
    picture = engine_at(world, Pose.identity(), cameras=[spec]).render("v").images["cam_front"]
    centres = picture[5::11, 5::11].astype(int)  # 11 pixels per texel; bilinear at a texel's centre is the texel
    assert np.abs(centres - texture.astype(int)).max() <= 1


def test_textures_repeat_and_lie_about_their_mean_when_far(world, camera, engine_at):
    """A checker far below a pixel's size shows its mean in linear light: the mip levels hold it."""
    world.light = AMBIENT_ONLY
    checker = np.zeros((64, 64, 3), np.uint8)
    checker[::2, ::2] = checker[1::2, 1::2] = 255
    wall(world, checker, uv=((0, 0), (40, 0), (40, 40), (0, 40)), x=50.0, half=50.0)
    spec = camera(width=64, height=64, hfov=np.pi / 2)
    picture = engine_at(world, Pose.identity(), cameras=[spec]).render("v").images["cam_front"].astype(int)
    assert np.abs(picture - 255 * srgb_from_linear(np.array(0.5))).max() <= 2


def test_mip_levels_keep_the_mean(world):
    rng = np.random.default_rng(1)
    image = rng.integers(0, 256, (64, 32, 3), dtype=np.uint8)
    block = pack_textures([Material("a", np.ones(3, np.float32)), Material("b", np.ones(3, np.float32), image)])
    assert block.levels.tolist() == [0, 7]
    mean = DECODE[image].reshape(-1, 3).mean(axis=0)
    assert np.abs(unpack_texels(block.texels[-1:])[0] - mean).max() < 0.001
    assert block.level_width[:7].tolist() == [32, 16, 8, 4, 2, 1, 1]


def test_texels_hold_every_srgb_level_exactly():
    """What a texture says is what is shown: codes of square roots tell all 256 levels apart."""
    linear = np.repeat(DECODE[:, None], 3, axis=1)
    back = ENCODE[np.round(unpack_texels(pack_texels(linear)) * ENCODE_STEPS).astype(int)]
    assert (back == np.arange(256)[:, None]).all()


def test_a_texture_of_another_kind_is_named():
    try:
        pack_textures([Material("roof", np.ones(3, np.float32), np.zeros((4, 4), np.uint8))])
    except WorldError as error:
        assert "roof" in str(error)
    else:
        raise AssertionError("accepted")


def test_srgb_table_is_the_standard_within_half_a_level():
    linear = np.linspace(0, 1, 5001)
    table = ENCODE[np.round(linear * ENCODE_STEPS).astype(int)]
    assert np.abs(table - 255 * srgb_from_linear(linear)).max() < 0.71
    assert (ENCODE[np.round(DECODE * ENCODE_STEPS).astype(int)] == np.arange(256)).all(), "decode and encode invert"


def test_a_box_casts_its_shadow_where_the_sun_says(world, cube, camera, engine_at):
    """Sun from the east at 45°: the shadow lies west of the box, as long as it is high, lit by the ambient alone."""
    direction = np.array([-1.0, 0.0, -1.0]) / np.sqrt(2)
    world.light = Light(direction, np.full(3, 0.8), np.full(3, 0.4), np.zeros(3), True)
    world.ground_plane(colour=(0.45, 0.45, 0.45))
    world.box((0, 0, 2), (2, 2, 4), colour=(0.45, 0.45, 0.45))
    down = camera(width=400, height=400, hfov=np.pi / 2, pose=Pose.from_rpy(0, 0, 0, 0, np.pi / 2, 0))
    picture = (
        engine_at(world, Pose.from_rpy(0, 0, 20), cameras=[down]).render("v").images["cam_front"][..., 0].astype(int)
    )

    def at(x, y):
        """Ground point → pixel of a camera 20 m up that looks down, its top to the east, its left to the north."""
        return picture[int(200 - x / 20 * 200), int(200 - y / 20 * 200)]

    ambient = round(255 * float(srgb_from_linear(np.array(0.45 * 0.4 / np.pi))))
    for x, y in ((-1.5, 0.5), (-3.0, -0.5), (-4.7, 0.0)):
        assert abs(at(x, y) - ambient) <= 1, (x, y)
    for x, y in ((-5.4, 0.0), (3.0, 0.0), (-3.0, 1.4), (-3.0, -1.4)):
        assert at(x, y) > ambient + 40, (x, y)
    # The ground does not shadow itself: every pixel away from box and shadow is lit.
    lit = picture[:120]
    assert lit.min() > ambient + 40
