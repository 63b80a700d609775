"""Tiles: built from packed polygons in blocks, kept on disk, made by worker processes that may die."""

from __future__ import annotations

import os
import shutil
import signal
import time
from pathlib import Path

import numpy as np
import pytest

from aerialworld_city.features import Content, Feature, Material, Polygons
from aerialworld_city.geodesy import Projection
from aerialworld_city.kinds import KINDS
from aerialworld_city.options import ConversionOptions
from aerialworld_city.sources.discover import SourceFile
from aerialworld_city.synthetic.shapes import prism, rectangle
from aerialworld_city.tiles import build
from aerialworld_city.tiles.jobs import TileJob, make_tile
from aerialworld_city.tiles.pool import Pool, WorkerDied, workers_for
from aerialworld_city.tiles.store import adopt, is_whole, read_tile, tile_key, write_tile
from aerialworld_core.errors import InputError

EAST, NORTH = -8100.0, -37400.0
TOKYO = Projection(6677)


def content(things, terrain=None, materials=(), epsg=6697):
    """`things`: (id, kind, [(surface, rings, material, uv of the outer ring or None), …]) in plane metres."""
    points, uv, ring_start, polygon_start, feature, surface, material = [], [], [0], [0], [], [], []
    for number, (_, _, faces) in enumerate(things):
        for kind, rings, which, places in faces:
            for i, ring in enumerate(rings):
                ring = np.concatenate([ring, ring[:1]])
                latitude, longitude = TOKYO.inverse(ring[:, 0] + EAST, ring[:, 1] + NORTH)
                points.append(np.column_stack([latitude, longitude, ring[:, 2]]))
                has = places is not None and i == 0
                uv.append(np.concatenate([places, places[:1]]) if has else np.full((len(ring), 2), np.nan))
                ring_start.append(ring_start[-1] + len(ring))
            polygon_start.append(len(ring_start) - 1)
            feature.append(number)
            surface.append(kind)
            material.append(which)
    packed = Polygons(
        np.concatenate(points),
        np.concatenate(uv).astype(np.float32) if any(np.isfinite(u).any() for u in uv) else None,
        np.array(ring_start),
        np.array(polygon_start),
        np.array(feature, np.int32),
        np.array(surface, np.int8),
        np.array(material, np.int32),
    )
    ground = np.zeros((0, 3, 3)) if terrain is None else terrain
    features = [Feature(i, kind, "a.gml", 1) for i, kind, _ in things]
    return Content("a.gml", epsg, features, list(materials), packed, ground)


def box(name, x, y, size=10.0, turn=False, leave_out=None):
    faces = prism(rectangle(size, size, (x, y)), 2.0, 7.0)
    faces = [
        (kind, [r[::-1] if turn else r for r in rings], -1, None)
        for n, (kind, rings) in enumerate(faces)
        if n != leave_out
    ]
    return name, "building", faces


def boxes_of(tile):
    lows = [tile.mesh.triangles[tile.mesh.feature == f].min(axis=(0, 1)) for f in range(len(tile.features))]
    return np.array(lows) - [EAST, NORTH, 0]


def test_bodies_come_out_where_they_are_with_their_volume_and_facing_outward():
    tile = build.place(content([box("b", 0, 0), box("in", 40, 0, turn=True), box("open", 80, 0, leave_out=1)]), TOKYO)
    assert [f.id for f in tile.features] == ["b", "in", "open"]
    assert [f.volume for f in tile.features] == pytest.approx([500, 500, 0], rel=1e-6)
    assert [f.closed for f in tile.features] == [True, True, False]
    assert boxes_of(tile) == pytest.approx(np.array([[-5, -5, 2], [35, -5, 2], [75, -5, 2]]), abs=1e-5)
    assert tile.mesh.double.tolist() == (tile.mesh.feature == 2).tolist()
    assert tile.changed == {
        "triangles turned outward": 12,
        "triangles of open or mis-wound shells, written from both sides": 10,
    }


def test_blocks_of_any_size_make_the_same_tile(monkeypatch):
    things = [box(f"b{i}", 25.0 * i, 7.0 * (i % 3), turn=bool(i % 2)) for i in range(20)]
    whole = build.place(content(things), TOKYO)
    monkeypatch.setattr(build, "_BLOCK", 60)
    parts = build.place(content(things), TOKYO)
    for name in ("triangles", "feature", "surface", "double", "material"):
        assert np.array_equal(getattr(whole.mesh, name), getattr(parts.mesh, name))
    assert [f.volume for f in whole.features] == pytest.approx([f.volume for f in parts.features])
    assert whole.changed == parts.changed


