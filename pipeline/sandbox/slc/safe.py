"""Files of a pass: the SAFE folder, zipped as ASF holds it, and its bursts as ASF cuts them out.

Structure of the manifest: "SAFE Control Book", volume 1 (PGSI-GSEG-EOPG-FS-05-0001), and Sentinel-1 Product
Specification (S1-RS-MDA-52-7441). The archive's document of a burst wraps the granule's annotation, calibration, noise
and manifest: `burst/metadata/product/content` and `burst/manifest`.
"""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from lxml import etree
from numpy.typing import NDArray
from rasterio.control import GroundControlPoint
from rasterio.windows import Window

from pipeline.sandbox.slc.annotation import GridPoint, calibration, geolocation_grid, noise, product
from pipeline.sandbox.slc.instrument import SWATH
from pipeline.sandbox.slc.survey import SlcFlight
from pipeline.sandbox.slc.xml import build, serialised

GRANULE_HOST = "datapool.asf.alaska.edu"
BURST_HOST = "sentinel1-burst.asf.alaska.edu"
_XFDU = "urn:ccsds:schema:xfdu:1"
_SAFE = "http://www.esa.int/safe/sentinel-1.0"
_S1 = f"{_SAFE}/sentinel-1"
_SARL1 = f"{_S1}/sar/level-1"
_GML = "http://www.opengis.net/gml"
_SPACES = {"xfdu": _XFDU, "safe": _SAFE, "s1": _S1, "s1sarl1": _SARL1, "gml": _GML}
_IPF = "002.91"
_ZIP_DATE = (2018, 1, 1, 0, 0, 0)


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
        """As manifests name it: kind and name without hyphens."""
        kind = {"s1Level1ProductSchema": "product"}.get(self.schema, "")
        return kind + Path(self.path).stem.replace("-", "")


@dataclass(frozen=True)
class Written:
    """What was written of a pass, paths below the world's `blobs`."""

    granule: str
    granule_bytes: int
    granule_md5: str
    tiffs: tuple[str, ...]
    xmls: tuple[str, ...]
    outlines: tuple[tuple[tuple[float, float], ...], ...]
    """(burst) ring of longitude and latitude, closed"""


def granule_path(overflight: SlcFlight) -> str:
    """Path of the zipped product below `blobs`."""
    return f"{GRANULE_HOST}/SLC/S{overflight.flight.platform[-1]}/{overflight.granule}.zip"


def burst_path(overflight: SlcFlight, burst: int, suffix: str) -> str:
    """Path of a burst's file below `blobs`."""
    return f"{BURST_HOST}/{overflight.granule}/{SWATH}/VV/{burst}.{suffix}"


