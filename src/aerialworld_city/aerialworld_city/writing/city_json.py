"""city.json: what a world is, where it lies, and which buildings it holds."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from aerialworld_city.city import City
from aerialworld_city.features import Feature
from aerialworld_city.geodesy import LocalFrame
from aerialworld_city.geometry.ground import ROAD_OFFSET
from aerialworld_city.geometry.terrain import EXTENSION, Terrain
from aerialworld_city.options import ConversionOptions
from aerialworld_city.report import ConversionReport
from aerialworld_city.sources.credit import credit

#: What the report calls terrain triangles that lie too far from the city to be taken.
OUTSIDE_TERRAIN = "terrain triangles: outside the city"


@dataclass(frozen=True, eq=False)
class Body:
    """A feature as it stands in the world: its `model` (None where nothing of it has an area), the height of its foot
    before it was stretched to the ground and of its highest point, and its box (lowest, highest corner), map metres."""

    feature: Feature
    model: str | None
    base: float
    top: float
    box: Sequence[float]


def document_bytes(document: dict[str, Any]) -> bytes:
    """The document as a readable file: a line per building, which also is many times faster to write than one per
    number."""
    head = {key: value for key, value in document.items() if key != "buildings"}
    text = json.dumps(head, indent=1, ensure_ascii=False, allow_nan=False).removesuffix("\n}")
    encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False).encode
    lines = ",".join(f"\n  {encode(building)}" for building in document["buildings"])
    return f'{text},\n "buildings": [{lines}\n ]\n}}\n'.encode()


def city_json(
    report: ConversionReport,
    city: City,
    frame: LocalFrame,
    terrain: Terrain,
    bodies: Sequence[Body],
    options: ConversionOptions,
) -> dict[str, Any]:
    """The whole document."""
    objects: dict[str, int] = {}
    for feature in city.features:
        objects[feature.kind] = objects.get(feature.kind, 0) + 1
    latitude, longitude = frame.georeference.latitude, frame.georeference.longitude
    return {
        "schema_version": 1,
        "name": report.world,
        "attribution": options.attribution or credit(city.files, [tile.generated for tile in city.tiles]),
        "georeference": frame.georeference.to_dict(),
        "crs": {
            "epsg": frame.projection.epsg,
            "name": frame.projection.name,
            "origin_east": frame.east,
            "origin_north": frame.north,
            "map": "x = east - origin_east, y = north - origin_north (grid north of the zone), "
            "z = height - georeference height; metres",
            "convergence_deg": round(frame.projection.convergence(latitude, longitude), 9),
            "convergence": "angle of map's y axis clockwise of true north at the origin",
            "scale": round(frame.projection.scale(latitude, longitude), 9),
            "heights": "orthometric, above T.P. (mean sea level of Tokyo Bay), also the SDF elevation; add the geoid's "
            "height (about 37 m in Tokyo) for heights above the ellipsoid",
        },
        "bounds": report.bounds,
        "terrain": {
            "kind": terrain.kind,
            "form": options.terrain,
            "triangles": len(terrain.triangles),
            "source_triangles": _source_triangles(report, city, options),
            "extension": EXTENSION,
            "road_offset": ROAD_OFFSET,
        },
        "objects": dict(sorted(objects.items())),
        "sources": city.sources,
        "buildings": [_building(b) for b in bodies if b.feature.kind == "building"],
    }


def _source_triangles(report: ConversionReport, city: City, options: ConversionOptions) -> int:
    """The sources' own terrain triangles around the city, before any was split, joined or left out."""
    if "dem" not in options.modules:
        return 0
    return sum(tile.rows["terrain"] for tile in city.tiles) - report.changed.get(OUTSIDE_TERRAIN, 0)


def _building(body: Body) -> dict[str, Any]:
    feature = body.feature
    return {
        "id": feature.id,
        "source": feature.source,
        "usage": feature.usage,
        "usage_label": feature.usage_label,
        "lod": feature.lod,
        "measured_height": feature.measured_height,
        "height": round(body.top - body.base, 3),
        "volume": round(feature.volume, 2),
        "closed": feature.closed,
        "bbox": [round(float(v), 3) for v in body.box],
        "model": body.model,
    }
