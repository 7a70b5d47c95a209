"""The processor insardev_pygmtsar, driven without the product's backend: an independent eye on simulated data."""

from __future__ import annotations

import json
import os
import shutil
import warnings
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from lxml import etree
from numpy.typing import NDArray
from pyproj import Transformer

from pipeline.catalogue.state_vectors import read_orbit_file
from pipeline.insar.look.orbit_geometry import Orbit, earth_fixed
from pipeline.insar.pygmtsar.flattening import dense_orbit

WAVELENGTH_M = 299792458.0 / 5.405000454334350e9
Image = NDArray[np.complex64]


@dataclass(frozen=True)
class Registered:
    """One burst of several passes, co-registered: (pass, y, x), 0 where there is nothing; metres of the projection.

    Flat earth and topography are taken off the phase by the exact path difference between the orbits of the files:
    the processor's own formula errs by up to a radian from edge to edge, which is taken back.
    """

    full_id: str
    x: NDArray[np.float64]
    y: NDArray[np.float64]
    images: Image

    def valid(self, i: int, j: int) -> NDArray[np.bool_]:
        return (self.images[i] != 0) & (self.images[j] != 0)


def stage(world: Path, folder: Path) -> None:
    """Lay the bursts of a world out for the processor: a folder a place, an annotation of each burst alone."""
    index = json.loads((world / "slc/index.json").read_text())
    for burst in index["bursts"]:
        place = folder / burst["full_id"]
        whole = etree.parse(str(world / "blobs" / burst["xml_url"].removeprefix("https://"))).getroot()
        for kind, name in (
            ("product", "annotation"),
            ("calibration", "calibration"),
            ("noise", "noise"),
        ):
            content = whole.find(f"metadata/{kind}/content")
            content.tag = kind
            if kind == "product":
                _alone(content, burst["index"])
            (place / name).mkdir(parents=True, exist_ok=True)
            (place / name / f"{burst['id']}.xml").write_bytes(etree.tostring(content))
        (place / "measurement").mkdir(exist_ok=True)
        source = world / "blobs" / burst["tiff_url"].removeprefix("https://")
        shutil.copy(source, place / "measurement" / f"{burst['id']}.tiff")
    for granule in index["granules"]:
        start = datetime.fromisoformat(granule["start"])
        (found,) = [
            orbit
            for orbit in index["orbits"]
            if datetime.fromisoformat(orbit["start"]) <= start <= datetime.fromisoformat(orbit["end"])
        ]
        root = etree.parse(str(world / "blobs" / found["file"])).getroot()
        # the processor knows orbit files by the days of their validity; a restituted one gets the same name
        root.remove(root.find("Earth_Explorer_Header"))
        day = start.replace(hour=0, minute=0, second=0, microsecond=0)
        valid = day - timedelta(seconds=3618), day + timedelta(days=1, seconds=3582)
        stem = found["file"].rpartition("/")[2].rpartition("_V")[0]
        name = f"{stem}_V{valid[0]:%Y%m%dT%H%M%S}_{valid[1]:%Y%m%dT%H%M%S}.EOF"
        (folder / name).write_bytes(etree.tostring(root))


def _alone(product: Any, index: int) -> None:
    bursts = product.find("swathTiming/burstList")
    lines = int(product.findtext("swathTiming/linesPerBurst"))
    step = timedelta(seconds=float(product.findtext("imageAnnotation/imageInformation/azimuthTimeInterval")))
    first = datetime.fromisoformat(bursts[index].findtext("azimuthTime"))
    for number, burst in reversed(list(enumerate(bursts))):
        if number != index:
            bursts.remove(burst)
    last = first + (lines - 1) * step
    image = "imageAnnotation/imageInformation"
    for path, value in (
        ("adsHeader/startTime", first),
        ("adsHeader/stopTime", last),
        (f"{image}/productFirstLineUtcTime", first),
        (f"{image}/productLastLineUtcTime", last),
    ):
        product.find(path).text = f"{value:%Y-%m-%dT%H:%M:%S.%f}"
    product.find(f"{image}/numberOfLines").text = str(lines)
    grid = product.find("geolocationGrid/geolocationGridPointList")
    for point in list(grid):
        line = int(point.findtext("line")) - index * lines
        if 0 <= line <= lines:
            point.find("line").text = str(line)
        else:
            grid.remove(point)


