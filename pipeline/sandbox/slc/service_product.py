"""The product of bursts that HyP3 makes of a pair, from the truth that the world's SLC were simulated from.

Coherence and displacement of the truth are averaged to HyP3's pixels; speckle of that many looks with that coherence
gives the interferogram, a Gaussian stands in for the Goldstein-Werner filter, and `_corr` is the length of the mean
phasor of the filtered interferogram, which reads high as ISCE2's phsig does. Names, types and pixels are those of
ASFHyP3/hyp3-isce2 (`packaging.py`).
"""

from __future__ import annotations

import json
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from affine import Affine
from numpy.typing import NDArray
from rasterio.features import geometry_mask
from rasterio.warp import Resampling, reproject, transform_geom
from scipy import ndimage

from pipeline.areas.area import load_area
from pipeline.catalogue.item_fields import FILE_TAG
from pipeline.catalogue.slc import Burst
from pipeline.sandbox.earth.parameters import SandboxError
from pipeline.sandbox.slc.instrument import WAVELENGTH_M

_WINDOW = 5
_FILTER_PX = 0.7
_CONNECTED = 0.5
_INCIDENCE_DEG = 38.0
"""Of a track whose incidence the world does not state."""


@dataclass(frozen=True)
class Looks:
    """Looks in range and azimuth; the pixel follows as in HyP3."""

    range: int
    azimuth: int

    @property
    def pixel_m(self) -> int:
        """Side of a pixel, metres."""
        return max(self.range, 5 * self.azimuth) * 4


@dataclass(frozen=True)
class PairBursts:
    """The bursts of both overflights, the earlier one first."""

    reference: tuple[Burst, ...]
    secondary: tuple[Burst, ...]

    @property
    def name(self) -> str:
        """The product's name without pixel and number, such as S1_046_000000s1n00-097478s2n02-000000s3n00_IW_..."""
        swaths = []
        for number in "123":
            ids = sorted(b.full_id.split("_")[1] for b in self.reference if b.swath == f"IW{number}")
            swaths.append(f"{ids[0] if ids else '000000'}s{number}n{len(ids):02d}")
        dates = f"{self.reference[0].start:%Y%m%d}_{self.secondary[0].start:%Y%m%d}"
        return f"S1_{self.track:03d}_{'-'.join(swaths)}_IW_{dates}_VV"

    @property
    def track(self) -> int:
        """The relative orbit."""
        return int(self.reference[0].full_id.split("_")[0])


def write_service_product(root: Path, pair: PairBursts, looks: Looks, folder: Path) -> Path:
    """Write the product's zip into `folder`.

    Raises:
        SandboxError: the world has no truth of that pair, which it has of consecutive passes.
    """
    scene = _Scene.of(root, pair, looks)
    name = f"{pair.name}_INT{looks.pixel_m}_{zlib.crc32(pair.name.encode()) & 0xFFFF:04X}"
    work = folder / name
    work.mkdir(parents=True, exist_ok=True)
    for part, values in _rasters(scene, looks, zlib.crc32(pair.name.encode())).items():
        scene.write(work / f"{name}_{part}.tif", values)
    (work / f"{name}.txt").write_text(_parameter_file(pair, looks), encoding="utf-8")
    (work / f"{name}_README.md.txt").write_text(
        "This data was processed by ASF DAAC HyP3 2026 using the hyp3_isce2 plugin version\n"
        "0.0.0-sandbox running ISCE release 0.0.0-sandbox.\nSimulated by the sandbox of slidecube.\n",
        encoding="utf-8",
    )
    target = folder / f"{name}.zip"
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
        archive.mkdir(name)
        for path in sorted(work.iterdir()):
            archive.write(path, f"{name}/{path.name}")
    return target


@dataclass(frozen=True)
class _Scene:
    """The truth of a pair on HyP3's grid: (y, x) coherence, displacement towards the sensor (m), height (m)."""

    coherence: NDArray[np.float32]
    displacement_m: NDArray[np.float32]
    height_m: NDArray[np.float32]
    seen: NDArray[np.bool_]
    incidence_deg: float
    transform: Affine
    crs: Any

    @classmethod
    def of(cls, root: Path, pair: PairBursts, looks: Looks) -> _Scene:
        first, second = pair.reference[0].start, pair.secondary[0].start
        truth = root / "truth"
        files = {
            "coherence": truth / f"coherence_T{pair.track:03d}_{first:%Y%m%d}_{second:%Y%m%d}.tif",
            "displacement": truth / f"displacement_los_m_T{pair.track:03d}.tif",
            "height": truth / "elevation.tif",
        }
        missing = [path.name for path in files.values() if not path.is_file()]
        if missing:
            raise SandboxError(f"The world lacks {', '.join(missing)}.", "Ask for consecutive passes.")
        size = looks.pixel_m
        with rasterio.open(files["coherence"]) as image:
            left, bottom, right, top = (
                np.floor(image.bounds[0] / size) * size,
                np.floor(image.bounds[1] / size) * size,
                np.ceil(image.bounds[2] / size) * size,
                np.ceil(image.bounds[3] / size) * size,
            )
            crs = image.crs
        transform = Affine(size, 0, left, 0, -size, top)
        shape = round((top - bottom) / size), round((right - left) / size)
        layers = {name: _averaged(path, shape, transform, crs) for name, path in files.items()}
        outlines = [transform_geom("EPSG:4326", crs, b.geometry) for b in (*pair.reference, *pair.secondary)]
        seen = geometry_mask(outlines, shape, transform, invert=True) & np.isfinite(layers["coherence"])
        when = load_area(next(iter(sorted((root / "aoi").glob("*.yaml"))))).when
        moved = when(first) == "before" and when(second) == "after"
        return cls(
            coherence=layers["coherence"],
            displacement_m=layers["displacement"] if moved else np.zeros(shape, np.float32),
            height_m=layers["height"],
            seen=seen,
            incidence_deg=_incidence(root, pair.track),
            transform=transform,
            crs=crs,
        )

    def write(self, path: Path, values: NDArray[Any]) -> None:
        """Write a raster with 0 for no data, where nothing is seen."""
        filled = np.where(self.seen & np.isfinite(values), values, 0).astype(values.dtype)
        with rasterio.open(
            path, "w", driver="GTiff", height=filled.shape[0], width=filled.shape[1], count=1,
            dtype=filled.dtype.name, crs=self.crs, transform=self.transform, nodata=0, compress="lzw", tiled=True,
        ) as target:  # fmt: skip
            target.write(filled, 1)
            target.update_tags(**{FILE_TAG: "true"})


