"""Pairs and look geometry from the plan to the version: wanted, failed and kept ones, and no mix of processors."""

from __future__ import annotations

import errno
import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine

from pipeline.archives.slc.orbit_files import FetchedOrbit
from pipeline.areas.area import AreaOfInterest
from pipeline.build import run as build
from pipeline.catalogue.catalogue import Catalogue, area_digest
from pipeline.catalogue.dem_items import DemTile
from pipeline.catalogue.slc import Pair, SlcHoldings
from pipeline.catalogue.snapshots import save_catalogue
from pipeline.cube.local_store import LocalStore
from pipeline.cube.read import open_cube
from pipeline.cube.verify import verify_cube
from pipeline.errors import ArchiveError, InterferometryError
from pipeline.insar.job import JobProducts
from pipeline.layers.interferometry import Interferometry, PairProcessor, PairTask
from pipeline.layers.kinds import KINDS, Kinds
from pipeline.places import insar_root
from pipeline.settings import settings
from tests.unit.made_orbits import INSTANT
from tests.unit.made_slc import burst_item, granule_item, holdings, repeats
from tests.unit.pipeline.archives.test_search_area import probed
from tests.unit.pipeline.catalogue.test_passes import area, item
from tests.unit.pipeline.catalogue.test_state_vectors import NAME, document
from tests.unit.pipeline.insar.products.test_products import job

PLACE = Affine(0.0002, 0, 141.99, 0, -0.0002, 42.71)
"""of the products: about 20 m, wider than the area"""


def here(**fields: Any) -> AreaOfInterest:
    """About 80 by 110 pixels."""
    wanted = {"bbox": (142.0, 42.69, 142.01, 42.70), "polarisations": ["vv"], "interferometry": {}}
    return area(**{**wanted, **fields})


