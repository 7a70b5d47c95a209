"""What may go by a policy: listed first, then gone; never what is linked, mounted, locked or made by somebody else."""

from __future__ import annotations

import json
import os
import shutil
import threading
from pathlib import Path

import pytest
from click.testing import CliRunner

from model.cli.housekeeping import clean as command
from model.holdings import disk_use
from model.holdings.clean import BY_DEFAULT, KINDS, CleanPolicy, clean
from model.holdings.disk_use import own_folders, tree
from model.origin import Origin, describe
from pipeline.cube.local_store import LocalStore
from pipeline.cube.verify import verify_cube
from pipeline.cube.versions import LOCK, version_numbers
from pipeline.lock import held
from tests.faults.writer import write
from tests.unit.model.holdings.conftest import aged, filled


def paths(report):
    return sorted(item.path.name for item in report.items)


def gone(*kinds, **policy):
    return clean(CleanPolicy(kinds=kinds or BY_DEFAULT, **policy), really=True)


def listing(data: Path) -> set[str]:
    return {path.relative_to(data).as_posix() for path in data.rglob("*") if not path.name.endswith(".lock")}


def test_a_dry_run_removes_nothing(data):
    write(data / "cubes/test")
    filled(data / "insar/test/slc/S1A_1")
    aged(data / "insar")
    before = listing(data)
    report = clean(CleanPolicy(keep_versions=1))
    assert {item.kind for item in report.items} == {"versions", "slc"} and not report.removed
    assert listing(data) == before and report.size_bytes > 20_000


def test_old_versions_go_with_the_layers_that_they_alone_use(data):
    root = data / "cubes/test"
    write(root)
    assert not clean(CleanPolicy(kinds=("versions",))).items, "a build keeps two itself"
    listed = clean(CleanPolicy(kinds=("versions",), keep_versions=1))
    before = tree(root).size_bytes
    report = gone("versions", keep_versions=1)
    freed = before - tree(root).size_bytes
    assert listed.size_bytes == report.size_bytes == pytest.approx(freed, abs=20_000)
    assert version_numbers(LocalStore(root)) == [2] and verify_cube(root).sound
    assert not clean(CleanPolicy(kinds=("versions",), keep_versions=1)).items
    (root / "latest").write_text("{")
    assert clean(CleanPolicy(kinds=("versions",), keep_versions=1)).left, "a damaged cube is named"


def test_a_cube_in_work_stays(data):
    root = data / "cubes/test"
    write(root)
    ready, done = threading.Event(), threading.Event()

    def build():
        with held(root / LOCK):
            ready.set()
            done.wait(30)

    builder = threading.Thread(target=build)
    builder.start()
    ready.wait(30)
    report = gone("versions", keep_versions=1)
    done.set()
    builder.join()
    assert not report.items and report.left and version_numbers(LocalStore(root)) == [1, 2]


def test_catalogues_beyond_the_newest_go(data):
    root = data / "cubes/test"
    write(root)
    folder = root / "catalogues"
    folder.mkdir()
    names = [f"catalogue-2018090{day}T000000Z-{day:08x}.json" for day in range(1, 6)]
    for name in (*names, "my own.json", "catalogue-notes.json"):
        (folder / name).write_text("{}")
    aged(folder)
    assert paths(gone("catalogues")) == names[:3]
    assert {path.name for path in folder.iterdir()} == {*names[3:], "my own.json", "catalogue-notes.json"}


def test_data_of_pairs_goes_when_nothing_changed(data):
    for name in ("old", "new"):
        filled(data / f"insar/test/slc/{name}")
        filled(data / f"insar/test/jobs/{name}/inputs")
    filled(data / "insar/test/jobs/notes of mine")
    filled(data / "insar/test/orbits")
    for folder in ("slc/old", "jobs/old", "jobs/notes of mine", "orbits"):
        aged(data / "insar/test" / folder)
    assert [(i.kind, i.path.parent.name, i.path.name) for i in gone("slc").items] == [
        ("slc", "slc", "old"), ("slc", "jobs", "old"),
    ]  # fmt: skip
    left = {path.relative_to(data / "insar/test").as_posix() for path in (data / "insar/test").glob("*/*")}
    assert {"slc/new", "jobs/new", "jobs/notes of mine"} <= left and "slc/old" not in left


def test_a_pair_in_work_keeps_the_data_of_its_area(data):
    aged(filled(data / "insar/test/slc/old"))
    (data / "insar/test/jobs").mkdir()
    with held(data / "insar/test/jobs/.pair.lock"):
        report = gone("slc", older_than_days=0)
    assert not report.items and report.left and (data / "insar/test/slc/old").is_dir()


def test_worlds_go_and_folders_that_are_none_stay(data):
    for name, document in (
        ("world", {"format": "slidecube-world-1"}),
        ("other", {"format": "x"}),
        ("odd", []),
    ):
        filled(data / name)
        (data / name / "world.json").write_text(json.dumps(document))
        aged(data / name)
    filled(data / "notes")
    assert paths(gone("worlds")) == ["world"] and (data / "other").is_dir() and (data / "odd").is_dir()