def process(
    folder: Path, heights: Path, target: Path, epsg: int, step_m: tuple[int, int] = (15, 5)
) -> list[Registered]:
    """Co-register and geocode all passes of `folder` on the first, burst by burst, heights above the EGM96 geoid."""
    import joblib
    from insardev_pygmtsar import S1

    before = dict(os.environ)
    try:
        with warnings.catch_warnings(), joblib.parallel_config(backend="threading"):
            warnings.simplefilter("ignore")
            stack = S1(str(folder), DEM=str(heights))
            frame = stack.to_dataframe()
            reference = str(frame.startTime.min().date())
            stack.transform(
                str(target),
                ref=reference,
                epsg=epsg,
                resolution=step_m,
                remove_tidal_phase=False,
                n_jobs=1,
            )
            return [
                _registered(stack, folder, target, full_id, epsg)
                for full_id in sorted(set(frame.index.get_level_values(0)))
            ]
    finally:
        os.environ.clear()
        os.environ.update(before)


def _registered(stack: Any, folder: Path, target: Path, full_id: str, epsg: int) -> Registered:
    names = sorted(
        (path.name for path in (target / full_id).glob("S1_*")), key=lambda name: name.split("_")[3]
    )
    grid = xr.open_zarr(target / full_id / "transform", consolidated=False)
    x, y = grid.x.values.astype(float), grid.y.values.astype(float)
    images = []
    for name in names:
        held = xr.open_zarr(target / full_id / name, consolidated=False)
        images.append(np.nan_to_num(held.re.values + 1j * held.im.values).astype(np.complex64))
    wrong = _processor_phase_less_exact(stack, folder, full_id, names, epsg, x, y)
    return Registered(
        full_id, x, y, np.stack([image * np.exp(1j * off) for image, off in zip(images, wrong, strict=True)])
    )


def _processor_phase_less_exact(
    stack: Any, folder: Path, full_id: str, names: list[str], epsg: int, x: Any, y: Any
) -> list[Any]:
    from insardev_pygmtsar import utils_satellite as tools

    prm, _, _ = stack.align_ref(names[0], return_slc=False)
    heights = tools.get_dem_wgs84ellipsoid(stack.DEM, stack.get_record(names[0]).geometry.iloc[0])
    step = float(y[1] - y[0]), float(x[1] - x[0])
    topo, grid = tools.compute_transform_inverse(prm, heights, scale_factor=2, epsg=epsg, resolution=step)
    lines = prm.get("num_patches") * prm.get("num_valid_az")
    radius = tools._earth_radius_azimuth(prm, np.arange(0.5, lines, 1))
    longitude, latitude = Transformer.from_crs(epsg, 4326, always_xy=True).transform(*np.meshgrid(x, y))
    height = heights.interp(lat=("z", latitude.ravel()), lon=("z", longitude.ravel())).values.reshape(
        latitude.shape
    )
    orbits = [_orbit(stack, folder, name) for name in names]
    inside = np.isfinite(grid.azi.values) & np.isfinite(height)
    points = earth_fixed(longitude[inside], latitude[inside], height[inside])
    _, near_m = orbits[0].zero_doppler(points)
    result = [np.zeros(latitude.shape)]
    ends = [f"{name}_{at}" for name in ("baseline", "alpha", "B_offset") for at in ("start", "center", "end")]
    own = prm.SAT_baseline(prm)
    for name, orbit in zip(names[1:], orbits[1:], strict=True):
        other, _, _ = stack.align_rep(name, names[0], prm)
        found = prm.SAT_baseline(other)
        phase = tools.flat_earth_topo_phase(
            topo,
            other,
            prm,
            radius,
            baseline_params={key: found.get(key) for key in ends},
            sc_height_params={key: own.get(key) for key in ("SC_height", "SC_height_start", "SC_height_end")},
        )
        taken_off = tools.remap_radar_to_geo(
            phase.rename("data"), grid.azi.values, grid.rng.values, grid.y.values, grid.x.values
        )
        off = np.zeros(latitude.shape)
        _, far_m = orbit.zero_doppler(points)
        off[inside] = taken_off.transpose("y", "x").values[inside] + 4 * np.pi / WAVELENGTH_M * (
            far_m - near_m
        )
        result.append(np.nan_to_num(off))
    return result


def _orbit(stack: Any, folder: Path, name: str) -> Orbit:
    record = stack.get_record(name)
    found = read_orbit_file(folder / record.orbit.iloc[0])
    start = record.startTime.iloc[0].to_pydatetime().replace(tzinfo=UTC)
    return dense_orbit(found.state_vectors, start, start + timedelta(seconds=5))
