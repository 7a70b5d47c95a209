"""The STAC API of the Planetary Computer over the items of one or more worlds."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from shapely import Geometry
from shapely.errors import ShapelyError
from shapely.geometry import box, shape
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from pipeline.catalogue.item_fields import ITEM_PROPERTY, any_simulated
from pipeline.sandbox.earth.stac_items import STAC_ROOT

_PREFIX = "/api/stac/v1"
_CONFORMS = [
    "https://api.stacspec.org/v1.0.0/core",
    "https://api.stacspec.org/v1.0.0/collections",
    "https://api.stacspec.org/v1.0.0/ogcapi-features",
    "https://api.stacspec.org/v1.0.0/item-search",
    "https://api.stacspec.org/v1.0.0/item-search#query",
    "https://api.stacspec.org/v1.0.0/item-search#sort",
    "http://www.opengis.net/spec/ogcapi-features-1/1.0/conf/core",
    "http://www.opengis.net/spec/ogcapi-features-1/1.0/conf/oas30",
    "http://www.opengis.net/spec/ogcapi-features-1/1.0/conf/geojson",
]
_TITLES = {
    "sentinel-1-rtc": "Sentinel 1 Radiometrically Terrain Corrected (RTC)",
    "nasadem": "NASADEM HGT v001",
    "cop-dem-glo-30": "Copernicus DEM GLO-30",
}
_KNOWN = {"bbox", "intersects", "datetime", "collections", "ids", "limit", "token", "query", "sortby"}
_COMPARE: dict[str, Callable[[Any, Any], Any]] = {
    "eq": lambda a, b: a == b,
    "neq": lambda a, b: a != b,
    "lt": lambda a, b: a < b,
    "lte": lambda a, b: a <= b,
    "gt": lambda a, b: a > b,
    "gte": lambda a, b: a >= b,
    "in": lambda a, b: a in b,
}


class BadRequestError(ValueError):
    """The request is invalid; the message gives the reason."""


class StacApi:
    """The API over a list of items in the archive's order, with at most `page_size` on a page."""

    def __init__(self, items: tuple[dict[str, Any], ...], page_size: int = 250) -> None:
        self._items = [(item, shape(item["geometry"]), _period(item)) for item in items]
        self._page_size = page_size
        self._collections: dict[str, list[dict[str, Any]]] = {}
        for item in items:
            self._collections.setdefault(item["collection"], []).append(item)

    async def answer(self, request: Request) -> Response:
        """Route a request below /api/stac/v1."""
        parts = [part for part in request.url.path.removeprefix(_PREFIX).split("/") if part]
        try:
            return await self._route(request, parts)
        except BadRequestError as error:
            return JSONResponse({"code": "BadRequest", "description": str(error)}, 400)

    async def _route(self, request: Request, parts: list[str]) -> Response:
        match request.method, parts:
            case "GET", []:
                return JSONResponse(self._landing())
            case "GET", ["conformance"]:
                return JSONResponse({"conformsTo": _CONFORMS})
            case "GET", ["collections"]:
                names = sorted(self._collections)
                links = [_link("root", "/"), _link("self", "/collections")]
                return JSONResponse({"collections": [self._collection(n) for n in names], "links": links})
            case "GET", ["collections", name] if name in self._collections:
                return JSONResponse(self._collection(name))
            case "GET", ["collections", name, "items"] if name in self._collections:
                return self._items_of(request, name)
            case "GET", ["collections", name, "items", item_id] if name in self._collections:
                for item in self._collections[name]:
                    if item["id"] == item_id:
                        return _geojson(item)
            case "GET", ["search"]:
                return self._search(_from_query(request), "GET", "/search")
            case "POST", ["search"]:
                return self._search(await _from_body(request), "POST", "/search")
        return JSONResponse({"code": "NotFoundError", "description": f"No {request.url.path} here."}, 404)

    def _landing(self) -> dict[str, Any]:
        links = [
            _link("self", "/"),
            _link("root", "/"),
            _link("data", "/collections"),
            _link("conformance", "/conformance"),
            _link("search", "/search", "application/geo+json") | {"method": "GET"},
            _link("search", "/search", "application/geo+json") | {"method": "POST"},
            *(_link("child", f"/collections/{name}") for name in sorted(self._collections)),
        ]
        return {
            "type": "Catalog",
            "id": "microsoft-pc",
            "title": "Microsoft Planetary Computer STAC API",
            "description": "Simulated by slidecube's sandbox",
            "stac_version": "1.0.0",
            "conformsTo": _CONFORMS,
            "links": links,
            "stac_extensions": [],
        }

    def _collection(self, name: str) -> dict[str, Any]:
        items = self._collections[name]
        west, south, east, north = zip(*(item["bbox"] for item in items), strict=True)
        periods = [_period(item) for item in items]
        marks = {ITEM_PROPERTY: True} if any_simulated(items) else {}
        return {
            **marks,
            "type": "Collection",
            "id": name,
            "stac_version": "1.0.0",
            "title": _TITLES.get(name, name),
            "description": f"{_TITLES.get(name, name)}, as slidecube's sandbox holds it",
            "license": "CC0-1.0",
            "extent": {
                "spatial": {"bbox": [[min(west), min(south), max(east), max(north)]]},
                "temporal": {
                    "interval": [
                        [min(p[0] for p in periods).isoformat(), max(p[1] for p in periods).isoformat()]
                    ]
                },
            },
            "links": [
                _link("items", f"/collections/{name}/items", "application/geo+json"),
                _link("parent", "/"),
                _link("root", "/"),
                _link("self", f"/collections/{name}"),
            ],
        }

    def _items_of(self, request: Request, name: str) -> Response:
        asked = _from_query(request)
        asked["collections"] = [name]
        return self._search(asked, "GET", f"/collections/{name}/items")

    def _search(self, asked: dict[str, Any], method: str, path: str) -> Response:
        unknown = sorted(asked.keys() - _KNOWN)
        if unknown:
            raise BadRequestError(f"Unknown parameter: {', '.join(unknown)}")
        limit = asked.get("limit", 10)
        if not isinstance(limit, int) or isinstance(limit, bool) or not 1 <= limit <= 1000:
            raise BadRequestError("limit must be a number from 1 to 1000")
        size = min(limit, self._page_size)
        found = self._matching(asked)
        begin = _position(asked.get("token"), len(found))
        page = found[begin : begin + size]
        links = [_link("root", "/"), _link("self", path)]
        if begin > 0 and page:
            links.insert(0, _page_link("previous", asked, method, path, page[0], max(0, begin - size)))
        if begin + size < len(found):
            links.insert(0, _page_link("next", asked, method, path, page[-1], begin + size))
        return _geojson({"type": "FeatureCollection", "features": page, "links": links})

    def _matching(self, asked: dict[str, Any]) -> list[dict[str, Any]]:
        where, when = _where(asked), _when(asked.get("datetime"))
        names, ids = (_strings(asked, key) for key in ("collections", "ids"))
        tests = _query_tests(asked.get("query"))
        found = [
            item
            for item, footprint, (start, end) in self._items
            if (names is None or item["collection"] in names)
            and (ids is None or item["id"] in ids)
            and (start <= when[1] and end >= when[0])
            and (where is None or footprint.intersects(where))
            and all(test(item["properties"]) for test in tests)
        ]
        for rule in reversed(_sort_rules(asked.get("sortby"))):
            found.sort(key=rule[0], reverse=rule[1])
        return found


