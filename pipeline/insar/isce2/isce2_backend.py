"""The backend isce2: topsApp in a container, or a topsApp.py of the PATH, by the same runner."""

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
from pipeline.insar.isce2.runner_process import GRACE_S, RUNNER_LOG, Progress, RunnerProcess
from pipeline.insar.isce2.topsapp.preparation import find_topsapp
from pipeline.insar.job import MANIFEST, METADATA, PRODUCTS, JobManifest, JobMetadata, folder_of
from pipeline.records import Frozen
from pipeline.settings import settings

Choice = Literal["auto", "podman", "docker", "apptainer", "none"]

log = logging.getLogger(__name__)


class Way(Frozen):
    """How topsApp is reached: in a container of `engine`, or on the PATH where it is None."""

    engine: Engine | None
    image: str = Field("", description="of the engine")


class Isce2Backend:
    """Makes interferograms with ISCE2 topsApp."""

    name = "isce2"

    def __init__(self, engine: Choice | None = None, image: str | None = None) -> None:
        """`engine` and `image` None: as the settings say."""
        self.engine: Choice = engine or settings().container_engine
        self.image = image or settings().isce2_image

    def ready(self) -> None:
        """Whether there is a way to topsApp.

        Raises:
            InterferometryError: there is none; see `choose_way`.
        """
        choose_way(self.engine, self.image)

    def run(self, job: Path, manifest: JobManifest, progress: Progress | None = None) -> JobMetadata:
        """Process the job in the folder `job`.

        Raises:
            InterferometryError: by its code, from `engine-absent` and `memory-lacking` before anything starts, over
                those of the runner, to `product-missing`; the job's products do not count then.
        """
        job = job.resolve()
        check_room(job, manifest)
        way = choose_way(self.engine, self.image)
        for folder in folder_of(job).values():
            folder.mkdir(exist_ok=True)
        (job / "products" / METADATA).unlink(missing_ok=True)
        if way.engine is None:
            # -P: a folder `pipeline` where the caller happens to stand is not this one
            command = (sys.executable, "-P", "-m", "pipeline.insar.isce2.topsapp", str(job))
            runner = RunnerProcess(command=command, scratch=job / "scratch", time_s=manifest.limits.time_s)
        else:
            engine = way.engine
            reaped = reap(engine)
            if reaped:
                log.warning("Removed %d containers whose owner is gone", len(reaped))
            run = container_run(job, manifest, engine, way.image)
            _hand_over(job, run)
            runner = RunnerProcess(
                command=tuple(run_command(run)),
                scratch=job / "scratch",
                time_s=run.time_s,
                error_by_status=lambda status, said: exit_error(run, status, said),
                remove=lambda: remove(engine, run.name),
            )
        runner.wait(progress)
        return read_finished(job, manifest)


def choose_way(choice: Choice, image: str) -> Way:
    """How topsApp will be reached.

    "auto" takes the first engine that has the image, then a topsApp of the PATH.

    Raises:
        InterferometryError: `engine-absent`, `image-absent`, `engine-unreachable`, `topsapp-absent`, `isce2-absent`.
    """
    if choice == "none":
        find_topsapp()
        return Way(engine=None)
    if choice != "auto":
        if shutil.which(choice) is None:
            raise InterferometryError(
                "engine-absent",
                f"{choice} is not installed.",
                f"Install it, or set {_ENGINE_SETTING} to another.",
            )
        if not has_image(choice, image):
            raise InterferometryError("image-absent", f"{choice} has no image {image}.", _BUILD)
        return Way(engine=choice, image=image)
    found = [engine for engine in ENGINES if shutil.which(engine)]
    why: list[str] = []
    for engine in found:
        try:
            if has_image(engine, image):
                return Way(engine=engine, image=image)
            why.append(f"{engine} has no image {image}")
        except InterferometryError as error:
            why.append(error.message.rstrip("."))
    with contextlib.suppress(InterferometryError):
        find_topsapp()
        return Way(engine=None)
    raise InterferometryError(
        "isce2-absent",
        f"There is no way to ISCE2: {'; '.join(why) or 'no container engine'}, and no topsApp.py on the PATH.",
        f"{_BUILD} Or set SLIDECUBE_INSAR_BACKEND=pygmtsar, which needs `pip install slidecube[insar]` alone.",
    )


