"""Files of an archive with all that they refer to."""

from __future__ import annotations

import mmap
import os
import re
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import unquote
from xml.sax.saxutils import unescape

from aerialworld_city.options import ConversionOptions
from aerialworld_city.sources.archive import Archive
from aerialworld_city.sources.files import IMAGE_SUFFIXES
from aerialworld_city.sources.look import Found, hidden

_MAX_CODELIST_BYTES = 16 * 1024 * 1024
_IMAGE_URI = re.compile(rb"imageURI>\s*([^<]{1,1000}?)\s*<")


def unpack_alone(one: Found, name: str, folder: Path) -> Path:
    """One chosen file below `folder`, with the codelists that it may use."""
    archive = one.archive
    assert archive is not None
    names = [n for n in _codelists(archive) if archive.members[n].size <= _MAX_CODELIST_BYTES]
    return archive.unpack([name, *(n for n in names if not archive.expands_too_far(n))], folder)[name]


def unpack(one: Found, folder: Path, options: ConversionOptions) -> dict[str, Path]:
    """Unpack the chosen files, then what they refer to: images and codelists, materials and buffers."""
    archive = one.archive
    assert archive is not None
    paths = archive.unpack([c.name for c in one.chosen], folder)
    wanted = dict.fromkeys(_codelists(archive))
    beside = _companions(archive, [c.name for c in one.chosen if c.says.format != "citygml"])
    wanted.update(dict.fromkeys(beside))
    if options.textures:
        for candidate in one.chosen:
            if candidate.says.format == "citygml":
                wanted.update(dict.fromkeys(_images(archive, candidate.name, paths[candidate.name])))
    take = []
    for name in wanted:
        member = archive.members[name]
        too_large = name.lower().endswith(".xml") and member.size > _MAX_CODELIST_BYTES
        if too_large or archive.expands_too_far(name):
            one.notes.append(f"{name} (expands too far; not unpacked)")
        elif name not in paths:
            take.append(name)
    paths.update(archive.unpack(take, folder))
    return paths


def _codelists(archive: Archive) -> list[str]:
    return [n for n in archive.members if n.lower().endswith(".xml") and "codelists" in n.split("/")[:-1]]


def _companions(archive: Archive, names: Sequence[str]) -> list[str]:
    """Materials, buffers and images in the folders of mesh files and below."""
    folders = {n.rpartition("/")[0] for n in names}
    suffixes = (".mtl", ".bin", *IMAGE_SUFFIXES)
    result = []
    for member in archive.members if folders else ():
        if member.lower().endswith(suffixes) and not hidden(member):
            at = member
            while at:
                at = at.rpartition("/")[0]
                if at in folders:
                    result.append(member)
                    break
    return result


def _images(archive: Archive, name: str, path: Path) -> list[str]:
    """The images that a CityGML file names and the archive holds. Only names are looked for here; what the file means
    by them is the reader's matter."""
    folder = name.rpartition("/")[0]
    found: dict[str, None] = {}
    with open(path, "rb") as handle:
        if os.fstat(handle.fileno()).st_size == 0:
            return []
        with mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ) as content:
            uris = {match[1] for match in _IMAGE_URI.finditer(content)}
    for raw in sorted(uris):
        text = unescape(raw.decode("utf-8", "replace")).replace("\\", "/")
        for uri in (text, unquote(text)):
            member = os.path.normpath(f"{folder}/{uri}" if folder else uri)
            if member in archive.members and member.lower().endswith(IMAGE_SUFFIXES):
                found[member] = None
    return list(found)
