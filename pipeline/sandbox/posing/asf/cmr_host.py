"""NASA's Common Metadata Repository: the part of its granule search that asf-search and similar clients use."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterable
from urllib.parse import parse_qsl

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from pipeline.sandbox.posing.asf.cmr_query import MOST_ON_A_PAGE, BadQueryError, Entry, Query, plain
from pipeline.sandbox.posing.asf.umm import COLLECTIONS, PROVIDER, Item, with_wrong_md5, without_state_vectors
from pipeline.sandbox.posing.faults import Fault

_GRANULES = "application/vnd.nasa.cmr.umm_results+json;version=1.6.6; charset=utf-8"
_COLLECTIONS = "application/vnd.nasa.cmr.umm_results+json;version=1.18.4; charset=utf-8"


class CmrApi:
    """The search API over a list of items; `most` is the largest page."""

    def __init__(self, items: Iterable[Item], most: int = MOST_ON_A_PAGE) -> None:
        self._entries = [Entry.of(item) for item in items]
        self._most = most

    async def answer(self, request: Request, fault: Fault | None, login: str | None) -> Response:
        """Route a request; `login` is the refusal of an invalid token, if any."""
        if login is not None:
            return _errors(401, login)
        pairs = parse_qsl(request.url.query, keep_blank_values=True)
        if request.method == "POST":
            pairs += parse_qsl((await request.body()).decode("utf-8", "replace"), keep_blank_values=True)
        elif request.method not in {"GET", "HEAD"}:
            return _errors(405, "Method not allowed")
        try:
            match request.url.path.rstrip("/"):
                case "/search/granules.umm_json" | "/search/granules.umm_json_v1_6_6":
                    return self._search(pairs, request.headers.get("cmr-search-after"), fault)
                case "/search/collections" | "/search/collections.umm_json":
                    return self._collections(pairs)
                case "/search/health":
                    return JSONResponse({"echo": {"ok?": True}, "metadata-db": {"ok?": True}})
        except BadQueryError as error:
            return _errors(400, str(error))
        return _errors(404, "The requested path is not simulated.")

    def _search(self, pairs: list[tuple[str, str]], after: str | None, fault: Fault | None) -> Response:
        began = time.monotonic()
        plan = Query(pairs)
        found = [entry for entry in self._entries if all(test(entry) for test in plan.tests)]
        for name, downwards in reversed(plan.sort):
            found.sort(key=lambda entry: entry.key(name), reverse=downwards)
        if fault is not None and fault.action == "duplicate":
            found += found[:1]
        size = min(plan.page_size, self._most)
        begin = plan.begin if after is None else _position(after, len(found))
        page = found[begin : begin + size]
        items = [_altered(entry.item, fault) for entry in page]
        if fault is not None and fault.action == "incomplete":
            items = items[:-1]
        headers = {
            "content-type": _GRANULES,
            "cmr-hits": str(len(found)),
            "cmr-took": str(round((time.monotonic() - began) * 1000)),
            "cmr-request-id": str(uuid.uuid4()),
        }
        if page:
            last = page[-1]
            state = [round(last.end.timestamp() * 1000), last.key("granule_ur"), begin + len(page)]
            headers["cmr-search-after"] = json.dumps(state, separators=(",", ":"))
        took = int(headers["cmr-took"])
        return JSONResponse({"hits": len(found), "took": took, "items": items}, headers=headers)

    def _collections(self, pairs: list[tuple[str, str]]) -> Response:
        names = {value for key, value in pairs if plain(key) in {"shortname", "short_name"}}
        ids = {
            value for key, value in pairs if plain(key) in {"concept-id", "concept_id", "echo_collection_id"}
        }
        items = []
        for name, concept in sorted(COLLECTIONS.items()):
            if (names and name not in names) or (ids and concept not in ids):
                continue
            entries = [e for e in self._entries if e.item["umm"]["CollectionReference"]["ShortName"] == name]
            attributes = sorted({attribute for entry in entries for attribute in entry.attributes})
            items.append(
                {
                    "meta": {
                        "concept-type": "collection",
                        "concept-id": concept,
                        "native-id": name,
                        "provider-id": PROVIDER,
                    },
                    "umm": {
                        "ShortName": name,
                        "Version": "1",
                        "AdditionalAttributes": [
                            {"Name": attribute, "DataType": "STRING", "Description": attribute}
                            for attribute in attributes
                        ],
                    },
                }
            )
        headers = {"content-type": _COLLECTIONS, "cmr-hits": str(len(items))}
        return JSONResponse({"hits": len(items), "took": 1, "items": items}, headers=headers)


def _position(after: str, count: int) -> int:
    try:
        position = json.loads(after)[-1]
    except (ValueError, TypeError, IndexError, KeyError):
        position = None
    if not isinstance(position, int) or isinstance(position, bool) or not 0 <= position <= count:
        raise BadQueryError("The search failed with error: The CMR-Search-After header is malformed.")
    return position


def _altered(item: Item, fault: Fault | None) -> Item:
    match fault.action if fault is not None else None:
        case "no_state_vectors":
            return without_state_vectors(item)
        case "wrong_md5":
            return with_wrong_md5(item)
    return item


def _errors(status: int, *messages: str) -> Response:
    headers = {"cmr-request-id": str(uuid.uuid4())}
    return JSONResponse({"errors": list(messages)}, status, headers=headers)
