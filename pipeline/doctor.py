"""What `slidecube doctor` looks at: endpoints, keys, disk, container engine, GPU, versions."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal, get_args

from pipeline.archives.credentials import login_note
from pipeline.archives.reachability import orbit_service, reachability
from pipeline.area import area_files, load_area
from pipeline.elevation.geoid import Model, geoid_grid
from pipeline.errors import InterferometryError, SlidecubeError
from pipeline.insar.isce2.isce2_backend import choose_launcher
from pipeline.records import Frozen
from pipeline.settings import settings

PACKAGES = (
    "slidecube", "pystac-client", "planetary-computer", "asf-search", "rioxarray", "xarray", "zarr", "geopandas",
    "rasterio", "richdem2", "torch", "segmentation-models-pytorch", "prefect",
)  # fmt: skip
DISK_WANTED_GB = 20


class Finding(Frozen):
    """One line of the examination; `missing` hinders nothing by itself, `failed` does."""

    name: str
    state: Literal["ok", "missing", "failed"]
    detail: str


def examine() -> list[Finding]:
    """Every finding; no secret is in one."""
    return [
        *_versions(),
        *_places(),
        *_endpoints(),
        *interferometry(),
        _engine(),
        *_isce2(),
        _gpu(),
        *_areas(),
    ]


def _versions() -> list[Finding]:
    found = [Finding(name="python", state="ok", detail=platform.python_version())]
    for package in PACKAGES:
        try:
            found.append(Finding(name=package, state="ok", detail=version(package)))
        except PackageNotFoundError:
            found.append(Finding(name=package, state="failed", detail="not installed: run `make setup`"))
    return found


def _places() -> list[Finding]:
    folder = settings().data_dir.resolve()
    existing = next(p for p in (folder, *folder.parents) if p.exists())
    free_gb = shutil.disk_usage(existing).free / 1e9
    enough = free_gb >= DISK_WANTED_GB
    writable = os.access(existing, os.W_OK)
    return [
        Finding(
            name="data folder",
            state="ok" if writable else "failed",
            detail=f"{folder}" + ("" if writable else ": not writable; set SLIDECUBE_DATA_DIR"),
        ),
        Finding(
            name="disk",
            state="ok" if enough else "missing",
            detail=f"{free_gb:.0f} GB free"
            + ("" if enough else f"; a paper-sized cube wants {DISK_WANTED_GB} GB"),
        ),
    ]


def _endpoints() -> list[Finding]:
    return [
        # a missing key hinders only some collections; an endpoint that does not answer hinders all
        Finding(name=name, state="ok" if reached else "missing" if "key" in name else "failed", detail=detail)
        for name, reached, detail in reachability(settings())
    ]


def interferometry() -> list[Finding]:
    """What only interferometry wants: a login, geoid grids, orbit files; without it cubes have no pairs."""
    note = login_note(settings().slc_fetch)
    findings = [Finding(name="Earthdata login", state="ok" if note.ok else "missing", detail=note.text)]
    models: tuple[Model, ...] = get_args(Model)
    for model in models:
        try:
            findings.append(Finding(name=f"geoid {model}", state="ok", detail=geoid_grid(model).source))
        except SlidecubeError as error:
            findings.append(Finding(name=f"geoid {model}", state="missing", detail=str(error)))
    _name, reached, detail = orbit_service()
    findings.append(Finding(name="orbit files", state="ok" if reached else "missing", detail=detail))
    return findings


def _engine() -> Finding:
    for engine in ("podman", "docker", "apptainer"):
        path = shutil.which(engine)
        if path is None:
            continue
        command = [path, "--version"] if engine == "apptainer" else [path, "info"]
        try:
            answer = subprocess.run(command, capture_output=True, timeout=20, check=False)
        except (OSError, subprocess.TimeoutExpired):
            continue
        if answer.returncode == 0:
            return Finding(name="container engine", state="ok", detail=engine)
    return Finding(
        name="container engine", state="missing", detail="none that runs; interferometry will want one"
    )


def _isce2() -> list[Finding]:
    """How topsApp is run, if it is the chosen processor."""
    if settings().insar_backend != "isce2":
        return []
    try:
        launcher = choose_launcher(settings().container_engine, settings().isce2_image)
    except InterferometryError as error:
        return [Finding(name="ISCE2", state="missing", detail=str(error))]
    detail = f"{launcher.image} in {launcher.engine}" if launcher.engine else "topsApp.py of this machine"
    return [Finding(name="ISCE2", state="ok", detail=detail)]


def _gpu() -> Finding:
    path = shutil.which("nvidia-smi")
    if path is None:
        return Finding(name="GPU", state="missing", detail="no nvidia-smi; training runs on the CPU")
    query = [path, "--query-gpu=name,memory.total", "--format=csv,noheader"]
    try:
        answer = subprocess.run(query, capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return Finding(
            name="GPU", state="missing", detail=f"nvidia-smi does not answer ({type(error).__name__})"
        )
    names = "; ".join(answer.stdout.split("\n")).strip("; ")
    state: Literal["ok", "missing"] = "ok" if answer.returncode == 0 and names else "missing"
    return Finding(name="GPU", state=state, detail=names or "nvidia-smi finds none")


def _areas() -> list[Finding]:
    findings = []
    for name, path in area_files().items():
        try:
            load_area(Path(path))
            findings.append(Finding(name=f"area {name}", state="ok", detail=str(path)))
        except SlidecubeError as error:
            findings.append(Finding(name=f"area {name}", state="failed", detail=str(error)))
    return findings
