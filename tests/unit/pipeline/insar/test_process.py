"""Preparing jobs, running them once, and believing nothing of what a processor leaves."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine

from pipeline.archives.slc.orbit_files import FetchedOrbit
from pipeline.areas.area import AreaOfInterest, load_area
from pipeline.catalogue.assets import local_asset
from pipeline.catalogue.dem_items import DemTile
from pipeline.catalogue.slc import Burst, Granule, Pair, SlcPass
from pipeline.errors import ArchiveError, InterferometryError
from pipeline.insar import process
from pipeline.insar.backends import backend_named
from pipeline.insar.job import (
    METADATA,
    MOST_BURSTS,
    PRODUCTS,
    Esd,
    JobManifest,
    JobMetadata,
    Step,
    folder_of,
)
from pipeline.insar.job_parts import parts_of
from pipeline.insar.process import PairOrder, process_pair
from pipeline.insar.products.validate import check_products, product_of
from pipeline.places import insar_root
from pipeline.settings import settings

CONTRACT = Path(__file__).parents[4] / "pipeline" / "insar" / "README.md"
BOX = (142.0, 42.7, 142.11, 42.781)


def box_geometry(west: float, south: float, east: float, north: float) -> dict[str, Any]:
    ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    return {"type": "Polygon", "coordinates": [ring]}


def overflight(day: int, orbit: int, places: list[tuple[int, int]]) -> SlcPass:
    """Bursts by number and swath: each 0.2 degrees high and 0.3 wide, southwards by number, eastwards by swath."""
    start = datetime(2018, 8, day, 20, 31, 50, tzinfo=UTC)
    name = f"S1A_IW_SLC__1SSV_{start:%Y%m%dT%H%M%S}_20180824T203212_{orbit:06d}_029117_8F11"
    granule = Granule(
        name=name,
        platform="sentinel-1a",
        absolute_orbit=orbit,
        relative_orbit=46,
        direction="descending",
        start=start,
        end=start + timedelta(seconds=27),
        polarisations=("vv",),
        geometry=box_geometry(*BOX),
        url=f"https://datapool.asf.alaska.edu/SLC/SA/{name}.zip",
        size_bytes=10_000,
    )
    bursts = []
    for number, swath in places:
        south = 42.65 - 0.17 * (number - 100)
        west = 141.9 + 0.28 * (swath - 1)
        bursts.append(
            Burst(
                id=f"S1_{number:06d}_IW{swath}_{start:%Y%m%dT%H%M%S}_VV_8F11-BURST",
                full_id=f"046_{number:06d}_IW{swath}",
                granule=name,
                swath=f"IW{swath}",  # type: ignore[arg-type]
                polarisation="vv",
                index=number - 100,
                start=start,
                geometry=box_geometry(west, south, west + 0.3, south + 0.2),
                tiff_url="https://sentinel1-burst.asf.alaska.edu/a.tiff",
                xml_url="https://sentinel1-burst.asf.alaska.edu/a.xml",
                size_bytes=4000,
            )
        )
    return SlcPass(
        platform="sentinel-1a",
        absolute_orbit=orbit,
        relative_orbit=46,
        direction="descending",
        instant=start,
        granules=(granule,),
        bursts=tuple(bursts),
    )


def pair_of(places: list[tuple[int, int]]) -> Pair:
    reference, secondary = overflight(12, 23218, places), overflight(24, 23393, places)
    return Pair(
        reference=reference,
        secondary=secondary,
        polarisation="vv",
        burst_ids=tuple(sorted(burst.full_id for burst in reference.bursts)),
    )


# the cutting into parts


def test_few_bursts_are_one_part_cut_to_the_area() -> None:
    (part,) = parts_of(pair_of([(100, 1), (100, 2)]), BOX)
    assert part.bursts == ("046_000100_IW1", "046_000100_IW2")
    assert part.bbox == pytest.approx((142.0, 42.7, 142.11, 42.781))
    assert part.footprint == pytest.approx((141.9, 42.65, 142.48, 42.85))


@pytest.mark.parametrize("swaths", [(1,), (1, 2), (1, 2, 3)])
def test_many_bursts_are_cut_along_the_track_and_share_a_row(swaths: tuple[int, ...]) -> None:
    places = [(100 + row, swath) for row in range(23) for swath in swaths]
    wide = (141.0, 30.0, 143.0, 43.0)
    parts = parts_of(pair_of(places), wide)
    assert {burst for part in parts for burst in part.bursts} == set(pair_of(places).burst_ids)
    assert all(len(part.bursts) <= MOST_BURSTS for part in parts)
    rows = [{burst[4:10] for burst in part.bursts} for part in parts]
    for before, after in pairwise(rows):
        assert len(before & after) == 1 and max(before) == min(after)
    for part, row in zip(parts, rows, strict=True):
        assert len(part.bursts) == len(row) * len(swaths)  # swaths of a row stay together
    assert [part.number for part in parts] == list(range(len(parts)))


def test_a_gap_along_the_track_ends_a_part_that_shares_nothing() -> None:
    parts = parts_of(pair_of([(100, 1), (101, 1), (104, 1)]), (141.0, 30.0, 143.0, 43.0))
    assert [part.bursts for part in parts] == [("046_000100_IW1", "046_000101_IW1"), ("046_000104_IW1",)]


def test_bursts_beside_the_area_are_refused() -> None:
    with pytest.raises(InterferometryError) as error:
        parts_of(pair_of([(100, 1)]), (10.0, 42.0, 11.0, 43.0))
    assert error.value.code == "burst-elsewhere"


# jobs with a processor that is none


def write_products(
    job: Path, manifest: JobManifest, spoil: Callable[[dict[str, Any]], None] | None = None
) -> None:
    """Products that pass over the manifest's box, unless `spoil` changes them."""
    folder = folder_of(job)["products"]
    folder.mkdir(exist_ok=True)
    west, south, east, north = manifest.bbox
    size = 40
    transform = Affine((east - west) / size, 0, west, 0, (south - north) / size, north)
    rng = np.random.default_rng(1)
    phase = rng.uniform(-3, 3, (size, size))
    arrays: dict[str, Any] = {
        "coherence": rng.uniform(0.1, 0.9, (size, size)).astype(np.float32),
        "interferogram": (100 * np.exp(1j * phase)).astype(np.complex64),
        "amplitude": np.full((size, size), 10, np.float32),
        "incidence": np.full((size, size), 37, np.float32),
        "transform": dict.fromkeys(PRODUCTS, transform),
        "crs": dict.fromkeys(PRODUCTS, "EPSG:4326"),
    }
    if spoil:
        spoil(arrays)
    for name in PRODUCTS:
        values = arrays[name]
        if values is None:
            continue
        profile = {
            "driver": "GTiff", "count": 1, "dtype": values.dtype.name, "height": values.shape[0],
            "width": values.shape[1], "crs": arrays["crs"][name], "transform": arrays["transform"][name],
        }  # fmt: skip
        with rasterio.open(folder / f"{name}.tif", "w", **profile) as image:
            image.write(values, 1)


