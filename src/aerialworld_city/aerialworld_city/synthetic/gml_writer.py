"""Writing CityGML 2.0 in PLATEAU's form (i-UR 3.1): EPSG:6697, latitude longitude height, one module per file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from xml.sax.saxutils import escape, quoteattr

from aerialworld_city.features import Surface
from aerialworld_city.readers.citygml import GENERATED_MARK
from aerialworld_city.synthetic.shapes import Face
from aerialworld_core.frames import Array

#: Local metres (N, 3) → latitude, longitude, height (N, 3).
ToGeographic = Callable[[Array], Array]

_NAMESPACES = {
    "core": "http://www.opengis.net/citygml/2.0",
    "bldg": "http://www.opengis.net/citygml/building/2.0",
    "tran": "http://www.opengis.net/citygml/transportation/2.0",
    "dem": "http://www.opengis.net/citygml/relief/2.0",
    "gml": "http://www.opengis.net/gml",
    "xlink": "http://www.w3.org/1999/xlink",
    "uro": "https://www.geospatial.jp/iur/uro/3.1",
}
_SURFACE_TAGS = {Surface.ROOF: "RoofSurface", Surface.WALL: "WallSurface", Surface.GROUND: "GroundSurface"}


def document(members: Sequence[str], bounds: Array) -> str:
    """A CityModel; `bounds` (2, 3) latitude, longitude, height."""
    spaces = " ".join(f'xmlns:{k}="{v}"' for k, v in _NAMESPACES.items())
    low, high = (_position(corner) for corner in bounds)
    body = "\n".join(f"<core:cityObjectMember>\n{m}\n</core:cityObjectMember>" for m in members)
    return f"""<?xml version="1.0" encoding="UTF-8"?>
<core:CityModel {spaces}>
<gml:description>{escape(GENERATED_MARK)}</gml:description>
<gml:boundedBy>
<gml:Envelope srsName="http://www.opengis.net/def/crs/EPSG/0/6697" srsDimension="3">
<gml:lowerCorner>{low}</gml:lowerCorner>
<gml:upperCorner>{high}</gml:upperCorner>
</gml:Envelope>
</gml:boundedBy>
{body}
</core:CityModel>
"""


def _position(point: Array) -> str:
    return f"{point[0]:.10f} {point[1]:.10f} {point[2]:.3f}"


def _positions(ring: Array, to: ToGeographic) -> str:
    """The closed ring's posList."""
    points = to(ring)
    return " ".join(_position(p) for p in [*points, points[0]])


def polygon(rings: Sequence[Array], to: ToGeographic, identifier: str | None = None) -> str:
    """gml:Polygon of open rings in local metres."""
    name = f" gml:id={quoteattr(identifier)}" if identifier else ""
    parts = []
    for number, ring in enumerate(rings):
        side = "interior" if number else "exterior"
        text = _positions(ring, to)
        parts.append(f"<gml:{side}><gml:LinearRing><gml:posList>{text}</gml:posList></gml:LinearRing></gml:{side}>")
    return f"<gml:Polygon{name}>{''.join(parts)}</gml:Polygon>"


def surface(rings_list: Sequence[Sequence[Array]], to: ToGeographic) -> str:
    members = "\n".join(f"<gml:surfaceMember>{polygon(r, to)}</gml:surfaceMember>" for r in rings_list)
    return f"<gml:MultiSurface>\n{members}\n</gml:MultiSurface>"


def _solid(members: Sequence[str]) -> str:
    inner = "\n".join(members)
    return (
        f"<gml:Solid><gml:exterior><gml:CompositeSurface>\n{inner}\n</gml:CompositeSurface></gml:exterior></gml:Solid>"
    )


def lod1(faces: Sequence[Face], to: ToGeographic) -> str:
    """bldg:lod1Solid with its own polygons."""
    members = [f"<gml:surfaceMember>{polygon(rings, to)}</gml:surfaceMember>" for _, rings in faces]
    return f"<bldg:lod1Solid>{_solid(members)}</bldg:lod1Solid>"


