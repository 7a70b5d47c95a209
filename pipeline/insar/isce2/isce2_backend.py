"""The backend isce2: runs topsApp in a container, or a topsApp.py on the PATH, through the same runner."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import secrets
import shutil
import stat
import sys
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError

from pipeline.errors import InterferometryError
from pipeline.insar.isce2.container import (
    CONTAINER_USER,
    ENGINES,
    JOB_FOLDER,
    ContainerRun,
    Engine,
    Mount,
    exit_error,
    has_image,
    reap,
    remove,
    run_command,
    this_process,
)
from pipeline.insar.isce2.plain_files import open_plain, read_plain
from pipeline.insar.isce2.runner_process import GRACE_S, RUNNER_LOG, RunnerProcess
from pipeline.insar.isce2.topsapp.preparation import find_topsapp
from pipeline.insar.job import MANIFEST, METADATA, PRODUCTS, JobManifest, JobMetadata, folder_of
from pipeline.progress import Progress, no_progress
from pipeline.records import Frozen
from pipeline.settings import settings

Choice = Literal["auto", "podman", "docker", "apptainer", "none"]

log = logging.getLogger(__name__)


class Launcher(Frozen):
    """How topsApp is run: in a container of `engine`, or from the PATH if `engine` is None."""

    engine: Engine | None
    image: str = Field("", description="image of the engine")


class Isce2Backend:
    """Makes interferograms with ISCE2 topsApp."""

    name = "isce2"

    def __init__(self, engine: Choice | None = None, image: str | None = None) -> None:
        """`engine` and `image` default to the settings."""
        self.engine: Choice = engine or settings().container_engine
        self.image = image or settings().isce2_image

    def ready(self) -> None:
        """Check that topsApp can be run.

        Raises:
            InterferometryError: it cannot; see `choose_launcher`.
        """
        choose_launcher(self.engine, self.image)

    def run(self, job: Path, manifest: JobManifest, progress: Progress = no_progress) -> JobMetadata:
        """Process the job in the folder `job`.

        Raises:
            InterferometryError: `engine-absent`, `memory-lacking` and others before the start, the codes of the
                runner, or `product-missing`; the job is then unfinished.
        """
        job = job.resolve()
        check_room(job, manifest)
        launcher = choose_launcher(self.engine, self.image)
        for folder in folder_of(job).values():
            folder.mkdir(exist_ok=True)
        (job / "products" / METADATA).unlink(missing_ok=True)
        if launcher.engine is None:
            # -P: a folder `pipeline` in the caller's working directory must not be imported
            command = (sys.executable, "-P", "-m", "pipeline.insar.isce2.topsapp", str(job))
            runner = RunnerProcess(command=command, scratch=job / "scratch", time_s=manifest.limits.time_s)
        else:
            engine = launcher.engine
            reaped = reap(engine)
            if reaped:
                log.warning("Removed %d containers whose owner has ended", len(reaped))
            run = container_run(job, manifest, engine, launcher.image)
            _grant_access(job, run)
            runner = RunnerProcess(
                command=tuple(run_command(run)),
                scratch=job / "scratch",
                time_s=run.time_s,
                error_by_status=lambda status, stderr: exit_error(run, status, stderr),
                remove=lambda: remove(engine, run.name),
            )
        runner.wait(progress)
        return read_finished(job, manifest)


def choose_launcher(choice: Choice, image: str) -> Launcher:
    """Choose how topsApp is run.

    "auto" takes the first engine that has the image, else a topsApp on the PATH.

    Raises:
        InterferometryError: `engine-absent`, `image-absent`, `image-unusable`, `engine-unreachable`, `topsapp-absent`,
            `isce2-absent`.
    """
    if choice == "none":
        find_topsapp()
        return Launcher(engine=None)
    if choice != "auto":
        if shutil.which(choice) is None:
            raise InterferometryError(
                "engine-absent",
                f"{choice} is not installed.",
                f"Install it, or set {_ENGINE_SETTING} to another.",
            )
        if not has_image(choice, image):
            raise InterferometryError("image-absent", f"{choice} has no image {image}.", _BUILD)
        return Launcher(engine=choice, image=image)
    found = [engine for engine in ENGINES if shutil.which(engine)]
    why: list[str] = []
    for engine in found:
        try:
            if has_image(engine, image):
                return Launcher(engine=engine, image=image)
            why.append(f"{engine} has no image {image}")
        except InterferometryError as error:
            why.append(error.message.rstrip("."))
    with contextlib.suppress(InterferometryError):
        find_topsapp()
        return Launcher(engine=None)
    raise InterferometryError(
        "isce2-absent",
        f"ISCE2 is not available: {'; '.join(why) or 'no container engine'}, and no topsApp.py on the PATH.",
        f"{_BUILD} Or set SLIDECUBE_INSAR_BACKEND=pygmtsar, which needs only `pip install slidecube[insar]`.",
    )


_ENGINE_SETTING = "SLIDECUBE_CONTAINER_ENGINE"
_BUILD = (
    "Build the image with `podman build -f docker/isce2/Dockerfile -t slidecube-isce2 .`, or name another in "
    "SLIDECUBE_ISCE2_IMAGE."
)


def check_room(job: Path, manifest: JobManifest) -> None:
    """Raise InterferometryError `memory-lacking` or `disk-lacking` if the job needs more than is available."""
    wanted = manifest.limits.memory_bytes
    available = available_memory_bytes()
    if available is not None and wanted > available:
        raise InterferometryError(
            "memory-lacking",
            f"{manifest.pair} needs {wanted / 2**30:.1f} GiB of memory, and {available / 2**30:.1f} GiB are available.",
            "Use a larger machine, end other programs, or process fewer bursts in one job.",
        )
    scratch = job / "scratch"
    reusable = (
        sum(file.lstat().st_size for file in scratch.rglob("*") if not file.is_dir())
        if scratch.is_dir()
        else 0
    )
    free = shutil.disk_usage(scratch if scratch.is_dir() else job).free
    if manifest.limits.scratch_bytes > free + reusable:  # files of an earlier run are reused or deleted
        raise InterferometryError(
            "disk-lacking",
            f"{manifest.pair} needs {manifest.limits.scratch_bytes / 1e9:.1f} GB of disk, and {free / 1e9:.1f} GB are "
            "free.",
            "Free disk space, or set SLIDECUBE_DATA_DIR to a larger disk.",
        )


def available_memory_bytes() -> int | None:
    """Memory that a new process can use without swapping in this control group; None if unknown."""
    amounts = []
    with contextlib.suppress(OSError, StopIteration, ValueError):
        lines = Path("/proc/meminfo").read_text("ascii").splitlines()
        amounts.append(1024 * int(next(line for line in lines if line.startswith("MemAvailable")).split()[1]))
    for name in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        with contextlib.suppress(OSError, ValueError):
            amounts.append(int(Path(name).read_text("ascii")))  # "max" means no limit
    return min(amounts, default=None)


def container_run(job: Path, manifest: JobManifest, engine: Engine, image: str) -> ContainerRun:
    """The container of one job: inputs and manifest are read-only, scratch and products are writable."""
    folders = folder_of(job)
    mounts = [
        Mount(source=job / MANIFEST, target=f"{JOB_FOLDER}/{MANIFEST}"),
        Mount(source=folders["inputs"], target=f"{JOB_FOLDER}/inputs"),
        Mount(source=folders["scratch"], target=f"{JOB_FOLDER}/scratch", read_only=False),
        Mount(source=folders["products"], target=f"{JOB_FOLDER}/products", read_only=False),
    ]
    for mount in mounts:
        source = str(mount.source)
        if any(mark in source for mark in ":,") or not source.isprintable() or not mount.source.is_absolute():
            raise InterferometryError(
                "job-unusable",
                f"{source!r} contains a colon, a comma or a control character, which container engines misread.",
                "Set SLIDECUBE_DATA_DIR to a folder without these characters.",
            )
    return ContainerRun(
        engine=engine,
        image=image,
        name=f"slidecube-{manifest.pair}-{manifest.part}-{secrets.token_hex(4)}".lower(),
        job=f"{manifest.pair}/{manifest.part}",
        owner=this_process(),
        mounts=tuple(mounts),
        memory_bytes=manifest.limits.memory_bytes,
        cpus=min(manifest.limits.cpus, os.cpu_count() or 1),
        time_s=manifest.limits.time_s + GRACE_S,
        user=os.getuid(),
        group=os.getgid(),
    )


def read_finished(job: Path, manifest: JobManifest) -> JobMetadata:
    """The metadata of a finished job, after its products were checked against it.

    The container wrote the files, so they are untrusted: links are refused, sizes and digests are computed.

    Raises InterferometryError `product-missing` or `product-changed`.
    """
    products = folder_of(job)["products"]
    try:
        metadata = JobMetadata.model_validate_json(read_plain(products / METADATA))
        for name in PRODUCTS:
            product = metadata.products[name]
            with open_plain(products / f"{name}.tif") as file:
                size = os.fstat(file.fileno()).st_size
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            if (product.file, product.size_bytes, product.sha256) != (f"{name}.tif", size, digest):
                raise InterferometryError(
                    "product-changed",
                    f"{name}.tif differs from its record in metadata.json.",
                    "Run the pair again.",
                )
    except (OSError, KeyError, ValidationError) as error:
        raise InterferometryError(
            "product-missing",
            f"{manifest.pair} ended without an error, but its products cannot be read ({type(error).__name__}).",
            f"Read {RUNNER_LOG} in the job's scratch folder and run the pair again.",
        ) from error
    if (metadata.pair, metadata.part, metadata.backend) != (manifest.pair, manifest.part, "isce2"):
        raise InterferometryError(
            "product-changed", f"metadata.json belongs to {metadata.pair}.", "Run the pair again."
        )
    return metadata


def _grant_access(job: Path, run: ContainerRun) -> None:
    """If the caller is root, let the container's user write scratch and products and read the other files."""
    if run.user:
        return
    folders = folder_of(job)
    for folder in (folders["scratch"], folders["products"]):
        for path in (folder, *folder.rglob("*")):
            os.chown(path, CONTAINER_USER, CONTAINER_USER, follow_symlinks=False)
    for path in (job / MANIFEST, folders["inputs"], *folders["inputs"].rglob("*")):
        if path.is_symlink():
            raise InterferometryError(
                "job-unusable",
                f"{path.relative_to(job)} is a link, whose target is absent inside the container.",
                "Delete the job's folder and run the pair again.",
            )
        mode = path.stat().st_mode
        wanted = mode | (0o555 if path.is_dir() else 0o444)
        if wanted != mode:
            path.chmod(stat.S_IMODE(wanted))
