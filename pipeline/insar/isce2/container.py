"""Command lines of podman, docker and apptainer, and the meaning of their exit statuses.

A container of a job has no network, no privileges, an ordinary user, limits of memory and processors, and read-only
inputs. The engine removes it when it ends. Its labels name its owner, the calling process. When the caller dies, the
runner's standard input is closed and the runner ends. The next start removes containers that still remain (`reap`).
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from pipeline.errors import InterferometryError
from pipeline.records import Frozen

Engine = Literal["podman", "docker", "apptainer"]
ENGINES: tuple[Engine, ...] = ("podman", "docker", "apptainer")

JOB_FOLDER = "/job"
"""Path of the job inside its container."""
CONTAINER_USER = 10001
"""User id of the runner if the caller is root."""

_WORD = r"^[A-Za-z0-9][A-Za-z0-9_./-]*$"
"""a value of an option: it begins with a letter or digit, so that it is never an option itself"""
_PLACE = r"^/[A-Za-z0-9_./-]*$"
_IMAGE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/:@+-]{0,254}")
"""a reference of an image: registry, name, tag, digest (OCI distribution specification, 1.1, "Pulling manifests")"""
_CONTAINER_ID = re.compile(r"[0-9a-f]{6,64}")
_LABEL = "slidecube"
_ASK_TIMEOUT_S = 30.0
_MOST_PROCESSES = 4096
_TEMPORARY_BYTES = 256 * 2**20


class Mount(Frozen):
    """A file or folder of the host that is mounted into the container."""

    source: Path = Field(description="absolute")
    target: str = Field(pattern=_PLACE)
    read_only: bool = True


class Owner(Frozen):
    """The process that waits for a container. The fields distinguish it from a later process of the same id."""

    pid: int
    start: str = Field(pattern=r"^\d*$", description="start time, clock ticks after boot")
    boot: str = Field(pattern=r"^[A-Za-z0-9-]*$", description="the kernel's boot id")
    namespace: str = Field(
        pattern=r"^[a-z]*:?(\[\d+\])?$",
        description="process id namespace, since ids are unique only within one",
    )


class ContainerRun(Frozen):
    """One container of one job."""

    engine: Engine
    image: str = Field(description="a local image's name, or a .sif file for apptainer; see `check_image`")
    name: str = Field(pattern=_WORD)
    job: str = Field(pattern=_WORD, description="pair and part, for the label")
    owner: Owner
    mounts: tuple[Mount, ...]
    arguments: tuple[Annotated[str, Field(pattern=_PLACE)], ...] = (JOB_FOLDER,)
    memory_bytes: int = Field(gt=0)
    cpus: int = Field(ge=1)
    time_s: float = Field(gt=0)
    user: int = Field(ge=0, description="of the caller")
    group: int = Field(ge=0)


def run_command(run: ContainerRun) -> list[str]:
    """The command that starts a container, waits for it, and connects its standard input, output and exit status.

    Raises InterferometryError `image-unusable` for a name that the engine could take for an option.
    """
    check_image(run.engine, run.image)
    if run.engine == "apptainer":
        return _apptainer(run)
    user, group = (run.user, run.group) if run.user else (CONTAINER_USER, CONTAINER_USER)
    command = [
        run.engine,
        "run",
        "--rm",
        "--init",  # Python as the first process would ignore SIGTERM and not reap children
        "--interactive",
        "--pull=never",
        f"--name={run.name}",
        "--network=none",
        f"--user={user}:{group}",
        "--cap-drop=ALL",
        "--security-opt=no-new-privileges",
        "--security-opt=label=disable",  # bind mounts are not relabelled under SELinux
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
            command.append("--userns=keep-id")  # else the products would belong to an unknown user id
    command += [f"--label={key}={value}" for key, value in _labels(run).items()]
    for mount in run.mounts:
        access = "ro" if mount.read_only else "rw"
        command.append(f"--volume={mount.source}:{mount.target}:{access}")
    return [*command, run.image, *run.arguments]


def _apptainer(run: ContainerRun) -> list[str]:
    """The same for apptainer, which runs as a child of the caller, without a daemon.

    It sets limits only on some systems, so the runner enforces the manifest's memory and time limits itself.
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


def check_image(engine: Engine, image: str) -> None:
    """Raise InterferometryError `image-unusable` for what is no reference of an image, or no path of a .sif file.

    An engine would take a name that begins with a hyphen for one of its options.
    """
    if engine == "apptainer":
        usable = image.isprintable() and not image.startswith("-") and "://" not in image
    else:
        usable = _IMAGE.fullmatch(image) is not None
    if not usable:
        kind = "path of a .sif file" if engine == "apptainer" else "name of a container image"
        raise InterferometryError(
            "image-unusable", f"{image[:100]!r} is no {kind}.", "Correct SLIDECUBE_ISCE2_IMAGE."
        )