def test_features_in_any_order_of_polygons_end_up_in_slices():
    one = content([box("a", 0, 0), box("b", 40, 0)])
    order = np.array([0, 6, 1, 7, 2, 8, 3, 9, 4, 10, 5, 11])
    p = one.polygons
    rings = [p.points[p.ring_start[r] : p.ring_start[r + 1]] for r in order]
    p.points = np.concatenate(rings)
    p.ring_start = np.cumsum([0, *(len(r) for r in rings)])
    p.feature, p.surface = p.feature[order], p.surface[order]
    tile = build.place(one, TOKYO)
    assert (np.diff(tile.mesh.feature) >= 0).all() and [f.volume for f in tile.features] == pytest.approx([500, 500])


def test_what_is_broken_is_named_and_the_rest_stays():
    nowhere = box("nowhere", 0, 0)
    nowhere[2][2][1][0][:, 2] = np.nan
    flat = ("flat", "building", [(2, [np.array([[0.0, 0, 0], [1, 0, 0], [2, 0, 0]])], -1, None)])
    holed = box("holed", 80, 0)
    holed[2].append((1, [np.array([[0.0, 0, 0], [1, 1, 1]])], -1, None))
    tile = build.place(content([nowhere, flat, holed, box("good", 120, 0)]), TOKYO)
    assert [f.id for f in tile.features] == ["holed", "good"]
    assert [f.volume for f in tile.features] == pytest.approx([500, 500])
    assert [(s.id, s.reason) for s in tile.skipped] == [
        ("nowhere", "polygon 3 has a coordinate that is no place on earth"),
        ("flat polygon 1", "no area"),
        ("holed polygon 7", "a ring with 2 distinct points (at least 3)"),
        ("flat", "no usable polygon"),
    ]


def test_surfaces_that_lie_look_up_and_kerbs_are_seen_from_both_sides():
    ring = rectangle(10, 4, (0, 0))
    road = np.column_stack([ring, np.zeros(4)])
    kerb = np.array([[-5.0, -2, 0], [5, -2, 0], [5, -2, 0.2], [-5, -2, 0.2]])
    tile = build.place(content([("r", "road", [(0, [road[::-1]], -1, None), (0, [kerb], -1, None)])]), TOKYO)
    t = tile.mesh.triangles
    up = np.cross(t[:, 1] - t[:, 0], t[:, 2] - t[:, 0])[:, 2]
    assert (up[~tile.mesh.double] > 0).all() and tile.mesh.double.sum() == 2
    assert KINDS["road"].lies and not tile.features[0].closed and tile.features[0].volume == 0


def test_texture_places_and_materials_follow_the_surfaces_that_are_turned():
    ring = np.column_stack([rectangle(10, 4, (0, 0)), np.zeros(4)])
    places = ring[:, :2] / 10 + 0.5
    faces = [(0, [ring[::-1]], 0, places[::-1])]
    faces += [(0, [ring + np.array([20.0 * i, 0, 0])], material, None) for i, material in ((1, 1), (2, 0))]
    things = [("r", "road", faces)]
    tile = build.place(content(things, materials=[Material("a.jpg"), Material(None, (1.0, 0, 0))]), TOKYO)
    t, mesh = tile.mesh.triangles - [EAST, NORTH, 0], tile.mesh
    own = mesh.material == 0
    assert own.sum() == 2 and (mesh.material == 1).sum() == 2 and (mesh.material == -1).sum() == 2
    assert mesh.uv[own] == pytest.approx(t[own][..., :2] / 10 + 0.5, abs=1e-5)
    assert np.isfinite(mesh.uv).all()
    assert tile.changed["triangles without texture coordinates, drawn by class"] == 2


# -- the store ----------------------------------------------------------------------------------------------------


