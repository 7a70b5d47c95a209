"""The pointer `latest` and the feed: written after a release is in place, of what lies on the disk."""

from __future__ import annotations

import errno
import json
import os
import shutil
import sqlite3
from pathlib import Path

import pytest
from click.testing import CliRunner
from lxml import etree

from model import api
from model.cli.bundles import map_landslides
from model.maps.map_rasters import disk_named
from model.origin import ORIGIN
from model.releases import release_products
from model.releases.announcement.feed import write_feed
from model.releases.announcement.latest_map import point_at
from pipeline.errors import DiskError
from pipeline.settings import settings
from tests.quiet_cube import quiet_cube
from tests.small_cube import write

SPACE = {"a": "http://www.w3.org/2005/Atom"}


@pytest.fixture
def data(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("SLIDECUBE_DATA_DIR", str(tmp_path / "data"))
    settings.cache_clear()
    yield tmp_path / "data"
    settings.cache_clear()


def entries(feed: Path) -> list:
    return etree.parse(feed).findall("a:entry", SPACE)


def test_a_map_in_its_place_is_pointed_at_and_announced(data, tmp_path):
    write(quiet_cube(64), tmp_path / "cube.zarr")
    done = CliRunner().invoke(map_landslides, [str(tmp_path / "cube.zarr")])
    assert done.exit_code == 0, done.output
    maps = data / "maps"
    latest = maps / "cube" / "latest"
    assert latest.is_symlink() and not latest.readlink().is_absolute()
    assert (
        done.stdout.rstrip().endswith(str(latest.resolve() / "index.html"))
        and (latest / "index.html").is_file()
    )
    (entry,) = entries(maps / "feed.atom")
    assert (maps / entry.find("a:link", SPACE).get("href")).is_file()
    before = (maps / "feed.atom").read_bytes()
    (maps / "feed.atom").unlink()
    latest.unlink()
    assert not api.map(str(tmp_path / "cube.zarr")).new
    assert latest.is_symlink() and (maps / "feed.atom").read_bytes() == before, "as before an interruption"
    api.map(str(tmp_path / "cube.zarr"), out=tmp_path / "elsewhere")
    assert not (tmp_path / "latest").exists() and (maps / "feed.atom").read_bytes() == before


def test_a_pointer_replaces_links_alone(tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        assert point_at(tmp_path / name, tmp_path / "latest")
        assert (tmp_path / "latest").resolve() == tmp_path / name
    (tmp_path / "latest").unlink()
    (tmp_path / "latest").mkdir()
    assert not point_at(tmp_path / "one", tmp_path / "latest")
    assert not (tmp_path / "latest").is_symlink()
    assert {path.name for path in tmp_path.iterdir()} == {"one", "two", "latest"}


def test_the_feed_has_every_release_with_its_text_as_text(folder, tmp_path):
    maps = tmp_path / "maps"
    shutil.copytree(folder, maps / "area" / "v1-detector")
    shutil.copytree(folder, maps / "area" / "v2 & more")
    shutil.copytree(folder, maps / "other" / "damaged")
    (maps / "other" / "damaged" / ORIGIN).write_text("{}")
    (maps / "other" / "old").mkdir()
    (maps / "area" / "latest").symlink_to("v1-detector")
    assert write_feed(maps, maps / "feed.atom") == 2
    text = (maps / "feed.atom").read_bytes()
    assert b"<script>" not in text
    found = entries(maps / "feed.atom")
    assert {one.find("a:link", SPACE).get("href") for one in found} == {
        "area/v1-detector/index.html", "area/v2%20%26%20more/index.html",
    }  # fmt: skip
    for one in found:
        assert "<script>alert(1)</script>" in one.findtext("a:title", namespaces=SPACE)
        assert "SIMULATED" in one.findtext("a:title", namespaces=SPACE)
        assert one.findtext("a:updated", namespaces=SPACE).endswith("Z")
    assert len({one.findtext("a:id", namespaces=SPACE) for one in found}) == 2


def test_a_map_of_other_exposure_is_another_map(data, tmp_path, folder):
    write(quiet_cube(64), tmp_path / "cube.zarr")
    cube, file = str(tmp_path / "cube.zarr"), str(folder.parent / "houses.gpkg")
    runner = CliRunner()
    assert runner.invoke(map_landslides, [cube]).exit_code == 0
    refused = runner.invoke(map_landslides, [cube, "--exposure", file])
    assert refused.exit_code not in (0, 1) and "exposure" in refused.stderr
    done = runner.invoke(map_landslides, [cube, "--exposure", file, "--replace", "--json"])
    report = json.loads(Path(json.loads(done.stdout)["report"]).read_text())
    assert [row["file"] for row in report["exposure"]] == ["houses.gpkg"]


@pytest.mark.parametrize("broken", ["write_geopackage", "write_exchange_files", "write_page", "write_stac"])
def test_a_release_is_whole_or_absent(data, tmp_path, monkeypatch, broken):
    def full(*args: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    write(quiet_cube(48), tmp_path / "cube.zarr")
    monkeypatch.setattr(release_products, broken, full)
    with pytest.raises(DiskError):
        api.map(str(tmp_path / "cube.zarr"))
    assert not (data / "maps").exists() or not any((data / "maps").rglob("*"))


def test_a_full_disk_is_named_where_sqlite_met_it(tmp_path, monkeypatch):
    def no_room(descriptor: int, offset: int, size: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", no_room)
    with pytest.raises(OSError) as full, disk_named(tmp_path / "landslides.gpkg"):
        raise sqlite3.OperationalError("database or disk is full")
    assert full.value.errno == errno.ENOSPC
    assert not any(tmp_path.iterdir())
