"""Fetching a large file so that what arrives is whole: resumed, counted, checked, and named only then.

While it comes the file is `{name}.part`, with `{name}.part.json` beside it (address, entity tag, length), so that a
later call goes on where this one stopped (RFC 9110: Range with If-Range, strong entity tags only). It takes its name
once its length, every checksum that is known (the catalogue's, the server's MD5 as object stores send it) and, for a
zip, the CRC of every member fit; `{name}.sha256` beside it is in the form of sha256sum.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import http.client
import os
import re
import time
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aerialworld_city.sources.http import DownloadError, PassingError, open_url
from aerialworld_city.sources.part import BLOCK, Part, Progress, beside, open_part
from aerialworld_core.files import StorageError, sync_directory, write_bytes

MAX_BYTES = 2 * 1024**4
_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)", re.ASCII)


@dataclass(frozen=True)
class Patience:
    """How long to try: `timeout` seconds without a byte, `tries` failures in a row without progress, first `pause`
    between them (doubled each time, at most 60 s)."""

    timeout: float = 30.0
    tries: int = 6
    pause: float = 1.0
    sleep: Callable[[float], None] = time.sleep


def download(
    url: str,
    target: Path,
    *,
    size: int | None = None,
    sha256: str | None = None,
    given: str | None = None,
    progress: Progress | None = None,
    patience: Patience | None = None,
) -> Path:
    """Fetch `url` to `target` (a new file in an existing or new folder) and return it.

    `size` (bytes) and `sha256` (hex) are what the catalogue says; `given` the address that the user chose (see
    `http.check_url`). A target that is there and fits its `.sha256` is kept as it is. Raises DownloadError (what came
    stays in `{name}.part`, unless it is known to be wrong), StorageError (no room, not writable).
    """
    tell = progress or (lambda done, total, what: None)
    patience = patience or Patience()
    target = Path(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.exists():
        _check_existing(target, size, sha256, tell)
        return target
    with open_part(target, url, tell) as part:
        _receive(part, target, size, given or url, tell, patience)
        _verify(part, target, size, sha256, tell)
        digest = part.sha256.hexdigest()
        os.fsync(part.handle.fileno())
        write_bytes(beside(target, ".sha256"), f"{digest}  {target.name}\n".encode())
        os.replace(beside(target, ".part"), target)
        sync_directory(target.parent)
        part.state_path.unlink(missing_ok=True)
    return target


def _check_existing(target: Path, size: int | None, sha256: str | None, tell: Progress) -> None:
    note = beside(target, ".sha256")
    known = sha256
    if known is None and note.is_file():
        known = note.read_text("utf-8", "replace").split(" ")[0].strip().lower()
    if known is None:
        raise DownloadError(
            f"{target}: is there already, without a checksum beside it; delete or rename it to fetch it"
        )
    length = target.stat().st_size
    with open(target, "rb") as handle:
        digest = hashlib.sha256()
        done = 0
        while block := handle.read(BLOCK):
            digest.update(block)
            done += len(block)
            tell(done, length, "checking what is there")
    if digest.hexdigest() != known or (size is not None and length != size):
        raise DownloadError(
            f"{target}: is there already and is not the file that is asked for ({length:,} bytes, sha256 "
            f"{digest.hexdigest()[:12]}…); delete it to fetch it again"
        )


# -- receiving ----------------------------------------------------------------------------------------------------


def _receive(part: Part, target: Path, size: int | None, given: str, tell: Progress, patience: Patience) -> None:
    """Until all bytes are there. Failures that pass are tried again as long as there is progress between them."""
    failures = 0
    while True:
        before = part.count
        try:
            if _once(part, target, size, given, tell, patience.timeout):
                return
            error = PassingError(f"{part.url}: what came before was of another version; begun again")
        except PassingError as passing:
            error = passing
        failures = 1 if part.count > before else failures + 1
        if failures >= patience.tries:
            raise DownloadError(
                f"{error} (tried {failures} times; {part.count:,} bytes are kept; run it again to go on)"
            )
        pause = max(min(patience.pause * 2.0 ** (failures - 1), 60.0), error.wait)
        tell(part.count, part.total, f"waiting {pause:.0f} s: {error}")
        patience.sleep(pause)


def _once(part: Part, target: Path, size: int | None, given: str, tell: Progress, timeout: float) -> bool:
    """One request. True when the file is complete, False when what came before had to be dropped."""
    if part.total is not None and part.count == part.total and part.count:
        return True
    headers = {}
    if part.count and part.etag:
        headers = {"Range": f"bytes={part.count}-", "If-Range": part.etag}
    elif part.count:
        part.restart()
    with open_url(part.url, given=given, headers=headers, timeout=timeout) as response:
        if not _begin(part, response, bool(headers)):
            return False
        _expect(part, target, size)
        part.handle.seek(part.count)
        while True:
            try:
                block = response.read1(BLOCK) if hasattr(response, "read1") else response.read(BLOCK)
            except (http.client.HTTPException, OSError) as error:
                raise PassingError(f"{part.url}: broke off after {part.count:,} bytes: {error}") from error
            if not block:
                break
            limit = part.total if part.total is not None else size if size is not None else MAX_BYTES
            if part.count + len(block) > limit:
                part.restart()
                raise DownloadError(f"{part.url}: sends more than the {limit:,} bytes that are expected; dropped")
            try:
                part.handle.write(block)
            except OSError as error:
                raise StorageError(f"{target}: cannot be written: {error.strerror}; the part is kept") from error
            part.take(block)
            tell(part.count, part.total, "")
        part.handle.flush()
    if part.total is not None and part.count < part.total:
        raise PassingError(f"{part.url}: broke off after {part.count:,} of {part.total:,} bytes")
    part.total = part.count if part.total is None else part.total
    return True


def _begin(part: Part, response: Any, asked: bool) -> bool:
    """Judge the answer's head; False where the part had to be dropped."""
    status, headers = response.status if hasattr(response, "status") else response.code, response.headers
    encoding = (headers.get("Content-Encoding") or "identity").lower()
    if encoding != "identity":
        raise DownloadError(f"{part.url}: the server packs the answer ({encoding[:20]}), which was not asked for")
    etag = headers.get("ETag")
    strong = etag if etag and not etag.startswith("W/") else None
    if status == 416 or (status == 206 and not asked):
        if not part.count:
            raise DownloadError(f"{part.url}: the server refuses the range of bytes ({status})")
        part.restart()
        return False
    if status == 206:
        match = _RANGE.fullmatch((headers.get("Content-Range") or "").strip())
        fits = match and int(match[1]) == part.count and match[3] in ("*", str(part.total))
        if not fits or int(match[2]) + 1 != part.total or (etag is not None and strong != part.etag):  # type: ignore[index]
            part.restart()
            return False
        return True
    if status != 200:
        raise DownloadError(f"{part.url}: the server answers {status}")
    if part.count:
        part.restart()  # the whole file comes anew: it changed, or the server knows no ranges
    length = headers.get("Content-Length")
    part.total = int(length) if length is not None and length.strip().isdigit() else None
    part.etag, part.md5 = strong, _stated_md5(headers)
    part.remember()
    return True


