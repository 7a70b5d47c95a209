"""What happened to a request, without secrets: the cause is looked for in the error, not supposed."""

from __future__ import annotations

import errno
import re
import ssl
from collections.abc import Iterator
from http.client import BadStatusLine, LineTooLong, UnknownProtocol
from urllib.parse import urlsplit

import requests
import urllib3

from pipeline.errors import ArchiveError
from pipeline.settings import settings

NETWORK_ERRORS = (requests.RequestException, urllib3.exceptions.HTTPError, OSError)
TRANSIENT_STATUS = frozenset({408, 425, 429, 500, 502, 503, 504})
REMEDIES = {
    401: "Sign in: the archive needs an account or a key (see `slidecube doctor`).",
    403: "The address was not signed, its token has expired, or the account lacks access; check the archive's key or "
    "login (see `slidecube doctor`).",
    404: "The file is gone or was renamed; search again by building without --catalogue.",
    407: "The proxy asks for a login: put its user name and password into HTTPS_PROXY.",
    410: "The file is gone; search again by building without --catalogue.",
    416: "The file is shorter than expected; it was replaced or cut. Plan again.",
    429: "The archive asks for fewer requests; wait some minutes, or lower SLIDECUBE_READ_CONCURRENCY.",
}


def without_secrets(text: str) -> str:
    """`text` without user names before hosts, and with dots for the query of every URL in it."""
    text = re.sub(r"(https?://|/vsicurl/)([^\s/@'\"<>]*@)", r"\1", text)
    # a query ends at a blank or a double quote: single quotes and brackets may stand in it
    text = re.sub(r"([a-z][a-z0-9+.-]*://[^\s?'\"<>)]*)\?[^\s\"<>]*", r"\1?...", text)
    # messages of urllib3 hold the path without the host
    return re.sub(r"(?<![\w/])(/[^\s?'\"<>)]*)\?[^\s\"<>]*", r"\1?...", text)


def bare(url: str) -> str:
    """`url` without query, fragment and credentials, which may be shown."""
    if "://" not in url:
        return url
    try:
        parts = urlsplit(url)
    except ValueError:  # its host cannot be read
        scheme, _, rest = re.split(r"[?#]", url, maxsplit=1)[0].partition("://")
        return f"{scheme}://{rest.rpartition('@')[2]}"
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


class LaterError(ArchiveError):
    """A refusal with the wait that the server requested."""

    wait_s: float | None = None


def changed(name: str) -> ArchiveError:
    """The error of a file that is no longer the one of the catalogue."""
    return ArchiveError(
        f"{name} changed since the catalogue was made.",
        "Plan again: build without --catalogue, once the last search is older than SLIDECUBE_SEARCH_INTERVAL_S.",
    )


def refused(url: str, status: int, *, wait_s: float | None = None, code: str | None = None) -> ArchiveError:
    """The error of a response with that HTTP status; `code` is the server's own word for it."""
    transient = status in TRANSIENT_STATUS
    said = f" ({code})" if code is not None and re.fullmatch("[A-Za-z]{1,60}", code) else ""
    remedy = REMEDIES.get(status, "Try again later." if transient else "See the archive's status page.")
    error = LaterError(f"{bare(url)} answered HTTP {status}{said}.", remedy, transient=transient)
    error.wait_s = wait_s
    return error


def host_of(url: str) -> str:
    """The host of an address; empty for a path, and where it cannot be read."""
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def unreachable(url: str, error: Exception) -> ArchiveError:
    """The error of a request without a response, or with a body that ended early."""
    host = host_of(url) or bare(url)
    problem, remedy, transient = _cause(error)
    return ArchiveError(f"{host} could not be reached: {problem}.", remedy, transient=transient)


