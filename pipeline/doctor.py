"""What `slidecube doctor` examines: versions, disk, archives, geoids, container engine, GPU, areas, events."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal, get_args

from pipeline.archives.reachability import reachability
from pipeline.areas.area import area_files, load_area
from pipeline.elevation.geoid import Model, geoid_grid
from pipeline.errors import AreaError, InterferometryError, SlidecubeError
from pipeline.events.feeds.feed_source import read_state
from pipeline.events.source_looks import SOURCES
from pipeline.events.triggering_rule import load_rules, rules_path
from pipeline.insar.isce2.isce2_backend import choose_launcher
from pipeline.object_storage.bucket import Bucket, compares_at_once
from pipeline.records import Frozen
from pipeline.settings import settings

PACKAGES = (
    "slidecube", "pystac-client", "planetary-computer", "asf-search", "rioxarray", "xarray", "zarr", "geopandas",
    "rasterio", "richdem2", "torch", "segmentation-models-pytorch", "prefect",
)  # fmt: skip
DISK_WANTED_GB = 20


class Finding(Frozen):
    """One finding of the examination. A build runs where something is `missing`, but not where something `failed`."""

    name: str
    state: Literal["ok", "missing", "failed"]
    detail: str


def examine() -> list[Finding]:
    """Every finding; none holds a secret."""
    return [
        *_versions(),
        *_disk(),
        *_object_store(),
        *examine_archives(),
        *examine_geoids(),
        _engine(),
        *_isce2(),
        _gpu(),
        *_areas(),
        *examine_watch(),
    ]


def examine_watch() -> list[Finding]:
    """The rule of events, and how the last look at each of their sources ended; no request is made."""
    try:
        load_rules()
        found = [Finding(name="rule of events", state="ok", detail=str(rules_path()))]
    except AreaError as error:
        found = [Finding(name="rule of events", state="failed", detail=str(error))]
    for source in SOURCES:
        kept, name = read_state(source.name), f"events of {source.title}"
        looked = "never" if kept.looked is None else f"{kept.looked:%Y-%m-%d %H:%M} UTC"
        if kept.failed is not None:
            detail = f"failing since {kept.failed:%Y-%m-%d %H:%M} UTC, last seen: {looked}: {kept.failure}"
        else:
            detail = f"last seen: {looked}" + ("" if kept.looked else "; `slidecube watch once`, or `on`")
        state: Literal["ok", "missing"] = "ok" if kept.looked and kept.failed is None else "missing"
        found.append(Finding(name=name, state=state, detail=detail))
    return found


def _versions() -> list[Finding]:
    found = [Finding(name="python", state="ok", detail=platform.python_version())]
    for package in PACKAGES:
        try:
            found.append(Finding(name=package, state="ok", detail=version(package)))
        except PackageNotFoundError:
            found.append(Finding(name=package, state="failed", detail="not installed: run `make setup`"))
    return found


def _disk() -> list[Finding]:
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
            + ("" if enough else f"; a paper-sized cube needs {DISK_WANTED_GB} GB"),
        ),
    ]


def _object_store() -> list[Finding]:
    """Whether the object store of the cubes can be written, and compares and writes in one step."""
    address = settings().data_store
    if address is None:
        return []
    try:
        bucket = Bucket(address)
        at_once = compares_at_once(bucket)
    except SlidecubeError as error:
        return [Finding(name="object store", state="failed", detail=str(error))]
    detail = (
        f"{address}: of writers at once one writes"
        if at_once
        else f"{address}: two builds can write one cube"
    )
    return [Finding(name="object store", state="ok" if at_once else "failed", detail=detail)]


def examine_archives() -> list[Finding]:
    """The archives' services, keys and logins; one that fails counts as missing where only some cubes need it."""
    return [
        Finding(
            name=found.name,
            state="ok" if found.ok else "failed" if found.needed else "missing",
            detail=found.detail,
        )
        for found in reachability()
    ]


def examine_geoids() -> list[Finding]:
    """The grids of geoids, without which interferometry has no heights."""
    findings = []
    models: tuple[Model, ...] = get_args(Model)
    for model in models:
        try:
            findings.append(Finding(name=f"geoid {model}", state="ok", detail=geoid_grid(model).source))
        except SlidecubeError as error:
            findings.append(Finding(name=f"geoid {model}", state="missing", detail=str(error)))
    return findings


def _engine() -> Finding:
    for engine in ("podman", "docker", "apptainer"):
        path = shutil.which(engine)
        if path is None:
            continue
        command = [path, "--version"] if engine == "apptainer" else [path, "info"]
        try:
            ended = subprocess.run(command, capture_output=True, timeout=20, check=False)
        except (OSError, subprocess.TimeoutExpired):
            continue
        if ended.returncode == 0:
            return Finding(name="container engine", state="ok", detail=engine)
    return Finding(
        name="container engine", state="missing", detail="none that runs; interferometry needs one"
    )


def _isce2() -> list[Finding]:
    """How topsApp is run, where the settings choose ISCE2."""
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
        ended = subprocess.run(query, capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return Finding(name="GPU", state="missing", detail=f"nvidia-smi failed ({type(error).__name__})")
    names = "; ".join(ended.stdout.split("\n")).strip("; ")
    state: Literal["ok", "missing"] = "ok" if ended.returncode == 0 and names else "missing"
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