_ENGINE_SETTING = "SLIDECUBE_CONTAINER_ENGINE"
_BUILD = (
    "Build the image with `podman build -f docker/isce2/Dockerfile -t slidecube-isce2 .`, or name another in "
    "SLIDECUBE_ISCE2_IMAGE."
)


def check_room(job: Path, manifest: JobManifest) -> None:
    """Raise InterferometryError `memory-lacking` or `disk-lacking` where the job cannot fit, before hours are spent."""
    wanted = manifest.limits.memory_bytes
    available = available_memory_bytes()
    if available is not None and wanted > available:
        raise InterferometryError(
            "memory-lacking",
            f"{manifest.pair} wants {wanted / 2**30:.1f} GiB of memory, and {available / 2**30:.1f} GiB are available.",
            "Use a larger machine, end what else runs, or process fewer bursts in one job.",
        )
    scratch = job / "scratch"
    held = (
        sum(file.lstat().st_size for file in scratch.rglob("*") if not file.is_dir())
        if scratch.is_dir()
        else 0
    )
    free = shutil.disk_usage(scratch if scratch.is_dir() else job).free
    if manifest.limits.scratch_bytes > free + held:  # what is there of an earlier run is used again
        raise InterferometryError(
            "disk-lacking",
            f"{manifest.pair} wants {manifest.limits.scratch_bytes / 1e9:.1f} GB of disk, and {free / 1e9:.1f} GB are "
            "free.",
            "Free room, or set SLIDECUBE_DATA_DIR to a larger disk.",
        )


def available_memory_bytes() -> int | None:
    """What a new process may use without swapping, within this control group; None where it cannot be known."""
    amounts = []
    with contextlib.suppress(OSError, StopIteration, ValueError):
        lines = Path("/proc/meminfo").read_text("ascii").splitlines()
        amounts.append(1024 * int(next(line for line in lines if line.startswith("MemAvailable")).split()[1]))
    for name in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        with contextlib.suppress(OSError, ValueError):
            amounts.append(int(Path(name).read_text("ascii")))  # the word "max" is no number
    return min(amounts, default=None)


def container_run(job: Path, manifest: JobManifest, engine: Engine, image: str) -> ContainerRun:
    """The container of one job: inputs and manifest read-only, scratch and products to write."""
    folders = folder_of(job)
    mounts = [
        Mount(source=job / MANIFEST, target=f"{JOB_FOLDER}/{MANIFEST}"),
        Mount(source=folders["inputs"], target=f"{JOB_FOLDER}/inputs"),
        Mount(source=folders["scratch"], target=f"{JOB_FOLDER}/scratch", read_only=False),
        Mount(source=folders["products"], target=f"{JOB_FOLDER}/products", read_only=False),
    ]
    for mount in mounts:
        if ":" in str(mount.source) or "," in str(mount.source):
            raise InterferometryError(
                "job-unusable",
                f"{mount.source} holds a colon or a comma, which container engines read as a sign of their own.",
                "Set SLIDECUBE_DATA_DIR to a folder without.",
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
    """What metadata.json says of a finished job, once its products are what it says.

    The container wrote them, so nothing is believed: a link could lead anywhere, a size could be a wish.

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
                    f"{name}.tif is not what metadata.json says of it.",
                    "Run the pair again.",
                )
    except (OSError, KeyError, ValidationError) as error:
        raise InterferometryError(
            "product-missing",
            f"{manifest.pair} ended without an error and without products that can be read ({type(error).__name__}).",
            f"Look at {RUNNER_LOG} in the job's scratch folder and run the pair again.",
        ) from error
    if (metadata.pair, metadata.part, metadata.backend) != (manifest.pair, manifest.part, "isce2"):
        raise InterferometryError(
            "product-changed", f"metadata.json is that of {metadata.pair}.", "Run the pair again."
        )
    return metadata


def _hand_over(job: Path, run: ContainerRun) -> None:
    """Where the caller is root, the container's user must be able to write its two folders and to read the rest."""
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
                f"{path.relative_to(job)} is a link, which leads nowhere inside the container.",
                "Delete the job's folder and run the pair again.",
            )
        mode = path.stat().st_mode
        wanted = mode | (0o555 if path.is_dir() else 0o444)
        if wanted != mode:
            path.chmod(stat.S_IMODE(wanted))