@pytest.fixture(autouse=True)
def installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    monkeypatch.setenv("SLIDECUBE_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("SLIDECUBE_INSAR_BACKEND", "pygmtsar")
    monkeypatch.setenv("SLIDECUBE_LOCAL_ITEMS", "true")
    settings.cache_clear()
    yield
    settings.cache_clear()


@pytest.fixture
def rtc(tmp_path: Path) -> dict[str, Any]:
    """An item of backscatter whose file is on the disk."""
    return scene_item(tmp_path / "vv.tif")


def scene_item(path: Path) -> dict[str, Any]:
    """An item of a file of constant backscatter, which is made where it is absent."""
    if not path.exists():
        made = path.with_name("making.tif")
        with rasterio.open(
            made, "w", driver="GTiff", width=400, height=400, count=1, dtype="float32", crs="EPSG:32654",
            transform=Affine(10, 0, 580_000, 0, -10, 4_730_000),
        ) as file:  # fmt: skip
            file.write(np.full((400, 400), 0.2, "float32"), 1)
        made.rename(path)
    found = item("2018-09-05 20:21:25+00:00")
    found["assets"] = {"vv": {"href": str(path), "file:size": path.stat().st_size}}
    return found


def catalogue_of(
    where: AreaOfInterest, rtc: dict[str, Any], slc: SlcHoldings | None, *notes: str
) -> Catalogue:
    return Catalogue.model_validate(
        {
            "area": where.name,
            "area_digest": area_digest(where),
            "searched_at": "2018-10-02T00:00:00Z",
            "endpoint": "https://stac.example/v1",
            "rtc_items": [rtc],
            "dem_items": [],
            "slc": slc,
            "notes": notes,
        }
    )


class Processor:
    """Makes products at once: constant phase, coherence by the number of its call."""

    def __init__(self, folder: Path, fails: Callable[[Pair], Exception | None] = lambda pair: None) -> None:
        self.folder = folder
        self.fails = fails
        self.made: list[str] = []
        self.tiles: list[tuple[str, ...]] = []

    def __call__(
        self, area: AreaOfInterest, pair: Pair, tiles: tuple[DemTile, ...]
    ) -> tuple[JobProducts, ...]:
        if (error := self.fails(pair)) is not None:
            raise error
        self.made.append(pair.id)
        self.tiles.append(tuple(tile.id for tile in tiles))
        level = np.full((110, 120), (pair.reference.instant.day + 1) / 100)
        made = job(
            self.folder / f"{pair.id}-{len(self.made)}", level, np.exp(0.5j) + 0 * level, transform=PLACE
        )
        return (made.model_copy(update={"metadata": made.metadata.model_copy(update={
            "pair": pair.id, "backend": settings().insar_backend})}),)  # fmt: skip


class Site:
    """An area, its archive and its processor."""

    def __init__(self, tmp_path: Path, rtc: dict[str, Any], look: bool = True, **fields: Any) -> None:
        self.tmp_path, self.rtc, self.look = tmp_path, rtc, look
        self.area = here(**fields)
        self.processor: PairProcessor = Processor(tmp_path / "jobs")
        self.obstacles: list[str] = []
        """what keeps this machine from making pairs"""

    @property
    def kinds(self) -> Kinds:
        """All kinds of layer; look geometry needs orbits and elevation, which most tests lack."""
        pairs = Interferometry(self.processor, lambda mode: next(iter(self.obstacles), None))
        others = [one for one in KINDS if one.name not in ("interferometry", "" if self.look else "look")]
        return (*others, pairs)

    def build(self, slc: SlcHoldings | None, *notes: str, pairs: bool = True) -> build.Published:
        found = catalogue_of(self.area, self.rtc, slc, *notes)
        replay = Path(
            save_catalogue(
                found, LocalStore(self.tmp_path / f"catalogue-{len(list(self.tmp_path.iterdir()))}")
            )
        )
        return build.build(self.area, replay, pairs=pairs, kinds=self.kinds)

    def plan(self, slc: SlcHoldings | None) -> build.BuildPlan:
        return build.make_plan(self.area, catalogue_of(self.area, self.rtc, slc), kinds=self.kinds)

    @property
    def pairs(self) -> list[str]:
        with open_cube(build.store_of(self.area).uri) as cube:
            return cube["timepair"].values.tolist()

    def manifest(self) -> dict[str, Any]:
        with open_cube(build.store_of(self.area).uri) as cube:
            return json.loads((Path(cube.encoding["source"]) / "manifest.json").read_text())


@pytest.fixture
def site(tmp_path: Path, rtc: dict[str, Any]) -> Site:
    return Site(tmp_path, rtc, look=False)


def test_pairs_are_planned_built_once_and_are_in_the_cube(site: Site) -> None:
    planned = site.plan(repeats(3))
    wanted = [task for task in planned.wanted if task.kind.name == "interferometry"]
    assert [task.label for task in wanted] == ["pair T046_20180812_20180824", "pair T046_20180824_20180905"]
    assert all(task.size_bytes == 2 * 147_000_000 for task in wanted)
    backscatter = sum(task.size_bytes for task in planned.wanted if task.kind.name == "backscatter")
    assert planned.bytes_to_read - backscatter == 3 * 147_000_000, "the pass between is fetched once"
    first = site.build(repeats(3))
    assert first.failed == ()
    assert site.pairs == ["20180812_20180824", "20180824_20180905"]
    with open_cube(first.uri) as cube:
        np.testing.assert_allclose(np.nanmean(cube["coherence"].values, axis=(1, 2)), [0.13, 0.25])
        np.testing.assert_allclose(cube["interferogram"].values, 0.5, atol=1e-6)
        assert cube["timepair_backend"].values.tolist() == ["pygmtsar"] * 2
        assert cube["coherence"].attrs["window"] == "5x5"
        assert any("interferometry" in source for source in cube.attrs["sources"].splitlines())
    record = next(r for r in site.manifest()["records"].values() if r["recipe"]["kind"] == "interferometry")
    assert record["recipe"]["parameters"]["backend"] == "pygmtsar"
    assert record["recipe"]["parameters"]["range_looks"] == 5
    assert record["report"]["parts"][0]["versions"] == {"insardev-pygmtsar": "1"}
    assert [source["id"].split("_")[0] for source in record["recipe"]["sources"]] == ["S1", "S1"]
    again = site.build(repeats(3))
    assert (again.new, again.version) == (False, 1)
    assert len(site.processor.made) == 2
    planned = site.plan(repeats(3))
    assert not planned.changes
    written = json.loads(planned.model_dump_json())
    pairs = next(part for part in written["parts"] if part["kind"] == "interferometry")
    assert [task["pair"]["reference"]["platform"] for task in pairs["tasks"]] == ["sentinel-1a"] * 2


def test_a_pass_of_which_the_archive_lists_no_slc_is_listed_as_unpaired(site: Site) -> None:
    planned = site.plan(repeats(3))
    (seen,) = planned.passes
    listed = {
        (side.platform, side.absolute_orbit)
        for pair in planned.pairs
        for side in (pair.reference, pair.secondary)
    }
    assert (seen.platform, seen.absolute_orbit) not in listed
    line = f"track 46, {seen.instant:%Y-%m-%d}: ASF lists no SLC of the area then"
    assert line in planned.unpaired
    mate = planned.pairs[0].reference
    site.rtc["properties"]["sat:absolute_orbit"] = mate.absolute_orbit
    (seen,) = site.plan(repeats(3)).passes
    assert (seen.platform, seen.absolute_orbit) in listed
    assert not any("lists no SLC" in found for found in site.plan(repeats(3)).unpaired)


def test_a_pair_that_failed_is_named_and_the_others_are_built(site: Site) -> None:
    site.processor.fails = lambda pair: (
        InterferometryError("esd-no-coherence", "No coherent point was left.", "Turn ESD off.")
        if "20180812" in pair.id
        else None
    )
    published = site.build(repeats(3))
    assert published.failed == ("pair T046_20180812_20180824: No coherent point was left. Turn ESD off.",)
    assert (
        "pair T046_20180812_20180824: left out (No coherent point was left. Turn ESD off.)"
        in published.missing
    )
    assert site.pairs == ["20180824_20180905"]
    site.processor.fails = lambda pair: None
    healed = site.build(repeats(3))
    assert healed.failed == () and not any(line.startswith("pair") for line in healed.missing)
    assert site.pairs == ["20180812_20180824", "20180824_20180905"]
    assert len(site.processor.made) == 2, "what was made is not made again"


def test_a_pair_whose_slc_is_no_longer_listed_is_kept_and_named(site: Site) -> None:
    site.build(repeats(3))
    before = site.pairs
    published = site.build(repeats(1))
    assert site.pairs == before
    lines = [line for line in published.missing if line.startswith("pair T046")]
    assert len(lines) == 2 and published.complete
    # what the area's rule no longer chooses is left out by name
    site.area = here(exclude=("T046_20180812_20180824",))
    plan = site.plan(repeats(1))
    assert any("T046_20180812_20180824" in note for note in plan.notes)
    site.build(repeats(1))
    assert site.pairs == before[1:]


def test_a_full_disk_fails_the_pair_and_not_the_build(site: Site) -> None:
    site.processor.fails = lambda pair: (
        OSError(errno.ENOSPC, "No space left on device") if "20180812" in pair.id else None
    )
    published = site.build(repeats(3))
    assert published.new
    (failed,) = published.failed
    assert "T046_20180812_20180824" in failed and "the disk is full" in failed
    assert site.pairs == ["20180824_20180905"]


def test_pairs_that_fail_for_one_reason_are_reported_in_one_line(site: Site) -> None:
    site.processor.fails = lambda pair: InterferometryError("no-room", "The disk is full.", "Free room.")
    published = site.build(repeats(4))
    ids = "T046_20180812_20180824, T046_20180824_20180905, T046_20180905_20180917"
    assert published.failed == (f"3 pairs: {ids}: The disk is full. Free room.",)
    assert published.layers_failed == 3
    assert published.missing[-1] == f"3 pairs: {ids}: left out (The disk is full. Free room.)"


def test_pairs_that_this_machine_cannot_process_are_named_once_and_not_processed(site: Site) -> None:
    site.build(repeats(2))
    site.obstacles.append("There is no way to ISCE2. Build it.")
    published = site.build(repeats(4))
    assert published.failed == ()
    assert (
        "2 pairs: T046_20180824_20180905, T046_20180905_20180917: not made: There is no way to ISCE2. Build it."
    ) in published.missing
    assert site.pairs == ["20180812_20180824"]
    assert len(site.processor.made) == 1
    planned = site.plan(repeats(4))
    assert (len(planned.pairs), planned.wanted) == (3, ()), "the plan still shows what is wanted"
    assert site.build(repeats(4)).new is False
    assert not [line for line in site.plan(repeats(2)).missing if "ISCE2" in line], "the cube has all"
    site.obstacles.clear()
    site.build(repeats(4))
    assert len(site.pairs) == 3


def test_an_earlier_pair_stays_if_it_cannot_be_processed_again(
    site: Site,
) -> None:
    site.build(repeats(2))
    before = site.manifest()["timepairs"]
    site.area = here(interferometry={"range_looks": 10})
    site.obstacles.append("No login.")
    published = site.build(repeats(2))
    line = "pair T046_20180812_20180824: not made (1 kept as before): No login."
    assert line in published.missing
    assert site.manifest()["timepairs"] == before
    assert verify_cube(build.store_of(site.area).uri).sound


def test_a_build_without_pairs_keeps_existing_ones_and_a_later_one_adds_the_others(site: Site) -> None:
    site.build(repeats(2))
    first = site.build(repeats(3), pairs=False)
    assert first.failed == ()
    assert "pair T046_20180824_20180905: not made: left for a later build, as asked" in first.missing
    assert site.pairs == ["20180812_20180824"]
    assert site.build(repeats(3), pairs=False).new is False
    later = site.build(repeats(3))
    assert later.new and not [line for line in later.missing if line.startswith("pair")]
    assert site.pairs == ["20180812_20180824", "20180824_20180905"]
    assert site.build(repeats(3), pairs=False).new is False, "the cube has all: nothing is left for later"


def test_a_pair_whose_new_processing_fails_stays_as_it_was(site: Site) -> None:
    site.build(repeats(2))
    before = site.manifest()["timepairs"]
    renewed = repeats(2)
    renewed = renewed.model_copy(
        update={
            "granules": tuple(json.loads(json.dumps(g).replace("6dd7f6", "aaaaaa")) for g in renewed.granules)
        }
    )
    assert [task.held for task in site.plan(renewed).tasks if isinstance(task, PairTask)] == [False]
    site.processor.fails = lambda pair: ArchiveError("ASF answered 503.", transient=True)
    published = site.build(renewed)
    assert published.missing[-1] == "pair T046_20180812_20180824: kept as it was (ASF answered 503.)"
    assert site.manifest()["timepairs"] == before
    assert verify_cube(build.store_of(site.area).uri).sound
    # a second failure gives the same line, and no new version
    assert site.build(renewed).new is False


@pytest.mark.parametrize("reason", ["ASF", "none"])
def test_pairs_stay_as_they_are_where_the_archive_could_not_be_asked(
    site: Site, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.build(repeats(3))
    before = site.manifest()
    if reason == "none":
        monkeypatch.setenv("SLIDECUBE_INSAR_BACKEND", "none")
        settings.cache_clear()
    words = (
        "their archives could not be searched"
        if reason == "ASF"
        else "SLIDECUBE_INSAR_BACKEND chooses no processor"
    )
    published = site.build(None, "no pairs: ASF could not be searched (503)")
    assert published.failed == ()
    assert f"pairs: kept as they were ({words})" in published.missing
    assert site.manifest()["timepairs"] == before["timepairs"]
    assert verify_cube(build.store_of(site.area).uri).sound
    assert site.build(None, "no pairs: ASF could not be searched (503)").new is False
    assert len(site.processor.made) == 2


def test_an_area_without_interferometry_has_no_pairs_and_no_line_about_them(
    tmp_path: Path, rtc: dict[str, Any]
) -> None:
    site = Site(tmp_path, rtc, interferometry=None)
    published = site.build(None)
    assert site.pairs == []
    assert not [line for line in published.missing if "pair" in line]
    assert "timepairs" not in site.manifest()


def test_a_new_pass_adds_a_pair_and_changes_none(site: Site) -> None:
    site.build(repeats(3))
    before = site.manifest()["timepairs"]
    site.build(repeats(4))
    assert site.manifest()["timepairs"][:2] == before
    assert site.processor.made == [
        "T046_20180812_20180824", "T046_20180824_20180905", "T046_20180905_20180917",
    ]  # fmt: skip


def test_a_cube_of_another_backend_is_made_anew_and_never_mixed(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.build(repeats(3))
    monkeypatch.setenv("SLIDECUBE_INSAR_BACKEND", "isce2")
    settings.cache_clear()
    site.processor.fails = lambda pair: (
        InterferometryError("out-of-memory", "It needs 16 GB.") if "20180812" in pair.id else None
    )
    published = site.build(repeats(3))
    assert site.pairs == ["20180824_20180905"]
    assert [pair["backend"] for pair in site.manifest()["timepairs"]] == ["isce2"]
    assert (
        "pair T046_20180812_20180824: left out (made by pygmtsar, and this cube is of isce2; "
        "allow_mixed_backends keeps both)"
    ) in published.missing


def test_where_no_pair_of_the_new_backend_could_be_made_the_old_ones_stay(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.build(repeats(3))
    monkeypatch.setenv("SLIDECUBE_INSAR_BACKEND", "isce2")
    settings.cache_clear()
    site.processor.fails = lambda pair: InterferometryError("no-engine", "There is no engine.")
    site.build(repeats(3))
    assert [pair["backend"] for pair in site.manifest()["timepairs"]] == ["pygmtsar"] * 2


def test_an_area_may_ask_for_a_mix(
    tmp_path: Path, rtc: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    site = Site(tmp_path, rtc, look=False, interferometry={"allow_mixed_backends": True})
    site.build(repeats(2))
    monkeypatch.setenv("SLIDECUBE_INSAR_BACKEND", "isce2")
    settings.cache_clear()
    published = site.build(repeats(3))
    assert published.failed == ()
    assert [pair["backend"] for pair in site.manifest()["timepairs"]] == ["pygmtsar", "isce2"]
    assert len(site.processor.made) == 2, "what the other processor made is not made again"


def test_products_of_another_backend_than_planned_are_refused(site: Site) -> None:
    honest = site.processor

    def other(*order: Any) -> tuple[JobProducts, ...]:
        (made,) = honest(*order)
        return (made.model_copy(update={"metadata": made.metadata.model_copy(update={"backend": "isce2"})}),)

    site.processor = other
    published = site.build(repeats(2))
    assert all(name in published.failed[0] for name in ("pygmtsar", "isce2"))


def test_two_tracks_of_the_same_days_have_distinct_labels(site: Site) -> None:
    one = repeats(2)
    granules, bursts = list(one.granules), list(one.bursts)
    for number, day in enumerate(("2018-08-12", "2018-08-24")):
        granule = granule_item(f"{day}T08:30:00Z", orbit=24000 + number, track=68, product=f"B{number:03X}")
        granules.append(granule)
        bursts.append(burst_item("068_145000_IW2", f"{day}T08:30:09Z", granule=granule))
    site.build(holdings([], []).model_copy(update={"granules": tuple(granules), "bursts": tuple(bursts)}))
    assert site.pairs == ["20180812_20180824_T068", "20180812_20180824_T046"]


def dem_tile(name: str, west: float, south: float) -> dict[str, Any]:
    return {
        "type": "Feature", "id": name, "collection": "nasadem", "bbox": [west, south, west + 1, south + 1],
        "assets": {"elevation": {"href": f"https://nasademeuwest.blob.core.windows.net/nasadem-cog/{name}.tif"}},
    }  # fmt: skip


def test_a_pair_depends_on_the_elevation_around_its_own_bursts_only(site: Site) -> None:
    tiles = [dem_tile("near", 141.0, 42.0), dem_tile("far", 150.0, 42.0)]
    found = catalogue_of(site.area, site.rtc, repeats(2).model_copy(update={"dem_items": tuple(tiles)}))
    found = found.model_copy(update={"probes": probed([site.rtc, *tiles])})
    (task,) = [
        task
        for task in build.make_plan(site.area, found, kinds=site.kinds).tasks
        if isinstance(task, PairTask)
    ]
    assert [source.id for source in task.recipe.sources][2:] == ["near"]
    changed = {
        href: a.model_copy(update={"etag": '"new"'}) for href, a in found.probes.items() if "far" in href
    }
    other = found.model_copy(update={"probes": found.probes | changed})
    (same,) = [
        task
        for task in build.make_plan(site.area, other, kinds=site.kinds).tasks
        if isinstance(task, PairTask)
    ]
    assert same.recipe.digest == task.recipe.digest


@pytest.mark.parametrize(
    "change",
    [{"range_looks": 10}, {"azimuth_looks": 2}, {"esd": False}],
    ids=lambda change: next(iter(change)),
)
def test_what_decides_the_values_decides_the_recipe(site: Site, change: dict[str, Any]) -> None:
    (task,) = [task for task in site.plan(repeats(2)).tasks if isinstance(task, PairTask)]
    site.area = here(interferometry=change)
    (other,) = [task for task in site.plan(repeats(2)).tasks if isinstance(task, PairTask)]
    assert task.recipe.digest != other.recipe.digest
    site.area = here(interferometry={"fetch": "granules"})
    (same,) = [task for task in site.plan(repeats(2)).tasks if isinstance(task, PairTask)]
    assert same.recipe.digest == task.recipe.digest, "how it is fetched changes no value"


def test_every_backend_has_its_estimators_in_the_recipe() -> None:
    from typing import get_args

    from pipeline.insar.job import Backend
    from pipeline.insar.products.products import ESTIMATORS
    from pipeline.insar.pygmtsar.worker import ALGORITHM

    assert set(ESTIMATORS) == set(get_args(Backend))
    assert ESTIMATORS["pygmtsar"]["processing"] == ALGORITHM, "raised together, or old pairs stay"
    assert Interferometry.variables == ("interferogram", "coherence")


def test_at_most_one_pair_is_processed_at_once_unless_the_settings_allow_more(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many layers are read at once."""
    import threading

    running, most, lock = 0, 0, threading.Lock()
    honest = site.processor

    def watched(*order: Any) -> tuple[JobProducts, ...]:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        threading.Event().wait(0.05)
        try:
            return honest(*order)
        finally:
            with lock:
                running -= 1

    site.processor = watched
    site.build(repeats(4))
    assert most == 1
    monkeypatch.setenv("SLIDECUBE_INSAR_CONCURRENCY", "3")
    settings.cache_clear()
    site.area = here(name="there")
    site.build(repeats(4))
    assert most > 1


def hills_tile(folder: Path) -> dict[str, Any]:
    """A tile of elevation on the disk, 142 to 143 degrees east, 42 to 43 north."""
    count, step = 1201, 1 / 1200
    longitude, latitude = np.meshgrid(142 + np.arange(count) * step, 43 - np.arange(count) * step)
    height = 300 + 20 * np.sin(longitude * 300) * np.cos(latitude * 400)
    with rasterio.open(
        folder / "hills.tif", "w", driver="GTiff", width=count, height=count, count=1, dtype="float32",
        crs="EPSG:4326", transform=Affine(step, 0, 142 - step / 2, 0, -step, 43 + step / 2),
    ) as file:  # fmt: skip
        file.write(height.astype("float32"), 1)
    found = dem_tile("NASADEM_HGT_n42e142", 142.0, 42.0)
    found["assets"]["elevation"]["href"] = str(folder / "hills.tif")
    return found


def test_look_geometry_has_its_axis_and_is_kept_where_it_cannot_be_made_anew(
    tmp_path: Path, rtc: dict[str, Any]
) -> None:
    site = Site(tmp_path, rtc, bbox=(142.3, 42.69, 142.31, 42.70))
    granule = granule_item(f"{INSTANT:%Y-%m-%dT%H:%M:%SZ}")
    slc = holdings([granule], [burst_item(start=f"{INSTANT:%Y-%m-%dT%H:%M:%SZ}", granule=granule)])
    slc = slc.model_copy(update={"dem_items": (hills_tile(tmp_path),)})
    orbits = insar_root("here") / "orbits"
    orbits.mkdir(parents=True)
    (orbits / f"{NAME}.EOF").write_text(document())
    published = site.build(slc)
    assert published.failed == ()
    assert "pairs: none (the SLC passes of the area make none)" in published.missing
    with open_cube(published.uri) as cube:
        incidence = cube["local_incidence_deg"]
        assert incidence.dims == ("track", "y", "x")
        assert cube["track"].values.tolist() == [46]
        assert cube["local_incidence_deg_coverage"].values.tolist() == [1.0]
        assert 34 < float(incidence.sel(track=46).mean()) < 40
        assert set(np.unique(cube["layover_shadow"].values)) <= {0.0, 1.0, 2.0, 3.0}
        assert cube["relative_orbit"].dims == ("timestep",)
    record = next(r for r in site.manifest()["records"].values() if r["recipe"]["kind"] == "look")
    assert record["recipe"]["sources"][0]["id"] == "sentinel-1a_023560"
    assert record["report"]["orbit_file"] == NAME
    assert site.build(slc).new is False
    kept = site.manifest()["looks"]
    # another elevation makes another layer, and this one is damaged
    again = hills_tile(tmp_path)
    (tmp_path / "other.tif").write_bytes(b"II*\0 no picture")
    again |= {"id": "another", "assets": {"elevation": {"href": str(tmp_path / "other.tif")}}}
    failed = site.build(slc.model_copy(update={"dem_items": (again,)}))
    assert failed.missing[-1].startswith("look geometry of track 46: kept as it was (")
    assert site.manifest()["looks"] == kept
    assert verify_cube(build.store_of(site.area).uri).sound


@pytest.mark.parametrize("asked", [True, False], ids=["ASF has none", "ASF could not be asked"])
def test_a_track_without_single_look_data_has_look_geometry_too(
    tmp_path: Path, rtc: dict[str, Any], asked: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the product that the folder of the pass's files names; the layer is the same, whatever ASF answers."""
    site = Site(tmp_path, rtc, bbox=(142.3, 42.69, 142.31, 42.70))
    folder = tmp_path / f"S1A_IW_GRDH_1SDV_{INSTANT:%Y%m%dT%H%M%S}_20180905T204225_023560_02910C_8F11"
    folder.mkdir()
    rtc["assets"]["vv"]["href"] = str(Path(rtc["assets"]["vv"]["href"]).rename(folder / "vv.tif"))
    rtc["properties"] |= {
        "sat:absolute_orbit": 23560, "start_datetime": INSTANT.isoformat(), "datetime": INSTANT.isoformat(),
        "end_datetime": (INSTANT + timedelta(seconds=25)).isoformat(),
    }  # fmt: skip
    scenes: list[str] = []

    def fetch(*span: Any, scene: str) -> FetchedOrbit:
        scenes.append(scene)
        (tmp_path / f"{NAME}.EOF").write_text(document())
        return FetchedOrbit(
            path=tmp_path / f"{NAME}.EOF", kind="precise", name=NAME, validity=(INSTANT, INSTANT)
        )

    monkeypatch.setattr("pipeline.layers.look_geometry.orbit_files.fetch_orbit", fetch)
    found = catalogue_of(site.area, rtc, SlcHoldings() if asked else None)
    found = found.model_copy(update={"dem_items": (hills_tile(tmp_path),)})
    published = build.build(site.area, Path(save_catalogue(found, LocalStore(tmp_path))), kinds=site.kinds)
    assert published.failed == ()
    with open_cube(published.uri) as cube:
        assert cube["track"].values.tolist() == [46]
        assert 34 < float(cube["local_incidence_deg"].sel(track=46).mean()) < 40
    assert scenes == [folder.name]
    assert not [line for line in published.missing if "look" in line]
    other = found.model_copy(update={"slc": None if asked else SlcHoldings()})
    planned = build.make_plan(site.area, other)
    assert [task.held for task in planned.tasks if task.kind.name == "look"] == [True]


def test_a_track_of_which_no_product_is_named_is_listed_without_look_geometry(site: Site) -> None:
    site.look = True
    assert [line for line in site.plan(SlcHoldings()).missing if line.startswith("look")] == [
        "look geometry of track 46: none (an orbit is asked for by the name of a product, and no pass or granule of "
        "the track has one)"
    ]