def _averaged(path: Path, shape: tuple[int, int], transform: Affine, crs: Any) -> NDArray[np.float32]:
    out = np.full(shape, np.nan, dtype=np.float32)
    with rasterio.open(path) as image:
        reproject(
            image.read(1).astype(np.float32), out, src_transform=image.transform, src_crs=image.crs,
            dst_transform=transform, dst_crs=crs, src_nodata=np.nan, dst_nodata=np.nan, resampling=Resampling.average,
        )  # fmt: skip
    return out


def _incidence(root: Path, track: int) -> float:
    document = json.loads((root / "world.json").read_text(encoding="utf-8"))
    for one in document.get("parameters", {}).get("tracks") or ():
        if one.get("relative_orbit") == track and one.get("incidence_deg"):
            return float(one["incidence_deg"])
    return _INCIDENCE_DEG


def _rasters(scene: _Scene, looks: Looks, seed: int) -> dict[str, NDArray[Any]]:
    """The rasters of the product by their part of the name."""
    rng = np.random.default_rng([seed, 61])
    shape = scene.coherence.shape
    kept = np.clip(np.nan_to_num(scene.coherence), 0, 1)
    # the phase of reference times conjugate of the secondary falls where the ground moves towards the sensor
    true_phase = -4 * np.pi / WAVELENGTH_M * np.nan_to_num(scene.displacement_m)
    total = np.zeros(shape, np.complex64)
    power = np.zeros((2, *shape), np.float32)
    for _look in range(looks.range * looks.azimuth):
        first, other = (rng.standard_normal((*shape, 2), np.float32).view(np.complex64)[..., 0] for _ in "12")
        second = kept * first + np.sqrt(1 - kept**2) * other
        total += first * np.conj(second)
        power += np.abs(np.stack([first, second])) ** 2
    total *= np.exp(1j * true_phase).astype(np.complex64)
    filtered = _smooth(total, lambda band: ndimage.gaussian_filter(band, _FILTER_PX))
    unit = filtered / np.maximum(np.abs(filtered), 1e-9)
    mean = _smooth(unit, lambda band: ndimage.uniform_filter(band, _WINDOW))
    corr = np.clip(np.abs(mean), 1e-3, 1).astype(np.float32)
    phase = np.angle(filtered)
    unwrapped = true_phase + np.angle(filtered * np.exp(-1j * true_phase))
    flat = np.full(shape, np.radians(90 - scene.incidence_deg), np.float32)
    return {
        "corr": corr,
        "wrapped_phase": np.where(phase == 0, 1e-6, phase).astype(np.float32),
        "unw_phase": np.where(unwrapped == 0, 1e-6, unwrapped).astype(np.float32),
        "conncomp": (corr > _CONNECTED).astype(np.float32),
        "lv_theta": flat,
        "lv_phi": np.full(shape, np.float32(2.97)),
        "dem": scene.height_m,
        "amp": np.sqrt(np.sqrt(power[0] * power[1])).astype(np.float32),
    }


def _smooth(values: NDArray[Any], how: Any) -> NDArray[np.complex64]:
    smooth = np.empty(values.shape, np.complex64)
    smooth.real, smooth.imag = how(values.real), how(values.imag)
    return smooth


def _parameter_file(pair: PairBursts, looks: Looks) -> str:
    def names(bursts: Sequence[Burst]) -> str:
        return ", ".join(burst.id for burst in bursts)

    lines = {
        "Reference Granule": names(pair.reference), "Secondary Granule": names(pair.secondary),
        "Range looks": looks.range, "Azimuth looks": looks.azimuth, "INSAR phase filter": "yes",
        "Phase filter parameter": 0.5, "Range bandpass filter": "no", "Azimuth bandpass filter": "no",
        "DEM source": "GLO_30", "DEM resolution (m)": 30, "Unwrapping type": "snaphu_mcf",
        "Speckle filter": "yes", "Water mask": "no",
    }  # fmt: skip
    return "".join(f"{key}: {value}\n" for key, value in lines.items())
