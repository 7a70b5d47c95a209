"""Command lines of the container engines, who owns a container, what an exit status means, what counts as finished."""

from __future__ import annotations

import json
import os
import re
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from pipeline.errors import InterferometryError
from pipeline.insar.isce2 import isce2_backend, runner_process
from pipeline.insar.isce2.container import (
    CONTAINER_USER,
    ContainerRun,
    Mount,
    Owner,
    exit_error,
    has_image,
    orphans,
    run_command,
    started,
    this_process,
)
from pipeline.insar.isce2.isce2_backend import check_room, choose_launcher, container_run, read_finished
from pipeline.insar.isce2.runner_process import RunnerProcess
from pipeline.insar.isce2.topsapp.runner import run_job
from pipeline.insar.job import read_manifest
from tests.insar.image import DOCKERFILE, ROOT, copied_files
from tests.insar.jobs import install_standin, make_job

OWNER = Owner(pid=4711, start="123456", boot="b00t", namespace="pid:[4026531836]")
RUN = ContainerRun(
    engine="podman",
    image="slidecube-isce2",
    name="slidecube-t046-0-abcd",
    job="T046/0",
    owner=OWNER,
    mounts=(
        Mount(source=Path("/data/job/inputs"), target="/job/inputs"),
        Mount(source=Path("/data/job/scratch"), target="/job/scratch", read_only=False),
    ),
    memory_bytes=8 * 2**30,
    cpus=2,
    time_s=3600.7,
    user=1000,
    group=100,
)


def test_podman_runs_without_network_privileges_or_leftovers() -> None:
    command = run_command(RUN)
    assert command[:2] == ["podman", "run"] and command[-2:] == ["slidecube-isce2", "/job"]
    for wanted in (
        "--rm",
        "--init",
        "--interactive",
        "--pull=never",
        "--network=none",
        "--user=1000:100",
        "--userns=keep-id",
        "--cap-drop=ALL",
        "--security-opt=no-new-privileges",
        "--read-only",
        "--memory=8589934592b",
        "--memory-swap=8589934592b",
        "--cpus=2",
        "--timeout=3600",
        "--label=slidecube.pid=4711",
        "--label=slidecube.boot=b00t",
        "--label=slidecube.job=T046/0",
        "--volume=/data/job/inputs:/job/inputs:ro",
        "--volume=/data/job/scratch:/job/scratch:rw",
    ):
        assert wanted in command, wanted
    assert not any("privileged" in word and "no-new" not in word for word in command)


def test_docker_knows_neither_timeout_nor_keep_id() -> None:
    command = run_command(RUN.model_copy(update={"engine": "docker"}))
    assert command[:2] == ["docker", "run"] and "--user=1000:100" in command
    assert not any(word.startswith(("--timeout", "--userns")) for word in command)


@pytest.mark.parametrize("engine", ["podman", "docker"])
def test_root_hands_the_container_to_an_ordinary_user(engine: str) -> None:
    command = run_command(RUN.model_copy(update={"engine": engine, "user": 0, "group": 0}))
    assert f"--user={CONTAINER_USER}:{CONTAINER_USER}" in command and "--userns=keep-id" not in command


def test_apptainer_runs_as_the_caller_in_its_own_network() -> None:
    run = RUN.model_copy(update={"engine": "apptainer", "image": "/images/isce2.sif"})
    command = run_command(run)
    assert command[:2] == ["apptainer", "run"] and command[-2:] == ["/images/isce2.sif", "/job"]
    assert {"--containall", "--cleanenv", "--no-home", "--net", "--network=none"} <= set(command)
    assert "--bind=/data/job/inputs:/job/inputs:ro" in command
    assert not any(word.startswith(("--security", "--label")) for word in command)
    assert any(word.startswith("--security=uid:") for word in run_command(run.model_copy(update={"user": 0})))


def _container(**values: Any) -> dict[str, Any]:
    labels = {
        "slidecube": "insar",
        "slidecube.pid": "4711",
        "slidecube.start": "123456",
        "slidecube.boot": "b00t",
        "slidecube.namespace": "pid:[4026531836]",
    }
    running = values.pop("running", True)
    labels |= {f"slidecube.{key}": value for key, value in values.items()}
    return {"Id": "c0ffee", "Config": {"Labels": labels}, "State": {"Running": running}}


