"""Items of single look complex data as NASA's CMR gives them, made for tests, and a server of them."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl

from pipeline.catalogue.granules import kept
from pipeline.catalogue.slc import SlcHoldings
from tests.unit.loopback import Reply, Seen

Item = dict[str, Any]

CMR_PATH = "cmr.earthdata.nasa.gov/search/granules.umm_json"


def ring(west: float, south: float, east: float, north: float) -> list[dict[str, float]]:
    """The points of a box."""
    corners = [(west, south), (east, south), (east, north), (west, north), (west, south)]
    return [{"Longitude": x, "Latitude": y} for x, y in corners]


def _item(name: str, start: datetime, end: datetime, **parts: Any) -> Item:
    attributes = parts.pop("attributes")
    return {
        "meta": {"native-id": name, "revision-date": parts.pop("revised"), "concept-id": "G1-ASF"},
        "umm": {
            "GranuleUR": name,
            "TemporalExtent": {
                "RangeDateTime": {
                    "BeginningDateTime": f"{start:%Y-%m-%dT%H:%M:%S.%f}Z",
                    "EndingDateTime": f"{end:%Y-%m-%dT%H:%M:%S.%f}Z",
                }
            },
            "OrbitCalculatedSpatialDomains": [{"OrbitNumber": parts.pop("orbit")}],
            "AdditionalAttributes": [{"Name": k, "Values": [v]} for k, v in attributes.items()],
            "SpatialExtent": {
                "HorizontalSpatialDomain": {
                    "Geometry": {"GPolygons": [{"Boundary": {"Points": ring(*parts.pop("box"))}}]}
                }
            },
            "Platforms": [{"ShortName": parts.pop("platform"), "Instruments": [{"ShortName": "C-SAR"}]}],
            **parts,
        },
    }


def granule_name(start: datetime, orbit: int = 23560, unit: str = "S1A", product: str = "8F11") -> str:
    """The name of a granule of 27 s."""
    end = start + timedelta(seconds=27)
    return f"{unit}_IW_SLC__1SDV_{start:%Y%m%dT%H%M%S}_{end:%Y%m%dT%H%M%S}_{orbit:06d}_02910C_{product}"


def granule_item(
    start: str = "2018-09-05T20:21:22Z",
    *,
    orbit: int = 23560,
    track: int = 46,
    unit: str = "S1A",
    product: str = "8F11",
    box: tuple[float, float, float, float] = (140.5, 41.5, 143.5, 43.5),
    processed: str = "2018-09-06T02:00:00.000000Z",
    revised: str = "2018-09-07T00:00:00Z",
    **attributes: Any,
) -> Item:
    """One granule."""
    begin = datetime.fromisoformat(start)
    name = granule_name(begin, orbit, unit, product)
    return _item(
        f"{name}-SLC",
        begin,
        begin + timedelta(seconds=27),
        revised=revised,
        orbit=orbit,
        box=box,
        platform=f"SENTINEL-1{unit[2]}",
        CollectionReference={"ShortName": f"SENTINEL-1{unit[2]}_SLC"},
        RelatedUrls=[{"URL": f"https://datapool.asf.alaska.edu/SLC/SA/{name}.zip", "Type": "GET DATA"}],
        attributes={
            "ASCENDING_DESCENDING": "DESCENDING",
            "BEAM_MODE": "IW",
            "BYTES": "4500000000",
            "FRAME_NUMBER": "440",
            "MD5SUM": "6dd7f6a56ed98ba7037dfeb833217d5b",
            "PATH_NUMBER": str(track),
            "POLARIZATION": "VV+VH",
            "PROCESSING_DATE": processed,
            **attributes,
        },
    )


def burst_item(
    place: str = "046_096000_IW2",
    start: str = "2018-09-05T20:21:30Z",
    *,
    granule: Item | None = None,
    box: tuple[float, float, float, float] = (141.6, 42.5, 142.4, 42.9),
    polarisation: str = "VV",
    index: int = 3,
    **attributes: Any,
) -> Item:
    """One burst of a granule."""
    inside = granule or granule_item()
    name = inside["umm"]["GranuleUR"].removesuffix("-SLC")
    begin = datetime.fromisoformat(start)
    _, number, swath = place.split("_")
    product = name[-4:]
    address = f"https://sentinel1-burst.asf.alaska.edu/{name}/{swath}/{polarisation}/{index}"
    return _item(
        f"S1_{number}_{swath}_{begin:%Y%m%dT%H%M%S}_{polarisation}_{product}-BURST",
        begin,
        begin + timedelta(seconds=3),
        revised="2018-09-07T00:00:00Z",
        orbit=inside["umm"]["OrbitCalculatedSpatialDomains"][0]["OrbitNumber"],
        box=box,
        platform=inside["umm"]["Platforms"][0]["ShortName"],
        CollectionReference={"ShortName": "SENTINEL-1_BURSTS"},
        InputGranules=[f"{name}-SLC"],
        RelatedUrls=[
            {"URL": f"{address}.tiff", "Type": "USE SERVICE API"},
            {"URL": f"{address}.xml", "Type": "USE SERVICE API"},
        ],
        attributes={
            "AZIMUTH_TIME": f"{begin:%Y-%m-%dT%H:%M:%S.%f}",
            "BURST_ID_FULL": place,
            "BURST_INDEX": str(index),
            "BYTE_LENGTH": "147000000",
            "PATH_NUMBER": place[:3].lstrip("0"),
            "POLARIZATION": polarisation,
            "SUBSWATH_NAME": swath,
            **attributes,
        },
    )


def holdings(granules: list[Item], bursts: list[Item]) -> SlcHoldings:
    """What a catalogue would keep of the items."""
    return SlcHoldings(
        granules=tuple(kept(i["meta"], i["umm"]) for i in granules),
        bursts=tuple(kept(i["meta"], i["umm"]) for i in bursts),
    )


def repeats(count: int, days: int = 12, places: tuple[str, ...] = ("046_096000_IW2",)) -> SlcHoldings:
    """So many overflights of one track with the same bursts."""
    granules, bursts = [], []
    first = datetime(2018, 8, 12, 20, 21, 22, tzinfo=UTC)
    for number in range(count):
        start = first + timedelta(days=days * number)
        granule = granule_item(start.isoformat(), orbit=23200 + number, product=f"{number:04X}")
        granules.append(granule)
        later = (start + timedelta(seconds=8)).isoformat()
        bursts += [burst_item(place, later, granule=granule) for place in places]
    return holdings(granules, bursts)


class Cmr:
    """Answers searches as CMR does: by collection and track, in pages, with the number of all hits."""

    def __init__(self, items: list[Item], page: int = 250) -> None:
        self.items = items
        self.page = page
        self.asked: list[list[tuple[str, str]]] = []
        self.lost = 0
        """So many items are announced and not given."""

    def __call__(self, seen: Seen) -> Reply | None:
        if seen.method != "POST" or seen.path != CMR_PATH:
            return None
        asked = parse_qsl(seen.body.decode())
        self.asked.append(asked)
        names = {value for key, value in asked if key == "shortName"}
        tracks = {v.split(",")[2] for k, v in asked if k == "attribute[]" and "PATH_NUMBER" in v}
        found = [
            item
            for item in self.items
            if item["umm"]["CollectionReference"]["ShortName"] in names
            and (not tracks or self._track(item) in tracks)
        ]
        begin = int(seen.headers.get("cmr-search-after", "0"))
        given = found[begin : begin + self.page]
        hits = len(found) + self.lost
        headers = {"Content-Type": "application/json"}
        if given:
            headers["CMR-Search-After"] = str(begin + len(given))
        return Reply(200, headers, json.dumps({"hits": hits, "took": 1, "items": given}).encode())

    @staticmethod
    def _track(item: Item) -> str:
        attributes = item["umm"]["AdditionalAttributes"]
        return str(next(a["Values"][0] for a in attributes if a["Name"] == "PATH_NUMBER"))
