"""Files of a pass in ASF's form: the zipped SAFE folder, and its bursts as ASF extracts them.

The archive's document of a burst wraps the granule's annotation, calibration, noise
and manifest: `burst/metadata/product/content` and `burst/manifest`.
"""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from lxml import etree
from numpy.typing import NDArray
from rasterio.control import GroundControlPoint
from rasterio.windows import Window

from pipeline.files import whole_file
from pipeline.sandbox.elements import build, serialised
from pipeline.sandbox.slc.geolocation_grid import GridPoint, Ring, geolocation_grid, ring, whole_ring
from pipeline.sandbox.slc.instrument import SWATH
from pipeline.sandbox.slc.safe_product.annotation_files import product
from pipeline.sandbox.slc.safe_product.calibration_files import calibration, noise
from pipeline.sandbox.slc.safe_product.safe_manifest import Part, manifest_of
from pipeline.sandbox.slc.survey import SlcFlight

GRANULE_HOST = "datapool.asf.alaska.edu"
BURST_HOST = "sentinel1-burst.asf.alaska.edu"
_ZIP_DATE = (2018, 1, 1, 0, 0, 0)


@dataclass(frozen=True)
class Written:
    """The written files of a pass, with paths below the world's `blobs`."""

    granule: str
    granule_bytes: int
    granule_md5: str
    tiffs: tuple[str, ...]
    xmls: tuple[str, ...]
    outlines: tuple[Ring, ...]
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
    outlines = tuple(ring(grid, b) for b in range(len(counts)))
    manifest = manifest_of(overflight, parts, whole_ring(grid))
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
    """Zip a product without compression, since speckle does not compress.

    The dates in it are fixed, so that the bytes are the same every time.
    """
    with whole_file(path) as partial, zipfile.ZipFile(partial, "w", zipfile.ZIP_STORED) as target:
        for name, raw in texts.items():
            target.writestr(zipfile.ZipInfo(f"{granule}.SAFE/{name}", _ZIP_DATE), raw)
        entry = zipfile.ZipInfo(f"{granule}.SAFE/{tiff}", _ZIP_DATE)
        with target.open(entry, "w") as inside, measurement.open("rb") as source:
            while block := source.read(1 << 20):
                inside.write(block)


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