def _stated_md5(headers: Any) -> bytes | None:
    """The MD5 that object stores state (Content-MD5, x-goog-hash); it tells damage, not malice."""
    stated = [headers.get("Content-MD5")]
    for line in headers.get_all("x-goog-hash") or []:
        stated += [item.strip()[4:] for item in line.split(",") if item.strip().startswith("md5=")]
    for text in stated:
        try:
            value = base64.b64decode(text or "", validate=True)
        except (binascii.Error, ValueError):
            continue
        if len(value) == 16:
            return value
    return None


def _expect(part: Part, target: Path, size: int | None) -> None:
    """Before the first byte: the length is the catalogue's, and there is room for it."""
    if part.total is not None and size is not None and part.total != size:
        total = part.total
        part.restart()
        raise DownloadError(
            f"{part.url}: the server offers {total:,} bytes, the catalogue says {size:,}; one of them is out of date"
        )
    expected = part.total if part.total is not None else size
    if expected is None:
        return
    if expected > MAX_BYTES:
        raise DownloadError(f"{part.url}: {expected:,} bytes are more than any data set has")
    status = os.statvfs(target.parent)
    free = status.f_bavail * status.f_frsize
    if expected - part.count > free * 0.95:
        raise StorageError(
            f"{target}: needs {expected - part.count:,} more bytes, {free:,} are free in {target.parent}; free room or "
            "choose another --out"
        )


# -- checking -----------------------------------------------------------------------------------------------------


def _verify(part: Part, target: Path, size: int | None, sha256: str | None, tell: Progress) -> None:
    """Length, checksums, and every member of a zip. What does not fit is dropped."""
    problem = ""
    if part.count == 0:
        problem = "is empty"
    elif size is not None and part.count != size:
        problem = f"has {part.count:,} bytes, the catalogue says {size:,}"
    elif sha256 is not None and part.sha256.hexdigest() != sha256.lower():
        problem = f"has sha256 {part.sha256.hexdigest()}, the catalogue says {sha256.lower()}"
    elif part.md5 is not None and part.own_md5.digest() != part.md5:
        problem = "does not fit the checksum that the server states"
    elif target.suffix.lower() == ".zip":
        problem = _zip_problem(part, tell)
    if problem:
        part.restart()
        raise DownloadError(f"{part.url}: what came {problem}; it was dropped, fetch it again")


def _zip_problem(part: Part, tell: Progress) -> str:
    """Read every member, so that its CRC is checked; nothing is unpacked."""
    part.handle.flush()
    done = 0
    try:
        with zipfile.ZipFile(part.handle) as archive:
            for info in archive.infolist():
                done += info.compress_size
                tell(min(done, part.count), part.count, "checking the zip")
                with archive.open(info) as member:
                    while member.read(BLOCK):
                        pass
    except (zipfile.BadZipFile, zlib.error, EOFError, ValueError) as error:
        return f"is no whole zip ({error})"
    except (NotImplementedError, RuntimeError) as error:
        return f"is a zip that cannot be read here ({error})"
    return ""
