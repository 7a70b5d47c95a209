"""Builds a small image with the runner and a simulated topsApp from this machine's Python, without pulling an image.

Its files of the project are those that docker/isce2/Dockerfile copies, at the same paths, so a test that runs in this
image fails if the Dockerfile lacks a file.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
from importlib.metadata import distribution
from pathlib import Path
from typing import IO

from tests.insar.jobs import STANDIN

ROOT = Path(__file__).resolve().parents[2]
DOCKERFILE = ROOT / "docker/isce2/Dockerfile"
PACKAGES = ("numpy", "rasterio", "pydantic")
SITE = "/opt/site"
OURS = "slidecube.tests=standin"
"""The label of the images that the tests make."""
_IDLE = {"site-packages", "test", "idlelib", "tkinter", "turtledemo", "lib2to3", "ensurepip"}


def containers_conf(folder: Path) -> Path:
    """A configuration with which podman runs on machines of lower limits: runc, and limits that root may set there."""
    path = folder / "containers.conf"
    path.write_text(
        '[containers]\ndefault_ulimits = ["nofile=20000:20000", "nproc=4096:4096"]\n\n[engine]\nruntime = "runc"\n',
        encoding="utf-8",
    )
    return path


def copied_files() -> dict[str, Path]:
    """Every file that the Dockerfile copies below /opt/slidecube, by its path in the image."""
    files = {}
    for line in DOCKERFILE.read_text("utf-8").replace("\\\n", " ").splitlines():
        words = line.split()
        if not words or words[0] != "COPY" or not words[-1].startswith("/opt/slidecube/"):
            continue
        for word in words[1:-1]:
            source = ROOT / word
            inside = Path(words[-1]) / (source.name if source.is_file() else "")
            found = [source] if source.is_file() else sorted(source.rglob("*.py"))
            for file in found:
                place = inside if source.is_file() else inside / file.relative_to(source)
                files[str(place)] = file
    return files


def build_image(engine: str) -> str:
    """The name of the image; it is built if the engine has no image of the same content."""
    python = Path(sys.base_prefix).resolve()
    files = {**_python_files(python), **_package_files()}
    files |= _libraries(
        [source for source in files.values() if ".so" in source.name or "bin" in source.parts]
    )
    files |= copied_files()
    digest = hashlib.sha256(Path(__file__).read_bytes() + STANDIN.read_bytes())
    for place, source in sorted(files.items()):
        status = source.stat()
        digest.update(f"{place} {status.st_size} {status.st_mtime_ns}\n".encode())
    name = f"localhost/slidecube-standin:{digest.hexdigest()[:16]}"
    if subprocess.run([engine, "image", "inspect", name], capture_output=True, check=False).returncode == 0:
        return name
    interpreter = f"{python}/bin/python3.11"
    entry = f'["{interpreter}", "-m", "pipeline.insar.isce2.topsapp"]'
    command = [engine, "import"]
    for change in (
        f"LABEL {OURS}",
        f"ENTRYPOINT {entry}",
        f"ENV PYTHONPATH=/opt/slidecube:{SITE}",
        "ENV PATH=/opt/standin:/usr/bin:/bin",
        "ENV PYTHONDONTWRITEBYTECODE=1",
        "ENV OPENBLAS_NUM_THREADS=1",
    ):
        command += ["--change", change]
    process = subprocess.Popen(
        [*command, "-", name], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    assert process.stdin is not None and process.stderr is not None
    with process:
        _write_tar(process.stdin, files, interpreter)
        process.stdin.close()
        said = process.stderr.read().decode("utf-8", "replace")
    if process.returncode != 0:
        raise RuntimeError(f"{engine} import: {said}")
    return name


def remove_old_images(engine: str) -> None:
    """Remove images older than a day. Every state of the runner has its own image of 0.3 GB.

    A newer image may be in use by another run of the tests.
    """
    command = [engine, "image", "prune", "--all", "--force", f"--filter=label={OURS}", "--filter=until=24h"]
    subprocess.run(command, capture_output=True, check=False)


def _write_tar(stream: IO[bytes], files: dict[str, Path], interpreter: str) -> None:
    with tarfile.open(fileobj=stream, mode="w|", dereference=True) as tar:
        for folder in ("tmp", "job", "proc", "sys", "dev", "run", "etc", "var"):
            entry = tarfile.TarInfo(folder)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o755
            tar.addfile(entry)
        for place, source in sorted(files.items()):
            entry = tar.gettarinfo(str(source), place.lstrip("/"))
            entry.mode = 0o755 if os.access(source, os.X_OK) else 0o644
            entry.uid = entry.gid = 0
            entry.uname = entry.gname = "root"
            # a second name of one file would become a link to a name of the host
            entry.type, entry.linkname, entry.size = tarfile.REGTYPE, "", source.stat().st_size
            with source.open("rb") as file:
                tar.addfile(entry, file)
        script = f"#!{interpreter}\n{STANDIN.read_text('utf-8')}".encode()
        entry = tarfile.TarInfo("opt/standin/topsApp.py")
        entry.size, entry.mode = len(script), 0o755

        tar.addfile(entry, io.BytesIO(script))


def _python_files(python: Path) -> dict[str, Path]:
    """The interpreter and its library, at their paths on this machine, where the interpreter looks for them."""
    binary = (python / "bin/python3.11").resolve()
    files = {f"{python}/bin/python3.11": binary}
    for library in python.glob("lib/libpython3*.so*"):
        files[str(library)] = library.resolve()
    standard = Path(sysconfig.get_paths()["stdlib"]).resolve()
    for folder, folders, names in os.walk(standard):
        folders[:] = [name for name in folders if name not in _IDLE and not name.startswith("config-")]
        for name in names:
            file = Path(folder, name)
            if file.suffix in (".py", ".pyc", ".so") and file.is_file():
                files[str(file)] = file
    return files


def _package_files() -> dict[str, Path]:
    """The files of the packages that the runner needs, with their dependencies."""
    wanted, seen = list(PACKAGES), set()
    files = {}
    while wanted:
        name = wanted.pop()
        if name.lower() in seen:
            continue
        seen.add(name.lower())
        found = distribution(name)
        for requirement in found.requires or ():
            if "extra ==" not in requirement and "python_version <" not in requirement:
                wanted.append(re.split(r"[\s;<>=!~(\[]", requirement, maxsplit=1)[0])
        for file in found.files or ():
            source = Path(str(found.locate_file(file)))
            if not {"tests", ".."} & set(file.parts) and source.is_file():
                files[f"{SITE}/{file}"] = source
    return files


def _libraries(binaries: list[Path]) -> dict[str, Path]:
    """The system's shared libraries that the binaries need, at their paths on this machine."""
    tool = shutil.which("ldd")
    if tool is None:
        raise RuntimeError("ldd is absent: the libraries of this Python cannot be found")
    answer = subprocess.run(
        [tool, *map(str, binaries)], capture_output=True, text=True, errors="replace", check=False
    )
    found = set(re.findall(r"(/\S+\.so[.\d]*) \(0x", answer.stdout))
    system = {path for path in found if path.startswith(("/lib", "/usr"))}
    files = {path: Path(path).resolve() for path in system}
    # numpy and others load this library by name at run time
    for extra in ("/lib/x86_64-linux-gnu/libgcc_s.so.1", "/lib/aarch64-linux-gnu/libgcc_s.so.1"):
        if Path(extra).exists():
            files[extra] = Path(extra).resolve()
    return files
