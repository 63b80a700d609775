"""HTTP as a careful client speaks it: https only, no proxied surprises, errors in words.

Only the standard library: what a download needs beyond it (ranges, retries, checks) is in `download`.
"""

from __future__ import annotations

import http.client
import ipaddress
import urllib.error
import urllib.parse
import urllib.request
from typing import Any

from aerialworld_core.errors import AerialWorldError

#: Failures that pass: the connection, and these statuses.
PASSING_STATUS = frozenset({408, 425, 429, 500, 502, 503, 504})
MAX_REDIRECTS = 5
USER_AGENT = "aerialworld (city download)"


class DownloadError(AerialWorldError):
    """A file or catalogue that could not be had; what was received so far is kept for the next try."""

    exit_code = 1


class PassingError(DownloadError):
    """A failure that may be gone in a moment; `wait` seconds were asked for by the server."""

    def __init__(self, message: str, wait: float = 0.0) -> None:
        super().__init__(message)
        self.wait = wait


def check_url(url: str, *, given: str | None = None) -> str:
    """`url`, if it is one that may be fetched: https, or http on this machine where the user gave such an address
    (`given`) and the host and port are the same. Raises DownloadError."""
    try:
        parts = urllib.parse.urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise DownloadError(f"{url[:200]!r} is not an address: {error}") from error
    if not host or parts.username or parts.password or any(ord(c) <= 32 or ord(c) == 127 for c in url):
        raise DownloadError(f"{url[:200]!r} is not an address that can be fetched")
    if parts.scheme == "https":
        return url
    if parts.scheme == "http" and given is not None:
        base = urllib.parse.urlsplit(given)
        if base.scheme == "http" and _loopback(host) and (base.hostname, base.port) == (host, port):
            return url
    raise DownloadError(f"{url[:200]}: only https is fetched (plain http only from this machine, for tests)")


def _loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows only to addresses that may be fetched."""

    max_redirections = MAX_REDIRECTS

    def __init__(self, given: str) -> None:
        self.given = given

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        try:
            check_url(newurl, given=self.given)
        except DownloadError as error:
            raise DownloadError(f"{req.full_url}: redirects to an address that is not followed: {error}") from None
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def open_url(
    url: str, *, given: str | None = None, headers: dict[str, str] | None = None, timeout: float = 30.0
) -> Any:
    """The open response (a context manager) of a GET. `given` is the address that the user chose.

    Raises PassingError for what may pass (no connection, time-outs, 5xx and 429) and DownloadError for the rest.
    """
    given = given or url
    check_url(url, given=given)
    opener = urllib.request.OpenerDirector()
    # No handler for files, ftp and data: a redirect cannot reach them.
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.UnknownHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        _Redirects(given),
        urllib.request.HTTPErrorProcessor(),
    ):
        opener.add_handler(handler)
    request = urllib.request.Request(  # noqa: S310  (checked above)
        url, headers={"User-Agent": USER_AGENT, "Accept-Encoding": "identity", **(headers or {})}
    )
    try:
        return opener.open(request, timeout=timeout)
    except urllib.error.HTTPError as error:
        if error.code == 416:
            return error
        with error:
            message = f"{url}: the server answers {error.code} {error.reason}"
            if error.code in PASSING_STATUS:
                raise PassingError(message, _retry_after(error.headers)) from None
            raise DownloadError(message) from None
    except DownloadError:
        raise
    except (http.client.HTTPException, OSError, ValueError) as error:
        reason = getattr(error, "reason", None) or error
        raise PassingError(f"{url}: no answer: {reason}") from error


def _retry_after(headers: Any) -> float:
    try:
        return min(max(float(headers.get("Retry-After", "0")), 0.0), 120.0)
    except (TypeError, ValueError):
        return 0.0


def read_limited(url: str, limit: int, *, given: str | None = None, timeout: float = 30.0) -> bytes:
    """A small answer's bytes. Raises as `open_url`, and DownloadError beyond `limit` bytes or where it is cut."""
    with open_url(url, given=given, timeout=timeout) as response:
        try:
            data = response.read(limit + 1)
        except (http.client.HTTPException, OSError) as error:
            raise PassingError(f"{url}: the answer broke off: {error}") from error
        length = response.headers.get("Content-Length")
    if len(data) > limit:
        raise DownloadError(f"{url}: the answer is larger than {limit / 1e6:g} MB")
    if length is not None and length.isdigit() and len(data) != int(length):
        raise PassingError(f"{url}: the answer broke off after {len(data)} of {length} bytes")
    return bytes(data)