_FEWER = "or lower SLIDECUBE_READ_CONCURRENCY."
_LIMITS = {
    errno.EMFILE: ("too many files are open", f"Raise the limit (`ulimit -n`), {_FEWER}"),
    errno.ENFILE: ("too many files are open on this machine", f"Close other programs, {_FEWER}"),
    errno.ENOMEM: ("there is no memory left for it", f"Raise the limit (`ulimit -v`), {_FEWER}"),
    errno.ENOBUFS: ("there is no memory left for it", f"Close other programs, {_FEWER}"),
    errno.EAGAIN: ("no further thread may start", f"Raise the limit (`ulimit -u`), {_FEWER}"),
    errno.EACCES: ("this machine does not allow the connection", "Check its firewall or sandbox."),
    errno.EPERM: ("this machine does not allow the connection", "Check its firewall or sandbox."),
}
"""What this machine refuses, by error number; the archive has no part in it."""
_NO_ADDRESS = (
    requests.exceptions.InvalidURL,
    requests.exceptions.InvalidSchema,
    requests.exceptions.MissingSchema,
    urllib3.exceptions.LocationParseError,
    UnicodeError,
)
_AGAIN = "Check the connection and HTTPS_PROXY, or try again later."


def _cause(error: Exception) -> tuple[str, str, bool]:
    """(what happened, remedy, whether a later request may succeed)."""
    chain = list(_chain(error))
    for one in chain:
        if isinstance(one, MemoryError):
            return *_LIMITS[errno.ENOMEM], False
        # the number of an error of TLS is none of the system's
        if isinstance(one, OSError) and not isinstance(one, ssl.SSLError) and one.errno in _LIMITS:
            return *_LIMITS[one.errno], False
    text = without_secrets(" ".join(str(one) for one in chain))
    if isinstance(error, _NO_ADDRESS):
        return "its address cannot be requested", "Give an address that begins with https://.", False
    if "CA certificate bundle" in text or any(isinstance(one, FileNotFoundError) for one in chain):
        return "the file of certificates does not exist", "Check REQUESTS_CA_BUNDLE and SSL_CERT_FILE.", False
    if "Tunnel connection failed" in text or isinstance(error, requests.exceptions.ProxyError):
        found = re.search(r"Tunnel connection failed: ([^'\")]+)", text)
        return f"the proxy refused ({found.group(1).strip()})" if found else "the proxy refused", _AGAIN, True
    if isinstance(error, requests.Timeout) or any(isinstance(one, TimeoutError) for one in chain):
        return f"no response within {settings().timeout_s:g} s", _AGAIN, True
    if any(type(one) in (BadStatusLine, UnknownProtocol) for one in chain):
        return "what answers there does not speak HTTP", "Check the address and its port.", False
    if any(isinstance(one, LineTooLong) for one in chain) or "more than 100 headers" in text:
        return "its answer has headers without an end", "Report it.", False
    if isinstance(error, requests.exceptions.SSLError):
        if "WRONG_VERSION_NUMBER" in text.upper() or "RECORD LAYER" in text.upper():
            return (
                "what answers there does not speak TLS",
                "Check the address, its port, and HTTPS_PROXY.",
                False,
            )
        if "CERTIFICATE" in text.upper():
            return "its certificate was not accepted", "Check REQUESTS_CA_BUNDLE and SSL_CERT_FILE.", False
        return "the encrypted connection was broken off", _AGAIN, True
    if isinstance(error, requests.exceptions.ContentDecodingError | urllib3.exceptions.DecodeError):
        return "its answer is not compressed as it states", "Report it.", False
    if "NameResolutionError" in text or "getaddrinfo" in text:
        return "its name is not known", _AGAIN, True
    if any(isinstance(one, ConnectionRefusedError) for one in chain) or "refused" in text.lower():
        return "the connection was refused", _AGAIN, True
    if isinstance(error, requests.exceptions.ChunkedEncodingError | urllib3.exceptions.ProtocolError):
        return "the connection ended early", _AGAIN, True
    return type(error).__name__, _AGAIN, True


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error and those that led to it, each once: as cause, context, reason or argument."""
    waiting: list[object] = [error]
    seen: set[int] = set()
    while waiting:
        one = waiting.pop()
        if not isinstance(one, BaseException) or id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        waiting += [one.__cause__, one.__context__, getattr(one, "reason", None), *one.args]


def redirected_without_end(url: str, hops: int) -> ArchiveError:
    """The error of an address that leads in a circle."""
    return ArchiveError(
        f"{bare(url)} redirects more than {hops} times.", "The archive leads in a circle: report it there."
    )
