"""The job contract: one folder for each job of a pair, in which any interferometric processor can work.

    JOB/manifest.json      the request (`JobManifest`), written before the processor starts
    JOB/inputs/            read-only for the processor
        reference/         a SAFE folder (or several slices), or bursts in the archive's form (.tiff, .xml)
        secondary/         likewise
        orbits/            *.EOF, precise or restituted
        dem.tif            EPSG:4326, float32, metres above the WGS 84 ellipsoid, without voids inside the footprint
    JOB/scratch/           intermediate files of the processor; may be deleted while it does not run
    JOB/products/          GeoTIFFs on one grid in any CRS, and metadata.json (`JobMetadata`), which is written last
        coherence.tif      float32, 0..1, NaN for no data
        interferogram.tif  complex64, flattened (flat earth and topography removed), wrapped, NaN for no data
        amplitude.tif      float32, NaN for no data
        incidence.tif      float32, degrees between the ellipsoid's normal and the line of sight

A job is finished only if products/metadata.json exists.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError

from pipeline.errors import InterferometryError
from pipeline.files import read_regular
from pipeline.records import Frozen, Utc

MANIFEST = "manifest.json"
METADATA = "metadata.json"
MOST_BYTES = 2**20
"""of any document of a job"""
PRODUCTS = ("coherence", "interferogram", "amplitude", "incidence")
LEAST_VALID_FRACTION = 0.01
"""Least share of the requested box with coherence. A smaller share means a product outside the box or a failure."""
MOST_BURSTS = 10
"""At most so many bursts in a job: topsApp runs out of memory with more (ASFHyP3/hyp3#2933)."""

Backend = Literal["isce2", "pygmtsar", "hyp3"]
REMOTE: frozenset[Backend] = frozenset({"hyp3"})
"""Services that fetch the overflights, orbits and heights themselves: their jobs have no inputs, only names."""
OrbitKind = Literal["precise", "restituted", "unknown"]


class JobAcquisition(Frozen):
    """One overflight of a job; paths are relative to the job's folder."""

    instant: Utc
    platform: str
    absolute_orbit: int
    layout: Literal["safe", "bursts", "names"] = Field(
        description="SAFE folders; one .tiff and one .xml a burst; the archive's names of bursts, for a service"
    )
    files: tuple[str, ...] = Field(
        description="SAFE folders, or the bursts' .tiff files, below inputs/; or the bursts' names"
    )
    orbit_file: str = Field(description="empty for a service, which chooses it")
    orbit_kind: OrbitKind


class JobLimits(Frozen):
    """The limits of a job."""

    memory_bytes: int = Field(gt=0)
    scratch_bytes: int = Field(gt=0)
    time_s: float = Field(gt=0)
    cpus: int = Field(1, ge=1)


class JobManifest(Frozen):
    """The request to the processor."""

    format: Literal["slidecube-insar-job-1"] = "slidecube-insar-job-1"
    pair: str = Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$", description="identity of the pair, T046_20180824_20180905"
    )
    part: int = Field(
        0,
        ge=0,
        description="number of the part; a pair with more than MOST_BURSTS bursts is divided into parts",
    )
    backend: Backend
    relative_orbit: int
    polarisation: Literal["vv", "vh"]
    swaths: tuple[int, ...] = Field(description="1, 2 and 3")
    bursts: tuple[str, ...] = Field(min_length=1, max_length=MOST_BURSTS, description="full burst ids")
    reference: JobAcquisition
    secondary: JobAcquisition
    dem: str = Field("inputs/dem.tif", description="relative to the job's folder; empty for a service")
    geoid: str = Field(
        description="geoid with which the DEM's heights were made ellipsoidal, such as 'EGM96'; empty for a service"
    )
    bbox: tuple[float, float, float, float] = Field(
        description="requested box: west, south, east, north, degrees"
    )
    azimuth_looks: int = Field(1, ge=1)
    range_looks: int = Field(5, ge=1)
    esd: bool = Field(
        description="apply enhanced spectral diversity; it is omitted if no swath has two bursts"
    )
    esd_coherence: float = Field(0.85, gt=0, lt=1)
    posting_m: float = Field(20.0, gt=0, description="posting of the products")
    limits: JobLimits


class Step(Frozen):
    """One step of a processor."""

    name: str
    seconds: float
    lines: tuple[str, ...] = Field((), description="important lines of its log")
    peak_memory_bytes: int | None = None


class Product(Frozen):
    """One raster of the products."""

    file: str
    sha256: str
    size_bytes: int


class Esd(Frozen):
    """Whether enhanced spectral diversity was applied."""

    applied: bool
    reason: str = Field("", description="why it was not applied")
    azimuth_offset_px: float | None = None


class JobMetadata(Frozen):
    """How a processor made the products; the file's presence marks them as finished."""

    format: Literal["slidecube-insar-products-1"] = "slidecube-insar-products-1"
    pair: str
    part: int = 0
    backend: Backend
    versions: dict[str, str] = Field(description="of the processor and its dependencies")
    parameters: dict[str, Any] = Field(description="looks, window and estimator of the coherence, filters")
    steps: tuple[Step, ...]
    bursts: tuple[str, ...]
    orbits: dict[Literal["reference", "secondary"], OrbitKind]
    esd: Esd
    products: dict[str, Product]
    valid_fraction: float = Field(ge=0, le=1, description="share of the requested box with coherence")
    coherence_mean: float = Field(ge=0, le=1)
    peak_memory_bytes: int | None = None


def read_manifest(job: Path) -> JobManifest:
    """The manifest of a job.

    Raises:
        InterferometryError: `manifest-unreadable`.
    """
    try:
        return JobManifest.model_validate_json(read_regular(job / MANIFEST, MOST_BYTES))
    except (OSError, ValidationError) as error:
        raise InterferometryError(
            "manifest-unreadable",
            f"{MANIFEST} of the job is absent or of another version: {str(error).splitlines()[0]}.",
            "Delete the job's folder and run the pair again.",
        ) from error


def folder_of(job: Path) -> dict[str, Path]:
    """The folders of a job by name."""
    return {name: job / name for name in ("inputs", "scratch", "products")}


class JobProducts(Frozen):
    """A finished job: its folder and its metadata."""

    job: Path = Field(description="the job's folder")
    metadata: JobMetadata

    def product(self, name: str) -> Path:
        """The file of a product; `name` is one of `PRODUCTS`."""
        return folder_of(self.job)["products"] / f"{name}.tif"
