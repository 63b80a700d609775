"""Mesh codes of JIS X 0410: the grid squares by which PLATEAU names its files.

4 digits are a first mesh (40′ × 1°, about 80 km), 6 a second (5′ × 7.5′, 10 km), 8 a third (30″ × 45″, 1 km), 9 a half
(500 m) and 10 a quarter (250 m) of a third one.
"""

from __future__ import annotations

import re

from aerialworld_core.errors import InputError

#: (west, south, east, north) in degrees.
Box = tuple[float, float, float, float]

_FORM = re.compile(r"\d{4}(?:[0-7]{2}(?:\d{2}[1-4]{0,2})?)?", re.ASCII)
#: The first meshes that hold a piece of Japan lie within these: latitude 20-46° N, longitude 122-155° E.
_FIRST_LATITUDES, _FIRST_LONGITUDES = range(30, 69), range(22, 55)
_IN_NAME = re.compile(r"(\d{4,10})(?:_|$)", re.ASCII)


def bounds(code: str) -> Box:
    """West, south, east, north of a mesh, degrees. Raises InputError for text that is no mesh code of Japan."""
    if not _FORM.fullmatch(code) or int(code[:2]) not in _FIRST_LATITUDES or int(code[2:4]) not in _FIRST_LONGITUDES:
        raise InputError(
            f"{code!r} is not a mesh code of JIS X 0410; give 4, 6, 8, 9 or 10 digits, for example 53394525"
        )
    # Whole numbers of the smallest unit (a quarter mesh: 7.5″ of latitude, 11.25″ of longitude), so that neighbouring
    # meshes share their edge to the bit.
    south, west = int(code[:2]) * 320, int(code[2:4]) * 320
    height = width = 320
    if len(code) >= 6:
        height = width = 40
        south, west = south + int(code[4]) * 40, west + int(code[5]) * 40
    if len(code) >= 8:
        height = width = 4
        south, west = south + int(code[6]) * 4, west + int(code[7]) * 4
    for digit in code[8:]:
        height, width = height // 2, width // 2
        south, west = south + (int(digit) - 1) // 2 * height, west + (int(digit) - 1) % 2 * width
    return (100 + west / 320, south / 480, 100 + (west + width) / 320, (south + height) / 480)


def in_name(stem: str) -> str | None:
    """The mesh code with which a file's name begins (`53394525_bldg_6697_op`), None where it begins otherwise."""
    match = _IN_NAME.match(stem)
    if match is None:
        return None
    try:
        bounds(match[1])
    except InputError:
        return None
    return match[1]


def same_ground(one: str, other: str) -> bool:
    """Whether two meshes share ground: they are equal, or one lies in the other."""
    shorter = min(len(one), len(other))
    return one[:shorter] == other[:shorter]
