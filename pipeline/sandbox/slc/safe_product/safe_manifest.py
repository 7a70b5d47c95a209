"""The manifest of a SAFE folder.

Structure: "SAFE Control Book", volume 1 (PGSI-GSEG-EOPG-FS-05-0001), and Sentinel-1 Product Specification
(S1-RS-MDA-52-7441).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from lxml import etree

from pipeline.sandbox.elements import build
from pipeline.sandbox.slc.geolocation_grid import Ring
from pipeline.sandbox.slc.instrument import SWATH
from pipeline.sandbox.slc.survey import SlcFlight

_XFDU = "urn:ccsds:schema:xfdu:1"
_SAFE = "http://www.esa.int/safe/sentinel-1.0"
_S1 = f"{_SAFE}/sentinel-1"
_SARL1 = f"{_S1}/sar/level-1"
_GML = "http://www.opengis.net/gml"
_SPACES = {"xfdu": _XFDU, "safe": _SAFE, "s1": _S1, "s1sarl1": _SARL1, "gml": _GML}
_IPF = "002.91"


@dataclass(frozen=True)
class Part:
    """One file of a SAFE folder."""

    path: str
    schema: str
    mime: str
    size_bytes: int
    md5: str

    @property
    def id(self) -> str:
        """The file's id in manifests: kind and name without hyphens."""
        kind = {"s1Level1ProductSchema": "product"}.get(self.schema, "")
        return kind + Path(self.path).stem.replace("-", "")


def manifest_of(overflight: SlcFlight, parts: Sequence[Part], ring: Ring) -> Any:
    root = etree.Element(
        f"{{{_XFDU}}}XFDU",
        nsmap=_SPACES,
        version="esa/safe/sentinel-1.0/sentinel-1/sar/level-1/slc/standard/iwsp",
    )
    package = etree.SubElement(root, "informationPackageMap")
    unit = etree.SubElement(
        package,
        f"{{{_XFDU}}}contentUnit",
        unitType="SAFE Archive Information Package",
        textInfo="Sentinel-1 IW Level-1 SLC Product",
        dmdID="acquisitionPeriod platform generalProductInformation measurementOrbitReference measurementFrameSet",
        pdiID="processing",
    )
    for part in parts:
        kind = "Measurement Data Unit" if part.path.startswith("measurement/") else "Metadata Unit"
        inner = etree.SubElement(unit, f"{{{_XFDU}}}contentUnit", unitType=kind, repID=part.schema)
        etree.SubElement(inner, "dataObjectPointer", dataObjectID=part.id)
    section = etree.SubElement(root, "metadataSection")
    for name, content in _records(overflight, ring):
        record = etree.SubElement(
            section,
            "metadataObject",
            ID=name,
            classification="PROVENANCE" if name == "processing" else "DESCRIPTION",
            category="PDI" if name == "processing" else "DMD",
        )
        wrap = etree.SubElement(
            record, "metadataWrap", mimeType="text/xml", vocabularyName="SAFE", textInfo=name
        )
        etree.SubElement(wrap, "xmlData").append(build(content))
    data = etree.SubElement(root, "dataObjectSection")
    for part in parts:
        item = etree.SubElement(data, "dataObject", ID=part.id, repID=part.schema)
        stream = etree.SubElement(item, "byteStream", mimeType=part.mime, size=str(part.size_bytes))
        etree.SubElement(stream, "fileLocation", locatorType="URL", href=f"./{part.path}")
        etree.SubElement(stream, "checksum", checksumName="MD5").text = part.md5
    return root


def _safe(tag: str) -> str:
    return f"{{{_SAFE}}}{tag}"


def _s1(tag: str) -> str:
    return f"{{{_S1}}}{tag}"


def _sar(tag: str) -> str:
    return f"{{{_SARL1}}}{tag}"


