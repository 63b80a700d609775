"""Where map's origin lies, and what the ground below the city is."""

from __future__ import annotations

import numpy as np

from aerialworld_city.city import City
from aerialworld_city.footing import FAR, continued, ground_evidence
from aerialworld_city.geodesy import LocalFrame
from aerialworld_city.geometry.heightmap import Heightmap, make_heightmap
from aerialworld_city.geometry.terrain import EXTENSION, Terrain, make_terrain
from aerialworld_city.options import ConversionOptions
from aerialworld_city.report import ConversionReport
from aerialworld_city.tiles.pool import Pool
from aerialworld_city.tiles.select import plane_bounds
from aerialworld_city.tiles.squares import by_cell
from aerialworld_city.writing.city_json import OUTSIDE_TERRAIN
from aerialworld_city.writing.ground_models import GroundJob, simplify_square
from aerialworld_core.errors import InputError
from aerialworld_core.frames import Array

_MAX_EXTENT = 100_000.0


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
    boxes = frame.from_plane(city.boxes)
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
    evidence = ground_evidence(city, boxes, frame)
    if not len(source) and len(evidence):
        evidence, number = continued(evidence, boxes[city.without_height])
        if number:
            report.notes.append(
                f"{number} surfaces without heights lie more than {FAR:g} m from anything that tells the ground's "
                "height; the ground goes on level there"
            )
    terrain = make_terrain(source, evidence, bounds)
    if terrain.kind == "level" and len(source):
        raise InputError(_no_terrain(city, terrain.dropped))
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
        found.append(frame.from_plane(triangles))
    if outside:
        report.add(report.changed, {OUTSIDE_TERRAIN: outside})
        if outside == sum(t.rows["terrain"] for t in city.tiles):
            names = [f.name for f, t in zip(city.files, city.tiles, strict=True) if t.rows["terrain"]]
            more = f" and {len(names) - 3} more" if len(names) > 3 else ""
            report.notes.append(
                f"{', '.join(names[:3])}{more}: none of its terrain lies within {EXTENSION:g} m of the city; not used"
            )
    return np.concatenate(found)


def _no_terrain(city: City, dropped: dict[str, int]) -> str:
    """Why nothing tells the ground's height although there are terrain triangles."""
    names = ", ".join(f.name for f, t in zip(city.files, city.tiles, strict=True) if t.rows["terrain"])
    reasons = ", ".join(f"{number} {reason}" for reason, number in dropped.items())
    return f"{names}: input has no usable terrain triangle ({reasons}), and nothing else tells the ground's height"


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
