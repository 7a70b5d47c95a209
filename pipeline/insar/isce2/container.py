"""Command lines of podman, docker and apptainer, all made here, and what their exit statuses mean.

A container of a job has no network, no privileges, an ordinary user, limits of memory and processors, and read-only
inputs; it goes when it ends. Its label says who owns it: a caller that dies closes the runner's standard input, which
ends it, and what may be left all the same is removed by the next start (`reap`).
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from pipeline.errors import InterferometryError
from pipeline.records import Frozen

Engine = Literal["podman", "docker", "apptainer"]
ENGINES: tuple[Engine, ...] = ("podman", "docker", "apptainer")

JOB_FOLDER = "/job"
"""Where a job lies inside its container."""
CONTAINER_USER = 10001
"""Who the runner is where the caller is root."""

_LABEL = "slidecube"
_ASK_TIMEOUT_S = 30.0
_MOST_PROCESSES = 4096
_TEMPORARY_BYTES = 256 * 2**20


class Mount(Frozen):
    """A file or folder of the host inside the container."""

    source: Path
    target: str
    read_only: bool = True


class Owner(Frozen):
    """The process that waits for a container: its id, and what tells that it is still the same process."""

    pid: int
    start: str = Field(
        description="clock ticks after boot, which tell it from a later process of the same id"
    )
    boot: str = Field(description="the kernel's boot id")
    namespace: str = Field(description="of process ids: the same number means another process in another one")


class ContainerRun(Frozen):
    """One container of one job."""

    engine: Engine
    image: str = Field(description="a local image's name, or a .sif file for apptainer")
    name: str
    job: str = Field(description="pair and part, for the label")
    owner: Owner
    mounts: tuple[Mount, ...]
    arguments: tuple[str, ...] = (JOB_FOLDER,)
    memory_bytes: int = Field(gt=0)
    cpus: int = Field(ge=1)
    time_s: float = Field(gt=0)
    user: int = Field(ge=0, description="of the caller")
    group: int = Field(ge=0)


def run_command(run: ContainerRun) -> list[str]:
    """The command that starts a container, waits for it and passes standard input, output and exit status through."""
    if run.engine == "apptainer":
        return _apptainer(run)
    user, group = (run.user, run.group) if run.user else (CONTAINER_USER, CONTAINER_USER)
    command = [
        run.engine,
        "run",
        "--rm",
        "--init",  # a shell or Python as the first process would not heed SIGTERM nor clear up after children
        "--interactive",
        "--pull=never",
        f"--name={run.name}",
        "--network=none",
        f"--user={user}:{group}",
        "--cap-drop=ALL",
        "--security-opt=no-new-privileges",
        "--security-opt=label=disable",  # bind mounts are not relabelled where SELinux is on
        f"--pids-limit={_MOST_PROCESSES}",
        f"--memory={run.memory_bytes}b",
        f"--memory-swap={run.memory_bytes}b",
        f"--cpus={run.cpus}",
        "--read-only",
        f"--tmpfs=/tmp:rw,size={_TEMPORARY_BYTES},mode=1777",
        "--env=HOME=/tmp",
    ]
    if run.engine == "podman":
        command.append(f"--timeout={max(1, int(run.time_s))}")
        if run.user:
            command.append("--userns=keep-id")  # else the products would belong to a number that nobody has
    command += [f"--label={key}={value}" for key, value in _labels(run).items()]
    for mount in run.mounts:
        access = "ro" if mount.read_only else "rw"
        command.append(f"--volume={mount.source}:{mount.target}:{access}")
    return [*command, run.image, *run.arguments]


def _apptainer(run: ContainerRun) -> list[str]:
    """apptainer runs as the caller and as its child, without a daemon; it sets limits only where the system lets it.

    So memory and time are the runner's own watch there, which knows them from the manifest.
    """
    command = [
        "apptainer",
        "run",
        "--containall",
        "--cleanenv",
        "--no-home",
        "--no-privs",
        "--net",
        "--network=none",
        "--env=HOME=/tmp",
    ]
    if not run.user:
        command.append(f"--security=uid:{CONTAINER_USER},gid:{CONTAINER_USER}")
    for mount in run.mounts:
        access = "ro" if mount.read_only else "rw"
        command.append(f"--bind={mount.source}:{mount.target}:{access}")
    return [*command, run.image, *run.arguments]


def _labels(run: ContainerRun) -> dict[str, str]:
    return {
        _LABEL: "insar",
        f"{_LABEL}.job": run.job,
        f"{_LABEL}.pid": str(run.owner.pid),
        f"{_LABEL}.start": run.owner.start,
        f"{_LABEL}.boot": run.owner.boot,
        f"{_LABEL}.namespace": run.owner.namespace,
    }


def remove_command(engine: Engine, names: Sequence[str]) -> list[str]:
    """The command that ends containers and removes them."""
    return [engine, "rm", "--force", *names]


def has_image(engine: Engine, image: str) -> bool:
    """Whether the image is there, so that nothing need be downloaded.

    Raises InterferometryError `engine-unreachable` where the engine does not answer.
    """
    if engine == "apptainer":
        return Path(image).exists()
    answer = _ask([engine, "image", "inspect", image])
    if answer.returncode == 0:
        return True
    said = answer.stderr.lower()
    if "no such image" in said or "not known" in said or "not found" in said:
        return False
    raise InterferometryError(
        "engine-unreachable",
        f"{engine} does not answer: {last_line(answer.stderr) or f'exit status {answer.returncode}'}.",
        f"Start it (`{engine} info` must work), or set SLIDECUBE_CONTAINER_ENGINE to another or to none.",
    )


def this_process() -> Owner:
    """The calling process as an owner of containers."""
    with contextlib.suppress(OSError):
        return Owner(
            pid=os.getpid(),
            start=started(os.getpid()) or "",
            boot=Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip(),
            namespace=Path("/proc/self/ns/pid").readlink().name,
        )
    return Owner(pid=os.getpid(), start="", boot="", namespace="")


def started(pid: int) -> str | None:
    """When a process started, in clock ticks after boot; None where there is none of this id."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace").rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else fields[19]


