"""The official catalogue of PLATEAU data sets, as far as a download needs it.

The data catalogue API of PLATEAU VIEW lists every municipality's CityGML, one zip with all modules per city and year:
`GET /datacatalog/plateau-datasets`, member `citygml`, whose entries have id, pref, pref_code, city, city_code, url,
file_size, feature_types, year, registration_year, spec (source: the server's code, Project-PLATEAU/PLATEAU-VIEW, and
its tutorial of the CityGML API). It is in trial operation and may change; every field is checked here. It was chosen
over the CKAN of the G-spatial Information Center (geospatial.jp), which holds the same zips: CKAN names them by free
text only, and refuses programs from many networks. It states no checksums.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

from aerialworld_city.sources.http import DownloadError, PassingError, check_url, read_limited
from aerialworld_core.errors import InputError
from aerialworld_core.files import parse_json

OFFICIAL = "https://api.plateauview.mlit.go.jp/datacatalog/plateau-datasets"
_MAX_BYTES = 64 * 1024 * 1024
_SAFE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,150}\.zip", re.ASCII)
_TRIES = 4


@dataclass(frozen=True)
class DataSet:
    """One municipality's CityGML of one year: `code` five digits, `size` in bytes and `sha256` where the catalogue
    states them, `file_name` for the disk."""

    code: str
    city: str
    prefecture: str
    year: int
    spec: str
    modules: tuple[str, ...]
    url: str
    size: int | None
    sha256: str | None

    @property
    def file_name(self) -> str:
        name = PurePosixPath(unquote(urlsplit(self.url).path)).name
        return name if _SAFE_NAME.fullmatch(name) else f"{self.code}_{self.year}_citygml.zip"


def read_catalogue(
    url: str = OFFICIAL, *, timeout: float = 60.0, sleep: Callable[[float], None] = time.sleep
) -> list[DataSet]:
    """All CityGML data sets, by code and year. Raises DownloadError (no answer, not a catalogue)."""
    for attempt in range(1, _TRIES + 1):
        try:
            raw = read_limited(url, _MAX_BYTES, timeout=timeout)
            break
        except PassingError as error:
            if attempt == _TRIES:
                raise DownloadError(
                    f"{error} (tried {_TRIES} times); try later, or name a mirror with --catalogue"
                ) from error
            sleep(max(error.wait, 2.0 ** (attempt - 1)))
    try:
        data = parse_json(raw)
    except ValueError as error:
        raise DownloadError(f"{url}: the answer is no JSON: {str(error)[:200]}") from error
    entries = data.get("citygml") if isinstance(data, dict) else None
    if not isinstance(entries, list):
        raise DownloadError(f"{url}: the answer is no catalogue of PLATEAU data sets (it has no list 'citygml')")
    sets = [s for s in (_data_set(entry, url) for entry in entries) if s is not None]
    if entries and not sets:
        raise DownloadError(f"{url}: none of the catalogue's {len(entries)} entries has the fields that are known")
    return sorted(sets, key=lambda s: (s.code, s.year, s.url))


def _data_set(entry: Any, given: str) -> DataSet | None:
    """None for an entry without a usable place, year or address."""
    if not isinstance(entry, dict):
        return None
    code, year, url = str(entry.get("city_code") or ""), entry.get("year"), entry.get("url")
    if not re.fullmatch(r"\d{5,6}", code, re.ASCII) or not isinstance(url, str):
        return None
    if not isinstance(year, int) or not 2019 <= year <= 2100:
        return None
    try:
        check_url(url, given=given)
    except DownloadError:
        return None
    size, digest = entry.get("file_size"), entry.get("sha256")
    modules = entry.get("feature_types")
    return DataSet(
        code[:5],
        str(entry.get("city") or "")[:80],
        str(entry.get("pref") or "")[:80],
        year,
        str(entry.get("spec") or "")[:20],
        tuple(str(m)[:10] for m in modules[:40]) if isinstance(modules, list) else (),
        url,
        size if isinstance(size, int) and not isinstance(size, bool) and size > 0 else None,
        digest.lower() if isinstance(digest, str) and re.fullmatch(r"[0-9a-fA-F]{64}", digest) else None,
    )


def search(sets: Sequence[DataSet], city: str | None = None, year: int | None = None) -> list[DataSet]:
    """Those of a city (five-digit code, two-digit prefecture code, or part of the name) and year."""
    found = list(sets)
    if city:
        if city.isdigit():
            found = [s for s in found if s.code.startswith(city[:5])]
        else:
            exact = [s for s in found if city in (s.city, s.prefecture)]
            found = exact or [s for s in found if city in s.city or city in s.prefecture]
    return [s for s in found if year is None or s.year == year]


def choose(sets: Sequence[DataSet], city: str, year: int | None = None) -> DataSet:
    """The one data set of a city and year (None: its newest). Raises InputError with what there is instead."""
    found = search(sets, city, year)
    if not found:
        other = search(sets, city)
        have = ", ".join(sorted({str(s.year) for s in other}))
        hint = f"there is {have} of it" if other else "list what there is with --list"
        raise InputError(f"--city {city}{f' --year {year}' if year else ''}: no such data set; {hint}")
    codes = sorted({s.code for s in found})
    if len(codes) > 1:
        some = ", ".join(f"{s.code} {s.city}" for s in {s.code: s for s in found}.values())
        raise InputError(f"--city {city}: {len(codes)} municipalities fit; give one code: {some[:600]}")
    return max(found, key=lambda s: (s.year, s.url))