def metadata_of(job: Path, manifest: JobManifest) -> JobMetadata:
    folder = folder_of(job)["products"]
    return JobMetadata(
        pair=manifest.pair,
        part=manifest.part,
        backend=manifest.backend,
        versions={"fake": "1"},
        parameters={},
        steps=(Step(name="all", seconds=0.1),),
        bursts=manifest.bursts,
        orbits={"reference": "precise", "secondary": "precise"},
        esd=Esd(applied=False, reason="none"),
        products={
            name: product_of(folder / f"{name}.tif") for name in PRODUCTS if (folder / f"{name}.tif").exists()
        },
        valid_fraction=1.0,
        coherence_mean=0.5,
    )


class FakeBackend:
    """Counts its runs; may spoil its products or fail."""

    def __init__(self) -> None:
        self.jobs: list[tuple[Path, JobManifest]] = []
        self.spoil: Callable[[dict[str, Any]], None] | None = None
        self.failure: InterferometryError | None = None
        self.absent: InterferometryError | None = None
        self.inputs_seen: list[str] = []

    def ready(self) -> None:
        if self.absent is not None:
            raise self.absent

    def run(self, job: Path, manifest: JobManifest, progress: Any = None) -> JobMetadata:
        self.jobs.append((job, manifest))
        inputs = folder_of(job)["inputs"]
        self.inputs_seen = sorted(str(p.relative_to(inputs)) for p in inputs.rglob("*") if p.is_file())
        assert all(not p.stat().st_mode & 0o222 for p in (inputs, *inputs.rglob("*")))
        (folder_of(job)["scratch"] / "work").write_text("x")
        if self.failure is not None:
            raise self.failure
        write_products(job, manifest, self.spoil)
        metadata = metadata_of(job, manifest)
        (folder_of(job)["products"] / METADATA).write_text(metadata.model_dump_json())
        return metadata


