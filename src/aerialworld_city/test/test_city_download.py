"""Downloads against a server that misbehaves in every way that was thought of: what arrives is whole, or an error."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from aerialworld_city.sources import catalogue
from aerialworld_city.sources import download as downloads
from aerialworld_city.sources.download import Patience, download
from aerialworld_city.sources.http import DownloadError, check_url
from aerialworld_core.errors import InputError
from aerialworld_core.files import StorageError


def make_zip(seed: int = 0, size: int = 300_000) -> bytes:
    """A zip that does not compress, so that its length is known roughly."""
    stream = io.BytesIO()
    noise = hashlib.shake_256(bytes([seed])).digest(size)
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr(zipfile.ZipInfo("udx/bldg/a.gml", (2022, 1, 1, 0, 0, 0)), noise)
    return stream.getvalue()


FILE = make_zip()
SHA = hashlib.sha256(FILE).hexdigest()


class Server:
    """A local server whose answers a test gives as a list of functions, one per request; the last one stays."""

    def __init__(self) -> None:
        self.answers: list[Callable[[Any], None]] = []
        self.requests: list[dict[str, str]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                outer.requests.append({"path": self.path, **dict(self.headers)})
                number = min(len(outer.requests), len(outer.answers)) - 1
                self.close_connection = True
                try:
                    outer.answers[number](self)
                except (BrokenPipeError, ConnectionResetError):
                    pass

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    yield made
    made.server.shutdown()
    made.server.server_close()


def head(handler: Any, status: int, headers: dict[str, Any]) -> None:
    handler.send_response(status)
    for name, value in headers.items():
        handler.send_header(name, str(value))
    handler.end_headers()


def good(
    data: bytes = FILE, etag: str | None = '"v1"', cut: int | None = None, ranges: bool = True, **more: str
) -> Callable[[Any], None]:
    """An honest answer with ranges and If-Range; `cut` closes the connection after so many bytes of the body."""

    def answer(handler: Any) -> None:
        headers: dict[str, Any] = {k.replace("_", "-"): v for k, v in more.items()}
        if etag:
            headers["ETag"] = etag
        wanted = handler.headers.get("Range")
        fits = handler.headers.get("If-Range") in (None, etag)
        start = 0
        if ranges and wanted and fits:
            start = int(wanted.removeprefix("bytes=").rstrip("-"))
            if start >= len(data):
                head(handler, 416, {"Content-Range": f"bytes */{len(data)}", "Content-Length": 0})
                return
            headers["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
        body = data[start:]
        head(handler, 206 if start else 200, {"Content-Length": len(body), **headers})
        handler.wfile.write(body if cut is None else body[:cut])

    return answer


def status(code: int, **headers: str) -> Callable[[Any], None]:
    return lambda handler: head(
        handler, code, {"Content-Length": 0, **{k.replace("_", "-"): v for k, v in headers.items()}}
    )


def quick(tries: int = 4, timeout: float = 5.0) -> tuple[Patience, list[float]]:
    pauses: list[float] = []
    return Patience(timeout=timeout, tries=tries, pause=1.0, sleep=pauses.append), pauses


def fetch(server: Server, folder: Path, name: str = "city.zip", **options: Any) -> Path:
    options.setdefault("patience", quick()[0])
    return download(f"{server.url}/{name}", folder / name, **options)


def left(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


def test_a_file_arrives_whole_with_its_checksum_beside_it(server, tmp_path):
    server.answers = [good()]
    told = []
    path = fetch(server, tmp_path / "new" / "folder", size=len(FILE), sha256=SHA, progress=lambda *a: told.append(a))
    assert path.read_bytes() == FILE
    assert left(path.parent) == ["city.zip", "city.zip.sha256"]
    assert (path.parent / "city.zip.sha256").read_text() == f"{SHA}  city.zip\n"
    counts = [done for done, total, what in told if not what]
    assert counts == sorted(counts) and counts[-1] == len(FILE) and all(t[1] in (len(FILE), None) for t in told)


def test_a_second_call_fetches_nothing_and_checks_what_is_there(server, tmp_path):
    server.answers = [good()]
    fetch(server, tmp_path)
    fetch(server, tmp_path)
    assert len(server.requests) == 1
    (tmp_path / "city.zip").write_bytes(FILE[:-1] + b"x")
    with pytest.raises(DownloadError, match="not the file that is asked for"):
        fetch(server, tmp_path)


@pytest.mark.parametrize("cuts", [[100_000], [1, 1, 1], [0, 150_000, 149_999], [299_000, 10]])
def test_a_connection_that_breaks_off_is_resumed_by_range(server, tmp_path, cuts):
    server.answers = [*(good(cut=c) for c in cuts), good()]
    assert fetch(server, tmp_path, sha256=SHA).read_bytes() == FILE
    ranges = [r.get("Range") for r in server.requests]
    at, expected = 0, []
    for cut in [*cuts, None]:
        expected.append(f"bytes={at}-" if at else None)
        at += cut or 0
    assert ranges == expected
    assert all(r["If-Range"] == '"v1"' for r in server.requests if "Range" in r)
    assert server.requests[0]["Accept-Encoding"] == "identity"


def test_a_later_call_goes_on_where_an_earlier_one_stopped(server, tmp_path):
    server.answers = [good(cut=200_000), status(503)]
    with pytest.raises(DownloadError, match="200,000 bytes are kept"):
        fetch(server, tmp_path)
    assert left(tmp_path) == ["city.zip.part", "city.zip.part.json"]
    server.requests.clear()
    server.answers = [good()]
    assert fetch(server, tmp_path, sha256=SHA).read_bytes() == FILE
    assert [r.get("Range") for r in server.requests] == ["bytes=200000-"]


def test_interruption_keeps_what_came(server, tmp_path):
    server.answers = [good()]

    def stop(done: int, total: int | None, what: str) -> None:
        if done > 100_000:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch(server, tmp_path, progress=stop)
    assert (tmp_path / "city.zip.part").stat().st_size > 100_000
    assert fetch(server, tmp_path, sha256=SHA).read_bytes() == FILE
    assert "Range" in server.requests[-1]


def test_5xx_and_429_are_tried_again_with_growing_pauses(server, tmp_path):
    server.answers = [status(500), status(502), status(429, Retry_After="7"), good()]
    patience, pauses = quick(tries=5)
    assert fetch(server, tmp_path, patience=patience).read_bytes() == FILE
    assert pauses == [1.0, 2.0, 7.0]


def test_a_server_that_stays_down_ends_in_an_error(server, tmp_path):
    server.answers = [status(503)]
    with pytest.raises(DownloadError, match=r"503.*tried 4 times"):
        fetch(server, tmp_path)
    assert len(server.requests) == 4


@pytest.mark.parametrize("code", [400, 401, 403, 404, 410])
def test_other_refusals_are_final(server, tmp_path, code):
    server.answers = [status(code)]
    with pytest.raises(DownloadError, match=str(code)):
        fetch(server, tmp_path)
    assert len(server.requests) == 1


def test_a_server_that_knows_no_ranges_gives_the_whole_again(server, tmp_path):
    server.answers = [good(cut=100_000), good(ranges=False)]
    assert fetch(server, tmp_path, sha256=SHA).read_bytes() == FILE


def test_a_file_that_changed_meanwhile_is_begun_again(server, tmp_path):
    """If-Range: another entity tag gives 200 with the new file; nothing of the old one stays."""
    new = make_zip(1)
    server.answers = [good(cut=100_000), good(new, etag='"v2"')]
    assert fetch(server, tmp_path).read_bytes() == new


def test_a_server_that_ignores_if_range_is_seen_through(server, tmp_path):
    """206 with another entity tag or length must not be joined to the old bytes."""
    new = make_zip(1)

    def wrong(handler: Any) -> None:
        start = int(handler.headers["Range"].removeprefix("bytes=").rstrip("-"))
        head(handler, 206, {
            "Content-Length": len(new) - start, "ETag": '"v2"',
            "Content-Range": f"bytes {start}-{len(new) - 1}/{len(new)}",
        })  # fmt: skip
        handler.wfile.write(new[start:])

    server.answers = [good(cut=100_000), wrong, good(new, etag='"v2"')]
    assert fetch(server, tmp_path).read_bytes() == new
    assert "Range" not in server.requests[-1]


@pytest.mark.parametrize("value", ["bytes 0-9/10", "bytes 50000-", "nonsense", None])
def test_a_wrong_content_range_is_not_believed(server, tmp_path, value):
    def wrong(handler: Any) -> None:
        head(handler, 206, {"Content-Length": 10, "ETag": '"v1"'} | ({"Content-Range": value} if value else {}))
        handler.wfile.write(b"0123456789")

    server.answers = [good(cut=100_000), wrong, good()]
    assert fetch(server, tmp_path, sha256=SHA).read_bytes() == FILE


def test_without_a_strong_tag_nothing_is_joined(server, tmp_path):
    for number, etag in enumerate(['W/"v1"', None]):
        folder = tmp_path / str(number)
        server.requests.clear()
        server.answers = [good(cut=100_000, etag=etag), good(etag=etag)]
        assert fetch(server, folder, sha256=SHA).read_bytes() == FILE
        assert all("Range" not in r for r in server.requests)


def test_a_range_beyond_the_end_begins_again(server, tmp_path):
    """The part on disk is as long as the old file; the new one is shorter."""
    server.answers = [good(cut=250_000), status(503)]
    with pytest.raises(DownloadError):
        fetch(server, tmp_path)
    small = make_zip(2, 1000)
    server.requests.clear()
    server.answers = [status(416), good(small, etag='"v3"')]
    assert fetch(server, tmp_path).read_bytes() == small


def test_silence_is_a_broken_connection(server, tmp_path):
    def slow(handler: Any) -> None:
        head(handler, 200, {"Content-Length": len(FILE), "ETag": '"v1"'})
        handler.wfile.write(FILE[:1000])
        handler.wfile.flush()
        time.sleep(1.0)

    server.answers = [slow, good()]
    assert fetch(server, tmp_path, sha256=SHA, patience=quick(timeout=0.3)[0]).read_bytes() == FILE
    assert server.requests[-1]["Range"] == "bytes=1000-"


def test_a_server_that_sends_nothing_at_all(server, tmp_path):
    server.answers = [lambda handler: handler.connection.close(), lambda handler: handler.wfile.write(b"junk\r\n\r\n")]
    with pytest.raises(DownloadError, match="tried"):
        fetch(server, tmp_path)


@pytest.mark.parametrize("size", [len(FILE) + 1, 10, 3 * 1024**4])
def test_a_length_that_is_not_the_catalogues_is_refused_before_a_byte(server, tmp_path, size):
    server.answers = [good()]
    with pytest.raises(DownloadError, match="the catalogue says"):
        fetch(server, tmp_path, size=size)
    assert (tmp_path / "city.zip.part").stat().st_size == 0


def test_more_bytes_than_expected_without_a_length(server, tmp_path):
    def endless(handler: Any) -> None:
        head(handler, 200, {"Connection": "close"})
        for _ in range(10_000):
            handler.wfile.write(FILE)

    server.answers = [endless]
    with pytest.raises(DownloadError, match="more than the"):
        fetch(server, tmp_path, size=len(FILE))
    assert (tmp_path / "city.zip.part").stat().st_size == 0


def test_no_length_is_well_if_the_bytes_are(server, tmp_path):
    def plain(handler: Any) -> None:
        head(handler, 200, {"Connection": "close"})
        handler.wfile.write(FILE)

    server.answers = [plain]
    assert fetch(server, tmp_path, size=len(FILE)).read_bytes() == FILE


def test_no_length_and_cut_is_found_by_the_zip_itself(server, tmp_path):
    def plain(handler: Any) -> None:
        head(handler, 200, {"Connection": "close"})
        handler.wfile.write(FILE[:-500])

    server.answers = [plain]
    with pytest.raises(DownloadError, match="no whole zip"):
        fetch(server, tmp_path)
    assert not (tmp_path / "city.zip").exists() and (tmp_path / "city.zip.part").stat().st_size == 0


def test_a_chunked_answer_that_breaks_off(server, tmp_path):
    def chunked(whole: bool) -> Callable[[Any], None]:
        def answer(handler: Any) -> None:
            head(handler, 200, {"Transfer-Encoding": "chunked"})
            handler.wfile.write(f"{len(FILE):x}\r\n".encode() + FILE + b"\r\n" if whole else b"ffff\r\nabc")
            handler.wfile.write(b"0\r\n\r\n" if whole else b"")

        return answer

    server.answers = [chunked(False), chunked(True)]
    assert fetch(server, tmp_path, sha256=SHA).read_bytes() == FILE


def test_wrong_bytes_are_dropped(server, tmp_path):
    wrong = make_zip(5)
    server.answers = [good(wrong)]
    with pytest.raises(DownloadError, match="the catalogue says " + SHA[:8]):
        fetch(server, tmp_path, sha256=SHA)
    md5 = base64.b64encode(hashlib.md5(FILE, usedforsecurity=False).digest()).decode()
    for header in ({"Content_MD5": md5}, {"x_goog_hash": f"crc32c=AAAAAA==,md5={md5}"}):
        server.answers = [good(wrong, **header)]
        with pytest.raises(DownloadError, match="checksum that the server states"):
            fetch(server, tmp_path)
        server.answers = [good(FILE, **header)]
        assert fetch(server, tmp_path, name=f"{next(iter(header))}.zip").exists()
    assert not (tmp_path / "city.zip").exists()


def test_a_flipped_bit_in_a_zip_is_found(server, tmp_path):
    bad = bytearray(FILE)
    bad[len(bad) // 2] ^= 1
    server.answers = [good(bytes(bad))]
    with pytest.raises(DownloadError, match="no whole zip"):
        fetch(server, tmp_path, size=len(FILE))


@pytest.mark.parametrize("body", [b"", b"<html>not found</html>"])
def test_a_page_instead_of_a_zip(server, tmp_path, body):
    server.answers = [good(body, Content_Type="text/html")]
    with pytest.raises(DownloadError, match=r"empty|no whole zip"):
        fetch(server, tmp_path)
    assert not (tmp_path / "city.zip").exists()


def test_a_packed_answer_is_refused(server, tmp_path):
    server.answers = [good(Content_Encoding="gzip")]
    with pytest.raises(DownloadError, match="packs the answer"):
        fetch(server, tmp_path)


@pytest.mark.parametrize(
    "place",
    [
        "http://localhost:1/x.zip",
        "http://example.com/x.zip",
        "file:///etc/passwd",
        "ftp://example.com/x",
        "http://[::1]:9/",
    ],
)
def test_redirects_lead_only_to_https_or_the_given_host(server, tmp_path, place):
    server.answers = [status(302, Location=place)]
    with pytest.raises(DownloadError, match=r"not followed|only https|not an address|302"):
        fetch(server, tmp_path)
    assert len(server.requests) == 1 and not (tmp_path / "city.zip").exists()


def test_a_redirect_on_the_same_host_is_followed_with_its_range(server, tmp_path):
    server.answers = [good(cut=100_000), status(302, Location="/elsewhere.zip"), good()]
    assert fetch(server, tmp_path, sha256=SHA).read_bytes() == FILE
    assert server.requests[-1]["path"] == "/elsewhere.zip" and server.requests[-1]["Range"] == "bytes=100000-"


def test_redirects_in_a_circle_end(server, tmp_path):
    server.answers = [status(302, Location="/city.zip")]
    with pytest.raises(DownloadError):
        fetch(server, tmp_path)
    assert len(server.requests) <= 12


def test_no_room_is_said_before_a_byte_is_written(server, tmp_path, monkeypatch):
    server.answers = [good()]
    real = os.statvfs(tmp_path)

    class Full:
        f_bavail, f_frsize = 10, real.f_frsize

    monkeypatch.setattr(downloads.os, "statvfs", lambda _: Full)
    with pytest.raises(StorageError, match="free"):
        fetch(server, tmp_path)
    assert (tmp_path / "city.zip.part").stat().st_size == 0


def test_two_downloads_of_one_file_do_not_mix(server, tmp_path):
    started, go_on = threading.Event(), threading.Event()

    def waiting(handler: Any) -> None:
        head(handler, 200, {"Content-Length": len(FILE), "ETag": '"v1"'})
        handler.wfile.write(FILE[:1000])
        handler.wfile.flush()
        started.set()
        go_on.wait(5)
        handler.wfile.write(FILE[1000:])

    server.answers = [waiting, good()]
    first = threading.Thread(target=lambda: fetch(server, tmp_path, sha256=SHA))
    first.start()
    assert started.wait(5)
    with pytest.raises(DownloadError, match="another download"):
        fetch(server, tmp_path)
    go_on.set()
    first.join(5)
    assert (tmp_path / "city.zip").read_bytes() == FILE


@pytest.mark.parametrize("text", ["{", "[]", '{"url": 3, "etag": "x", "total": 5}', '{"etag": null}'])
def test_a_torn_note_beside_the_part_begins_again(server, tmp_path, text):
    (tmp_path / "city.zip.part").write_bytes(b"rubbish")
    (tmp_path / "city.zip.part.json").write_text(text)
    server.answers = [good()]
    assert fetch(server, tmp_path, sha256=SHA).read_bytes() == FILE
    assert "Range" not in server.requests[0]


def test_a_link_in_the_parts_place_is_not_written_through(server, tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("mine")
    (tmp_path / "city.zip.part").symlink_to(victim)
    server.answers = [good()]
    with pytest.raises(StorageError):
        fetch(server, tmp_path)
    assert victim.read_text() == "mine"


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com/a",
        "file:///etc/passwd",
        "https://user:pw@example.com/",
        "https://",
        "ftp://x/y",
        "x",
        "https://a b/",
    ],
)
def test_addresses_that_are_never_fetched(url):
    with pytest.raises(DownloadError):
        check_url(url)
    with pytest.raises(DownloadError):
        check_url(url, given="http://127.0.0.1:8000/catalogue")


# -- the catalogue ------------------------------------------------------------------------------------------------


def entry(**change: Any) -> dict[str, Any]:
    """As the catalogue API gives them."""
    return {
        "id": "13100_2022_citygml", "pref": "東京都", "pref_code": "13", "city": "東京都23区", "city_code": "13100",
        "url": "https://assets.cms.plateau.reearth.io/assets/1/13100_tokyo23-ku_2022_citygml_1_3_op.zip",
        "file_size": 1_000_000, "composite_url": None, "feature_types": ["bldg", "dem"], "year": 2022,
        "registration_year": 2023, "spec": "2.3", **change,
    }  # fmt: skip


ENTRIES = [
    entry(),
    entry(year=2020, url="https://x.example/13100_2020.zip"),
    entry(city_code="27100", city="大阪市", pref="大阪府", url="https://x.example/osaka?file=a/../../b"),
    entry(
        city_code="271004", city="大阪市", pref="大阪府", year=2024, url="https://x.example/27100_o_2024_citygml.zip"
    ),
    entry(city_code="13101", city="千代田区", year=2023, file_size=None),
]
BROKEN = [
    None, 3, {}, entry(url="http://example.com/a.zip"), entry(url="file:///etc/passwd"), entry(year="2022"),
    entry(city_code="../x"), entry(url=None), entry(year=3000),
]  # fmt: skip


def served(server: Server, content: Any) -> str:
    raw = content if isinstance(content, bytes) else json.dumps(content).encode()
    server.answers = [good(raw)]
    return f"{server.url}/datacatalog/plateau-datasets"


def test_the_catalogue_is_read_and_searched(server):
    sets = catalogue.read_catalogue(served(server, {"datasets": [], "citygml": ENTRIES + BROKEN}))
    assert [(s.code, s.year) for s in sets] == [
        ("13100", 2020), ("13100", 2022), ("13101", 2023), ("27100", 2022), ("27100", 2024),
    ]  # fmt: skip
    assert [s.year for s in catalogue.search(sets, "大阪")] == [2022, 2024]
    assert [s.code for s in catalogue.search(sets, "13", 2022)] == ["13100"]
    best = catalogue.choose(sets, "13100")
    assert (best.year, best.size, best.file_name) == (2022, 1_000_000, "13100_tokyo23-ku_2022_citygml_1_3_op.zip")
    assert catalogue.choose(sets, "大阪市", 2022).file_name == "27100_2022_citygml.zip"
    assert catalogue.choose(sets, "千代田区").size is None
    with pytest.raises(InputError, match="there is 2020, 2022"):
        catalogue.choose(sets, "13100", 2021)
    with pytest.raises(InputError, match="13100 東京都23区, 13101 千代田区"):
        catalogue.choose(sets, "東京")
    with pytest.raises(InputError, match="--list"):
        catalogue.choose(sets, "パリ")


@pytest.mark.parametrize("content", [b"", b"<html>", b"[]", {"datasets": []}, {"citygml": BROKEN}, b"[" * 100_000])
def test_what_is_no_catalogue_is_refused(server, content):
    with pytest.raises(DownloadError):
        catalogue.read_catalogue(served(server, content), sleep=lambda _: None)


def test_the_catalogue_too_is_asked_again(server):
    raw = json.dumps({"citygml": ENTRIES}).encode()
    pauses: list[float] = []
    server.answers = [status(503), good(raw, cut=50), good(raw)]
    assert len(catalogue.read_catalogue(server.url + "/x", sleep=pauses.append)) == 5
    assert pauses == [1.0, 2.0]
