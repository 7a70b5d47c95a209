"""A real container engine runs the runner with the stand-in topsApp, and everything that can go wrong there does.

After each fault: no product counts, no container is left, no process of it is left.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import rasterio

from pipeline.errors import InterferometryError
from pipeline.insar.isce2.container import CONTAINER_USER, ContainerRun, exit_error, reap, run_command
from pipeline.insar.isce2.isce2_backend import Isce2Backend, container_run
from pipeline.insar.isce2.topsapp.steps import STEPS
from pipeline.insar.job import read_manifest
from tests.insar.image import OURS, build_image, containers_conf, remove_old_images
from tests.insar.jobs import MIB, attempts, make_job, order

ENGINE = "podman"
REQUIRED = "SLIDECUBE_TESTS_ENGINE"
"""Set where the engine must be there: its absence is a failure then."""

CALLER = """
import sys
from pathlib import Path
from pipeline.insar.isce2.isce2_backend import Isce2Backend
from pipeline.insar.job import read_manifest
job = Path(sys.argv[1])
Isce2Backend("podman", sys.argv[2]).run(job, read_manifest(job))
"""


def _without(why: str) -> None:
    if os.environ.get(REQUIRED):
        pytest.fail(f"{REQUIRED} is set and {why}")
    pytest.skip(f"NOT TESTED, containers: {why}")


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The small image, in an engine that runs; all tests here are skipped where there is none."""
    if shutil.which(ENGINE) is None:
        _without(f"{ENGINE} is not installed")
    with pytest.MonkeyPatch.context() as patch:
        name = _build(tmp_path_factory, patch)
        yield name
        remove_old_images(ENGINE)


def _build(tmp_path_factory: pytest.TempPathFactory, patch: pytest.MonkeyPatch) -> str:
    """By the machine's own configuration where containers start with it, else by one for machines of lower limits."""
    message = ""
    for own in (None, containers_conf(tmp_path_factory.mktemp("engine"))):
        if own is not None:
            patch.setenv("CONTAINERS_CONF", str(own))
        try:
            name = build_image(ENGINE)
        except RuntimeError as error:
            message = str(error)
            continue
        command = [ENGINE, "run", "--rm", "--init", "--network=none", "--memory=256m", name, "--help"]
        answer = subprocess.run(command, capture_output=True, text=True, check=False)
        if answer.returncode == 0:
            return name
        message = answer.stderr.strip()
    _without(f"{ENGINE} cannot run a container here: {message[-500:]}")
    raise AssertionError


@pytest.fixture
def job(tmp_path: Path, image: str) -> Iterator[Path]:
    """A job; after the test nothing of its containers may be left."""
    yield make_job(tmp_path / "job", memory_bytes=512 * MIB)
    until(lambda: containers() == [])


