"""Fetching a published cube from the sandbox that poses as Zenodo: cut, wrong, refused, redirected, whole at last."""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from model.inputs import cubes
from pipeline.archives.http import downloads, http_client
from pipeline.build.cli import fetch_published
from pipeline.cube.export.published_form import write_published
from pipeline.cube.read import open_cube
from pipeline.places import Place
from pipeline.sandbox.deposits import add_cube
from pipeline.sandbox.folder_world import FolderSources, make_folder_world
from pipeline.sandbox.posing.faults import Fault, Request
from pipeline.sandbox.posing.server import Sandbox
from pipeline.settings import settings
from tests.small_cube import small_cube, write

RECORD = 7248056
FILE = f"/api/records/{RECORD}/files/hokkaido_japan.zip/content"
MIRROR = "https://mirror.slidecube.example/hokkaido_japan.zip"


@dataclass
class Zenodo:
    """The sandbox, the cube that it serves, and the folder of what is fetched."""

    sandbox: Sandbox
    source: Path
    packed: Path
    data: Path = Path()

    @property
    def folder(self) -> Path:
        return self.data / "cubes" / "hokkaido-published"

    def fetch(self, *words: str) -> Result:
        return CliRunner().invoke(fetch_published, list(words) or ["hokkaido"])

    def requests(self, path: str = FILE) -> list[Request]:
        return [one for one in self.sandbox.log if one.path == path]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Zenodo]:
    folder = tmp_path_factory.mktemp("zenodo")
    cube = small_cube(256)
    source = folder / "hokkaido_japan.zarr"
    made = open_cube(write(cube, folder / "cube.zarr"))
    write_published(made, source, background="nan", bare=True)
    packed = folder / "elsewhere.zip"
    packed.touch()
    make_folder_world(FolderSources(served={MIRROR: packed}), folder / "world")
    files = add_cube(folder / "world", source, RECORD).parent
    shutil.copyfile(files / "hokkaido_japan.zip", packed)
    decibels = made.assign(vv=10 * np.log10(made.vv.where(made.vv > 0)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pipeline.cube.export.published_form.check_contract", lambda *_, **__: None)
        write_published(decibels, folder / "kaikoura_newzealand.zarr", bare=True)
    add_cube(folder / "world", folder / "kaikoura_newzealand.zarr", RECORD)
    with zipfile.ZipFile(files / "puerto_rico.zip", "w") as other:
        other.writestr("puerto_rico/README.txt", "no cube")
    with Sandbox(folder / "world") as sandbox:
        yield Zenodo(sandbox, source, packed)


@pytest.fixture
def zenodo(served: Zenodo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Zenodo]:
    for name, value in served.sandbox.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("SLIDECUBE_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("SLIDECUBE_BACKOFF_S", "0.001")
    monkeypatch.setenv("SLIDECUBE_RETRIES", "1")
    monkeypatch.setattr(http_client, "_limits", {})
    settings.cache_clear()
    served.sandbox.reset()
    served.data = tmp_path / "data"
    yield served
    settings.cache_clear()


def nothing_placed(folder: Path) -> bool:
    """Whether no cube is there, and no file that only a whole one has."""
    names = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    return names <= {".locks", "downloads"}


def test_a_cube_is_fetched_checked_and_found_by_its_name(zenodo: Zenodo) -> None:
    done = zenodo.fetch("hokkaido", "--json")
    assert done.exit_code == 0, done.output
    row = json.loads(done.stdout)
    assert row["new"] is True and row["path"] == str(zenodo.folder / "hokkaido_japan.zarr")
    assert {path.name for path in zenodo.folder.iterdir()} == {
        ".locks", "CITATION.txt", "hokkaido_japan.zarr", "published.json",
    }  # fmt: skip
    assert "cc-zero" in (zenodo.folder / "CITATION.txt").read_text()
    cube, facts = cubes.load("hokkaido-published")
    np.testing.assert_array_equal(cube.vv.values, open_cube(zenodo.source).vv.values)
    assert facts.area == "hokkaido-published" and facts.version is None and facts.simulated
    assert facts.licence == "cc-zero" and "zenodo.7248056" in facts.attribution
    assert json.loads(cube.attrs["event"])["start"].startswith("2018-09-05T18:07:59")
    assert Place(area=facts.area, version=facts.version).bundle().parent.name == "hokkaido-published"
    # the folder, the group and a copy are the same cube
    assert (
        cubes.load(str(zenodo.folder))[1].digest == facts.digest == cubes.load(str(zenodo.source))[1].digest
    )
    assert cubes.load(str(zenodo.source))[1].area == "hokkaido_japan"


def test_a_second_fetch_asks_nothing(zenodo: Zenodo) -> None:
    assert zenodo.fetch().exit_code == 0
    zenodo.sandbox.reset()
    again = zenodo.fetch("hokkaido", "--json")
    assert again.exit_code == 0 and json.loads(again.stdout)["new"] is False
    assert zenodo.sandbox.log == ()


def test_an_offer_states_size_and_licence_and_fetches_nothing(zenodo: Zenodo) -> None:
    done = zenodo.fetch("hokkaido", "--offer", "--json")
    offer = json.loads(done.stdout)
    assert offer["file"]["size_bytes"] == zenodo.packed.stat().st_size
    assert offer["record"]["licence"] == "cc-zero"
    assert zenodo.requests() == [] and not zenodo.folder.exists()


def test_a_cut_fetch_is_resumed_by_range(zenodo: Zenodo) -> None:
    zenodo.sandbox.add_fault(Fault(action="cut", path=FILE, after_bytes=1_000_000))
    assert zenodo.fetch().exit_code == 0
    first, second = zenodo.requests()
    assert (first.status, second.status, second.range) == (200, 206, "bytes=1000000-")
    assert first.bytes_sent + second.bytes_sent == zenodo.packed.stat().st_size


def test_a_later_command_resumes_what_an_earlier_one_left(zenodo: Zenodo) -> None:
    zenodo.sandbox.add_fault(
        Fault(action="cut", path=FILE, after_bytes=1_000_000), Fault(action="status", path=FILE, times=None)
    )
    failed = zenodo.fetch()
    assert failed.exit_code == 3 and "503" in failed.stderr and nothing_placed(zenodo.folder)
    assert (zenodo.folder / "downloads" / "hokkaido_japan.zip.part").stat().st_size == 1_000_000
    zenodo.sandbox.reset()
    assert zenodo.fetch().exit_code == 0
    assert [one.range for one in zenodo.requests()] == ["bytes=1000000-"]


def test_a_wrong_checksum_is_no_cube(zenodo: Zenodo) -> None:
    zenodo.sandbox.add_fault(Fault(action="wrong_md5", path=f"/api/records/{RECORD}"))
    failed = zenodo.fetch()
    assert failed.exit_code == 4 and "MD5" in failed.stderr and nothing_placed(zenodo.folder)
    assert zenodo.fetch().exit_code == 0


def test_a_flipped_byte_is_found_and_the_file_is_fetched_once_more(zenodo: Zenodo) -> None:
    zenodo.sandbox.add_fault(Fault(action="corrupt", path=FILE, after_bytes=500_000))
    assert zenodo.fetch().exit_code == 0
    assert [one.status for one in zenodo.requests()] == [200, 200]


@pytest.mark.parametrize("path", [f"/api/records/{RECORD}", FILE])
@pytest.mark.parametrize(
    ("fault", "named"),
    [
        ({"action": "status", "status": 404}, str(RECORD)),
        ({"action": "status", "status": 403}, "403"),
        ({"action": "status", "status": 429, "retry_after_s": 3600}, "429"),
        ({"action": "page"}, "web page"),
        ({"action": "redirect", "location": "https://unknown.slidecube.example/x.zip"}, "unknown.slidecube.example"),
        ({"action": "redirect", "location": "http://mirror.slidecube.example/x.zip"}, "not encrypted"),
        ({"action": "redirect", "location": f"https://zenodo.org{FILE}"}, str(RECORD)),
    ],
)  # fmt: skip
def test_what_is_refused_is_named_and_leaves_nothing(
    zenodo: Zenodo, monkeypatch: pytest.MonkeyPatch, path: str, fault: dict[str, str], named: str
) -> None:
    monkeypatch.setenv("SLIDECUBE_RETRIES", "0")
    settings.cache_clear()
    zenodo.sandbox.add_fault(Fault(path=path, times=None, **fault))  # type: ignore[arg-type]
    failed = zenodo.fetch()
    assert failed.exit_code == 3 and named in failed.stderr, failed.output
    assert "Traceback" not in failed.output and nothing_placed(zenodo.folder)
    zenodo.sandbox.reset()
    assert zenodo.fetch().exit_code == 0


def test_a_server_that_asks_for_a_wait_gets_it(zenodo: Zenodo) -> None:
    zenodo.sandbox.add_fault(
        Fault(action="status", status=429, retry_after_s=0, path=f"/api/records/{RECORD}"),
        Fault(action="status", status=429, retry_after_s=0, path=FILE),
    )
    assert zenodo.fetch().exit_code == 0
    assert [one.status for one in zenodo.sandbox.log] == [429, 200, 429, 200]


def test_a_mirror_that_zenodo_leads_to_is_used_and_its_file_checked(zenodo: Zenodo) -> None:
    zenodo.sandbox.add_fault(Fault(action="redirect", location=MIRROR, path=FILE, times=None))
    assert zenodo.fetch().exit_code == 0
    zenodo.data = zenodo.data / "again"
    shutil.rmtree(zenodo.data.parent / "cubes")
    zenodo.sandbox.add_fault(
        Fault(action="corrupt", host="mirror.slidecube.example", times=None, after_bytes=500_000)
    )
    assert zenodo.fetch().exit_code == 4


def test_a_disk_without_room_is_refused_before_the_first_byte(
    zenodo: Zenodo, monkeypatch: pytest.MonkeyPatch
) -> None:
    size = zenodo.packed.stat().st_size
    free = downloads.DISK_MARGIN_BYTES + 2 * size - 1  # the zip and the cube do not fit together
    monkeypatch.setattr(downloads.shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(free, 0, free))  # type: ignore[attr-defined]
    failed = zenodo.fetch()
    assert failed.exit_code == 9 and "room" in failed.stderr
    assert zenodo.requests() == [] and nothing_placed(zenodo.folder)


@pytest.mark.parametrize(
    ("area", "code", "named"),
    [
        ("kaikoura", 5, "decibels"),
        ("puerto-rico", 4, "no Zarr group"),
        ("talakmau", 4, "talakmau_indonesia.zip"),
        ("hokaido", 2, "hokkaido"),
        ("sandbox", 2, "sandbox"),
    ],
)
def test_what_is_no_cube_is_named(zenodo: Zenodo, area: str, code: int, named: str) -> None:
    failed = zenodo.fetch(area)
    assert failed.exit_code == code and named in failed.stderr, failed.output
    assert nothing_placed(zenodo.data / "cubes" / f"{area}-published")


def test_a_fetch_that_was_killed_after_unpacking_is_finished(zenodo: Zenodo) -> None:
    """The cube is put in its place last: a record without it stands for no cube yet."""
    assert zenodo.fetch().exit_code == 0
    (zenodo.folder / "hokkaido_japan.zarr").rename(zenodo.folder / ".unpacked")
    assert zenodo.fetch().exit_code == 0
    assert cubes.load("hokkaido-published")[1].area == "hokkaido-published"
    assert not (zenodo.folder / ".unpacked").exists()


def test_a_cube_that_a_person_put_there_is_not_replaced(zenodo: Zenodo) -> None:
    own = zenodo.folder / "hokkaido_japan.zarr"
    own.mkdir(parents=True)
    (own / ".zgroup").write_text("mine")
    failed = zenodo.fetch()
    assert failed.exit_code == 5 and "hokkaido_japan.zarr" in failed.stderr
    assert [path.name for path in own.iterdir()] == [".zgroup"] and (own / ".zgroup").read_text() == "mine"
    assert not (zenodo.folder / "downloads").exists()


def test_a_damaged_record_is_an_error_by_name(zenodo: Zenodo) -> None:
    assert zenodo.fetch().exit_code == 0
    (zenodo.folder / "published.json").write_text('{"area": "hokkaido-published", "group": "../../other"}')
    failed = zenodo.fetch()
    assert failed.exit_code == 5 and "published.json" in failed.stderr
