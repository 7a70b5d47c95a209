"""The corpus of hostile files, by the command line: a named error or no harm, soon, nothing read or written outside."""

from __future__ import annotations

import json
import resource
import shutil
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
import yaml
from click.testing import Result

from pipeline.cli import main
from pipeline.settings import settings
from tests.faults.corpus import AREAS, CUBES, SECRET, VECTORS, Maker
from tests.faults.outcomes import HARMLESS, note
from tests.faults.outcomes import NAMED as NAMED_ERROR
from tests.faults.test_hostile_answers import AREA, BOUND_S, NAMED, World, run, work, world
from tests.faults.writer import write

__all__ = ["work", "world"]

# filters of warnings are not safe in threads, and the build uses threads
pytestmark = [pytest.mark.filterwarnings("default"), pytest.mark.timeout(2 * BOUND_S)]
PASSWORDS = Path("/etc/passwd").read_text(encoding="utf-8", errors="replace").splitlines()


@contextmanager
def memory_of(most: int) -> Iterator[None]:
    """Let this process take that many bytes more, so that a file without end ends in an error here."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (psutil.Process().memory_info().vms + most, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


def safe(inside: Path, *words: str) -> Result:
    """The command's end: a named error or a success, soon; no line of a file that it must not read is shown."""
    began = time.monotonic()
    with memory_of(3 * 2**30):
        result = run(*words)
    took_s = time.monotonic() - began
    told = "".join(traceback.format_exception(*result.exc_info)) if result.exc_info else ""
    assert result.exit_code in NAMED | {0}, f"{result.exit_code}\n{result.output}\n{told}"
    assert took_s < BOUND_S
    if result.exit_code:
        assert result.output.strip(), "what is wrong is said"
        assert len(result.output) < 20_000
    note(NAMED_ERROR if result.exit_code else HARMLESS)
    assert SECRET not in result.output
    assert not any(line in result.output for line in PASSWORDS)
    assert {path.name for path in inside.parent.iterdir()} <= {inside.name, "home"}, "written outside"
    assert not (inside / "owned").exists()
    return result


@pytest.mark.parametrize("name", AREAS)
def test_an_area_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    inside = tmp_path / "work"
    inside.mkdir()
    monkeypatch.chdir(inside)
    monkeypatch.setenv("SLIDECUBE_DATA_DIR", str(inside / "data"))
    for proxy in ("HTTPS_PROXY", "HTTP_PROXY", "https_proxy", "http_proxy"):
        monkeypatch.setenv(proxy, "http://127.0.0.1:9")
    monkeypatch.setenv("SLIDECUBE_RETRIES", "0")
    settings.cache_clear()
    (inside / "secret.txt").write_text(SECRET)
    AREAS[name](inside / "area.yaml")
    try:
        result = safe(inside, "plan", str(inside / "area.yaml"))
    finally:
        settings.cache_clear()
    assert result.exit_code != 0


@pytest.mark.parametrize("name", VECTORS)
def test_an_inventory(world: World, work: Path, name: str) -> None:
    """The build of a sound archive is published; that the labels are missing is named, or they are read."""
    file, make = VECTORS[name]
    make(work / file)
    area = yaml.safe_load((world.aoi / f"{AREA}.yaml").read_text())
    area["inventory"] |= {"url": str(work / file), "layer": None}
    (work / "area.yaml").write_text(yaml.safe_dump(area))
    result = safe(work, "build", str(work / "area.yaml"), "--json", "--catalogue", str(world.catalogue))
    if result.exit_code == 0:
        built = json.loads(result.stdout)
        labelled = (Path(built["uri"]) / "landslides").is_dir()
        assert labelled or any("labels" in line for line in built["missing"])


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("sound") / "cube"
    write(root)
    return root


@pytest.mark.parametrize("name", CUBES)
def test_a_cube(sound: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    inside = tmp_path / "work"
    shutil.copytree(sound, inside / "cube")
    (inside / "secret.txt").write_text(SECRET)
    monkeypatch.chdir(inside)
    monkeypatch.setenv("SLIDECUBE_DATA_DIR", str(inside / "data"))
    settings.cache_clear()
    hostile: Maker = CUBES[name]
    hostile(inside / "cube")
    try:
        for words in (("verify",), ("map", "--log-ratio")):
            result = safe(inside, *words, str(inside / "cube"))
            assert result.exit_code != 0
    finally:
        settings.cache_clear()


def test_the_commands_that_the_corpus_is_given_to_exist() -> None:
    assert {"plan", "build", "verify", "map"} <= set(main.list_commands(None))
