"""PLATEAU's codelists: what a code means, from the dictionary beside the data or from the standard's own list."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from urllib.parse import unquote

from aerialworld_core.errors import InputError
from aerialworld_core.safexml import MIB, parse

#: Building_usage.xml of PLATEAU's standard product specification; the same since 2020.
BUILDING_USAGE = {
    "401": "業務施設",
    "402": "商業施設",
    "403": "宿泊施設",
    "404": "商業系複合施設",
    "411": "住宅",
    "412": "共同住宅",
    "413": "店舗等併用住宅",
    "414": "店舗等併用共同住宅",
    "415": "作業所併用住宅",
    "421": "官公庁施設",
    "422": "文教厚生施設",
    "431": "運輸倉庫施設",
    "441": "工場",
    "451": "農林漁業用施設",
    "452": "供給処理施設",
    "453": "防衛施設",
    "454": "その他",
    "461": "不明",
}
_MAX_BYTES = 4 * MIB
_MAX_LABEL = 200


class Codelists:
    """The codelists that one file names; each is read once.

    `folder` is the file's, `root` the source's: a codeSpace that leaves it is not followed. `problems` collects, once
    for each list, why it could not be used (an absent list is no problem: extracts come without).
    """

    def __init__(self, folder: Path, root: Path) -> None:
        self.folder, self.root = folder, root
        self.problems: list[tuple[str, str]] = []
        self._lists: dict[str, dict[str, str]] = {}

    def label(self, code: str, space: str | None) -> str | None:
        """What a code of bldg:usage means; None where nobody says so."""
        found = self._list(space).get(code) if space else None
        if found is None and (not space or space.endswith("Building_usage.xml")):
            found = BUILDING_USAGE.get(code)
        return found

    def _list(self, space: str) -> dict[str, str]:
        if space not in self._lists:
            if len(self._lists) >= 64:
                return {}
            self._lists[space] = self._read(space)
        return self._lists[space]

    def _read(self, space: str) -> dict[str, str]:
        name = unquote(space.replace("\\", "/"))
        if "://" in name or name.startswith("/") or name[1:2] == ":" or "\x00" in name or len(name) > 1024:
            return {}
        try:
            path = (self.folder / name).resolve()
            inside = path.is_relative_to(self.root.resolve())
            if inside and not path.is_file():
                return {}
        except OSError as error:
            self.problems.append((space[:_MAX_LABEL], f"a codelist that cannot be opened: {error.strerror}"))
            return {}
        if not inside:
            # A single file of a data set has its codelists above the folder that was given: the standard list serves.
            return {}
        try:
            return _dictionary(path, path.stat().st_mtime_ns)
        except (InputError, OSError) as error:
            reason = str(error).replace(str(path), path.name)
            self.problems.append((space[:_MAX_LABEL], f"a codelist that cannot be read: {reason}"))
            return {}


@lru_cache(maxsize=64)
def _dictionary(path: Path, _changed: int) -> dict[str, str]:
    """Code → label of a gml:Dictionary. Raises InputError."""
    entries = {}
    for definition in parse(path, max_bytes=_MAX_BYTES, what="codelist").iter("{*}Definition"):
        texts = {child.tag.rpartition("}")[2]: (child.text or "").strip() for child in definition}
        if texts.get("name") and texts.get("description"):
            entries[texts["name"]] = texts["description"][:_MAX_LABEL]
    return entries
