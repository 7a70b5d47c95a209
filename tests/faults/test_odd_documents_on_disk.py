"""Documents in the data folder that are no documents: each reader ends at once, by name or by doing without."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from flows import chain, demo_folder
from flows.serving.local_server import tail_of
from model.experiments.results.result_files import read_result
from model.inputs.inputs import EventSpan
from model.network.trainer.checkpoint import CheckpointFiles
from model.origin import read_made
from pipeline.build import published_cube
from pipeline.cube.accessor import CubeAccessor as Accessor
from pipeline.cube.cube_quicklook import _event
from pipeline.errors import SlidecubeError
from pipeline.insar.pygmtsar.mosaic import read_burst
from pipeline.settings import settings
from pipeline.xml import read_document
from tests.small_cube import small_cube, write

HUGE = 2**36
"""bytes of a file without content, more than any machine that runs this may take"""


def make_odd(path: Path, kind: str) -> None:
    """Put something odd at a path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "huge":
        with path.open("wb") as file:
            file.truncate(HUGE)
    elif kind == "packed":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("archive/data.pkl", bytes(2**24))
    else:
        path.write_bytes(
            {
                "empty": b"",
                "list": b"[1]",
                "number": b"1",
                "deep": b"[" * 200_000,
                "no text": b"\xff\xfe\x00{",
            }[kind]
        )


KINDS = ("folder", "pipe", "huge", "packed", "empty", "list", "number", "deep", "no text")


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("SLIDECUBE_DATA_DIR", str(tmp_path / "data"))
    settings.cache_clear()
    yield tmp_path / "data"
    settings.cache_clear()


def _result(path: Path) -> object:
    path.with_suffix(".npz").touch()
    return read_result(path)


READERS: dict[str, tuple[str, Callable[[Path], object]]] = {
    "result of a trial": ("a.json", _result),
    "origin of a map": ("map/origin.json", lambda path: read_made(path.parent)),
    "state of a training": ("last.ckpt", lambda path: CheckpointFiles("0" * 64).usable(path) or None),
    "burst of a pair": ("burst/burst.json", lambda path: read_burst(path.parent)),
    "XML": ("one.xml", lambda path: read_document(path, 2**20, "one.xml", "Fetch it again.")),
    "mark of the demo": (demo_folder.MARK, lambda path: demo_folder.is_claimed(path.parent)),
    "end of a log": ("server.log", tail_of),
}
DOES_WITHOUT = {"result of a trial", "origin of a map", "state of a training", "mark of the demo"}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("reader", READERS)
def test_an_odd_document_is_not_read(reader, kind, tmp_path):
    name, read = READERS[reader]
    make_odd(tmp_path / name, kind)
    try:
        found = read(tmp_path / name)
    except (SlidecubeError, ValueError, OSError):  # ValueError, OSError: those who call it name the file
        assert reader not in DOES_WITHOUT
    else:
        assert not found or (reader == "end of a log" and len(str(found)) <= 1500)


@pytest.mark.parametrize("kind", KINDS)
def test_the_record_of_a_fetched_cube_is_named(kind, data):
    folder = published_cube.published_root(published_cube.PUBLISHED[published_cube.store_of("hokkaido")])
    make_odd(folder / published_cube.DOCUMENT, kind)
    with pytest.raises(SlidecubeError):
        published_cube.held("hokkaido")


@pytest.mark.parametrize("kind", KINDS)
def test_refusals_that_cannot_be_read_refuse_nothing(kind, data):
    root = data / "cubes" / "small"
    (root / "versions").mkdir(parents=True)
    write(small_cube(32), root / "versions" / "3.zarr")
    (root / "latest").write_text('{"version": 3}')
    version = chain.version_of("small")
    make_odd(version.place.refusals, kind)
    assert chain.standing(version).lacks == ("model", "map")


@pytest.mark.parametrize("kind", KINDS)
def test_one_damaged_cube_does_not_hide_the_others(kind, data):
    for name in ("small", "odd"):
        root = data / "cubes" / name
        (root / "versions").mkdir(parents=True)
        write(small_cube(32), root / "versions" / "3.zarr")
        if name == "small":
            (root / "latest").write_text('{"version": 3}')
        else:
            make_odd(root / "latest", kind)
    found, damaged = chain.latest_versions()
    assert [version.place.area for version in found] == ["small"]
    assert damaged == [] if kind == "folder" else [line.startswith("odd: ") for line in damaged] == [True]


@pytest.mark.parametrize("event", ["[" * 200_000, "[1]", "1", "{}", '{"start": 1, "end": 2}', "nonsense", 3])
def test_an_odd_event_of_a_cube_is_none(event):
    cube = small_cube(32).assign_attrs(event=event)
    assert _event(cube) is None
    with pytest.raises(SlidecubeError):
        EventSpan.of_cube(cube)
    with pytest.raises(SlidecubeError):
        _ = Accessor(cube).event