@pytest.mark.parametrize(
    ("container", "alive", "gone"),
    [
        (_container(), {4711: "123456"}, False),
        (_container(), {}, True),
        (_container(), {4711: "999999"}, True),  # another process got the number
        (_container(namespace="pid:[1]"), {}, False),  # its owner cannot be seen from here
        (_container(boot="other"), {}, False),  # runs on another machine at the same engine
        (_container(boot="other", running=False), {}, True),  # left over from before the machine started anew
        ({"Id": "c0ffee", "Config": {"Labels": None}}, {}, False),
    ],
)
def test_only_containers_whose_owner_is_gone_are_orphans(
    container: dict[str, Any], alive: dict[int, str], gone: bool
) -> None:
    assert orphans([container], OWNER, alive.get) == (["c0ffee"] if gone else [])


def test_this_process_owns_what_it_starts() -> None:
    owner = this_process()
    assert owner.pid == os.getpid() and owner.start == started(os.getpid())
    assert started(2**22 + 1) is None


@pytest.mark.parametrize(
    ("status", "said", "code"),
    [
        (125, "Error: slidecube-isce2: image not known", "image-absent"),
        (125, "docker: Error response from daemon: No such image: x", "image-absent"),
        (125, "Error: container-init binary not found on the host", "engine-refused"),
        (126, "OCI permission denied", "runtime-refused"),
        (127, "OCI runtime attempted to invoke a command that was not found", "entry-point-absent"),
        (1, "ERROR (catatonit:6): failed to exec pid1: No such file or directory", "entry-point-absent"),
        (137, "", "memory"),
        (255, "", "timeout"),
        (1, "Traceback", "runner-failed"),
    ],
)
def test_exit_statuses_have_names(status: int, said: str, code: str) -> None:
    error = exit_error(RUN, status, said)
    assert error.code == code and error.remedy
    assert code == "image-absent" or said in str(error)


def test_255_is_no_timeout_for_engines_without_one() -> None:
    assert exit_error(RUN.model_copy(update={"engine": "apptainer"}), 255, "FATAL").code == "runner-failed"


def _engine(folder: Path, name: str, script: str) -> None:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    (folder / name).chmod(0o755)


def test_the_way_to_topsapp_is_chosen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    with pytest.raises(InterferometryError) as caught:
        choose_launcher("auto", "image")
    assert caught.value.code == "isce2-absent" and "pygmtsar" in caught.value.remedy
    with pytest.raises(InterferometryError, match="podman") as caught:
        choose_launcher("podman", "image")
    assert caught.value.code == "engine-absent"
    with pytest.raises(InterferometryError) as caught:
        choose_launcher("none", "image")
    assert caught.value.code == "topsapp-absent"
    _engine(tmp_path / "bin", "podman", 'echo "Error: image: image not known" >&2; exit 125')
    _engine(tmp_path / "bin", "docker", 'echo "Cannot connect to the Docker daemon" >&2; exit 1')
    with pytest.raises(InterferometryError) as caught:
        choose_launcher("podman", "image")
    assert caught.value.code == "image-absent"
    with pytest.raises(InterferometryError) as caught:
        has_image("docker", "image")
    assert caught.value.code == "engine-unreachable" and "daemon" in caught.value.message
    with pytest.raises(InterferometryError, match=r"podman.*docker") as caught:
        choose_launcher("auto", "image")
    assert caught.value.code == "isce2-absent"
    install_standin(tmp_path / "bin")
    assert choose_launcher("auto", "image").engine is None
    _engine(tmp_path / "bin", "docker", "exit 0")
    assert choose_launcher("auto", "image").engine == "docker"


def test_a_job_that_cannot_fit_is_refused_before_it_starts(tmp_path: Path) -> None:
    job = make_job(tmp_path / "memory", memory_bytes=2**50)
    with pytest.raises(InterferometryError) as caught:
        check_room(job, read_manifest(job))
    assert caught.value.code == "memory-lacking"
    job = make_job(tmp_path / "disk", scratch_bytes=2**60)
    with pytest.raises(InterferometryError) as caught:
        check_room(job, read_manifest(job))
    assert caught.value.code == "disk-lacking"
    check_room(job, read_manifest(make_job(tmp_path / "fits")))