def has_image(engine: Engine, image: str) -> bool:
    """Whether the engine has the image locally.

    Raises InterferometryError `image-unusable`, or `engine-unreachable` if the engine does not respond.
    """
    check_image(engine, image)
    if engine == "apptainer":
        return Path(image).exists()
    reply = _query([engine, "image", "inspect", image])
    if reply.returncode == 0:
        return True
    message = reply.stderr.lower()
    if "no such image" in message or "not known" in message or "not found" in message:
        return False
    raise InterferometryError(
        "engine-unreachable",
        f"{engine} does not respond: {last_line(reply.stderr) or f'exit status {reply.returncode}'}.",
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
    """Start time of a process in clock ticks after boot; None if no process has this id."""
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
    """The ids of those containers (JSON of `inspect`) whose owner has ended.

    A container of another process namespace may have an owner that is invisible here. A running container with another
    boot id belongs to another machine that uses the same engine. Neither is an orphan.
    """
    orphaned = []
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
            orphaned.append(str(container["Id"]))
    return [one for one in orphaned if _CONTAINER_ID.fullmatch(one)]


def reap(engine: Engine) -> tuple[str, ...]:
    """Remove the containers of this program whose owner has ended; returns their ids.

    An engine that does not respond is no error here, since the following run reports it.
    """
    if engine == "apptainer":  # its containers are children of their caller and carry no label
        return ()
    with contextlib.suppress(InterferometryError, ValueError):
        listed = _query([engine, "ps", "--all", "--quiet", f"--filter=label={_LABEL}=insar"])
        ids = [one for one in listed.stdout.split() if _CONTAINER_ID.fullmatch(one)]
        if listed.returncode == 0 and ids:
            # one by one: `inspect` fails as a whole if one of its containers has ended meanwhile
            replies = [_query([engine, "container", "inspect", one]) for one in ids]
            containers = [
                item for reply in replies if reply.returncode == 0 for item in json.loads(reply.stdout)
            ]
            orphaned = orphans(containers, this_process())
            if orphaned:
                _query(remove_command(engine, orphaned))
            return tuple(orphaned)
    return ()


def remove(engine: Engine, name: str) -> None:
    """End a container and remove it; nothing happens if it is gone."""
    if engine != "apptainer":
        with contextlib.suppress(InterferometryError):
            _query(remove_command(engine, [name]))


def exit_error(run: ContainerRun, status: int, stderr: str) -> InterferometryError:
    """The error for an exit status and the standard error of an engine, if the runner reported none itself."""
    line = last_line(stderr)
    tail = f" Its last message: {line}" if line else ""
    if status == 125 and any(
        mark in stderr.lower() for mark in ("no such image", "not known", "unable to find image")
    ):
        return InterferometryError(
            "image-absent",
            f"{run.engine} has no image {run.image}.",
            "Build it from docker/isce2 of the project, or name another in SLIDECUBE_ISCE2_IMAGE.",
        )
    if "failed to exec pid1" in stderr:  # podman's init exits with another status than the runtime
        status = 127
    gib = run.memory_bytes / 2**30
    known: dict[int, tuple[str, str, str]] = {
        125: ("engine-refused", f"{run.engine} did not start the container.", "Read its message."),
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
            f"the container was killed, probably because it exceeded its {gib:.1f} GiB of memory.",
            "Allow the job more memory, or fewer bursts; the pair resumes at the interrupted step.",
        ),
    }
    if run.engine == "podman":
        known[255] = (
            "timeout",
            "the container reached its time limit.",
            "Allow it more time; the pair then resumes.",
        )
    code, message, remedy = known.get(
        status,
        (
            "runner-failed",
            f"the runner ended with exit status {status}.",
            "Read runner.log in the job's scratch folder.",
        ),
    )
    return InterferometryError(code, message + tail, remedy)


def last_line(stderr: str) -> str:
    """The last line of a command's standard error, shortened."""
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    return lines[-1][:300] if lines else ""


def _query(command: Sequence[str]) -> subprocess.CompletedProcess[str]:
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
            f"{command[0]} does not respond ({type(error).__name__}).",
            f"Start it (`{command[0]} info` must work), or set SLIDECUBE_CONTAINER_ENGINE to another or to none.",
        ) from error
