"""A wheel of the project holds what a user needs without a checkout: areas, the geoid, the sandbox, the public API."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.small_cube import small_cube, write

PROJECT = Path(__file__).resolve().parents[2]
PARTS = ("pipeline", "model", "flows", "aoi", "slidecube.py", "pyproject.toml", "README.md", "LICENSE")
COMMAND = "import sys; from pipeline.cli import main; sys.argv[0] = 'slidecube'; main()"


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, unpacked as an installer would."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "--wheel-dir",
    ]
    copy = folder / "source"
    listed = subprocess.run(["git", "ls-files", "-z", *PARTS], cwd=PROJECT, capture_output=True, check=False)
    if listed.returncode != 0:
        pytest.skip("not a checkout of git: which files belong to the project is not known")
    for name in filter(None, listed.stdout.decode().split("\0")):
        if (PROJECT / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            (copy / name).write_bytes((PROJECT / name).read_bytes())
    subprocess.run([*build, str(folder / "dist"), str(copy)], check=True, cwd=folder)
    (wheel,) = (folder / "dist").glob("slidecube-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


def run(installed: Path, code: str, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    return subprocess.run(
        [sys.executable, "-P", "-c", code, *words],
        cwd=installed.parent, env=environment, capture_output=True, text=True, timeout=300,
    )  # fmt: skip


def test_it_lists_the_shipped_areas(installed: Path) -> None:
    code = "import slidecube, pipeline; print(pipeline.__file__); print(*sorted(slidecube.areas()))"
    answer = run(installed, code)
    where, names = answer.stdout.splitlines()
    assert Path(where).is_relative_to(installed)
    assert names.split() == ["hokkaido", "kaikoura", "puerto-rico", "sandbox", "talakmau"]


def test_it_holds_the_shipped_bundle_small_and_whole(installed: Path) -> None:
    code = (
        "from pipeline.places import bundle_named; from model.bundle.bundle import load; "
        "found = bundle_named('simulated-prior'); print(found); print(load(found).document.simulated)"
    )
    answer = run(installed, code)
    assert answer.returncode == 0, answer.stderr
    where, simulated = answer.stdout.splitlines()
    assert Path(where).is_relative_to(installed) and simulated == "True"
    assert sum(file.stat().st_size for file in Path(where).iterdir()) < 5 * 2**20


def test_its_commands_and_its_sandbox_run(installed: Path) -> None:
    world = str(installed.parent / "world")
    made = run(installed, COMMAND, "sandbox", "make", "sandbox", "--out", world, "--resolution-m", "40")
    assert made.returncode == 0, made.stderr
    served = run(
        installed,
        COMMAND,
        "sandbox",
        "run",
        world,
        "--",
        sys.executable,
        "-P",
        "-c",
        COMMAND,
        "plan",
        "sandbox",
        "--json",
    )
    assert served.returncode == 0 and '"passes"' in served.stdout, served.stderr


def test_a_file_that_hides_a_package_is_named(installed: Path, tmp_path: Path) -> None:
    (tmp_path / "model.py").write_text("")
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{installed}"}
    answer = subprocess.run(
        [sys.executable, "-c", "import slidecube"],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert answer.returncode == 1
    assert "ImportError" in answer.stderr and str(tmp_path / "model.py") in answer.stderr


def test_a_command_without_its_extra_names_the_extra(installed: Path) -> None:
    missing = "import sys; sys.modules['trustme'] = None\n"
    answer = run(installed, missing + COMMAND, "sandbox", "--help")
    assert answer.returncode == 1
    assert "trustme" in answer.stderr and "slidecube[sandbox]" in answer.stderr


BASE_ONLY = """
import sys
from importlib.machinery import PathFinder
from pipeline.cli import main
from pipeline.registered_commands import EXTRA_OF

found = PathFinder.find_spec
PathFinder.find_spec = lambda name, *more: None if name.partition(".")[0] in EXTRA_OF else found(name, *more)
from click.testing import CliRunner
for line in sys.argv[1:]:
    done = CliRunner().invoke(main, line.split())
    kind = type(done.exception).__name__
    print(f"{line}|{done.exit_code}|{kind}|{' '.join((done.stdout + done.stderr).split())}", flush=True)
"""
OF_EXTRA = {
    "train small.zarr": "model",
    "map simulated-prior small.zarr": "model",
    "ablate nowhere --out out": "model",
    "ladder nowhere --out out": "model",
    "bundle export nowhere --onnx x.onnx": "model",
    "watch on": "flows",
    "demo": "flows",
    "sandbox serve nowhere": "sandbox",
}
OF_BASE = (
    "--help", "areas", "status", "clean", "event list", "plan --help", "build --help", "import --help",
    "fetch-published --help", "doctor --help",
)  # fmt: skip
NO_CUBE = ("verify nowhere", "export nowhere --out out", "export nowhere --published out")


def test_the_base_alone_runs_the_cube_half_and_every_other_command_names_its_extra(
    installed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLIDECUBE_DATA_DIR", str(tmp_path / "data"))
    write(small_cube(640), installed.parent / "small.zarr")
    answer = run(installed, BASE_ONLY, *OF_EXTRA, *OF_BASE, *NO_CUBE)
    found = {line.split("|")[0]: line.split("|", 3)[1:] for line in answer.stdout.splitlines()}
    assert set(found) == {*OF_EXTRA, *OF_BASE, *NO_CUBE}, answer.stderr
    for line, extra in OF_EXTRA.items():
        code, kind, text = found[line]
        assert code == "1" and kind == "SystemExit", (line, text)
        named = text.partition("slidecube[")[2].partition("]")[0].split(",")
        assert extra in named, (line, text)
    for line in OF_BASE:
        assert found[line][0] == "0", (line, found[line])
    for line in NO_CUBE:
        assert found[line][0] == "5", (line, found[line])