def write_counts(
    path: Path, counts: Sequence[NDArray[np.int16]], grid: Sequence[GridPoint]
) -> tuple[int, ...]:
    """Write bursts (line, sample, 2), one below the other, as a TIFF of complex 16-bit integers, one line a strip.

    Returns the position in the file of each burst's first byte.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    lines, samples = sum(len(part) for part in counts), counts[0].shape[1]
    points = [GroundControlPoint(p.line, p.pixel, p.longitude_deg, p.latitude_deg, p.height_m) for p in grid]
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        height=lines,
        width=samples,
        count=1,
        dtype="complex_int16",
        blockysize=1,
        gcps=points,
        crs="EPSG:4326",
    ) as target:
        row = 0
        for part in counts:
            values = part.astype(np.float32).view(np.complex64)[..., 0]
            target.write(values, 1, window=Window(0, row, samples, len(part)))
            row += len(part)
    offsets, row = [], 0
    with rasterio.open(path) as source:
        for part in counts:
            offsets.append(int(source.get_tag_item(f"BLOCK_OFFSET_0_{row}", "TIFF", bidx=1)))
            row += len(part)
    return tuple(offsets)


def write_pass(
    overflight: SlcFlight, counts: Sequence[NDArray[np.int16]], height_m: float, blobs: Path
) -> Written:
    """Write the zipped product and the burst files of a pass; `height_m` is the mean ground above the ellipsoid."""
    grid = geolocation_grid(overflight, height_m)
    lines = overflight.acquisition.frame.lines
    zipped = blobs / granule_path(overflight)
    zipped.parent.mkdir(parents=True, exist_ok=True)
    measurement = zipped.with_name(f"{overflight.granule}.tiff.part")
    offsets = write_counts(measurement, counts, grid)
    valid = np.concatenate([part[part.any(axis=2)].ravel() for part in counts])
    documents = {
        f"annotation/{overflight.stem}.xml": product(overflight, grid, offsets, float(valid.std())),
        f"annotation/calibration/calibration-{overflight.stem}.xml": calibration(overflight),
        f"annotation/calibration/noise-{overflight.stem}.xml": noise(overflight),
    }
    raw = {name: serialised(document) for name, document in documents.items()}
    tiff = f"measurement/{overflight.stem}.tiff"
    schemas = ("Product", "Calibration", "Noise")
    parts = [
        Part(name, f"s1Level1{kind}Schema", "text/xml", len(text), _md5(text))
        for kind, (name, text) in zip(schemas, raw.items(), strict=True)
    ]
    with measurement.open("rb") as file:
        digest = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
    parts.append(
        Part(
            tiff, "s1Level1MeasurementSchema", "application/octet-stream", measurement.stat().st_size, digest
        )
    )
    outlines = tuple(_ring(grid, b) for b in range(len(counts)))
    manifest = _manifest(overflight, parts, _whole_ring(grid))
    _zip(zipped, overflight.granule, {"manifest.safe": serialised(manifest), **raw}, tiff, measurement)
    measurement.unlink()
    wrapped = serialised(_wrapped(overflight, raw, manifest))
    tiffs, xmls = [], []
    for burst, part in enumerate(counts):
        first, after = burst * lines, (burst + 1) * lines
        inside = [p for p in grid if first <= p.line <= after]
        moved = [GridPoint(**{**vars(p), "line": p.line - first}) for p in inside]
        tiffs.append(burst_path(overflight, burst, "tiff"))
        xmls.append(burst_path(overflight, burst, "xml"))
        write_counts(blobs / tiffs[-1], [part], moved)
        (blobs / xmls[-1]).write_bytes(wrapped)
    with zipped.open("rb") as file:
        digest = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
    return Written(
        granule=granule_path(overflight),
        granule_bytes=zipped.stat().st_size,
        granule_md5=digest,
        tiffs=tuple(tiffs),
        xmls=tuple(xmls),
        outlines=outlines,
    )


def _md5(raw: bytes) -> str:
    return hashlib.md5(raw, usedforsecurity=False).hexdigest()


def _zip(path: Path, granule: str, texts: dict[str, bytes], tiff: str, measurement: Path) -> None:
    """Speckle does not compress: stored, and with fixed dates, so that the bytes are the same every time."""
    partial = path.with_name(path.name + ".part")
    with zipfile.ZipFile(partial, "w", zipfile.ZIP_STORED) as target:
        for name, raw in texts.items():
            target.writestr(zipfile.ZipInfo(f"{granule}.SAFE/{name}", _ZIP_DATE), raw)
        entry = zipfile.ZipInfo(f"{granule}.SAFE/{tiff}", _ZIP_DATE)
        with target.open(entry, "w") as inside, measurement.open("rb") as source:
            while block := source.read(1 << 20):
                inside.write(block)
    partial.replace(path)


def _ring(grid: Sequence[GridPoint], burst: int) -> tuple[tuple[float, float], ...]:
    rows = sorted({p.line for p in grid})
    return _between(grid, rows[burst], rows[burst + 1])


def _whole_ring(grid: Sequence[GridPoint]) -> tuple[tuple[float, float], ...]:
    rows = sorted({p.line for p in grid})
    return _between(grid, rows[0], rows[-1])


def _between(grid: Sequence[GridPoint], first: int, last: int) -> tuple[tuple[float, float], ...]:
    start, end = ([p for p in grid if p.line == line] for line in (first, last))
    corners = [start[0], start[-1], end[-1], end[0], start[0]]
    return tuple((p.longitude_deg, p.latitude_deg) for p in corners)


def _wrapped(overflight: SlcFlight, raw: dict[str, bytes], manifest: Any) -> Any:
    metadata = []
    for kind, (name, text) in zip(("product", "calibration", "noise"), raw.items(), strict=True):
        content = etree.Element("content")
        content.extend(list(etree.fromstring(text)))
        metadata.append(
            (
                kind,
                [
                    ("filename", Path(name).name),
                    ("polarisation", "VV"),
                    ("swath", SWATH),
                    content,
                ],
            )
        )
    return build(("burst", [("metadata", metadata), ("manifest", [manifest])]))


def _manifest(overflight: SlcFlight, parts: Sequence[Part], ring: Sequence[tuple[float, float]]) -> Any:
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


def _records(overflight: SlcFlight, ring: Sequence[tuple[float, float]]) -> list[tuple[str, Any]]:
    def safe(tag: str) -> str:
        return f"{{{_SAFE}}}{tag}"

    def s1(tag: str) -> str:
        return f"{{{_S1}}}{tag}"

    def sar(tag: str) -> str:
        return f"{{{_SARL1}}}{tag}"

    flight, orbit = overflight.flight, overflight.acquisition.orbit
    node = orbit.epoch - timedelta(seconds=orbit.since_node_s)
    processed = overflight.end + timedelta(hours=5)
    software = (safe("software"), {"name": "Sentinel-1 IPF", "version": _IPF}, None)
    facility = (safe("facility"), {"name": "slidecube sandbox", "organisation": "simulated"}, [software])
    both = ("start", "stop")
    since_ms = [(t - node).total_seconds() * 1e3 for t in (overflight.start, overflight.end)]
    return [
        (
            "processing",
            (
                safe("processing"),
                {
                    "name": "SLC Post Processing",
                    "start": f"{processed:%Y-%m-%dT%H:%M:%S.%f}",
                    "stop": f"{processed + timedelta(minutes=5):%Y-%m-%dT%H:%M:%S.%f}",
                },
                [facility],
            ),
        ),
        (
            "platform",
            (
                safe("platform"),
                [
                    (safe("familyName"), "SENTINEL-1"),
                    (safe("number"), flight.platform[-1]),
                    (
                        safe("instrument"),
                        [
                            (safe("familyName"), {"abbreviation": "SAR"}, "Synthetic Aperture Radar"),
                            (
                                safe("extension"),
                                [(sar("instrumentMode"), [(sar("mode"), "IW"), (sar("swath"), SWATH)])],
                            ),
                        ],
                    ),
                ],
            ),
        ),
        (
            "measurementOrbitReference",
            (
                safe("orbitReference"),
                [
                    *[(safe("orbitNumber"), {"type": t}, flight.absolute_orbit) for t in both],
                    *[(safe("relativeOrbitNumber"), {"type": t}, flight.track.relative_orbit) for t in both],
                    (
                        safe("extension"),
                        [
                            (
                                s1("orbitProperties"),
                                [
                                    (s1("pass"), flight.track.direction.upper()),
                                    (s1("ascendingNodeTime"), node),
                                ],
                            )
                        ],
                    ),
                ],
            ),
        ),
        (
            "generalProductInformation",
            (
                sar("standAloneProductInformation"),
                [
                    (sar("missionDataTakeID"), flight.datatake),
                    (sar("transmitterReceiverPolarisation"), "VV"),
                    (sar("productClass"), "S"),
                    (sar("productComposition"), "Slice"),
                    (sar("productType"), "SLC"),
                    (sar("sliceNumber"), 1),
                    (sar("totalSlices"), 1),
                ],
            ),
        ),
        (
            "acquisitionPeriod",
            (
                safe("acquisitionPeriod"),
                [
                    (safe("startTime"), overflight.start),
                    (safe("stopTime"), overflight.end),
                    (
                        safe("extension"),
                        [
                            (
                                s1("timeANX"),
                                [
                                    (s1("startTimeANX"), f"{since_ms[0]:.6e}"),
                                    (s1("stopTimeANX"), f"{since_ms[1]:.6e}"),
                                ],
                            )
                        ],
                    ),
                ],
            ),
        ),
        (
            "measurementFrameSet",
            (
                safe("frameSet"),
                [
                    (
                        safe("frame"),
                        [
                            (
                                safe("footPrint"),
                                {"srsName": "http://www.opengis.net/gml/srs/epsg.xml#4326"},
                                [
                                    (
                                        f"{{{_GML}}}coordinates",
                                        " ".join(f"{y:.6f},{x:.6f}" for x, y in ring[:4]),
                                    )
                                ],
                            )
                        ],
                    )
                ],
            ),
        ),
    ]
