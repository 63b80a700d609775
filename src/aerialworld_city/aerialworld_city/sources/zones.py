"""The official plane zone of a place: by prefecture, as the law has it.

Source: the plane rectangular coordinate system, Ministry of Land, Infrastructure, Transport and Tourism notification
no. 9 of 2002 (平面直角座標系, 平成14年国土交通省告示第9号). Prefectures and municipalities by their JIS X 0401 and 0402
codes.
"""

from __future__ import annotations

from aerialworld_city.geodesy import PLANE_ZONES, find_zone, zone_holds

#: Zone number by prefecture; those of _SPLIT are taken by `_split`.
_PREFECTURES = {
    1: (42,),
    2: (40, 41, 43, 44, 45),
    3: (32, 34, 35),
    4: (36, 37, 38, 39),
    5: (28, 31, 33),
    6: (18, 24, 25, 26, 27, 29, 30),
    7: (16, 17, 21, 23),
    8: (15, 19, 20, 22),
    9: (7, 8, 9, 10, 11, 12, 14),
    10: (2, 3, 4, 5, 6),
}
_ZONE = {prefecture: zone for zone, prefectures in _PREFECTURES.items() for prefecture in prefectures}

#: Hokkaido: zone XI Otaru, Hakodate, Date, Hokuto, Shiribeshi, three towns of Iburi, Oshima, Hiyama; zone XIII Kitami,
#: Obihiro, Kushiro, Abashiri, Nemuro, nine towns of Okhotsk, Tokachi, Kushiro, Nemuro; the rest is of zone XII.
_ZONE_11 = {1202, 1203, 1233, 1236, 1571, 1575, 1584, *range(1331, 1348), *range(1361, 1372), *range(1391, 1410)}
_ZONE_13 = {
    1206, 1207, 1208, 1211, 1223, 1543, 1544, 1545, 1546, 1547, 1549, 1550, 1552, 1564,
    *range(1631, 1650), *range(1661, 1669), *range(1691, 1701),
}  # fmt: skip


def official_zone(municipality: str, latitude: float | None = None, longitude: float | None = None) -> int | None:
    """EPSG code (JGD2011) of the zone of a municipality's five-digit code; a place tells the islands of Tokyo,
    Okinawa and Kagoshima apart. None for a code of no prefecture."""
    prefecture = int(municipality[:2])
    zone = _ZONE.get(prefecture) or _split(prefecture, int(municipality), latitude, longitude)
    return PLANE_ZONES[zone - 1] if zone else None


def _split(prefecture: int, code: int, latitude: float | None, longitude: float | None) -> int | None:
    known = latitude is not None and longitude is not None
    north, east = (latitude, longitude) if latitude is not None and longitude is not None else (0.0, 0.0)
    if prefecture == 1:
        if code % 1000 == 0 and known:  # all of Hokkaido
            return find_zone(north, east) - PLANE_ZONES[0] + 1
        return 11 if code in _ZONE_11 else 13 if code in _ZONE_13 else 12
    if prefecture == 13:
        if not known or north >= 28.0:
            return 9
        return 18 if east < 140.5 else 14 if east < 143.0 else 19
    if prefecture == 46:
        # Islands between 27° and 32° N and 128°18′ and 130° E; the Amami islands reach to 130°13′.
        islands = known and 27.0 <= north <= 32.0 and 128.3 <= east <= (130.0 + 13 / 60 if north < 29.0 else 130.0)
        return 1 if islands else 2
    if prefecture == 47:
        if not known:
            return 15
        return 16 if east < 126.0 else 15 if east < 130.0 else 17
    return None


def zone_of_place(municipality: str | None, latitude: float, longitude: float) -> int:
    """EPSG code of the zone for a place, by the municipality where it can be true there, else by the place alone.

    Raises InputError outside Japan.
    """
    if municipality is not None:
        code = official_zone(municipality, latitude, longitude)
        if code is not None and zone_holds(code, latitude, longitude):
            return code
    return find_zone(latitude, longitude)
