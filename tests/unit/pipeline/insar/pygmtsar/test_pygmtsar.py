"""What the in-process backend computes itself, and how it deals with its child; without the processor."""

from __future__ import annotations

import copy
import os
import socket
import subprocess
import sys
import warnings
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import rasterio
import xarray as xr
from lxml import etree
from numpy.typing import NDArray
from rasterio.errors import NotGeoreferencedWarning

from pipeline.errors import InterferometryError
from pipeline.insar.job import JobAcquisition, JobLimits, JobManifest, Step
from pipeline.insar.look.orbit_geometry import LIGHT_M_S, Orbit, earth_fixed, looks_right
from pipeline.insar.pygmtsar import burst_annotation, flattening, layout, mosaic, pygmtsar_backend
from pipeline.insar.pygmtsar.burst_annotation import burst_number, cut_annotation, outline, sources_in_safes
from pipeline.insar.pygmtsar.estimator import WEIGHTS, estimate
from pipeline.insar.pygmtsar.lattice import BurstEstimates, Lattice
from pipeline.insar.pygmtsar.pygmtsar_backend import PygmtsarBackend
from tests.unit.made_orbits import INSTANT, made_orbit_file

Complex = NDArray[np.complex64]
SAFES = "slc_annotation_pair_morocco"


def noise(shape: tuple[int, int], seed: int) -> Complex:
    rng = np.random.default_rng(seed)
    return (rng.standard_normal(shape) + 1j * rng.standard_normal(shape)).astype(np.complex64)


# the estimator


def test_weights_are_those_of_topsapp() -> None:
    # cchz_wave: 1 - |2 (j - bx/2) / (bx + 1)| with bx = 5
    assert pytest.approx([1 / 3, 2 / 3, 1, 2 / 3, 1 / 3]) == WEIGHTS


def test_estimates_are_the_sums_written_out() -> None:
    first, second = noise((12, 20), 1), 0.6 * noise((12, 20), 1) + 0.8 * noise((12, 20), 2)
    found = estimate(first, second, (1, 5))
    assert found.coherence.shape == (12, 4)
    row, block = 6, 1
    values = []
    for column in range(block * 5, block * 5 + 5):
        window = np.s_[row - 2 : row + 3, column - 2 : column + 3]
        w = np.outer(WEIGHTS, WEIGHTS)
        a, b = first[window].astype(complex), second[window].astype(complex)
        values.append(
            abs((w * a * b.conj()).sum()) / np.sqrt((w * abs(a) ** 2).sum() * (w * abs(b) ** 2).sum())
        )
    assert found.coherence[row, block] == pytest.approx(np.mean(values), rel=1e-5)
    looks = np.s_[row, block * 5 : block * 5 + 5]
    assert found.interferogram[row, block] == pytest.approx(
        (first[looks] * second[looks].conj()).mean(), rel=1e-5
    )
    assert found.amplitude[row, block] == pytest.approx(
        np.sqrt(abs(first[looks]) * abs(second[looks])).mean(), rel=1e-5
    )


def test_one_image_with_itself_is_coherent_and_a_phase_is_kept() -> None:
    first = noise((20, 40), 3)
    found = estimate(first, first * np.complex64(np.exp(-1j)), (2, 5))
    inner = np.s_[1:-1, 1:-1]
    assert found.coherence[inner] == pytest.approx(1, abs=1e-5)
    assert np.angle(found.interferogram[inner]) == pytest.approx(1, abs=1e-5)


def test_nothing_is_estimated_of_samples_that_are_missing_or_beyond_the_edge() -> None:
    first = noise((30, 60), 4)
    first[14, 30] = np.nan
    found = estimate(first, noise((30, 60), 5), (1, 5))
    missing = np.isnan(found.coherence)
    assert missing[12:17, 5:7].all()  # the window reaches two samples: columns 28 to 32 are in blocks 5 and 6
    assert missing[:2].all() and missing[-2:].all() and missing[:, 0].all() and missing[:, -1].all()
    assert not missing[2:12, 1:-1].any() and not missing[12:17, 1:5].any() and not missing[12:17, 7:-1].any()
    assert (np.isnan(found.interferogram) == missing).all() and (np.isnan(found.amplitude) == missing).all()


def test_zeros_have_no_coherence() -> None:
    first, second = noise((20, 40), 6), noise((20, 40), 7)
    first[:, 20:] = 0
    found = estimate(first, second, (1, 5))
    assert np.isnan(found.coherence[:, 5:]).all() and not np.isnan(found.coherence[2:-2, 1:4]).any()


