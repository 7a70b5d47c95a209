"""ASF's public service of orbit files: the best file of a scene, and the bucket of all files.

Protocol of the PyPI package `s1-orbits` 0.2.0 and of the bucket's own page in the Registry of Open Data.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from xml.sax.saxutils import escape

from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response

from pipeline.catalogue.identities import platform_name
from pipeline.sandbox.posing.asf.holdings import Holdings
from pipeline.sandbox.posing.faults import Fault
from pipeline.sandbox.posing.file_answers import s3_error, send_file
from pipeline.sandbox.slc.slc_index import OrbitEntry

ORBIT_HOST = "s1-orbits.asf.alaska.edu"
ORBIT_BUCKETS = ("s1-orbits.s3.us-west-2.amazonaws.com", "s1-orbits.s3.amazonaws.com")

_SCENE = re.compile(
    r"S1([A-D])_\w\w_\w{4}_\d[AS]\w\w_(\d{8}T\d{6})_(\d{8}T\d{6})_\d{6}_[0-9A-F]{6}_[0-9A-F]{4}", re.ASCII
)
_S3 = "http://s3.amazonaws.com/doc/2006-03-01/"


class OrbitService:
    """Serves the orbit files of worlds."""

    def __init__(self, holdings: Holdings) -> None:
        self._holdings = holdings

    async def scene(self, request: Request, fault: Fault | None) -> Response:
        """`GET /scene/<scene>`: a redirect to its orbit file; 400 for an invalid scene name, 404 without a file."""
        start, _, scene = request.url.path.strip("/").partition("/")
        if start != "scene" or request.method not in {"GET", "HEAD"}:
            return JSONResponse({"message": "Not Found"}, 404)
        try:
            found = self._best(scene)
        except ValueError:
            return JSONResponse({"message": f"{scene[:100]} is not a valid Sentinel-1 scene name"}, 400)
        if found is None:
            return JSONResponse({"message": f"No orbit file found for {scene}"}, 404)
        return RedirectResponse(f"https://{ORBIT_BUCKETS[0]}/{found.key}", 302)

    def _best(self, scene: str) -> OrbitEntry | None:
        """The precise file that covers a scene, else the restituted one; of several the newest.

        Raises:
            ValueError: the name is not that of a scene.
        """
        named = _SCENE.fullmatch(scene)
        if named is None:
            raise ValueError(scene)
        start, end = (
            datetime.strptime(text, "%Y%m%dT%H%M%S").replace(tzinfo=UTC) for text in named.groups()[1:]
        )
        covering = [
            orbit
            for orbit in self._holdings.orbits
            if orbit.platform == platform_name(scene[:3]) and orbit.start <= start and end <= orbit.end
        ]
        return max(covering, key=lambda orbit: (orbit.kind == "precise", orbit.name), default=None)

    async def bucket(self, request: Request, fault: Fault | None) -> Response:
        """Serve a file by its key, or the list of keys."""
        if request.method not in {"GET", "HEAD"}:
            return s3_error(
                405, "MethodNotAllowed", "The specified method is not allowed against this resource."
            )
        key = request.url.path.lstrip("/")
        if not key:
            return self._listing(request)
        file = self._holdings.orbit_files.get(key)
        if file is None:
            return s3_error(404, "NoSuchKey", "The specified key does not exist.")
        return send_file(request, file)

    def _listing(self, request: Request) -> Response:
        """The keys of the bucket, at most `max-keys` in a response, in both versions of the protocol."""
        asked = request.query_params
        second = asked.get("list-type") == "2"
        prefix = asked.get("prefix", "")
        begin = (
            asked.get("continuation-token", asked.get("start-after", ""))
            if second
            else asked.get("marker", "")
        )
        try:
            most = max(0, min(1000, int(asked.get("max-keys", "1000"))))
        except ValueError:
            return s3_error(
                400, "InvalidArgument", "Provided max-keys not an integer or within integer range"
            )
        keys = sorted(key for key in self._holdings.orbit_files if key.startswith(prefix) and key > begin)
        page = keys[:most]
        more = len(keys) > len(page)
        token = page[-1] if page else ""
        tag = "NextContinuationToken" if second else "NextMarker"
        following = f"<{tag}>{escape(token)}</{tag}>" if more else ""
        contents = "".join(
            f"<Contents><Key>{escape(key)}</Key><Size>{self._holdings.orbit_files[key].stat().st_size}</Size></Contents>"
            for key in page
        )
        body = (
            f'<?xml version="1.0" encoding="UTF-8"?>\n<ListBucketResult xmlns="{_S3}"><Name>s1-orbits</Name>'
            f"<Prefix>{escape(prefix)}</Prefix><MaxKeys>{most}</MaxKeys><IsTruncated>{str(more).lower()}</IsTruncated>"
            f"{following}{contents}</ListBucketResult>"
        )
        return Response(body, media_type="application/xml")
