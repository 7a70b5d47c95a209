"""Documents of GDACS: features of its lists of events, and items of its RSS feed, of scripted events.

Fields: gdacs.org/feed_reference.aspx and gdacs.org/Documents/2025/GDACS_API_quickstart_v1.pdf, and features as public
projects record them (earthquakes have `source` NEIC and the id of the USGS as `sourceid`; instants have no zone).
"""

from __future__ import annotations

import math
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from lxml import etree

from pipeline.catalogue.item_fields import ITEM_PROPERTY
from pipeline.sandbox.seismicity.scripted_events import GdacsReport, Revision, ScriptedEvent

GDACS_HOST = "www.gdacs.org"
ROOT = f"https://{GDACS_HOST}"
NAMESPACES = {
    "dc": "http://purl.org/dc/elements/1.1/",
    "geo": "http://www.w3.org/2003/01/geo/wgs84_pos#",
    "gdacs": "http://www.gdacs.org",
    "georss": "http://www.georss.org/georss",
    "slidecube": "https://slidecube.example/sandbox",
}
_LEVELS = {None: "Green", "green": "Green", "yellow": "Green", "orange": "Orange", "red": "Red"}
_SCORES = {"Green": 1, "Orange": 2, "Red": 3}
_KM_PER_DEG = 111.195
_TIME = "%Y-%m-%dT%H:%M:%S"


class Report(NamedTuple):
    """One event as GDACS has it at an instant."""

    event: ScriptedEvent
    revision: Revision
    report: GdacsReport
    episode: int
    simulated: bool
    current: bool = True
    """False: it has left the list of current events"""

    @property
    def modified(self) -> datetime:
        """When GDACS stated this."""
        return self.revision.at + timedelta(seconds=self.report.after_s)

    @property
    def time(self) -> datetime:
        """Time of origin, as GDACS has it."""
        return self.revision.time + timedelta(seconds=self.report.later_s)

    @property
    def place(self) -> tuple[float, float]:
        """Longitude and latitude, as GDACS has them."""
        latitude = self.revision.latitude + self.report.north_km / _KM_PER_DEG
        shrink = math.cos(math.radians(self.revision.latitude))
        return round(self.revision.longitude + self.report.east_km / _KM_PER_DEG / shrink, 4), round(
            latitude, 4
        )

    @property
    def level(self) -> str:
        """Green, Orange or Red."""
        return _LEVELS[self.revision.alert]


def event_feature(one: Report) -> dict[str, Any]:
    """A feature of the lists `EVENTS4APP`, `MAP` and `SEARCH`, and of `geteventdata`."""
    longitude, latitude = one.place
    number, episode, level = one.report.number, one.report.number + 160_000 + one.episode, one.level
    where = one.report.country or one.revision.place
    words = f"Earthquake in {where}"
    magnitude = one.revision.magnitude
    asked = f"eventid={number}&episodeid={episode}&eventtype=EQ"
    mark = {ITEM_PROPERTY: True} if one.simulated else {}
    return {
        "type": "Feature",
        "bbox": [longitude, latitude, longitude, latitude],
        "geometry": {"type": "Point", "coordinates": [longitude, latitude]},
        "properties": {
            "eventtype": "EQ",
            "eventid": number,
            "episodeid": episode,
            "eventname": "",
            "glide": "",
            "name": words,
            "description": words,
            "htmldescription": f"{level} M {magnitude:g} {words} at: {one.time:%d %b %Y %H:%M:%S}.",
            "icon": f"{ROOT}/images/gdacs_icons/maps/{level}/EQ.png",
            "iconoverall": None,
            "url": {
                "geometry": f"{ROOT}/gdacsapi/api/polygons/getgeometry?{asked}",
                "report": f"{ROOT}/report.aspx?{asked}",
                "details": f"{ROOT}/gdacsapi/api/events/geteventdata?eventtype=EQ&eventid={number}",
            },
            "alertlevel": level,
            "alertscore": _SCORES[level],
            "episodealertlevel": level,
            "episodealertscore": float(_SCORES[level] - 1),
            "istemporary": "false",
            "iscurrent": "true" if one.current else "false",
            "country": where,
            "fromdate": one.time.strftime(_TIME),
            "todate": one.time.strftime(_TIME),
            "datemodified": one.modified.strftime(_TIME),
            "iso3": one.report.iso3,
            "source": "NEIC",
            "sourceid": one.event.id if one.report.states_source_id else "",
            "polygonlabel": "Centroid",
            "Class": "Point_Centroid",
            "affectedcountries": [{"iso2": "", "iso3": one.report.iso3, "countryname": where}],
            "severitydata": {
                "severity": magnitude,
                "severitytext": f"Magnitude {magnitude:g}M, Depth:{one.revision.depth_km:g}km",
                "severityunit": "M",
            },
            **mark,
        },
    }