def containers() -> list[str]:
    """Of this program's containers, whatever their state."""
    command = [ENGINE, "ps", "--all", "--quiet", "--filter=label=slidecube=insar"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()


def until(what: Callable[[], Any], seconds: float = 30) -> Any:
    """The first true answer."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        answer = what()
        if answer:
            return answer
        time.sleep(0.1)
    raise AssertionError("it did not come to that in time")


def processes_of(job: Path) -> list[psutil.Process]:
    """The stand-ins that hang in the container, as this machine sees them."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.cwd() == "/job/scratch/topsapp" or str(job) in " ".join(process.cmdline()):
                found.append(process)
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return [process for process in found if process.pid != os.getpid()]


def backend_error(job: Path, image: str) -> InterferometryError:
    """The error with which a job ends, which leaves no product."""
    with pytest.raises(InterferometryError) as caught:
        Isce2Backend(ENGINE, image).run(job, read_manifest(job))
    assert not list((job / "products").iterdir())
    assert caught.value.remedy
    return caught.value


@pytest.fixture
def caller(job: Path, image: str) -> Iterator[subprocess.Popen[bytes]]:
    """Another process that waits for the job, in whose container the stand-in hangs."""
    order(job, step="startup", how="hang")
    process = subprocess.Popen(
        [sys.executable, "-c", CALLER, str(job), image],
        cwd=Path(__file__).resolve().parents[2],
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    until((job / "scratch/hanging.txt").exists)
    assert len(containers()) == 1
    yield process
    process.kill()
    process.wait()


def test_a_job_goes_through_and_leaves_nothing(job: Path, image: str) -> None:
    steps = []
    metadata = Isce2Backend(ENGINE, image).run(job, read_manifest(job), lambda *step: steps.append(step[0]))
    assert steps == list(STEPS)
    assert metadata.valid_fraction == 1.0 and metadata.esd.applied
    with rasterio.open(job / "products/coherence.tif") as source:
        assert 0.05 < source.read(1)[source.index(142.0, 42.7)] < 0.95
    assert (job / "products/metadata.json").stat().st_uid in (os.getuid() or CONTAINER_USER, CONTAINER_USER)


def test_the_container_is_shut_in(job: Path, image: str, caller: subprocess.Popen[bytes]) -> None:
    command = [ENGINE, "container", "inspect", containers()[0]]
    inspected = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)[0]
    host = inspected["HostConfig"]
    assert host["NetworkMode"] == "none" and host["ReadonlyRootfs"] and not host["Privileged"]
    assert host["Memory"] == 512 * MIB and host["Init"] and host["AutoRemove"]
    assert not inspected.get("EffectiveCaps")
    writable = {mount["Destination"] for mount in inspected["Mounts"] if mount["RW"]}
    assert writable == {"/job/scratch", "/job/products"}
    inside = [process for process in processes_of(job) if process.cwd() == "/job/scratch/topsapp"]
    assert len(inside) == 2 and all(process.uids().real != 0 for process in inside)
    assert inspected["Config"]["Labels"]["slidecube.pid"] == str(caller.pid)
    assert reap(ENGINE) == () and len(containers()) == 1  # its owner lives


def test_a_caller_that_is_killed_takes_container_and_processes_along(
    job: Path, caller: subprocess.Popen[bytes]
) -> None:
    running = processes_of(job)
    assert running
    caller.kill()
    until(lambda: not containers())
    assert not psutil.wait_procs(running, timeout=15)[1]
    assert not list((job / "products").iterdir())


def test_a_caller_that_is_killed_with_its_engine_client_leaves_nothing_either(
    job: Path, caller: subprocess.Popen[bytes]
) -> None:
    running = processes_of(job)
    client = next(p for p in psutil.Process(caller.pid).children() if p.name() == ENGINE)
    caller.send_signal(signal.SIGSTOP)  # so that it cannot clear up between the two
    client.kill()
    caller.kill()
    caller.wait()
    until(lambda: not containers())
    assert not psutil.wait_procs(running, timeout=15)[1]


def test_sigterm_of_the_caller_ends_all(job: Path, caller: subprocess.Popen[bytes]) -> None:
    caller.terminate()
    caller.wait(20)
    until(lambda: not containers())


def test_what_an_owner_left_behind_is_removed_at_the_next_start(job: Path, image: str) -> None:
    run = container_run(job, read_manifest(job), ENGINE, image)
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    left = run.model_copy(update={"owner": run.owner.model_copy(update={"pid": gone.pid, "start": "1"})})
    order(job, step="startup", how="hang")
    let_write(job)
    command = run_command(left.model_copy(update={"arguments": ("--alone", "/job")}))
    command.insert(2, "--detach")
    subprocess.run(command, capture_output=True, check=True)
    assert len(containers()) == 1
    order(job)
    assert Isce2Backend(ENGINE, image).run(job, read_manifest(job)).valid_fraction == 1.0


def test_time_limit_of_the_job(job: Path, image: str, tmp_path: Path) -> None:
    short = make_job(tmp_path / "short", memory_bytes=512 * MIB, time_s=3)
    order(short, step="startup", how="hang")
    assert backend_error(short, image).code == "timeout"


def let_write(job: Path) -> None:
    """As the backend does before a container starts: root's containers run as another user."""
    if os.getuid() == 0:
        for folder in ("scratch", "products"):
            os.chown(job / folder, CONTAINER_USER, CONTAINER_USER)


def engine_status(run: ContainerRun) -> tuple[int, str]:
    """How the engine's own command ends, with its input held open."""
    with subprocess.Popen(
        run_command(run), stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        message = process.stderr.read()
        return process.wait(60), message


def test_time_limit_of_the_engine(job: Path, image: str) -> None:
    order(job, step="startup", how="hang")
    let_write(job)
    run = container_run(job, read_manifest(job), ENGINE, image).model_copy(update={"time_s": 2.0})
    assert exit_error(run, *engine_status(run)).code == "timeout"


def test_absent_images_and_entry_points_are_named(job: Path, image: str) -> None:
    run = container_run(job, read_manifest(job), ENGINE, image)
    assert (
        exit_error(run, *engine_status(run.model_copy(update={"image": "localhost/none"}))).code
        == "image-absent"
    )
    assert backend_error(job, "localhost/none").code == "image-absent"
    empty = f"localhost/slidecube-empty-{os.getpid()}"
    command = [
        ENGINE,
        "import",
        "--change",
        'ENTRYPOINT ["/nothing"]',
        "--change",
        f"LABEL {OURS}",
        "-",
        empty,
    ]
    subprocess.run(command, input=bytes(10240), capture_output=True, check=True)
    status, message = engine_status(run.model_copy(update={"image": empty}))
    subprocess.run([ENGINE, "rmi", "--force", empty], capture_output=True, check=True)
    assert exit_error(run, status, message).code == "entry-point-absent", message


@pytest.mark.parametrize("how", ["eat-memory", "eat-memory-at-once"])
def test_memory_limit(tmp_path: Path, image: str, how: str) -> None:
    job = make_job(tmp_path / "job", memory_bytes=256 * MIB)
    order(job, step="startup", how=how)
    assert backend_error(job, image).code == "memory"
    assert containers() == []


def test_a_container_killed_from_outside_is_an_error(
    job: Path, caller: subprocess.Popen[bytes], image: str
) -> None:
    subprocess.run([ENGINE, "kill", "--signal=KILL", *containers()], capture_output=True, check=True)
    assert caller.wait(30) != 0
    assert not list((job / "products").iterdir())
    order(job)
    assert Isce2Backend(ENGINE, image).run(job, read_manifest(job)).valid_fraction == 1.0


@pytest.fixture
def small_disk(job: Path) -> Iterator[Path]:
    """The job's scratch on a disk of 12 MiB."""
    scratch = job / "scratch"
    options = "size=12m,mode=0777"
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(scratch)]
    if shutil.which("mount") is None or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("NOT TESTED, full disk: a small disk cannot be mounted here")
    yield scratch
    subprocess.run(["umount", "--lazy", str(scratch)], check=True)


def test_a_full_disk_is_named_and_the_job_goes_on_when_there_is_room(
    job: Path, image: str, small_disk: Path
) -> None:
    manifest = read_manifest(job).model_copy(update={"bbox": (141.97, 42.68, 142.03, 42.72)})
    limits = manifest.limits.model_copy(update={"scratch_bytes": 8 * MIB})
    (job / "manifest.json").write_text(
        manifest.model_copy(update={"limits": limits}).model_dump_json(), encoding="utf-8"
    )
    order(job, step="topo", how="fill-disk", times=1)
    assert backend_error(job, image).code == "disk-full"
    subprocess.run(["mount", "-o", "remount,size=128m", str(small_disk)], check=True)
    for rest in small_disk.rglob("rest.bin"):
        rest.unlink()
    assert Isce2Backend(ENGINE, image).run(job, read_manifest(job)).valid_fraction == 1.0
    assert attempts(job).count("preprocess") == 1 and attempts(job).count("topo") == 2


@pytest.mark.parametrize(
    ("step", "how", "code"),
    [
        ("startup", "generated-error", "topsapp-failed"),
        ("startup", "crash", "topsapp-crashed"),
        ("startup", "silent", "file-missing"),
        ("startup", "no-offset", "no-burst-overlap"),
        ("geocode", "truncated", "product-truncated"),
        ("geocode", "nan", "product-range"),
    ],
)
def test_failures_cross_the_wall_by_name(job: Path, image: str, step: str, how: str, code: str) -> None:
    order(job, step=step, how=how)
    assert backend_error(job, image).code == code