def test_scratch_of_killed_runs_goes_and_that_of_others_stays(data):
    left = filled(data / "maps/test/.v1-detector.0123456789ab.partial")
    in_work = filled(data / "maps/test/.v2-detector.0123456789ac.partial")
    aged(left), aged(in_work)
    (data / "maps/test/.v1-detector.0123456789ab.lock").touch()
    import fcntl

    with in_work.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        report = gone("scratch")
    assert paths(report) == [left.name] and in_work.is_dir() and not left.exists()


def result(folder: Path, kind: str, *, edited: bool = False) -> Path:
    filled(folder, "landslides.gpkg")
    describe(folder, Origin(kind=kind, cube="c"), {})
    if edited:
        (folder / "landslides.gpkg").write_bytes(b"mine")
    return folder


def test_maps_and_bundles_go_only_where_named(data):
    for number in range(1, 5):
        result(data / f"maps/test/v{number}-detector", "map", edited=number == 2)
        result(data / f"models/test/v{number}", "bundle")
    filled(data / "maps/test/v1-mine")
    (data / "maps/test/latest").symlink_to("v1-detector")
    (data / "maps/test/reviews.json").write_text("{}")
    before = listing(data)
    assert not gone(older_than_days=0).items and listing(data) == before
    assert not gone("maps").items, "v1 is the newest, v2 holds a person's work"
    (data / "maps/test/latest").unlink()
    report = gone("maps", "bundles")
    assert paths(report) == ["v1", "v1-detector", "v2"] and len(report.left) == 1
    assert (data / "maps/test/reviews.json").exists() and (data / "maps/test/v1-mine").is_dir()


def test_links_out_of_the_data_folder_are_not_followed(data, tmp_path):
    outside = tmp_path / "outside"
    write(outside / "cube")
    filled(outside / "slc/S1A")
    filled(outside / "world")
    (outside / "world/world.json").write_text('{"format": "slidecube-world-1"}')
    filled(outside / "maps/.x.0123456789ab.partial")
    aged(outside)
    (data / "cubes/real").mkdir(parents=True)
    (data / "insar/test").mkdir(parents=True)
    (data / "cubes/test").symlink_to(outside / "cube")
    for name in ("versions", "layers", "latest"):
        (data / "cubes/real" / name).symlink_to(outside / "cube" / name)
    (data / "insar/linked").symlink_to(outside)
    (data / "insar/test/slc").symlink_to(outside / "slc")
    (data / "world").symlink_to(outside / "world")
    (data / "maps").symlink_to(outside / "maps")
    inner = filled(data / "insar/other/slc/S1B")
    (inner / "link").symlink_to(outside)
    aged(data / "insar/other")
    before = listing(outside)
    report = gone(*KINDS, keep_versions=1, older_than_days=0)
    assert listing(outside) == before and paths(report) == ["S1B"]
    assert any("link" in line for line in report.left)


def test_another_file_system_is_not_entered(data, monkeypatch):
    filled(data / "insar/test/slc/S1A/mounted")
    aged(data / "insar")
    real = disk_use.os.scandir

    class Entry:
        def __init__(self, entry):
            self.path, self._entry = entry.path, entry

        def stat(self, *, follow_symlinks=True):
            found = self._entry.stat(follow_symlinks=follow_symlinks)
            if Path(self.path).name != "mounted":
                return found
            return os.stat_result((*found[:2], found.st_dev + 1, *found[3:]))

        def is_dir(self, *, follow_symlinks=True):
            return self._entry.is_dir(follow_symlinks=follow_symlinks)

    class Entries(list):
        def __enter__(self):
            return self

        def __exit__(self, *_):
            return None

    def scandir(folder):
        with real(folder) as entries:
            return Entries([Entry(entry) for entry in entries])

    monkeypatch.setattr(disk_use.os, "scandir", scandir)
    assert not own_folders(data / "insar/test/slc/S1A")
    report = clean(CleanPolicy(kinds=("slc",), older_than_days=0), really=True)
    monkeypatch.undo()
    assert not report.items and (data / "insar/test/slc/S1A/mounted/data.bin").exists()


def test_the_command(data):
    aged(filled(data / "insar/test/slc/S1A"))
    run = lambda *words: CliRunner().invoke(command, list(words), env={"COLUMNS": "80"})  # noqa: E731
    listed = run()
    assert listed.exit_code == 0 and all(len(line) <= 80 for line in listed.stdout.splitlines())
    assert (data / "insar/test/slc/S1A").is_dir()
    done = json.loads(run("slc", "--yes", "--json").stdout)
    assert done["removed"] and done["size_bytes"] >= 20_000 and not (data / "insar/test/slc/S1A").exists()
    assert run("reviews").exit_code == 2 and run("--keep-versions", "0").exit_code == 2
    shutil.rmtree(data)
    assert run("--yes").exit_code == 0, "without a data folder"