def rss(reports: list[Report], generated: datetime, path: str) -> bytes:
    """The RSS feed of the events."""
    top = etree.Element("rss", {"version": "2.0"}, nsmap=NAMESPACES)
    channel = etree.SubElement(top, "channel")
    for tag, text in (
        ("title", "GDACS RSS information"),
        ("link", f"{ROOT}{path}"),
        ("description", "Near real-time notification of new disasters; simulated by slidecube's sandbox"),
        ("language", "en-us"),
        ("pubDate", _mail(generated)),
    ):
        etree.SubElement(channel, tag).text = text
    for one in reports:
        _item(channel, one)
    return bytes(etree.tostring(top, xml_declaration=True, encoding="utf-8"))


def _item(channel: Any, one: Report) -> None:
    item = etree.SubElement(channel, "item")
    stated = event_feature(one)["properties"]
    longitude, latitude = one.place
    where = stated["country"]
    plain = {
        "title": f"{one.level} earthquake ({stated['severitydata']['severitytext']}) in {where} {_mail(one.time)}",
        "description": stated["htmldescription"],
        "link": stated["url"]["report"],
        "pubDate": _mail(one.modified),
        "guid": f"EQ{one.report.number}",
    }
    for tag, text in plain.items():
        etree.SubElement(item, tag).text = text
    item.find("guid").set("isPermaLink", "false")
    point = etree.SubElement(item, _name("geo", "Point"))
    etree.SubElement(point, _name("geo", "lat")).text = f"{latitude}"
    etree.SubElement(point, _name("geo", "long")).text = f"{longitude}"
    etree.SubElement(item, _name("georss", "point")).text = f"{latitude} {longitude}"
    etree.SubElement(item, _name("dc", "subject")).text = f"EQ{_SCORES[one.level]}"
    severity = stated["severitydata"]
    ours: dict[str, str] = {
        "iscurrent": stated["iscurrent"],
        "fromdate": _mail(one.time),
        "todate": _mail(one.time),
        "datemodified": _mail(one.modified),
        "bbox": f"{longitude - 4:g} {longitude + 4:g} {latitude - 4:g} {latitude + 4:g}",
        "eventtype": "EQ",
        "alertlevel": one.level,
        "alertscore": str(stated["alertscore"]),
        "episodealertlevel": one.level,
        "episodealertscore": f"{stated['episodealertscore']:g}",
        "eventname": "",
        "eventid": str(one.report.number),
        "episodeid": str(stated["episodeid"]),
        "version": str(one.episode),
        "iso3": one.report.iso3,
        "country": where,
        "glide": "",
    }
    for tag, text in ours.items():
        etree.SubElement(item, _name("gdacs", tag)).text = text
    element = etree.SubElement(
        item, _name("gdacs", "severity"), {"unit": "M", "value": f"{severity['severity']:g}"}
    )
    element.text = severity["severitytext"]
    if one.simulated:
        etree.SubElement(item, _name("slidecube", "simulated")).text = "true"


def _name(prefix: str, tag: str) -> str:
    return f"{{{NAMESPACES[prefix]}}}{tag}"


def _mail(instant: datetime) -> str:
    return f"{instant:%a, %d %b %Y %H:%M:%S} GMT"