class Bench:
    """An area, its tiles on the disk, archives that write small files, and the fake processor."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.backend = FakeBackend()
        self.fetched: list[tuple[str, tuple[str, ...], str]] = []
        self.area: AreaOfInterest = load_area("sandbox")
        tile = folder / "tile.tif"
        with rasterio.open(
            tile, "w", driver="GTiff", count=1, dtype="int16", height=601, width=1201, crs="EPSG:4326",
            transform=Affine(1 / 1200, 0, 141.7 - 0.5 / 1200, 0, -1 / 1200, 43.0 + 0.5 / 1200),
        ) as image:  # fmt: skip
            image.write(np.full((601, 1201), 100, np.int16), 1)
        self.tiles = (
            DemTile(
                id="tile", collection="nasadem", asset=local_asset(str(tile)), bbox=(141.7, 42.5, 142.7, 43.0)
            ),
        )
        monkeypatch.setattr(process, "fetch_slc", self._fetch_slc)
        monkeypatch.setattr(process, "fetch_orbit", self._fetch_orbit)
        monkeypatch.setattr(process, "backend_named", lambda name: self.backend)

    def order(self, **changes: Any) -> PairOrder:
        rule = (self.area.interferometry or process.Interferometry()).model_copy(update=changes)
        return PairOrder(
            area=self.area.model_copy(update={"interferometry": rule}),
            pair=pair_of([(100, 1), (100, 2)]),
            tiles=self.tiles,
        )

    def _fetch_slc(
        self, side: SlcPass, burst_ids: Any, polarisation: str, folder: Path, mode: str, progress: Any
    ) -> tuple[Path, ...]:
        self.fetched.append((side.id, tuple(burst_ids), mode))
        folder.mkdir(parents=True, exist_ok=True)
        if mode == "granules":
            safe = folder / f"{side.granules[0].name}.SAFE"
            (safe / "measurement").mkdir(parents=True, exist_ok=True)
            (safe / "manifest.safe").write_text("safe")
            (safe / "measurement" / "a.tiff").write_text("a")
            return (safe,)
        found = []
        for burst in side.bursts:
            if burst.full_id in burst_ids:
                for suffix in ("tiff", "xml"):
                    path = folder / f"{burst.id}.{suffix}"
                    path.unlink(missing_ok=True)
                    path.write_text(suffix)
                found.append(folder / f"{burst.id}.tiff")
        return tuple(found)

    def _fetch_orbit(
        self, platform: str, start: datetime, end: datetime, folder: Path, *, scene: str
    ) -> FetchedOrbit:
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"S1A_{start:%Y%m%d}.EOF"
        path.write_text("orbit")
        return FetchedOrbit(path=path, kind="precise", name=path.stem, validity=(start, end))


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    monkeypatch.setenv("SLIDECUBE_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("SLIDECUBE_INSAR_BACKEND", "pygmtsar")
    monkeypatch.setenv("SLIDECUBE_LOCAL_ITEMS", "true")
    settings.cache_clear()
    yield Bench(tmp_path, monkeypatch)
    settings.cache_clear()


def test_a_service_gets_the_names_of_the_bursts_and_nothing_is_fetched_for_it(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLIDECUBE_INSAR_BACKEND", "hyp3")
    settings.cache_clear()
    order = bench.order()
    (products,) = process_pair(order)
    assert bench.fetched == [] and bench.backend.inputs_seen == []
    (manifest,) = (manifest for _, manifest in bench.backend.jobs)
    assert (manifest.backend, manifest.dem, manifest.geoid) == ("hyp3", "", "")
    for side, one in ((manifest.reference, order.pair.reference), (manifest.secondary, order.pair.secondary)):
        assert (side.layout, side.orbit_file, side.orbit_kind) == ("names", "", "unknown")
        assert side.files == tuple(burst.id for burst in one.bursts)
    assert process_pair(order) == (products,) and len(bench.backend.jobs) == 1


def test_nothing_is_fetched_for_a_processor_that_is_not_there(bench: Bench) -> None:
    bench.backend.absent = InterferometryError("engine-absent", "There is none.", "Install one.")
    with pytest.raises(InterferometryError) as caught:
        process_pair(bench.order())
    assert caught.value.code == "engine-absent"
    assert bench.fetched == [] and bench.backend.jobs == []
    bench.backend.absent = None
    process_pair(bench.order())
    bench.backend.absent = InterferometryError("engine-absent", "There is none.", "Install one.")
    assert len(process_pair(bench.order())) == 1, "what is finished needs no processor"


def test_a_job_is_prepared_run_proved_and_cleaned(bench: Bench) -> None:
    (made,) = process_pair(bench.order())
    assert bench.backend.inputs_seen == [
        "dem.json", "dem.tif", "orbits/S1A_20180812.EOF", "orbits/S1A_20180824.EOF",
        *(f"{side}/S1_000100_IW{swath}_201808{day}T203150_VV_8F11-BURST.{suffix}"
          for side, day in (("reference", 12), ("secondary", 24)) for swath in (1, 2) for suffix in ("tiff", "xml")),
    ]  # fmt: skip
    ((job, manifest),) = bench.backend.jobs
    assert made.job == job
    assert manifest.swaths == (1, 2) and manifest.posting_m == 20.0 and manifest.geoid == "EGM96"
    assert manifest.reference.layout == "bursts" and manifest.limits.time_s == 24 * 3600
    assert sorted(path.name for path in job.iterdir()) == ["manifest.json", "products"]
    # what was fetched stays for the next pair of the overflight
    kept = insar_root("sandbox") / "slc" / "sentinel-1a_023218"
    assert len(list(kept.glob("*.tiff"))) == 2
    assert made.product("coherence").is_file()


def test_the_dem_of_a_job_is_ellipsoidal(bench: Bench) -> None:
    # 100 m above a geoid that lies some 30 m above the ellipsoid there
    bench.backend.failure = InterferometryError("processor-died", "gone")
    with pytest.raises(InterferometryError):
        process_pair(bench.order())
    ((job, _),) = bench.backend.jobs
    with rasterio.open(job / "inputs" / "dem.tif") as dem:
        heights = dem.read(1)
    assert heights.min() > 125 and heights.max() < 135
    assert json.loads((job / "inputs" / "dem.json").read_text())["geoid"] == "EGM96"


def test_a_finished_job_is_not_run_again(bench: Bench) -> None:
    first = process_pair(bench.order())
    again = process_pair(bench.order())
    assert again == first
    assert len(bench.backend.jobs) == 1 and len(bench.fetched) == 2


@pytest.mark.parametrize("change", [{"range_looks": 10}, {"esd": False}, {"fetch": "granules"}])
def test_another_request_is_another_job(bench: Bench, change: dict[str, Any]) -> None:
    (first,) = process_pair(bench.order())
    (second,) = process_pair(bench.order(**change))
    assert first.job != second.job and len(bench.backend.jobs) == 2


def test_whole_granules_are_linked_as_folders(bench: Bench) -> None:
    process_pair(bench.order(fetch="granules"))
    _, manifest = bench.backend.jobs[0]
    assert manifest.reference.layout == "safe"
    assert [Path(name).suffix for name in manifest.reference.files] == [".SAFE"]
    assert any(name.endswith(".SAFE/measurement/a.tiff") for name in bench.backend.inputs_seen)


def test_a_product_that_changed_is_made_again(bench: Bench) -> None:
    (made,) = process_pair(bench.order())
    path = made.product("coherence")
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    process_pair(bench.order())
    assert len(bench.backend.jobs) == 2


def test_damaged_metadata_do_not_count(bench: Bench) -> None:
    (made,) = process_pair(bench.order())
    (made.product("coherence").with_name(METADATA)).write_text('{"format": ')
    process_pair(bench.order())
    assert len(bench.backend.jobs) == 2


def test_an_unfinished_job_goes_on_without_fetching(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.backend.failure = InterferometryError("time-limit", "too slow")
    with pytest.raises(InterferometryError):
        process_pair(bench.order())
    bench.backend.failure = None
    ((job, _),) = bench.backend.jobs
    assert (job / "scratch" / "work").exists()
    monkeypatch.setenv("SLIDECUBE_INSAR_HOURS", "48")  # another limit is no other job
    settings.cache_clear()
    process_pair(bench.order())
    assert [path for path, _ in bench.backend.jobs] == [job, job]
    assert bench.backend.jobs[1][1].limits.time_s == 48 * 3600
    assert len(bench.fetched) == 2


def test_a_job_that_lost_an_input_is_prepared_anew(bench: Bench) -> None:
    bench.backend.failure = InterferometryError("time-limit", "too slow")
    with pytest.raises(InterferometryError):
        process_pair(bench.order())
    ((job, _),) = bench.backend.jobs
    (job / "inputs").chmod(0o755)
    (job / "inputs" / "dem.tif").unlink()
    bench.backend.failure = None
    process_pair(bench.order())
    assert len(bench.fetched) == 4


def test_a_kill_while_inputs_are_fetched_leaves_no_manifest(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> Any:
        raise ArchiveError("cut")

    fetch = process.fetch_orbit
    monkeypatch.setattr(process, "fetch_orbit", refuse)
    with pytest.raises(ArchiveError):
        process_pair(bench.order())
    (job,) = (path for path in (insar_root("sandbox") / "jobs").iterdir() if path.is_dir())
    assert not (job / "manifest.json").exists()
    monkeypatch.setattr(process, "fetch_orbit", fetch)
    process_pair(bench.order())
    assert len(bench.backend.jobs) == 1


def test_two_builds_of_one_pair_run_it_once(bench: Bench) -> None:
    entered, real = threading.Event(), bench.backend.run

    def slow(*arguments: Any) -> JobMetadata:
        entered.wait(0.2)
        return real(*arguments)

    bench.backend.run = slow  # type: ignore[method-assign]
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(process_pair, [bench.order()] * 2)
    assert first == second and len(bench.backend.jobs) == 1


def test_a_job_without_memory_is_refused_before_anything_is_fetched(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLIDECUBE_INSAR_MEMORY_GB", "1e6")
    settings.cache_clear()
    with pytest.raises(InterferometryError) as error:
        process_pair(bench.order())
    assert error.value.code == "memory-lacking" and not bench.fetched


def test_a_job_without_disk_is_refused_before_anything_is_fetched(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = process.shutil.disk_usage("/")._replace(free=1000)
    monkeypatch.setattr(process.shutil, "disk_usage", lambda _: usage)
    with pytest.raises(InterferometryError) as error:
        process_pair(bench.order())
    assert error.value.code == "disk-lacking" and not bench.fetched


def _outside(arrays: dict[str, Any]) -> None:
    arrays["transform"] = {name: Affine.translation(3, 0) * t for name, t in arrays["transform"].items()}


def _shifted(arrays: dict[str, Any]) -> None:
    arrays["transform"]["incidence"] = Affine.translation(1e-3, 0) * arrays["transform"]["incidence"]


def _set(name: str, value: Any) -> Callable[[dict[str, Any]], None]:
    def change(arrays: dict[str, Any]) -> None:
        arrays[name][...] = value

    return change


def _point(name: str, value: Any) -> Callable[[dict[str, Any]], None]:
    def change(arrays: dict[str, Any]) -> None:
        arrays[name][3, 4] = value

    return change


def _nearly_empty(arrays: dict[str, Any]) -> None:
    arrays["coherence"].ravel()[10:] = np.nan


def _doubled(arrays: dict[str, Any]) -> None:
    arrays["coherence"] = arrays["coherence"].astype(np.float64)


@pytest.mark.parametrize(
    ("spoil", "code"),
    [
        (lambda arrays: arrays.update(amplitude=None), "product-missing"),
        (_doubled, "product-misfit"),
        (_shifted, "product-misfit"),
        (lambda arrays: arrays.update(crs=dict.fromkeys(PRODUCTS)), "product-misfit"),
        (_outside, "product-elsewhere"),
        (_nearly_empty, "product-empty"),
        (_set("coherence", np.nan), "product-empty"),
        (_set("coherence", 0.0), "product-constant"),
        (_set("interferogram", 7.0), "product-phase"),
        (_set("incidence", np.nan), "product-range"),
        (_point("coherence", 1.01), "product-range"),
        (_point("coherence", -0.01), "product-range"),
        (_point("amplitude", np.inf), "product-range"),
        (_point("amplitude", -1), "product-range"),
        (_point("incidence", 88), "product-range"),
        (_point("interferogram", complex(np.nan, np.nan)), "product-range"),
    ],
)
def test_products_that_cannot_be_are_named_and_do_not_count(
    bench: Bench, spoil: Callable[[dict[str, Any]], None], code: str
) -> None:
    bench.backend.spoil = spoil
    with pytest.raises(InterferometryError) as error:
        process_pair(bench.order())
    assert error.value.code in (code, "metadata-misfit" if code == "product-missing" else code)
    assert error.value.remedy
    ((job, manifest),) = bench.backend.jobs
    assert not (job / "products" / METADATA).exists()
    with pytest.raises(InterferometryError) as error:
        check_products(job, manifest)
    assert error.value.code == code


def test_a_cut_product_is_unreadable(bench: Bench) -> None:
    (made,) = process_pair(bench.order())
    _, manifest = bench.backend.jobs[0]
    path = made.product("interferogram")
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(InterferometryError) as error:
        check_products(made.job, manifest)
    assert error.value.code == "product-unreadable"


def test_metadata_of_another_job_do_not_count(bench: Bench) -> None:
    real = bench.backend.run

    def other(job: Path, manifest: JobManifest, progress: Any) -> JobMetadata:
        return real(job, manifest, progress).model_copy(update={"pair": "T046_20000101_20000113"})

    bench.backend.run = other  # type: ignore[method-assign]
    with pytest.raises(InterferometryError) as error:
        process_pair(bench.order())
    assert error.value.code == "metadata-misfit"


def test_the_fraction_is_of_the_wanted_box(bench: Bench) -> None:
    def half(arrays: dict[str, Any]) -> None:
        arrays["coherence"][:20] = np.nan

    bench.backend.spoil = half
    (made,) = process_pair(bench.order())
    _, manifest = bench.backend.jobs[0]
    checked = check_products(made.job, manifest)
    assert checked.valid_fraction == pytest.approx(0.5, abs=0.001)
    with rasterio.open(made.product("coherence")) as image:
        assert checked.coherence_mean == pytest.approx(float(np.nanmean(image.read(1))), abs=1e-6)


# names of processors, and the contract's page


@pytest.mark.parametrize(("name", "code"), [("none", "backend-none"), ("snap", "backend-unknown")])
def test_a_processor_that_is_not_there_is_refused(name: str, code: str) -> None:
    with pytest.raises(InterferometryError) as error:
        backend_named(name)
    assert error.value.code == code and "SLIDECUBE_INSAR_BACKEND" in str(error.value)


@pytest.mark.parametrize("name", ["isce2", "pygmtsar"])
def test_a_processor_is_found_by_its_name(name: str) -> None:
    assert callable(backend_named(name).run)


def test_the_manifest_of_the_contract_is_one() -> None:
    text = CONTRACT.read_text(encoding="utf-8")
    (example,) = re.findall(r"```json\n(.*?)```", text, re.S)
    manifest = JobManifest.model_validate_json(example)
    assert {manifest.reference.layout, manifest.secondary.layout} == {"bursts", "safe"}
    assert set(json.loads(example)) == set(JobManifest.model_fields)
    for name in (*PRODUCTS, *JobMetadata.model_fields):
        assert name in text or name in ("format", "pair", "part", "backend"), name
    source = (CONTRACT.parent / "products" / "validate.py").read_text(encoding="utf-8")
    found = set(re.findall(r'"((?:product|metadata)-[a-z]+)"', source))
    assert found == set(re.findall(r"^\| `([a-z-]+)`", text, re.M))