def lod2(faces: Sequence[Face], to: ToGeographic, identifier: str) -> str:
    """bldg:lod2Solid of xlinks and the bldg:boundedBy surfaces that hold the polygons."""
    links, surfaces = [], []
    for number, (kind, rings) in enumerate(faces):
        name = f"poly_{identifier}_{number}"
        tag = _SURFACE_TAGS[kind]
        links.append(f'<gml:surfaceMember xlink:href="#{name}"/>')
        surfaces.append(
            f'<bldg:boundedBy><bldg:{tag} gml:id="srf_{identifier}_{number}"><bldg:lod2MultiSurface>'
            f"<gml:MultiSurface><gml:surfaceMember>{polygon(rings, to, name)}</gml:surfaceMember></gml:MultiSurface>"
            f"</bldg:lod2MultiSurface></bldg:{tag}></bldg:boundedBy>"
        )
    return f"<bldg:lod2Solid>{_solid(links)}</bldg:lod2Solid>\n" + "\n".join(surfaces)


def building(
    identifier: str, usage: str, height: float, storeys: int, footprint: str, geometry: str, parts: Sequence[str] = ()
) -> str:
    """bldg:Building; `footprint` is the lod0 MultiSurface, `geometry` lod1 and lod2, `parts` of bldg:BuildingPart."""
    consists = "\n".join(
        f'<bldg:consistsOfBuildingPart><bldg:BuildingPart gml:id="{identifier}_part{n}">\n{part}\n'
        "</bldg:BuildingPart></bldg:consistsOfBuildingPart>"
        for n, part in enumerate(parts, 1)
    )
    number = int(identifier.rsplit("_", 1)[1])
    return f"""<bldg:Building gml:id="{identifier}">
<core:creationDate>2024-03-22</core:creationDate>
<bldg:class codeSpace="../../codelists/Building_class.xml">3001</bldg:class>
<bldg:usage codeSpace="../../codelists/Building_usage.xml">{usage}</bldg:usage>
<bldg:measuredHeight uom="m">{height:.1f}</bldg:measuredHeight>
<bldg:storeysAboveGround>{storeys}</bldg:storeysAboveGround>
<bldg:lod0FootPrint>{footprint}</bldg:lod0FootPrint>
{geometry}
{consists}
<uro:buildingIDAttribute><uro:BuildingIDAttribute><uro:buildingID>99999-bldg-{number}</uro:buildingID>\
<uro:prefecture codeSpace="../../codelists/Common_localPublicAuthorities.xml">99</uro:prefecture>\
</uro:BuildingIDAttribute></uro:buildingIDAttribute>
</bldg:Building>"""


def road(
    identifier: str, lod1_rings: Sequence[Sequence[Array]], areas: Sequence[tuple[str, Array]], to: ToGeographic
) -> str:
    """tran:Road with a lod1MultiSurface and, where there are `areas` (TrafficArea_function code, ring), LOD2 parts."""
    parts = "\n".join(
        f'<tran:trafficArea><tran:TrafficArea gml:id="traf_{identifier}_{n}">'
        f'<tran:function codeSpace="../../codelists/TrafficArea_function.xml">{function}</tran:function>'
        f"<tran:lod2MultiSurface>{surface([[ring]], to)}</tran:lod2MultiSurface></tran:TrafficArea></tran:trafficArea>"
        for n, (function, ring) in enumerate(areas)
    )
    return f"""<tran:Road gml:id="{identifier}">
<tran:function codeSpace="../../codelists/Road_function.xml">4</tran:function>
{parts}
<tran:lod1MultiSurface>{surface(lod1_rings, to)}</tran:lod1MultiSurface>
</tran:Road>"""


def relief(triangles: Array, to: ToGeographic) -> str:
    """dem:ReliefFeature with a TIN; triangles (T, 3, 3) in local metres."""
    places = to(triangles.reshape(-1, 3)).reshape(-1, 3, 3)
    rows = "\n".join(
        "<gml:Triangle><gml:exterior><gml:LinearRing><gml:posList>"
        + " ".join(_position(p) for p in (*t, t[0]))
        + "</gml:posList></gml:LinearRing></gml:exterior></gml:Triangle>"
        for t in places
    )
    return f"""<dem:ReliefFeature gml:id="dem_1">
<dem:lod>1</dem:lod>
<dem:reliefComponent><dem:TINRelief gml:id="tin_1">
<dem:lod>1</dem:lod>
<dem:tin><gml:TriangulatedSurface><gml:trianglePatches>
{rows}
</gml:trianglePatches></gml:TriangulatedSurface></dem:tin>
</dem:TINRelief></dem:reliefComponent>
</dem:ReliefFeature>"""
