"""The sun map against exact rays to the sun: equal but within a few pixels of a shadow's edge."""

import numpy as np
import pytest
from scipy.ndimage import binary_dilation, binary_erosion

from aerialworld_core.frames import Pose
from aerialworld_core.rig import CameraSpec
from aerialworld_core.world.rays import RayCaster
from aerialworld_core.world.scene import Light


@pytest.mark.parametrize("sun", [(-0.5, 0.3, -0.8), (0.9, 0.4, -0.25), (0.0, 0.0, -1.0), (-0.2, -0.97, -0.12)], ids=str)
@pytest.mark.parametrize("height", [12.0, 90.0])
def test_shadows_are_those_of_exact_rays(world, engine_at, sun, height):
    world.ground_plane(0.0, half=400.0, colour=(0.8, 0.8, 0.8))
    random = np.random.default_rng(5)
    for _ in range(25):
        size = random.uniform([3, 3, 2], [10, 10, 9])
        place = [*random.uniform(-45, 45, 2), size[2] / 2]
        world.box(place, size, rpy=(0, 0, random.uniform(0, 3)), colour=(0.8, 0.8, 0.8))
    world.box((5, -4, 6.0), (0.3, 0.3, 12.0), colour=(0.8, 0.8, 0.8))  # a pole
    light = Light(np.array(sun), np.full(3, 0.7), np.full(3, 0.2), np.zeros(3), True)
    spec = CameraSpec("cam_front", Pose.identity(), 320, 240, 1.2, 0.1, 600, 10)
    pose = Pose.from_rpy(-5.0, 2.0, height, 0.1, 1.1, 0.4)
    picture = engine_at(world, pose, cameras=(spec,), light=light).render_camera("v", "cam_front")
    scene = world.scene
    # Points of lit-facing ground, seen whole: away from the objects' outlines.
    ground = binary_erosion(picture.instance == 1, iterations=2)
    v, u = np.nonzero(ground)
    t = picture.depth[v, u].astype(float)
    left, up = (160 - u - 0.5) / spec.focal, (120 - v - 0.5) / spec.focal
    points = pose.transform(np.stack([t, left * t, up * t], axis=-1))
    to_sun = -np.array(sun) / np.linalg.norm(sun)
    origins = points + np.array([0, 0, 0.1])
    distance, _ = RayCaster(scene.triangles).cast(
        origins, np.broadcast_to(to_sun, points.shape), cull_backfaces=False, max_distance=np.inf
    )
    exact = np.zeros(ground.shape, bool)
    exact[v, u] = np.isfinite(distance)
    # Half-way between ground in shadow and ground in the sun, as grey levels.
    linear = 0.8 * (0.2 / np.pi + np.array([0.0, 0.7 * 0.8 * to_sun[2]]))
    mine = picture.rgb[..., 0] < 255 * (1.055 * linear ** (1 / 2.4) - 0.055).mean()
    wrong = (mine != exact) & ground
    assert ground.sum() > 3000
    # Edges are soft by a texel, which a low sun stretches; so is the foot of a wall.
    reach = 3 if to_sun[2] > 0.5 else 7
    border = binary_dilation(exact, iterations=reach) & ~binary_erosion(exact, iterations=reach)
    near = border | binary_dilation(picture.instance > 1, iterations=reach + 2)
    assert not (wrong & ~near).any(), f"{(wrong & ~near).sum()} pixels far from any edge"
    assert wrong.sum() < 0.04 * ground.sum()