def a_tile():
    terrain = np.array([[[35.0, 139.0, 4.0], [35.0, 139.001, 5.0], [35.001, 139.0, np.nan]]])
    ring = np.column_stack([rectangle(10, 4, (0, 0)), np.zeros(4)])
    things = [box("b", 0, 0), ("r", "road", [(0, [ring], 0, ring[:, :2] / 10)])]
    one = content(things, terrain, [Material("a b/c.jpg", None, 0.5), Material(None, (0.25, 0.5, 1.0))])
    one.features[0].usage, one.features[0].usage_label, one.features[0].measured_height = "411", "住宅", 5.25
    one.counts, one.notes = {"Building": 1}, ["a note"]
    return build.place(one, TOKYO)


def test_a_stored_tile_comes_back_as_it_was(tmp_path):
    tile = a_tile()
    write_tile(tmp_path / "t", tile)
    assert is_whole(tmp_path / "t") and [p.name for p in tmp_path.iterdir()] == ["t"]
    back = read_tile(tmp_path / "t")
    mesh = back.mesh()
    for name in ("triangles", "feature", "surface", "double", "material", "uv"):
        assert np.array_equal(getattr(mesh, name), getattr(tile.mesh, name)), name
    assert np.array_equal(back.terrain(), tile.terrain, equal_nan=True)
    assert [vars(f) for f in back.features] == [vars(f) for f in tile.features]
    assert back.materials == tile.materials and back.counts == tile.counts and back.notes == tile.notes
    assert back.starts.tolist() == [0, 12, 14]
    assert back.boxes[0] - [EAST, NORTH, 0] == pytest.approx(np.array([[-5, -5, 2], [5, 5, 7]]), abs=1e-5)
    first = {p.name: p.read_bytes() for p in (tmp_path / "t").iterdir()}
    write_tile(tmp_path / "t", tile)
    assert {p.name: p.read_bytes() for p in (tmp_path / "t").iterdir()} == first


