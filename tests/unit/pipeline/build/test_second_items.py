"""A second item of a slice that the cube has makes no version; an item that completes a pass does."""

from __future__ import annotations

import copy
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline.build import run as build
from pipeline.catalogue.catalogue import Catalogue
from pipeline.catalogue.snapshots import save_catalogue
from pipeline.cube.local_store import LocalStore
from pipeline.cube.versions import read_manifest
from pipeline.settings import settings
from tests.unit.pipeline.build.test_build_pairs import catalogue_of, here
from tests.unit.pipeline.build.test_build_pairs import rtc as rtc


@pytest.fixture(autouse=True)
def own_data(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    monkeypatch.setenv("SLIDECUBE_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("SLIDECUBE_LOCAL_ITEMS", "true")
    settings.cache_clear()
    yield
    settings.cache_clear()


class Archive:
    """What is listed, which grows from build to build."""

    def __init__(self, rtc: dict[str, Any], folder: Path) -> None:
        self.area, self.items, self.folder = here(interferometry=None), [rtc], folder

    def list_too(self, name: str, start: str | None = None, **properties: Any) -> None:
        """List an item of the same overflight; of the same slice without a `start`."""
        one = copy.deepcopy(self.items[0])
        one["id"] = name
        one["properties"] |= properties | ({} if start is None else {"start_datetime": start})
        self.items.append(one)

    def build(self) -> build.Published:
        found: Catalogue = catalogue_of(self.area, self.items[0], None)
        found = found.model_copy(update={"rtc_items": tuple(self.items)})
        path = save_catalogue(found, LocalStore(self.folder / f"catalogue-{len(self.items)}"))
        return build.build(self.area, Path(path))

    def slices(self, version: int) -> list[str]:
        manifest = read_manifest(build.store_of(self.area), version)
        (step,) = manifest.timesteps
        sources = manifest.records[step.layers["vv"]].recipe.sources
        return [source.id.rpartition("/")[0] for source in sources]


@pytest.fixture
def archive(rtc: dict[str, Any], tmp_path: Path) -> Archive:
    rtc["id"] = "m_rtc"
    return Archive(rtc, tmp_path)


@pytest.mark.parametrize("name", ["a_rtc", "z_rtc"])
@pytest.mark.parametrize("start", [None, "2018-09-05 20:21:25.400000+00:00"])
def test_a_second_item_of_a_slice_is_neither_read_nor_a_version(
    archive: Archive, name: str, start: str | None
) -> None:
    assert archive.build().new
    archive.list_too(name, start)
    again = archive.build()
    assert (again.new, again.layers_built, again.version) == (False, 0, 1)
    assert archive.slices(1) == ["m_rtc"]


def test_an_item_that_completes_a_pass_makes_a_version(archive: Archive) -> None:
    assert archive.build().new
    archive.list_too("a_rtc", "2018-09-05 20:21:50+00:00")
    again = archive.build()
    assert (again.new, again.version) == (True, 2)
    assert archive.slices(2) == ["m_rtc", "a_rtc"]


def test_a_newer_processing_under_another_id_is_taken(archive: Archive) -> None:
    assert archive.build().new
    archive.list_too("a_rtc", updated="2018-10-01T00:00:00Z")
    again = archive.build()
    assert (again.new, again.layers_built) == (True, 1)
    assert archive.slices(2) == ["a_rtc"]


@pytest.mark.parametrize(("checksum", "taken"), [("d50110aa", False), ("d50110bb", True)])
def test_a_second_item_is_read_where_its_files_are_stated_to_differ(
    archive: Archive, checksum: str, taken: bool
) -> None:
    archive.items[0]["assets"]["vv"]["file:checksum"] = "d50110aa"
    assert archive.build().new
    archive.list_too("z_rtc")
    archive.items[1]["assets"]["vv"] |= {"file:checksum": checksum}
    archive.items[1]["assets"]["vv"]["href"] = str(archive.folder / "zz.tif")
    shutil.copy(archive.folder / "vv.tif", archive.folder / "zz.tif")
    assert archive.build().new is taken
    assert archive.slices(2 if taken else 1) == ["z_rtc" if taken else "m_rtc"]
    assert not archive.build().new, "the choice is the same the next time"


def test_where_the_held_item_is_gone_its_double_takes_its_place(archive: Archive) -> None:
    assert archive.build().new
    archive.list_too("z_rtc")
    del archive.items[0]
    assert archive.build().new
    assert archive.slices(2) == ["z_rtc"]