# annotation


@pytest.fixture
def safe(shared_data: Path, tmp_path: Path) -> Path:
    """The first overflight of the real pair, with a small image beside the annotation of IW1."""
    source = sorted((shared_data / SAFES).glob("*.SAFE"))[0]
    target = tmp_path / source.name
    (target / "annotation").mkdir(parents=True)
    (target / "measurement").mkdir()
    for path in (source / "annotation").glob("*.xml"):
        (target / "annotation" / path.name).write_bytes(path.read_bytes())
        (target / "measurement" / f"{path.stem}.tiff").touch()
    return target


def test_bursts_of_a_safe_are_found_by_number(safe: Path) -> None:
    found = sources_in_safes((safe,), 52, "vv")
    assert len(found) == 18
    assert "052_110431_IW1" in found and "052_110431_IW2" in found
    assert found["052_110432_IW1"].index == 1


def test_the_number_of_a_burst_is_computed_where_it_is_not_stated(safe: Path) -> None:
    for path in (safe / "annotation").glob("*.xml"):
        product = burst_annotation.read_annotation(path)
        swath = path.stem[4:7].upper()
        for node in product.findall("swathTiming/burstList/burst"):
            stated = burst_number(product, node, swath, 52)
            node.remove(node.find("burstId"))
            assert burst_number(product, node, swath, 52) == stated


def test_the_annotation_of_one_burst_is_what_the_processor_takes(safe: Path) -> None:
    source = sources_in_safes((safe,), 52, "vv")["052_110434_IW2"]
    cut = etree.fromstring(cut_annotation(source))
    (burst,) = cut.findall("swathTiming/burstList/burst")
    assert burst.findtext("burstId") == "110434"
    first = cut.findtext("imageAnnotation/imageInformation/productFirstLineUtcTime")
    assert first == burst.findtext("azimuthTime") == cut.findtext("adsHeader/startTime")
    assert cut.findtext("imageAnnotation/imageInformation/numberOfLines") == "1519"
    (rate,) = cut.findall("generalAnnotation/azimuthFmRateList/azimuthFmRate")
    (centroid,) = cut.findall("dopplerCentroid/dcEstimateList/dcEstimate")
    assert rate.findtext("t0") == centroid.findtext("t0")
    # the centroid is the same function of slant range time, written about another one
    nearest = min(
        source.product.findall("dopplerCentroid/dcEstimateList/dcEstimate"),
        key=lambda e: abs(datetime.fromisoformat(e.findtext("azimuthTime")) - datetime.fromisoformat(first)
                          - timedelta(seconds=1.56)),
    )  # fmt: skip

    def at(entry: Any, tau: float) -> float:
        x = tau - float(entry.findtext("t0"))
        return sum(float(c) * x**k for k, c in enumerate(entry.findtext("dataDcPolynomial").split()))

    for tau in (5.6e-3, 5.9e-3):
        assert at(centroid, tau) == pytest.approx(at(nearest, tau), abs=1e-6)
    assert at(centroid, 5.9e-3) != pytest.approx(at(nearest, 5.9e-3 + 3e-4), abs=1e-2)
    # the source is as it was
    assert len(source.product.findall("swathTiming/burstList/burst")) == 9


def test_the_outline_reaches_the_last_line_of_a_burst(safe: Path) -> None:
    source = sources_in_safes((safe,), 52, "vv")["052_110434_IW1"]
    _west, south, _east, north = outline(source)
    # a line every 13.9 m along a track that is 12 degrees off north, 90 km of ground across
    along = 1507 * 13.9e-3 * np.cos(np.radians(12)) + 84 * np.sin(np.radians(12))
    assert (north - south) * 111.0 == pytest.approx(along, abs=2.5)
    points = etree.fromstring(cut_annotation(source)).findall(".//geolocationGridPoint")
    assert {point.findtext("line") for point in points} == {"0", "1506"}


@pytest.mark.parametrize(
    "spoil",
    [
        lambda p: p.find("generalAnnotation").remove(p.find("generalAnnotation/azimuthFmRateList")),
        lambda p: p.find("dopplerCentroid/dcEstimateList").clear(),
        lambda p: p.find("geolocationGrid/geolocationGridPointList").clear(),
        lambda p: [e.remove(e.find("dataDcPolynomial")) for e in p.iter("dcEstimate")],
        lambda p: [setattr(e.find("t0"), "text", "x") for e in p.iter("azimuthFmRate")],
    ],
)
def test_annotation_that_lacks_something_is_named(safe: Path, spoil: Any) -> None:
    source = sources_in_safes((safe,), 52, "vv")["052_110434_IW1"]
    spoil(source.product)
    with pytest.raises(InterferometryError) as error:
        cut_annotation(source)
    assert error.value.code == "annotation-unreadable" and "052_110434_IW1" in error.value.message