def _link(rel: str, path: str, kind: str = "application/json") -> dict[str, Any]:
    return {"rel": rel, "type": kind, "href": STAC_ROOT + path}


def _page_link(
    rel: str, asked: dict[str, Any], method: str, path: str, item: dict[str, Any], position: int
) -> dict[str, Any]:
    """A link to another page, as recorded: the same body with a token, or the token in the query."""
    token = f"{rel[:4]}:{item['collection']}:{item['id']}@{position}"
    link = {"rel": rel, "type": "application/geo+json", "method": method}
    if method == "POST":
        return link | {"href": STAC_ROOT + path, "body": {**asked, "token": token}}
    plain = {key: value for key, value in asked.items() if key not in {"token"}}
    if path.startswith("/collections/"):
        plain.pop("collections", None)
    fields = [f"{key}={_plain(value)}" for key, value in plain.items()]
    return link | {"href": f"{STAC_ROOT}{path}?{'&'.join([*fields, f'token={token}'])}"}


def _plain(value: Any) -> str:
    if isinstance(value, dict):
        return json.dumps(value, separators=(",", ":"))
    return ",".join(str(part) for part in value) if isinstance(value, list) else str(value)


def _position(token: Any, count: int) -> int:
    if token is None:
        return 0
    try:
        position = int(str(token).rpartition("@")[2])
    except ValueError:
        position = -1
    if not 0 <= position <= count:
        raise BadRequestError("token is none of this search")
    return position


async def _from_body(request: Request) -> dict[str, Any]:
    try:
        asked = json.loads(await request.body() or b"{}")
    except ValueError as error:
        raise BadRequestError("the body is no JSON") from error
    if not isinstance(asked, dict):
        raise BadRequestError("the body is no JSON object")
    return {key: value for key, value in asked.items() if value is not None}


