"""The job contract: one pair, one folder, which any interferometric processor can fill.

    JOB/manifest.json      what is wanted (`JobManifest`), written before the processor starts
    JOB/inputs/            read-only for the processor
        reference/         a SAFE folder (or several slices), or bursts as the archive serves them (.tiff, .xml)
        secondary/         likewise
        orbits/            *.EOF, precise or restituted
        dem.tif            EPSG:4326, float32, metres above the WGS 84 ellipsoid, no void inside the footprint
    JOB/scratch/           the processor's own; may be deleted at any time when nothing runs
    JOB/products/          GeoTIFF in any one CRS, all on one grid, and last of all metadata.json (`JobMetadata`)
        coherence.tif      float32, 0..1, NaN where there is none
        interferogram.tif  complex64, flattened (flat earth and topography removed), wrapped, NaN where there is none
        amplitude.tif      float32, NaN where there is none
        incidence.tif      float32, degrees between the ellipsoid's normal and the line of sight

A folder without products/metadata.json is unfinished, whatever else is in it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError

from pipeline.errors import InterferometryError
from pipeline.records import Frozen, Utc

MANIFEST = "manifest.json"
METADATA = "metadata.json"
PRODUCTS = ("coherence", "interferogram", "amplitude", "incidence")
LEAST_VALID_FRACTION = 0.01
"""Of the wanted box, with coherence: less means that the product lies elsewhere or that processing failed."""
MOST_BURSTS = 10
"""A job holds at most so many bursts: topsApp runs out of memory beyond (ASFHyP3/hyp3#2933)."""

Backend = Literal["isce2", "pygmtsar"]
OrbitKind = Literal["precise", "restituted"]


class JobSide(Frozen):
    """One overflight of a job; paths are relative to the job's folder."""

    instant: Utc
    platform: str
    absolute_orbit: int
    layout: Literal["safe", "bursts"] = Field(description="SAFE folders, or one .tiff and one .xml a burst")
    files: tuple[str, ...] = Field(description="SAFE folders, or the bursts' .tiff files, below inputs/")
    orbit_file: str
    orbit_kind: OrbitKind


class JobLimits(Frozen):
    """What a job may use."""

    memory_bytes: int = Field(gt=0)
    scratch_bytes: int = Field(gt=0)
    time_s: float = Field(gt=0)
    cpus: int = Field(1, ge=1)


class JobManifest(Frozen):
    """What is wanted of the processor."""

    format: Literal["slidecube-insar-job-1"] = "slidecube-insar-job-1"
    pair: str = Field(description="identity of the pair, T046_20180824_20180905")
    part: int = Field(0, ge=0, description="a pair with more bursts than a job may hold is cut into parts")
    backend: Backend
    relative_orbit: int
    polarisation: Literal["vv", "vh"]
    swaths: tuple[int, ...] = Field(description="1, 2 and 3")
    bursts: tuple[str, ...] = Field(min_length=1, max_length=MOST_BURSTS, description="full burst ids")
    reference: JobSide
    secondary: JobSide
    dem: str = Field("inputs/dem.tif", description="relative to the job's folder")
    geoid: str = Field(description="what turned the DEM's heights into ellipsoidal ones, as in 'EGM96'")
    bbox: tuple[float, float, float, float] = Field(description="west, south, east, north wanted, degrees")
    azimuth_looks: int = Field(1, ge=1)
    range_looks: int = Field(5, ge=1)
    esd: bool = Field(
        description="enhanced spectral diversity is wanted; left out with fewer than two bursts"
    )
    esd_coherence: float = Field(0.85, gt=0, lt=1)
    posting_m: float = Field(20.0, gt=0, description="of the products")
    limits: JobLimits


class Step(Frozen):
    """One step of a processor."""

    name: str
    seconds: float
    lines: tuple[str, ...] = Field((), description="what mattered of its log")
    peak_memory_bytes: int | None = None


class Product(Frozen):
    """One raster of the products."""

    file: str
    sha256: str
    size_bytes: int


class Esd(Frozen):
    """Enhanced spectral diversity: done, or why it was left out."""

    applied: bool
    reason: str = Field("", description="why it was left out")
    azimuth_offset_px: float | None = None


class JobMetadata(Frozen):
    """What a processor did; its presence marks the products as finished."""

    format: Literal["slidecube-insar-products-1"] = "slidecube-insar-products-1"
    pair: str
    part: int = 0
    backend: Backend
    versions: dict[str, str] = Field(description="of the processor and what it stands on")
    parameters: dict[str, Any] = Field(description="looks, window and estimator of the coherence, filters")
    steps: tuple[Step, ...]
    bursts: tuple[str, ...]
    orbits: dict[Literal["reference", "secondary"], OrbitKind]
    esd: Esd
    products: dict[str, Product]
    valid_fraction: float = Field(ge=0, le=1, description="of the wanted box, with coherence")
    coherence_mean: float = Field(ge=0, le=1)
    peak_memory_bytes: int | None = None


def read_manifest(job: Path) -> JobManifest:
    """The manifest of a job.

    Raises:
        InterferometryError: `manifest-unreadable`.
    """
    try:
        return JobManifest.model_validate_json((job / MANIFEST).read_bytes())
    except (OSError, ValidationError) as error:
        raise InterferometryError(
            "manifest-unreadable",
            f"{MANIFEST} of the job is absent or not of this version: {str(error).splitlines()[0]}.",
            "Delete the job's folder and run the pair again.",
        ) from error


def folder_of(job: Path) -> dict[str, Path]:
    """The folders of a job by name."""
    return {name: job / name for name in ("inputs", "scratch", "products")}


class JobProducts(Frozen):
    """A finished job: its folder and what the processor said of it."""

    job: Path = Field(description="the job's folder")
    metadata: JobMetadata

    def product(self, name: str) -> Path:
        """File of a product by its name, one of `PRODUCTS`."""
        return folder_of(self.job)["products"] / f"{name}.tif"