def test_hostile_annotation_is_refused(safe: Path) -> None:
    path = next((safe / "annotation").glob("*iw1*.xml"))
    path.write_text('<!DOCTYPE p [<!ENTITY a "b">]><product>&a;</product>')
    with pytest.raises(InterferometryError) as error:
        sources_in_safes((safe,), 52, "vv")
    assert error.value.code == "annotation-unreadable"


def test_a_job_that_lacks_a_burst_names_it(safe: Path, tmp_path: Path) -> None:
    manifest = manifest_of(safe.name, ("052_110434_IW1", "052_999999_IW1"))
    with pytest.raises(InterferometryError) as error:
        layout.find_bursts(tmp_path, manifest.reference, manifest)
    assert error.value.code == "inputs-missing" and "052_999999_IW1" in error.value.message


def test_a_swath_shorter_than_its_annotation_is_refused(safe: Path, tmp_path: Path) -> None:
    source = sources_in_safes((safe,), 52, "vv")["052_110434_IW1"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        profile = {"driver": "GTiff", "width": source.samples, "count": 1, "dtype": "complex_int16"}
        with rasterio.open(source.image, "w", height=1507, **profile) as image:
            assert image.height == 1507
    with pytest.raises(InterferometryError) as error:
        layout.write_burst_inputs(tmp_path / "in", [source], [tmp_path / "none.EOF"], "vv")
    assert error.value.code == "image-unreadable"


def manifest_of(safe: str, bursts: tuple[str, ...]) -> JobManifest:
    side = JobAcquisition(
        instant=datetime(2023, 9, 4, 6, 37, tzinfo=UTC),
        platform="sentinel-1a",
        absolute_orbit=50174,
        layout="safe",
        files=(safe,),
        orbit_file="inputs/orbits/none.EOF",
        orbit_kind="precise",
    )
    return JobManifest(
        pair="T052_20230904_20230916",
        backend="pygmtsar",
        relative_orbit=52,
        polarisation="vv",
        swaths=(1,),
        bursts=bursts,
        reference=side,
        secondary=side,
        geoid="EGM96",
        bbox=(-8.5, 31.0, -8.3, 31.3),
        esd=False,
        limits=JobLimits(memory_bytes=2_000_000_000, scratch_bytes=1, time_s=20),
    )


# orbits and heights


def orbit_of(instant: datetime, safe: Path, tmp_path: Path) -> tuple[Path, Any]:
    """An orbit file around `instant`, and a burst of that time."""
    file = made_orbit_file(-8.4, 31.2, 34.0, span_s=1500)
    moved = instant - INSTANT
    lines = [layout.vector_element(v.model_copy(update={"time": v.time + moved})) for v in file.state_vectors]
    day = instant.replace(hour=0, minute=0, second=0)
    name = (
        f"S1A_OPER_AUX_POEORB_OPOD_{day + timedelta(days=20):%Y%m%d}T120000_V{day - timedelta(days=1):%Y%m%d}T225942"
        f"_{day + timedelta(days=1):%Y%m%d}T005942.EOF"
    )
    path = tmp_path / name
    listed = "".join(line.replace("<OSV>", "<OSV><Quality>NOMINAL</Quality>") for line in lines)
    path.write_text(
        '<?xml version="1.0"?><Earth_Explorer_File><Data_Block type="xml">'
        f'<List_of_OSVs count="{len(lines)}">{listed}</List_of_OSVs></Data_Block></Earth_Explorer_File>'
    )
    source = copy.copy(sources_in_safes((safe,), 52, "vv")["052_110434_IW1"])
    object.__setattr__(source, "start", instant)
    return path, source


def test_the_orbit_ends_at_midnight(safe: Path, tmp_path: Path) -> None:
    instant = datetime(2023, 9, 4, 23, 50, tzinfo=UTC)
    orbit, source = orbit_of(instant, safe, tmp_path)
    folder = tmp_path / "in"
    folder.mkdir()
    layout.write_orbit(folder, source, orbit)
    (written,) = folder.glob("S1A_OPER_AUX_POEORB_OPOD_*_V20230903T*_20230905T*.EOF")
    times = [e.text[4:] for e in etree.parse(written).getroot().iter("UTC")]
    assert times[0] >= "2023-09-04T23:26" and times[-1] <= "2023-09-04T23:59:59.999999" and len(times) > 180


@pytest.mark.parametrize("second", [1, 86399 - 30])
def test_an_overflight_at_midnight_is_refused_with_the_way_out(
    safe: Path, tmp_path: Path, second: int
) -> None:
    instant = datetime(2023, 9, 4, tzinfo=UTC) + timedelta(seconds=second)
    orbit, source = orbit_of(instant, safe, tmp_path)
    with pytest.raises(InterferometryError) as error:
        layout.write_orbit(tmp_path, source, orbit)
    assert error.value.code == "orbit-midnight" and "isce2" in error.value.remedy


def test_an_orbit_of_another_hour_is_unusable(safe: Path, tmp_path: Path) -> None:
    orbit, source = orbit_of(datetime(2023, 9, 4, 12, tzinfo=UTC), safe, tmp_path)
    object.__setattr__(source, "start", datetime(2023, 9, 4, 14, tzinfo=UTC))
    with pytest.raises(InterferometryError) as error:
        layout.write_orbit(tmp_path, source, orbit)
    assert error.value.code == "orbit-unusable"


def test_heights_come_back_as_they_were_given(tmp_path: Path) -> None:
    package = pytest.importorskip(
        "insardev_pygmtsar.utils_satellite", reason="the extra `insar` is not installed"
    )
    rng = np.random.default_rng(1)
    heights = rng.uniform(-50, 4000, (90, 120)).astype(np.float32)
    dem, target = tmp_path / "dem.tif", tmp_path / "heights.nc"
    with rasterio.open(
        dem, "w", driver="GTiff", width=120, height=90, count=1, dtype="float32", crs="EPSG:4326",
        transform=rasterio.transform.from_origin(142.0, 42.8, 1 / 1200, 1 / 1200),
    ) as image:  # fmt: skip
        image.write(heights, 1)
    layout.write_heights(dem, target)
    from shapely.geometry import box

    seen = package.get_dem_wgs84ellipsoid(str(target), box(142.03, 42.75, 142.06, 42.78), buffer_degrees=1)
    assert float(np.abs(seen.values[::-1] - heights).max()) < 5e-4
    stored = xr.open_dataarray(target)
    assert 25 < float((heights[::-1] - stored.values).mean()) < 35  # EGM96 over Hokkaido
    stored.close()


# the exact phase


def orbits() -> tuple[Orbit, Orbit]:
    """Two orbits over one place, some 60 m apart, 30 s of a minute and 12 days."""
    first = made_orbit_file(142.0, 42.7, 38.0).state_vectors
    shifted = made_orbit_file(142.0, 42.7, 38.005).state_vectors
    later = timedelta(days=12, seconds=0.4)
    second = [v.model_copy(update={"time": v.time + later}) for v in shifted]
    begin = INSTANT - timedelta(seconds=2)
    end = INSTANT + timedelta(seconds=2)
    return flattening.dense_orbit(first, begin, end), flattening.dense_orbit(
        second, begin + later, end + later
    )


def test_a_dense_orbit_goes_through_and_between_the_vectors() -> None:
    vectors = made_orbit_file(142.0, 42.7, 38.0).state_vectors
    dense = flattening.dense_orbit(vectors[1::2], INSTANT, INSTANT)  # every 20 s
    for vector in vectors:
        if abs((vector.time - INSTANT).total_seconds()) < 55:
            position = dense.position_m(np.array(dense.seconds(vector.time)))
            assert np.abs(position - vector.position_m).max() < 1e-4


def test_ground_is_where_it_was_looked_for() -> None:
    orbit, _ = orbits()
    longitude, latitude = np.meshgrid(np.linspace(141.8, 142.4, 4), np.linspace(42.5, 42.9, 4))
    points = earth_fixed(longitude, latitude, 700.0)
    t, range_m = orbit.zero_doppler(points)
    found = flattening.ground_at(orbit, t, range_m, np.linalg.norm(points, axis=-1))
    assert np.abs(found - points).max() < 1e-3
    assert looks_right(orbit, found).all()


def test_the_phase_is_the_path_difference_at_every_sample() -> None:
    reference, secondary = orbits()
    midnight = INSTANT.replace(hour=0, minute=0, second=0)
    second = (INSTANT - midnight).total_seconds()
    radius = 6_369_000.0
    facts = {
        "clock_start": 247 + second / 86400, "PRF": 486.486, "rng_samp_rate": 64.345e6, "near_range": 855e3,
        "earth_radius": radius, "radar_wavelength": 0.0554658,
    }  # fmt: skip
    rng = np.random.default_rng(2)
    topo = xr.DataArray(
        rng.uniform(-100, 2500, (130, 200)).astype(np.float32),
        coords={"a": np.arange(130) + 0.5, "r": np.arange(200) * 10 + 0.5},
        dims=("a", "r"),
    )
    topo[5, 7] = np.nan
    prm = SimpleNamespace(get=facts.__getitem__)
    phase = flattening.Flattening(reference, secondary, midnight).phase(
        topo, prm, prm, None, baseline_params={}
    )
    assert phase.dims == ("a", "r") and np.isnan(phase[5, 7])
    for a, r in ((0, 0), (129, 199), (64, 20), (100, 150)):
        t = reference.seconds(midnight) + second + (float(topo.a[a]) - 0.5) / facts["PRF"]
        range_m = facts["near_range"] + (float(topo.r[r]) + 0.5) * LIGHT_M_S / 2 / facts["rng_samp_rate"]
        ground = flattening.ground_at(
            reference, np.array([t]), np.array([range_m]), np.array([radius + float(topo[a, r])])
        )
        difference = secondary.zero_doppler(ground)[1][0] - range_m
        expected = -4 * np.pi / facts["radar_wavelength"] * difference
        assert abs(expected) > 100
        # thousands of radians in 32 bits
        assert float(phase[a, r]) == pytest.approx(expected, abs=2e-3)


def test_nothing_of_the_processors_baseline_is_used() -> None:
    assert set(flattening.no_baseline(1, 2, nrows=3).values()) == {0.0}


# the mosaic


def stored(folder: Path, name: str, row: int, value: float, lattice: Lattice) -> None:
    shape = (60, 40)
    distance = np.minimum(np.arange(60) + 1, 60 - np.arange(60))[:, None] * np.ones(40)
    mosaic.write_burst(
        folder / name,
        BurstEstimates(
            row=row,
            column=lattice_column(),
            coherence=np.full(shape, value, np.float32),
            interferogram=np.full(shape, value + 0j, np.complex64),
            amplitude=np.full(shape, value, np.float32),
            incidence=np.full(shape, 37, np.float32),
            distance_m=distance.astype(np.float32),
        ),
        Step(name=name, seconds=1),
    )


def lattice_column() -> int:
    return 500_000 // 20


def test_a_pixel_comes_from_the_burst_in_which_it_lies_deepest(tmp_path: Path) -> None:
    lattice = Lattice(32654, (1, 5))
    top = -(4_730_000 // 14)
    bursts, target = tmp_path / "bursts", tmp_path / "products"
    bursts.mkdir()
    stored(bursts, "a", top, 0.25, lattice)
    stored(bursts, "b", top + 40, 0.75, lattice)
    (bursts / ".c.part").mkdir()  # what a kill left
    mosaic.write_products(bursts, lattice, (140.9, 42.6, 141.1, 42.8), target)
    with rasterio.open(target / "coherence.tif") as image:
        values = image.read(1)
        assert image.transform.f == -top * 14 and image.transform.c == lattice_column() * 20
        assert (image.transform.a, image.transform.e) == (20, -14) and image.crs.to_epsg() == 32654
    assert values.shape == (100, 40)
    assert (values[:50] == 0.25).all() and (values[50:] == 0.75).all()
    with rasterio.open(target / "interferogram.tif") as image:
        assert image.dtypes == ("complex64",)


def test_products_are_cut_to_the_wanted_box(tmp_path: Path) -> None:
    lattice = Lattice(32654, (1, 5))
    top = -(4_730_000 // 14)
    (tmp_path / "bursts").mkdir()
    stored(tmp_path / "bursts", "a", top, 0.5, lattice)
    with pytest.raises(InterferometryError) as error:
        mosaic.write_products(tmp_path / "bursts", lattice, (140.0, 41.0, 140.2, 41.2), tmp_path / "products")
    assert error.value.code == "product-elsewhere" and not list((tmp_path / "products").glob("*.tif*"))


# the child


@pytest.fixture
def job(tmp_path: Path) -> tuple[Path, JobManifest]:
    manifest = manifest_of("none", ("052_110434_IW1",))
    folder = tmp_path / "job"
    folder.mkdir()
    (folder / "manifest.json").write_text(manifest.model_dump_json())
    return folder, manifest


def test_without_the_package_the_way_out_is_named(
    job: tuple[Path, JobManifest], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pygmtsar_backend, "find_spec", lambda _: None)
    with pytest.raises(InterferometryError) as error:
        PygmtsarBackend().run(*job)
    assert error.value.code == "backend-missing"
    assert "slidecube[insar]" in error.value.remedy and "isce2" in error.value.remedy


def pretend(monkeypatch: pytest.MonkeyPatch, folder: Path, words: str) -> None:
    """Let another program stand for the worker."""
    program = folder / "child.py"
    program.write_text(words)
    real = pygmtsar_backend.run_watched

    def run(command: Any, *rest: Any) -> Any:
        return real([sys.executable, str(program), *command[3:]], *rest)

    monkeypatch.setattr(pygmtsar_backend, "find_spec", lambda _: True)
    monkeypatch.setattr(pygmtsar_backend, "run_watched", run)


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (
            "import os; print('all is lost', flush=True); os.kill(os.getpid(), 11)",
            "processor-died",
            "signal 11",
        ),
        ("print('fine')", "processor-died", "exit status 0"),
        ("import sys; sys.exit(3)", "processor-died", "exit status 3"),
        (
            'print(\'{"slidecube": "failed", "code": "dem-unusable", "message": "holes", "remedy": "fill"}\'); exit(8)',
            "dem-unusable",
            "holes",
        ),
        ("import time\nx = bytearray(400_000_000)\nwhile True: time.sleep(1)", "memory", "0.3 GB"),
        ("while True: pass", "time-limit", "0.000556 hours"),
    ],
)
def test_a_child_that_fails_is_told_apart(
    job: tuple[Path, JobManifest], monkeypatch: pytest.MonkeyPatch, words: str, code: str, said: str
) -> None:
    folder, manifest = job
    limits = JobLimits(memory_bytes=300_000_000, scratch_bytes=1, time_s=2 if code == "time-limit" else 20)
    pretend(monkeypatch, folder, words)
    with pytest.raises(InterferometryError) as error:
        PygmtsarBackend().run(folder, manifest.model_copy(update={"limits": limits}))
    assert error.value.code == code and said in error.value.message
    assert error.value.remedy


def test_progress_is_passed_on_while_the_child_works(
    job: tuple[Path, JobManifest], monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend(
        monkeypatch, job[0],
        'import time\nsaid = \'{"slidecube": "step", "name": "x", "number": %d, "of": 2}\'\n'
        "for n in (1, 2):\n    print(said % n, flush=True)\n    time.sleep(0.8)",
    )  # fmt: skip
    heard: list[tuple[str, int, int | None]] = []
    with pytest.raises(InterferometryError):
        PygmtsarBackend().run(*job, lambda *said: heard.append(said))
    assert heard == [("x", 1, 2), ("x", 2, 2)]


def test_the_child_sees_no_secret_and_writes_beside_nobody(
    job: tuple[Path, JobManifest], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("EARTHDATA_TOKEN", "SLIDECUBE_SUBSCRIPTION_KEY", "HTTPS_PROXY", "MY_PASSWORD", "NETRC"):
        monkeypatch.setenv(name, "sesame")
    monkeypatch.setenv("LANG", "C.UTF-8")
    pretend(
        monkeypatch, job[0],
        "import os, tempfile, pathlib\nprint(sorted(os.environ.items()))\n"
        "pathlib.Path(tempfile.gettempdir(), 'made').touch()\nprint(pathlib.Path.home())",
    )  # fmt: skip
    with pytest.raises(InterferometryError):
        PygmtsarBackend().run(*job)
    log = (job[0] / "scratch" / pygmtsar_backend.LOG).read_text()
    assert "sesame" not in log and "C.UTF-8" in log
    assert (job[0] / "scratch" / "home" / "made").exists()
    assert log.strip().endswith(str(job[0] / "scratch" / "home"))


def test_inside_a_job_there_is_no_network() -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    program = (
        "import socket\nfrom pipeline.insar.pygmtsar.worker import block_network\n"
        f"socket.create_connection(('127.0.0.1', {listener.getsockname()[1]})).close()\nblock_network()\n"
        f"socket.create_connection(('127.0.0.1', {listener.getsockname()[1]}))"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=dict(os.environ)
    )
    listener.close()
    assert ended.returncode == 1 and "PermissionError" in ended.stderr