def test_a_folder_that_engines_would_misread_is_refused(tmp_path: Path) -> None:
    job = make_job(tmp_path / "a:b")
    with pytest.raises(InterferometryError) as caught:
        container_run(job, read_manifest(job), "podman", "image")
    assert caught.value.code == "job-unusable"


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("bin")
        install_standin(folder)
        patch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
        job = make_job(tmp_path_factory.mktemp("job") / "job")
        run_job(job, None)
        return job


def test_what_a_container_left_is_not_believed(finished: Path) -> None:
    manifest = read_manifest(finished)
    assert read_finished(finished, manifest).pair == manifest.pair
    products = finished / "products"
    coherence = products / "coherence.tif"
    data = coherence.read_bytes()

    def code() -> str:
        with pytest.raises(InterferometryError) as caught:
            read_finished(finished, manifest)
        return caught.value.code

    coherence.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    assert code() == "product-changed"
    coherence.unlink()
    assert code() == "product-missing"
    (finished / "elsewhere.tif").write_bytes(data)
    coherence.symlink_to(finished / "elsewhere.tif")
    assert code() == "product-missing"
    coherence.unlink()
    os.mkfifo(coherence)
    assert code() == "product-missing"
    coherence.unlink()
    coherence.write_bytes(data)
    metadata = products / "metadata.json"
    text = metadata.read_text("utf-8")
    metadata.write_text(json.dumps(json.loads(text) | {"pair": "T046_20000101_20000113"}), encoding="utf-8")
    assert code() == "product-changed"
    metadata.write_text(text[: len(text) // 2], encoding="utf-8")
    assert code() == "product-missing"
    metadata.write_text(text, encoding="utf-8")


def test_an_engine_that_is_slow_to_clear_up_is_no_timeout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner_process, "_END_S", 0.1)
    command = (sys.executable, "-c", "import os, time; os.close(1); time.sleep(1.5); os._exit(0)")
    RunnerProcess(command=command, scratch=tmp_path, time_s=30).wait()


def test_backend_runs_topsapp_of_the_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install_standin(tmp_path / "bin")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    job = make_job(tmp_path / "job")
    steps: list[tuple[str, int, int | None]] = []
    metadata = isce2_backend.Isce2Backend("none", "").run(
        job, read_manifest(job), lambda *step: steps.append(step)
    )
    assert metadata.valid_fraction == 1.0
    assert steps[0] == ("startup", 1, 21) and steps[-1] == ("geocode", 21, 21)


def test_dockerfile_copies_all_that_the_runner_imports() -> None:
    copied = {place.removeprefix("/opt/slidecube/") for place in copied_files()}
    assert "pipeline/insar/isce2/topsapp/__main__.py" in copied and "pipeline/insar/job.py" in copied
    for place in copied:
        text = (ROOT / place).read_text("utf-8")
        for module in re.findall(r"^(?:from|import) (pipeline[\w.]*)", text, re.MULTILINE):
            path = module.replace(".", "/")
            assert f"{path}.py" in copied or f"{path}/__init__.py" in copied, (place, module)


def test_dockerfile_and_environment_are_pinned() -> None:
    text = DOCKERFILE.read_text("utf-8")
    image = re.search(r"^FROM (\S+)$", text, re.MULTILINE)
    assert image is not None and re.fullmatch(r"mambaorg/micromamba:\d+\.\d+\.\d+-\S+", image[1])
    assert re.search(r"^USER (?!root|0)\w+", text, re.MULTILINE) and '"pipeline.insar.isce2.topsapp"' in text
    for line in text.splitlines():
        if line.startswith("COPY"):
            assert all((ROOT / source).exists() for source in line.split()[1:-1]), line
    environment = yaml.safe_load((DOCKERFILE.parent / "environment.yml").read_text("utf-8"))
    assert environment["channels"] == ["conda-forge", "nodefaults"]
    pins = dict(pin.split("=") for pin in environment["dependencies"])
    assert pins["isce2"] == "2.6.5"
    assert all(re.fullmatch(r"\d+(\.\d+)+", version) for version in pins.values())
    assert {"burst2safe", "numpy", "rasterio", "pydantic"} <= set(pins)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert project["requires-python"].startswith(f">={pins['python'].rpartition('.')[0]}")
    assert f"python{pins['python'].rpartition('.')[0]}/site-packages" in text


HOSTILE_IMAGES = [
    "-privileged",
    "--volume=/:/host",
    "",
    " ",
    "a b",
    "image\n--privileged",
    "x" * 300,
    "a;b",
    "$(id)",
    "é",
]


@pytest.mark.parametrize("image", HOSTILE_IMAGES)
@pytest.mark.parametrize("engine", ["podman", "docker"])
def test_an_image_that_an_engine_could_take_for_an_option_is_refused(
    engine: Any, image: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked = tmp_path / "asked"
    (tmp_path / engine).write_text(f"#!/bin/sh\necho x >> {asked}\n")
    (tmp_path / engine).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    for attempt in (
        lambda: has_image(engine, image),
        lambda: run_command(RUN.model_copy(update={"engine": engine, "image": image})),
        lambda: choose_launcher(engine, image),
        lambda: (
            isce2_backend.Isce2Backend(engine, image).ready() if image else choose_launcher(engine, image)
        ),
    ):
        with pytest.raises(InterferometryError) as caught:
            attempt()
        assert caught.value.code == "image-unusable" and "SLIDECUBE_ISCE2_IMAGE" in caught.value.remedy
    assert not asked.exists(), "no engine is asked"


@pytest.mark.parametrize("image", ["-x.sif", "--bind=/", "docker://evil.example/image", "a\nb"])
def test_an_image_file_that_is_no_path_is_refused(image: str) -> None:
    with pytest.raises(InterferometryError) as caught:
        has_image("apptainer", image)
    assert caught.value.code == "image-unusable"


@pytest.mark.parametrize(
    "image",
    [
        "slidecube-isce2",
        "localhost/slidecube-isce2:latest",
        "reg.example:5000/a/b@sha256:" + "0" * 64,
        "c0ffee",
    ],
)
def test_names_of_images_are_accepted(image: str) -> None:
    assert run_command(RUN.model_copy(update={"image": image}))[-2:] == [image, "/job"]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", "--privileged"), ("name", "a b"), ("job", "-v"), ("job", "T046/0\n--privileged"),
        ("arguments", ("--help",)), ("engine", "sh"), ("cpus", 0), ("memory_bytes", -1), ("user", -1),
        ("owner", {"pid": 1, "start": "1 --x", "boot": "", "namespace": ""}),
        ("mounts", ({"source": "/data", "target": "job:/x"},)),
    ],
)  # fmt: skip
def test_no_other_value_of_the_command_line_can_be_an_option(field: str, value: Any) -> None:
    with pytest.raises(ValidationError) as caught:
        ContainerRun.model_validate({**RUN.model_dump(), field: value})
    assert caught.value.errors()[0]["loc"][0] == field