def orphans(
    containers: Sequence[dict[str, Any]],
    here: Owner,
    started: Callable[[int], str | None] = started,
) -> list[str]:
    """The ids of those containers, as `inspect` tells of them, whose owner is gone.

    One of another process namespace may have a living owner that cannot be seen from here, and one that runs under
    another boot id belongs to another machine at the same engine: both are left alone.
    """
    gone = []
    for container in containers:
        labels = (container.get("Config") or {}).get("Labels") or {}
        if labels.get(_LABEL) != "insar" or not here.boot:
            continue
        if labels.get(f"{_LABEL}.boot") != here.boot:
            lost = not (container.get("State") or {}).get("Running")
        elif labels.get(f"{_LABEL}.namespace") != here.namespace:
            lost = False
        else:
            pid = str(labels.get(f"{_LABEL}.pid", ""))
            lost = pid.isdigit() and started(int(pid)) != labels.get(f"{_LABEL}.start")
        if lost:
            gone.append(str(container["Id"]))
    return gone


def reap(engine: Engine) -> tuple[str, ...]:
    """Remove the containers of this program whose owner is gone; the ids of those removed.

    An engine that does not answer is no error here: the run that follows will tell of it.
    """
    if engine == "apptainer":  # its containers are children of their caller and carry no label
        return ()
    with contextlib.suppress(InterferometryError, ValueError):
        listed = _ask([engine, "ps", "--all", "--quiet", f"--filter=label={_LABEL}=insar"])
        ids = listed.stdout.split()
        if listed.returncode == 0 and ids:
            # one by one: a container that goes meanwhile fails the whole question
            told = [_ask([engine, "container", "inspect", one]) for one in ids]
            containers = [
                item for answer in told if answer.returncode == 0 for item in json.loads(answer.stdout)
            ]
            gone = orphans(containers, this_process())
            if gone:
                _ask(remove_command(engine, gone))
            return tuple(gone)
    return ()


def remove(engine: Engine, name: str) -> None:
    """End a container and remove it, if it is still there."""
    if engine != "apptainer":
        with contextlib.suppress(InterferometryError):
            _ask(remove_command(engine, [name]))


def exit_error(run: ContainerRun, status: int, said: str) -> InterferometryError:
    """The error that an exit status of the engine stands for, where the runner itself named none; `said` on stderr."""
    words = last_line(said)
    tail = f" It said: {words}" if words else ""
    if status == 125 and any(
        mark in said.lower() for mark in ("no such image", "not known", "unable to find image")
    ):
        return InterferometryError(
            "image-absent",
            f"{run.engine} has no image {run.image}.",
            "Build it from docker/isce2 of the project, or name another in SLIDECUBE_ISCE2_IMAGE.",
        )
    if "failed to exec pid1" in said:  # the init of podman exits with another status than the runtime would
        status = 127
    gib = run.memory_bytes / 2**30
    known: dict[int, tuple[str, str, str]] = {
        125: ("engine-refused", f"{run.engine} did not start the container.", "Look at what it said."),
        126: (
            "runtime-refused",
            f"{run.engine} could not run the image's entry point.",
            f"Check that `{run.engine} run --rm {run.image} --help` works.",
        ),
        127: (
            "entry-point-absent",
            f"the image {run.image} lacks its entry point.",
            "Build the image again from docker/isce2 of the project.",
        ),
        137: (
            "memory",
            f"the container was killed, most likely beyond its {gib:.1f} GiB of memory.",
            "Allow the job more memory, or fewer bursts; the pair goes on from the step that was cut off.",
        ),
    }
    if run.engine == "podman":
        known[255] = (
            "timeout",
            "the container's time was up.",
            "Allow it more time; the pair goes on from there.",
        )
    code, message, remedy = known.get(
        status,
        (
            "runner-failed",
            f"the runner ended with {status}.",
            "Look at runner.log in the job's scratch folder.",
        ),
    )
    return InterferometryError(code, message + tail, remedy)


def last_line(said: str) -> str:
    """The last line of what a command said on standard error, shortened."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    return lines[-1][:300] if lines else ""


def _ask(command: Sequence[str]) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            command,
            capture_output=True,
            text=True,
            errors="replace",
            stdin=subprocess.DEVNULL,
            timeout=_ASK_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise InterferometryError(
            "engine-unreachable",
            f"{command[0]} does not answer ({type(error).__name__}).",
            f"Start it (`{command[0]} info` must work), or set SLIDECUBE_CONTAINER_ENGINE to another or to none.",
        ) from error