def _from_query(request: Request) -> dict[str, Any]:
    asked: dict[str, Any] = dict(request.query_params)
    try:
        for key in ("intersects", "query"):
            if key in asked:
                asked[key] = json.loads(asked[key])
        if "bbox" in asked:
            asked["bbox"] = [float(part) for part in asked["bbox"].split(",")]
        if "limit" in asked:
            asked["limit"] = int(asked["limit"])
    except ValueError as error:
        raise BadRequestError("a parameter is malformed") from error
    for key in ("collections", "ids", "sortby"):
        if key in asked:
            asked[key] = asked[key].split(",")
    return asked


def _strings(asked: dict[str, Any], key: str) -> set[str] | None:
    value = asked.get(key)
    if value is None:
        return None
    if not isinstance(value, list) or not all(isinstance(part, str) for part in value):
        raise BadRequestError(f"{key} must be a list of names")
    return set(value)


def _where(asked: dict[str, Any]) -> Geometry | None:
    bbox, intersects = asked.get("bbox"), asked.get("intersects")
    if bbox is not None and intersects is not None:
        raise BadRequestError("give bbox or intersects, not both")
    if intersects is not None:
        try:
            return shape(intersects)
        except (ShapelyError, ValueError, TypeError, KeyError, AttributeError, IndexError) as error:
            raise BadRequestError("intersects is no GeoJSON geometry") from error
    if bbox is None:
        return None
    numbers = isinstance(bbox, list) and all(isinstance(v, int | float) and math.isfinite(v) for v in bbox)
    if not numbers or len(bbox) not in {4, 6}:
        raise BadRequestError("bbox must have 4 or 6 numbers")
    west, south, east, north = bbox if len(bbox) == 4 else (*bbox[:2], *bbox[3:5])
    if south > north or west > east:
        raise BadRequestError("bbox must be west, south, east, north")
    return box(west, south, east, north)


_OPEN = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)


def _when(text: Any) -> tuple[datetime, datetime]:
    if text is None:
        return _OPEN
    parts = str(text).split("/")
    if len(parts) > 2 or all(part in {"", ".."} for part in parts):
        raise BadRequestError("datetime must be an instant or an interval")
    try:
        ends = [None if part in {"", ".."} else _instant(part) for part in parts]
    except ValueError as error:
        raise BadRequestError("datetime holds no RFC 3339 instant") from error
    start, end = ends[0] or _OPEN[0], ends[-1] or _OPEN[1]
    if start > end:
        raise BadRequestError("datetime ends before it starts")
    return start, end


def _instant(text: str) -> datetime:
    instant = datetime.fromisoformat(text)
    if instant.tzinfo is None:
        raise ValueError("no offset from UTC")
    return instant.astimezone(UTC)


def _period(item: dict[str, Any]) -> tuple[datetime, datetime]:
    properties = item["properties"]
    first = properties.get("start_datetime") or properties["datetime"]
    return _instant(first), _instant(properties.get("end_datetime") or properties["datetime"])


def _query_tests(query: Any) -> list[Callable[[dict[str, Any]], bool]]:
    if query is None:
        return []
    if not isinstance(query, dict):
        raise BadRequestError("query must be an object")
    tests: list[Callable[[dict[str, Any]], bool]] = []
    for name, rules in query.items():
        if not isinstance(rules, dict) or not rules.keys() <= _COMPARE.keys():
            raise BadRequestError(f"query of {name}: operators are {', '.join(_COMPARE)}")
        tests.extend(_test(name, operator, value) for operator, value in rules.items())
    return tests


def _test(name: str, operator: str, value: Any) -> Callable[[dict[str, Any]], bool]:
    def test(properties: dict[str, Any]) -> bool:
        try:
            return name in properties and bool(_COMPARE[operator](properties[name], value))
        except TypeError:
            return False

    return test


def _sort_rules(sortby: Any) -> list[tuple[Callable[[dict[str, Any]], str], bool]]:
    rules: list[tuple[Callable[[dict[str, Any]], str], bool]] = []
    for rule in sortby or []:
        if isinstance(rule, str):
            rule = {"field": rule.lstrip("+-"), "direction": "desc" if rule.startswith("-") else "asc"}
        if not isinstance(rule, dict) or not isinstance(rule.get("field"), str):
            raise BadRequestError("sortby must name fields")
        field = rule["field"].removeprefix("properties.")
        rules.append((_field_of(field), rule.get("direction") == "desc"))
    return rules


def _field_of(field: str) -> Callable[[dict[str, Any]], str]:
    return lambda item: str(item.get(field) or item["properties"].get(field) or "")


def _geojson(content: dict[str, Any]) -> Response:
    return JSONResponse(content, media_type="application/geo+json")
