"""Heightmaps: what Gazebo and our own engine make of the picture is the terrain, within a stated bound."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from aerialworld_city.geometry.ground import ROAD_OFFSET, lay
from aerialworld_city.geometry.heightmap import height_at, make_heightmap
from aerialworld_city.geometry.mesh import Mesh
from aerialworld_city.geometry.terrain import Terrain, make_terrain
from aerialworld_city.writing.models import write_heightmap_model
from aerialworld_core.world import load_world

ONE_BASE = np.array([[0.0, 0.0, 9.0]])


def grid(height, low, high, step):
    x, y = np.meshgrid(np.arange(low[0], high[0] + step / 2, step), np.arange(low[1], high[1] + step / 2, step))
    p = np.stack([x, y, height(x, y)], -1)
    a, b, c, d = p[:-1, :-1], p[:-1, 1:], p[1:, 1:], p[1:, :-1]
    return np.concatenate([np.stack(t, 2).reshape(-1, 3, 3) for t in ([a, b, c], [a, c, d])])


def bumps(x, y):
    return 12 + 3 * np.sin(x / 23) * np.cos(y / 17) + 0.02 * x


def slope(x, y):
    return 10 + 0.1 * x - 0.05 * y


def city(height=bumps):
    """Ground over 200 × 120 m about (60, −20): neither square nor about the origin."""
    source = grid(height, (-40.0, -80.0), (160.0, 40.0), 5.0)
    return make_terrain(source, ONE_BASE, np.array([[0.0, -50.0], [120.0, 10.0]]))


def world_of(heightmap, folder):
    write_heightmap_model(folder, "ground", heightmap.png(), heightmap.size, heightmap.position)
    (folder / "world.sdf").write_text(
        '<sdf version="1.10"><world name="w"><include><uri>models/ground</uri></include></world></sdf>'
    )
    return load_world(folder)


def test_the_world_has_the_terrain_within_the_stated_bound(tmp_path):
    terrain = city()
    heightmap = make_heightmap(terrain)
    assert heightmap.spacing <= 4.0 and heightmap.filled == 0
    world = world_of(heightmap, tmp_path)
    low, high = terrain.triangles.min(axis=(0, 1))[:2], terrain.triangles.max(axis=(0, 1))[:2]
    xy = np.random.default_rng(0).uniform(low + 1e-3, high - 1e-3, (20_000, 2))
    error = np.abs(world.terrain_height(xy) - terrain.index.height(xy))
    quantum = heightmap.size[2] / 65535
    # Slopes differ by about a tenth from triangle to triangle: samples 2 m apart cut ridges by some centimetres.
    assert heightmap.worst < 0.4 and error.max() <= heightmap.worst + quantum + 1e-4
    assert np.percentile(error, 95) < 0.05
    assert np.percentile(error, 95) <= heightmap.usual + quantum + 1e-4


def test_a_plane_survives_but_for_the_steps_of_the_picture(tmp_path):
    terrain = Terrain(grid(slope, (-64.0, -64.0), (64.0, 64.0), 8.0), 0, "dem")
    heightmap = make_heightmap(terrain)
    world = world_of(heightmap, tmp_path)
    xy = np.random.default_rng(1).uniform(-63.9, 63.9, (5000, 2))
    quantum = heightmap.size[2] / 65535
    assert np.abs(world.terrain_height(xy) - slope(*xy.T)).max() < quantum + 1e-4
    assert heightmap.worst < quantum


def test_north_is_up_and_east_is_right_in_the_picture():
    def corner(x, y):
        return np.where((x > 0) & (y > 0), 50.0, 0.0)

    heightmap = make_heightmap(Terrain(grid(corner, (-64.0, -64.0), (64.0, 64.0), 8.0), 0, "dem"))
    picture = np.array(Image.open(io.BytesIO(heightmap.png())))
    assert picture.dtype == np.uint16 and (picture == heightmap.values).all()
    quarter = len(picture) // 4
    assert picture[quarter, -quarter] == 65535 and picture[quarter, quarter] == 0
    assert picture[-quarter, -quarter] == 0 and picture[-quarter, quarter] == 0


def test_gazebo_draws_all_of_the_ground_although_it_drops_the_last_row_and_column():
    terrain = city()
    heightmap = make_heightmap(terrain)
    drawn = heightmap.samples()[:-1, :-1]
    low, high = terrain.triangles.min(axis=(0, 1))[:2], terrain.triangles.max(axis=(0, 1))[:2]
    extent = (high - low).max()
    assert drawn[0, 0, :2] == pytest.approx([low[0], high[1]])
    assert drawn[-1, -1, :2] == pytest.approx([low[0] + extent, high[1] - extent])
    count = len(heightmap.values)
    assert (count - 1) & (count - 2) == 0 and heightmap.values.max() == 65535 and heightmap.values.min() == 0


def test_roads_laid_on_the_heightmap_lie_above_what_the_engine_shows(tmp_path):
    heightmap = make_heightmap(city())
    ground = heightmap.terrain(city())
    assert ground.kind == "dem" and "heightmap" in ground.notes[-1]
    road = np.array([[0.0, -40, 0], [110, -10, 0], [110, -4, 0], [0, -34, 0]])[[[0, 1, 2], [0, 2, 3]]]
    mesh = Mesh(road, np.zeros(2, np.int32), np.zeros(2, np.int8), np.zeros(2, bool), np.full(2, -1, np.int32))
    laid, counts = lay(mesh, 1, ground.part(np.array([0.0, -40]), np.array([110.0, -4])))
    assert counts.draped == 1
    world = world_of(heightmap, tmp_path)
    weights = np.random.default_rng(2).dirichlet([1, 1, 1], 20)
    points = np.einsum("ni,tij->ntj", weights, laid.triangles).reshape(-1, 3)
    assert points[:, 2] - world.terrain_height(points[:, :2]) == pytest.approx(ROAD_OFFSET, abs=2e-4)


def test_samples_are_read_as_the_triangles_say():
    heightmap = make_heightmap(city())
    ground = heightmap.terrain(city())
    corner = np.array([heightmap.position[0] - heightmap.size[0] / 2, heightmap.position[1] + heightmap.size[1] / 2])
    xy = np.random.default_rng(3).uniform([-40, -80], [160, 40], (3000, 2))
    expected = height_at(heightmap.samples()[..., 2], corner, heightmap.spacing, xy)
    assert ground.index.height(xy) == pytest.approx(expected, abs=1e-9)


def test_gaps_have_the_nearest_height_and_are_counted():
    whole = grid(lambda x, y: 5 + 0 * x, (-64.0, -64.0), (64.0, 64.0), 8.0)
    gap = whole[(np.abs(whole[:, :, :2].mean(axis=1)) > 20).any(axis=1)]
    heightmap = make_heightmap(Terrain(gap, 0, "fitted"))
    assert heightmap.filled > 0 and "nearest height" in heightmap.told()
    assert heightmap.samples()[..., 2] == pytest.approx(5.0, abs=1e-9)


def test_level_ground_is_level(tmp_path):
    flat = make_terrain(np.zeros((0, 3, 3)), np.zeros((0, 3)), np.array([[-20.0, -20], [20, 20]]))
    heightmap = make_heightmap(flat)
    assert heightmap.size[2] == 1.0 and heightmap.worst == 0.0
    world = world_of(heightmap, tmp_path)
    assert world.terrain_height(np.array([[0.0, 0.0], [70.0, -60.0]])) == pytest.approx(0.0, abs=1e-6)


@pytest.mark.long
def test_a_wide_city_has_as_many_samples_as_may_be():
    terrain = Terrain(grid(slope, (-12000.0, -12000.0), (12000.0, 12000.0), 100.0), 0, "dem")
    heightmap = make_heightmap(terrain)
    assert heightmap.values.shape == (2049, 2049) and heightmap.spacing == pytest.approx(24000 / 2047)


@pytest.mark.parametrize(("edge", "samples"), [(2.0, 257), (5.0, 129), (40.0, 65)])
def test_samples_are_as_dense_as_the_triangles_are(edge, samples):
    terrain = Terrain(grid(slope, (-160.0, -160.0), (160.0, 160.0), edge), 0, "dem")
    assert len(make_heightmap(terrain).values) == samples