def test_a_damaged_or_half_written_tile_counts_as_absent(tmp_path):
    write_tile(tmp_path / "t", a_tile())
    for path in sorted((tmp_path / "t").iterdir()):
        data = path.read_bytes()
        for damaged in (data[:-1], data[: len(data) // 2], b"", data[:-3] + bytes([data[-3] ^ 1]) + data[-2:]):
            path.write_bytes(damaged)
            assert not is_whole(tmp_path / "t"), path.name
        path.unlink()
        assert not is_whole(tmp_path / "t"), path.name
        path.write_bytes(data)
        assert is_whole(tmp_path / "t")
    np.save(tmp_path / "t" / "mesh_triangles.npy", np.array([{"an": "object"}]), allow_pickle=True)
    assert not is_whole(tmp_path / "t") and not is_whole(tmp_path / "none")


def test_a_tile_is_taken_over_by_link_and_no_link_is_followed(tmp_path):
    write_tile(tmp_path / "t", a_tile())
    adopt(tmp_path / "t", tmp_path / "u" / "t")
    assert is_whole(tmp_path / "u" / "t")
    assert (tmp_path / "u" / "t" / "meta.json").stat().st_ino == (tmp_path / "t" / "meta.json").stat().st_ino
    (tmp_path / "t" / "more").symlink_to("/etc")
    with pytest.raises(ValueError, match="a link"):
        adopt(tmp_path / "t", tmp_path / "v")
    assert not (tmp_path / "v").exists()


def test_the_key_is_of_all_that_the_tile_depends_on(tmp_path):
    data = tmp_path / "data"
    (data / "codelists").mkdir(parents=True)
    path = data / "a_bldg.gml"
    path.write_text("x")
    file = SourceFile(path, "a_bldg.gml", "bldg", "citygml", data)

    def key(file=file, digest="0" * 64, epsg=6677, maker="1", **options):
        from aerialworld_city.tiles.store import forget_folders

        forget_folders()
        return tile_key(file, digest, epsg, ConversionOptions(**options), maker)

    same = key()
    assert key(chunk=100.0) == same and key(textures=False) == same and key(workers=3) == same
    assert key(origin=(35.0, 139.0)) == same  # CityGML lies where it lies
    others = [key(lod="1"), key(epsg=6676), key(digest="1" * 64), key(modules=("bldg",)), key(crs=6677), key(maker="2")]
    (data / "codelists" / "Building_usage.xml").write_text("y")
    others.append(key())
    assert len({same, *others}) == 8


# -- jobs and workers ---------------------------------------------------------------------------------------------


def gml(path, body="", name="a"):
    path.write_text(
        '<?xml version="1.0"?><core:CityModel xmlns:core="http://www.opengis.net/citygml/2.0" '
        'xmlns:gml="http://www.opengis.net/gml" xmlns:bldg="http://www.opengis.net/citygml/building/2.0">'
        '<gml:boundedBy><gml:Envelope srsName="http://www.opengis.net/def/crs/EPSG/0/6697"/></gml:boundedBy>'
        f"{body}</core:CityModel>"
    )
    return SourceFile(path, path.name, "bldg", "citygml", path.parent)


def test_an_unreadable_file_is_a_result_and_with_strict_an_error(tmp_path):
    file = gml(tmp_path / "a_bldg.gml", "<core:cityObjectMember>")
    result = make_tile(TileJob(file, 6677, ConversionOptions(), tmp_path / "s", None, "1"))
    assert result.key is None and "a_bldg.gml" in str(result.error)
    with pytest.raises(InputError, match="a_bldg"):
        make_tile(TileJob(file, 6677, ConversionOptions(strict=True), tmp_path / "s", None, "1"))


def test_a_tile_is_found_then_taken_over_then_made(tmp_path):
    file = gml(tmp_path / "a_bldg.gml")
    job = TileJob(file, 6677, ConversionOptions(), tmp_path / "s", None, "1")
    first = make_tile(job)
    assert not first.reused and is_whole(tmp_path / "s" / first.key)
    assert make_tile(job).reused
    other = TileJob(file, 6677, ConversionOptions(), tmp_path / "t", tmp_path / "s", "1")
    assert make_tile(other).reused and is_whole(tmp_path / "t" / first.key)
    shutil.rmtree(tmp_path / "t")
    (tmp_path / "s" / first.key / "starts.npy").write_bytes(b"")
    assert not make_tile(other).reused and is_whole(tmp_path / "t" / first.key)


def square(number):
    time.sleep(0.02 * (number % 3))
    return number * number, os.getpid()


def fail_at_seven(number):
    if number == 7:
        raise InputError("seven")
    return number


def die_once(job):
    number, marker = job
    if number == 5 and not marker.exists():
        marker.write_text("x")
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def die_always(job):
    if job == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return job


def names(count):
    return [f"file {i}" for i in range(count)]


def test_results_keep_the_order_of_the_jobs_and_heavy_ones_start_first():
    ended = []
    with Pool(2) as pool:
        found = pool.run(square, range(12), names=names(12), weights=range(12), done=ended.append)
        assert [r for r, _ in found] == [n * n for n in range(12)]
        assert os.getpid() not in {p for _, p in found} and len({p for _, p in found}) <= 2
        assert sorted(ended) == list(range(12)) and ended[0] >= 9
        with pytest.raises(InputError, match="seven"):
            pool.run(fail_at_seven, range(12), names=names(12))
    with Pool(1) as pool:
        assert {p for _, p in pool.run(square, range(3), names=names(3))} == {os.getpid()}


def test_a_killed_worker_loses_no_work_and_a_deadly_job_is_named(tmp_path):
    with Pool(2) as pool:
        jobs = [(n, tmp_path / "died") for n in range(10)]
        assert pool.run(die_once, jobs, names=names(10)) == list(range(10)) and (tmp_path / "died").exists()
        with pytest.raises(WorkerDied, match="file 3"):
            pool.run(die_always, range(8), names=names(8))


def children():
    own = str(os.getpid())
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if fields[1] == own and fields[0] != "Z":
            found.append(path.parent.name)
    return set(found)


def test_leaving_the_pool_leaves_no_process():
    before = children()
    with pytest.raises(KeyboardInterrupt), Pool(2) as pool:
        pool.run(square, range(4), names=names(4))
        raise KeyboardInterrupt
    left = children() - before
    # The tracker of shared resources is Python's own and lives as long as this process.
    assert all(b"resource_tracker" in Path(f"/proc/{p}/cmdline").read_bytes() for p in left)


def test_small_sources_are_converted_in_this_process():
    assert workers_for(None, 8, 10**6) == 1 and workers_for(3, 1, 10**6) == 3
    assert 1 <= workers_for(None, 100, 10**9) <= 8 and workers_for(None, 1, 10**9) == 1