def _records(overflight: SlcFlight, ring: Ring) -> list[tuple[str, Any]]:
    """Names and contents of the metadata section's records."""
    orbit = overflight.acquisition.orbit
    node = orbit.epoch - timedelta(seconds=orbit.since_node_s)
    return [
        ("processing", _processing(overflight)),
        ("platform", _platform(overflight)),
        ("measurementOrbitReference", _orbit_reference(overflight, node)),
        ("generalProductInformation", _product(overflight)),
        ("acquisitionPeriod", _period(overflight, node)),
        ("measurementFrameSet", _frames(ring)),
    ]


def _processing(overflight: SlcFlight) -> Any:
    """The processing and the previous one. As in real manifests, the slice is extracted from an earlier product."""
    processed = overflight.end + timedelta(hours=5)
    software = (_safe("software"), {"name": "Sentinel-1 IPF", "version": _IPF}, None)
    place = {"country": "none", "name": "slidecube sandbox", "organisation": "simulated", "site": "sandbox"}
    facility = (_safe("facility"), place, [software])
    times = {
        "start": f"{processed:%Y-%m-%dT%H:%M:%S.%f}",
        "stop": f"{processed + timedelta(minutes=5):%Y-%m-%dT%H:%M:%S.%f}",
    }
    before = (_safe("processing"), {"name": "SLC Processing", **times}, [facility])
    resource = (
        _safe("resource"),
        {"name": overflight.granule, "role": "Level-1 Intermediate SLC Product"},
        [before],
    )
    return (_safe("processing"), {"name": "SLC Post Processing", **times}, [facility, resource])


def _platform(overflight: SlcFlight) -> Any:
    mode = (_sar("instrumentMode"), [(_sar("mode"), "IW"), (_sar("swath"), SWATH)])
    instrument = [
        (_safe("familyName"), {"abbreviation": "SAR"}, "Synthetic Aperture Radar"),
        (_safe("extension"), [mode]),
    ]
    return (
        _safe("platform"),
        [
            (_safe("familyName"), "SENTINEL-1"),
            (_safe("number"), overflight.flight.platform[-1]),
            (_safe("instrument"), instrument),
        ],
    )


def _orbit_reference(overflight: SlcFlight, node: datetime) -> Any:
    flight = overflight.flight
    both = ("start", "stop")
    properties = [(_s1("pass"), flight.track.direction.upper()), (_s1("ascendingNodeTime"), node)]
    return (
        _safe("orbitReference"),
        [
            *[(_safe("orbitNumber"), {"type": t}, flight.absolute_orbit) for t in both],
            *[(_safe("relativeOrbitNumber"), {"type": t}, flight.track.relative_orbit) for t in both],
            (_safe("extension"), [(_s1("orbitProperties"), properties)]),
        ],
    )


def _product(overflight: SlcFlight) -> Any:
    return (
        _sar("standAloneProductInformation"),
        [
            (_sar("missionDataTakeID"), overflight.flight.datatake),
            (_sar("transmitterReceiverPolarisation"), "VV"),
            (_sar("productClass"), "S"),
            (_sar("productComposition"), "Slice"),
            (_sar("productType"), "SLC"),
            (_sar("sliceNumber"), 1),
            (_sar("totalSlices"), 1),
        ],
    )


def _period(overflight: SlcFlight, node: datetime) -> Any:
    """Start and end, also in milliseconds since the ascending node."""
    start_ms, end_ms = ((t - node).total_seconds() * 1e3 for t in (overflight.start, overflight.end))
    since_node = [(_s1("startTimeANX"), f"{start_ms:.6e}"), (_s1("stopTimeANX"), f"{end_ms:.6e}")]
    return (
        _safe("acquisitionPeriod"),
        [
            (_safe("startTime"), overflight.start),
            (_safe("stopTime"), overflight.end),
            (_safe("extension"), [(_s1("timeANX"), since_node)]),
        ],
    )


def _frames(ring: Ring) -> Any:
    outline = " ".join(f"{y:.6f},{x:.6f}" for x, y in ring[:4])
    footprint = (
        _safe("footPrint"),
        {"srsName": "http://www.opengis.net/gml/srs/epsg.xml#4326"},
        [(f"{{{_GML}}}coordinates", outline)],
    )
    return (_safe("frameSet"), [(_safe("frame"), [footprint])])
