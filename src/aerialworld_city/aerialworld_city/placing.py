"""Where map's origin lies, and what the ground below the city is."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from aerialworld_city.city import City
from aerialworld_city.geodesy import LocalFrame
from aerialworld_city.geometry.fit import lowest_in_squares
from aerialworld_city.geometry.heightmap import Heightmap, make_heightmap
from aerialworld_city.geometry.terrain import EXTENSION, Terrain, make_terrain
from aerialworld_city.kinds import KINDS
from aerialworld_city.options import ConversionOptions
from aerialworld_city.report import ConversionReport
from aerialworld_city.tiles.pool import Pool
from aerialworld_city.tiles.select import plane_bounds
from aerialworld_city.tiles.squares import by_cell
from aerialworld_city.writing.ground_models import GroundJob, simplify_square
from aerialworld_core.errors import InputError
from aerialworld_core.frames import Array

_MAX_EXTENT = 100_000.0
#: What tells where the ground is, best first; each is asked only where the ones before are farther than `_FAR` metres.
_FEET = (("building",), ("furniture", "vegetation"), ("road", "sidewalk", "flat", "planting", "water"), ("bridge",))
_FAR = 250.0


def choose_frame(city: City, options: ConversionOptions) -> LocalFrame:
    """Map's origin: as asked, else the middle of the bodies, of everything where there are none, to a metre.

    Raises InputError when the city reaches farther than 100 km from it, or has no place at all.
    """
    bodies = ~city.lies
    chosen = city.boxes[bodies] if bodies.any() else city.boxes
    corners = chosen[:, :, :2].reshape(-1, 2)
    if not len(corners):
        corners = np.concatenate([t.terrain()[:, :, :2].reshape(-1, 2) for t in city.tiles])
        corners = corners[np.isfinite(corners).all(axis=1)]
        if not len(corners):
            raise InputError(f"{city.files[0].name}: no coordinate of its terrain is a place on earth")
    if options.origin is not None:
        frame = LocalFrame.at(city.projection, *options.origin)
    else:
        middle = np.round((corners.min(axis=0) + corners.max(axis=0)) / 2)
        frame = LocalFrame.at_plane(city.projection, float(middle[0]), float(middle[1]))
    everything = np.concatenate([corners, city.boxes[:, :, :2].reshape(-1, 2)])
    extent = np.abs(everything - [frame.east, frame.north]).max()
    if extent > _MAX_EXTENT:
        way_out = "some coordinates are far off; convert fewer files"
        if options.origin is not None:
            way_out = "choose an --origin in the city"
        raise InputError(f"the city reaches {extent / 1000:.0f} km from map's origin (at most 100 km): {way_out}")
    return frame


def make_ground(
    city: City, frame: LocalFrame, options: ConversionOptions, report: ConversionReport, pool: Pool
) -> tuple[Terrain, Heightmap | None]:
    """The terrain below and around everything, light enough for its models, and as a heightmap where that is asked for
    (the terrain is the heightmap's surface then); what was done to it goes to the report.

    Raises InputError when nothing lies in the region asked for.
    """
    boxes = city.boxes - np.array([frame.east, frame.north, 0.0])
    bounds = np.array([boxes[:, 0, :2].min(axis=0), boxes[:, 1, :2].max(axis=0)]) if len(boxes) else None
    if options.region is not None:
        asked = plane_bounds(options.region, city.projection) - [frame.east, frame.north]
        if bounds is not None:
            asked = np.array([np.minimum(bounds[0], asked[0]), np.maximum(bounds[1], asked[1])])
        bounds = asked
    source = _source_terrain(city, frame, bounds, options, report)
    if not len(boxes) and not len(source):
        raise InputError("nothing of the source lies in the region asked for")
    if bounds is None:
        finite = source[np.isfinite(source).all(axis=(1, 2))]
        bounds = np.array([finite[:, :, :2].min(axis=(0, 1)), finite[:, :, :2].max(axis=(0, 1))])
    bases = _bases(city, boxes, frame)
    if not len(source) and len(bases):
        more, number = _continued(boxes[city.without_height], bases)
        bases = np.concatenate([bases, more])
        if number:
            report.notes.append(
                f"{number} surfaces without heights lie more than {_FAR:g} m from anything that tells the ground's "
                "height; the ground goes on level there"
            )
    terrain = make_terrain(source, bases, bounds)
    report.add(report.changed, {f"terrain triangles: {reason}": n for reason, n in terrain.dropped.items()})
    if options.terrain == "heightmap":
        heightmap = make_heightmap(terrain)
        terrain = heightmap.terrain(terrain)
        report.notes += terrain.notes
        return terrain, heightmap
    report.notes += terrain.notes
    return _lighter(terrain, options, report, pool), None


def _source_terrain(
    city: City, frame: LocalFrame, bounds: Array | None, options: ConversionOptions, report: ConversionReport
) -> Array:
    """(K, 3, 3) map: the source's terrain triangles that touch the bounds and their surroundings."""
    found = [np.zeros((0, 3, 3))]
    outside = 0
    for tile in city.tiles if "dem" in options.modules else []:
        triangles = tile.terrain()
        if bounds is not None:
            low, high = bounds[0] - EXTENSION, bounds[1] + EXTENSION
            xy = triangles[:, :, :2] - np.array([frame.east, frame.north])
            far = (xy.max(axis=1) < low).any(axis=1) | (xy.min(axis=1) > high).any(axis=1)
            outside += int(far.sum())
            triangles = triangles[~far]
        found.append(triangles - np.array([frame.east, frame.north, 0.0]))
    if outside:
        report.add(report.changed, {"terrain triangles: outside the city": outside})
    return np.concatenate(found)


def _bases(city: City, boxes: Array, frame: LocalFrame) -> Array:
    """(N, 3) middles of the feet that tell where the ground is: of buildings, elsewhere of what else stands on it, of
    surfaces that have heights, and in the end of bridges."""
    kinds = np.array([f.kind for f in city.features], dtype=object)
    found = np.zeros((0, 3))
    for group in _FEET:
        chosen = np.isin(kinds, group)
        if KINDS[group[0]].lies:
            feet = _feet_of_surfaces(city, chosen & ~city.without_height, frame)
        else:
            feet = np.column_stack([boxes[chosen][:, :, :2].mean(axis=1), boxes[chosen, 0, 2]])
        if len(found) and len(feet):
            feet = feet[cKDTree(found[:, :2]).query(feet[:, :2])[0] > _FAR]
        found = np.concatenate([found, feet])
    return found


def _feet_of_surfaces(city: City, chosen: NDArray[np.bool_], frame: LocalFrame) -> Array:
    """(N, 3) map: the lowest places of surfaces with heights, one in every square of the fitted ground, because a road
    may climb many metres from one end to the other."""
    found = [np.zeros((0, 3))]
    begin = 0
    for tile, mask in zip(city.tiles, city.masks, strict=True):
        taken = np.flatnonzero(mask)
        wanted = taken[chosen[begin : begin + len(taken)]]
        begin += len(taken)
        if len(wanted):
            rows = np.zeros(len(tile.features), bool)
            rows[wanted] = True
            mesh = tile.mesh()
            triangles = mesh.triangles[rows[mesh.feature]]
            places = np.concatenate([triangles.reshape(-1, 3), triangles.mean(axis=1)])
            found.append(lowest_in_squares(places - np.array([frame.east, frame.north, 0.0])))
    return lowest_in_squares(np.concatenate(found))


def _continued(boxes: Array, bases: Array) -> tuple[Array, int]:
    """Feet (N, 3) below surfaces without heights (their `boxes`) that lie far from all `bases`, as high as the nearest;
    and how many such surfaces there are."""
    box = boxes[:, :, :2]
    places = np.stack([box.mean(axis=1), *(box[:, [i, j], [0, 1]] for i in (0, 1) for j in (0, 1))], axis=1)
    distance, nearest = cKDTree(bases[:, :2]).query(places.reshape(-1, 2))
    far = (distance > _FAR).reshape(places.shape[:2])
    found = np.column_stack([places.reshape(-1, 2), bases[nearest, 2]])[far.reshape(-1)]
    return found, int(far.any(axis=1).sum())


def _lighter(terrain: Terrain, options: ConversionOptions, report: ConversionReport, pool: Pool) -> Terrain:
    """Squares with more terrain triangles than a model should have are simplified, before anything is laid on them."""
    place = np.floor(terrain.triangles[:, :, :2].mean(axis=1) / options.chunk).astype(np.int64)
    heavy = [(cell, rows) for cell, rows in by_cell(place) if len(rows) > options.target_faces]
    if not heavy:
        return terrain
    results = pool.run(
        simplify_square,
        [GroundJob(terrain.triangles[rows], options) for _, rows in heavy],
        names=[f"the ground of square {cell}" for cell, _ in heavy],
    )
    keep = np.ones(len(terrain.triangles), bool)
    for _, rows in heavy:
        keep[rows] = False
    light = np.concatenate([terrain.triangles[keep], *(triangles for triangles, _ in results)])
    worst = max(moved for _, moved in results)
    report.notes.append(
        f"terrain: {len(terrain.triangles)} triangles became {len(light)}; no point moved by more than {worst:.3f} m"
    )
    return Terrain(light, terrain.source_count, terrain.kind, terrain.dropped, terrain.notes)