@pytest.mark.parametrize("folder", ["a:b", "a,b", "a\nb"])
def test_a_folder_that_engines_misread_is_refused(folder: str, tmp_path: Path) -> None:
    job = make_job(tmp_path / "job")
    with pytest.raises(InterferometryError) as caught:
        container_run(tmp_path / folder, read_manifest(job), "podman", "slidecube-isce2")
    assert caught.value.code == "job-unusable"


def test_ids_of_containers_are_hexadecimal() -> None:
    assert orphans([{**_container(), "Id": "--all"}], OWNER, {}.get) == []


def test_base_images_are_pinned() -> None:
    texts = [
        (ROOT / "docker" / name).read_text() for name in ("Dockerfile", "compose.yaml", "isce2/Dockerfile")
    ]
    images = [
        image for text in texts for image in re.findall(r"^(?:FROM|\s+image:) (\S+)", text, re.MULTILINE)
    ]
    bases = {image.partition(":")[0]: image for image in images if image != "slidecube"}
    assert set(bases) == {"python", "postgres", "mambaorg/micromamba"}
    for name in ("python", "postgres"):
        assert re.fullmatch(r"[a-z]+:[\w.-]+@sha256:[0-9a-f]{64}", bases[name]), name
    assert re.fullmatch(
        r"\S+:\d+\.\d+\.\d+-debian12-slim(@sha256:[0-9a-f]{64})?", bases["mambaorg/micromamba"]
    )
