"""The runner drives a stand-in topsApp through a job: its products, its failures by name, its ends."""

from __future__ import annotations

import errno
import hashlib
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

import numpy as np
import psutil
import pytest
import rasterio

from pipeline.errors import InterferometryError
from pipeline.insar.child import Watch
from pipeline.insar.isce2.isce2_backend import read_finished
from pipeline.insar.isce2.topsapp.attempt import Attempts
from pipeline.insar.isce2.topsapp.failures import KNOWN_FAILURES, failure, read_log
from pipeline.insar.isce2.topsapp.files.isce_files import read_header
from pipeline.insar.isce2.topsapp.preparation import disable_esd, prepare
from pipeline.insar.isce2.topsapp.runner import run_job
from pipeline.insar.isce2.topsapp.steps import STEPS
from pipeline.insar.job import JobMetadata, read_manifest
from pipeline.insar.messages import EXIT_FAILED, parse_event
from tests.insar.jobs import MIB, attempts, install_standin, make_job, order
from tests.insar.standin_topsapp import truth

ROOT = Path(__file__).resolve().parents[5]


@pytest.fixture(autouse=True)
def on_path(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """The stand-in is the topsApp.py of the PATH."""
    folder = tmp_path_factory.mktemp("bin")
    install_standin(folder)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, JobMetadata]:
    """A job that went through."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("bin")
        install_standin(folder)
        patch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
        job = make_job(tmp_path_factory.mktemp("done") / "job")
        return job, run_job(job, None)


def run_again(job: Path, step: str) -> None:
    """Let a job that is done begin again at `step`."""
    for state in (job / "scratch/topsapp/PICKLE").glob(f"{step}*"):
        state.unlink()


def code_of(job: Path) -> str:
    """The code of the error that a run ends with, which leaves nothing that looks finished."""
    with pytest.raises(InterferometryError) as caught:
        run_job(job, None)
    assert not list((job / "products").iterdir())
    assert caught.value.remedy
    return caught.value.code


def test_products_hold_the_truth_at_the_right_place(done: tuple[Path, JobMetadata]) -> None:
    job, _ = done
    values = {}
    for name in ("coherence", "amplitude", "interferogram", "incidence"):
        with rasterio.open(job / f"products/{name}.tif") as source:
            assert source.crs.to_epsg() == 4326
            transform = source.transform
            values[name] = source.read(1)
    rows, columns = np.indices(values["coherence"].shape)
    longitude = transform.c + (columns + 0.5) * transform.a
    latitude = transform.f + (rows + 0.5) * transform.e
    coherence, amplitude, phase, incidence = truth(longitude, latitude)
    seen = np.isfinite(values["coherence"])
    assert (seen == (amplitude > 0)).all()
    # half a pixel off is 0.004 in coherence
    assert np.abs(values["coherence"] - coherence)[seen].max() < 1e-5
    assert np.abs(values["amplitude"] - amplitude)[seen].max() < 1e-2
    assert np.abs(np.angle(values["interferogram"] * np.exp(-1j * phase)))[seen].max() < 1e-4
    assert np.abs(values["incidence"] - incidence)[seen].max() < 1e-4
    assert np.isnan(values["incidence"][~seen]).all()


def test_metadata_say_what_was_done(done: tuple[Path, JobMetadata]) -> None:
    job, metadata = done
    written = JobMetadata.model_validate_json((job / "products/metadata.json").read_bytes())
    assert written == metadata
    assert [step.name for step in metadata.steps] == list(STEPS)
    assert metadata.versions["isce2"] == "2.6.5"
    assert metadata.esd.applied and metadata.esd.azimuth_offset_px == pytest.approx(-0.00012)
    assert metadata.valid_fraction == 1.0
    assert 0.4 < metadata.coherence_mean < 0.6
    assert metadata.peak_memory_bytes is not None and metadata.peak_memory_bytes > 10 * MIB
    for name, product in metadata.products.items():
        data = (job / "products" / product.file).read_bytes()
        assert (hashlib.sha256(data).hexdigest(), len(data)) == (product.sha256, product.size_bytes), name


def test_dem_is_tagged_as_ellipsoidal_and_counts_from_pixel_centres(done: tuple[Path, JobMetadata]) -> None:
    job, _ = done
    header = read_header(job / "scratch/topsapp/dem/geometry.wgs84")
    assert header.reference == "WGS84"
    with rasterio.open(job / "inputs/dem.tif") as source:
        assert header.corner == pytest.approx((source.bounds.left, source.bounds.top), abs=1e-12)
        heights = source.read(1)
    flat = np.fromfile(job / "scratch/topsapp/dem/geometry.wgs84", np.float32)
    assert (flat.reshape(header.length, header.width) == heights).all()
    posting = read_header(job / "scratch/topsapp/dem/geocoding.wgs84")
    assert abs(posting.delta_latitude) * 111_320 == pytest.approx(20)
    fine = np.fromfile(job / "scratch/topsapp/dem/geocoding.wgs84", np.float32)
    assert np.isfinite(fine).all() and heights.min() - 1 < fine.min() and fine.max() < heights.max() + 1


def test_products_without_metadata_are_unfinished(
    done: tuple[Path, JobMetadata], monkeypatch: pytest.MonkeyPatch
) -> None:
    job, metadata = done

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("pipeline.insar.isce2.topsapp.runner.write_whole", full)
        with pytest.raises(InterferometryError) as caught:
            run_job(job, None)
    assert caught.value.code == "disk-full"
    with pytest.raises(InterferometryError) as caught:
        read_finished(job, read_manifest(job))
    assert caught.value.code == "product-missing"
    assert run_job(job, None).products == metadata.products


def test_one_burst_leaves_esd_out(tmp_path: Path) -> None:
    metadata = run_job(make_job(tmp_path / "job", bursts=("046_097420_IW1",)), None)
    assert not metadata.esd.applied and "two bursts" in metadata.esd.reason


def test_esd_without_coherent_points_is_left_out_and_recorded(tmp_path: Path) -> None:
    job = make_job(tmp_path / "job")
    order(job, step="esd", how="incoherent")
    metadata = run_job(job, None)
    assert not metadata.esd.applied and "0.85" in metadata.esd.reason
    assert any("too strict" in line for step in metadata.steps for line in step.lines)
    assert attempts(job).count("esd") == 2 and attempts(job).count("prepesd") == 1


def test_esd_that_was_left_out_by_a_run_that_was_cut_off_keeps_its_reason(tmp_path: Path) -> None:
    job = make_job(tmp_path / "job")
    order(job, step="esd", how="raise", times=1)
    assert code_of(job) == "topsapp-failed"
    disable_esd(job / "scratch/topsapp")  # as a run does that ends before the step is done without it
    metadata = run_job(job, None)
    assert not metadata.esd.applied and "0.85" in metadata.esd.reason


def test_a_job_whose_working_folder_is_gone_starts_over(tmp_path: Path) -> None:
    job = make_job(tmp_path / "job")
    order(job, step="topo", how="raise", times=1)
    assert code_of(job) == "topsapp-failed"
    shutil.rmtree(job / "scratch/topsapp")
    assert [step.name for step in run_job(job, None).steps] == list(STEPS)


def test_a_failed_job_goes_on_at_the_step_that_failed(tmp_path: Path) -> None:
    job = make_job(tmp_path / "job")
    order(job, step="fineresamp", how="raise", times=1)
    assert code_of(job) == "topsapp-failed"
    # more memory is no other request
    limits = read_manifest(job).limits.model_copy(update={"memory_bytes": 2048 * MIB})
    manifest = read_manifest(job).model_copy(update={"limits": limits})
    (job / "manifest.json").write_text(manifest.model_dump_json(), encoding="utf-8")
    metadata = run_job(job, None)
    assert [step.name for step in metadata.steps] == list(STEPS)
    failed_at = STEPS.index("fineresamp")
    assert attempts(job) == [*STEPS[: failed_at + 1], *STEPS[failed_at:]]


def test_what_is_done_does_not_count_for_other_inputs_or_lost_files(tmp_path: Path) -> None:
    job = make_job(tmp_path / "job")
    order(job, step="topo", how="raise", times=1)
    assert code_of(job) == "topsapp-failed"
    (job / "scratch/topsapp/reference/IW1.xml").unlink()
    order(job, step="topo", how="raise", times=2)
    assert code_of(job) == "topsapp-failed"
    assert attempts(job).count("startup") == 1 and attempts(job).count("preprocess") == 2
    orbit = next((job / "inputs/orbits").iterdir())
    orbit.write_text("<Earth_Explorer_File></Earth_Explorer_File>", encoding="utf-8")
    order(job, step="topo", how="raise", times=3)
    assert code_of(job) == "topsapp-failed"
    assert attempts(job).count("startup") == 2


@pytest.mark.parametrize(
    ("step", "how", "code"),
    [
        ("preprocess", "generated-error", "topsapp-failed"),
        ("preprocess", "silent", "file-missing"),
        ("preprocess", "unknown-step", "step-unknown"),
        ("preprocess", "no-offset", "no-burst-overlap"),
        ("preprocess", "raise", "topsapp-failed"),
        ("preprocess", "crash", "topsapp-crashed"),
        ("preprocess", "killed", "topsapp-crashed"),
    ],
)
def test_every_failure_of_a_step_has_its_name(tmp_path: Path, step: str, how: str, code: str) -> None:
    job = make_job(tmp_path / "job")
    order(job, step=step, how=how)
    assert code_of(job) == code


@pytest.mark.parametrize(
    ("step", "how", "code"),
    [
        ("geocode", "truncated", "product-truncated"),
        ("geocode", "nan", "product-range"),
        ("geocode", "too-coherent", "product-range"),
        ("geocode", "empty", "product-empty"),
        ("geocode", "elsewhere", "product-elsewhere"),
        ("mergebursts", "forget-file", "file-missing"),
    ],
)
def test_a_wrong_product_is_none(done: tuple[Path, JobMetadata], step: str, how: str, code: str) -> None:
    job, _ = done
    order(job, step=step, how=how)
    run_again(job, step)
    assert code_of(job) == code
    (job / "scratch/standin.json").unlink()
    run_again(job, step)
    run_job(job, None)


def _wrong_orbit(job: Path) -> None:
    for file in (job / "inputs/orbits").iterdir():
        if "V20180904" in file.name:
            other = file.with_name(
                file.name.replace("V20180904", "V20190904").replace("_20180906", "_20190906")
            )
            file.rename(other)
            manifest = (job / "manifest.json").read_text("utf-8").replace(file.name, other.name)
            (job / "manifest.json").write_text(manifest, encoding="utf-8")


def _no_orbit(job: Path) -> None:
    shutil.rmtree(job / "inputs/orbits")


def _manifest(**values: Any) -> Callable[[Path], None]:
    def change(job: Path) -> None:
        data = json.loads((job / "manifest.json").read_text("utf-8")) | values
        (job / "manifest.json").write_text(json.dumps(data), encoding="utf-8")

    return change


def _no_safe(job: Path) -> None:
    shutil.rmtree(job / "inputs/secondary")


def _small_dem(job: Path) -> None:
    with rasterio.open(job / "inputs/dem.tif") as source:
        profile, heights = source.profile, source.read(1)
    with rasterio.open(job / "inputs/dem.tif", "w", **(profile | {"width": 200})) as out:
        out.write(heights[:, :200], 1)


def _dem_with_void(job: Path) -> None:
    with rasterio.open(job / "inputs/dem.tif", "r+") as dem:
        heights = dem.read(1)
        heights[5, 5] = np.nan
        dem.write(heights, 1)


@pytest.mark.parametrize(
    ("spoil", "code"),
    [
        (_wrong_orbit, "orbit-missing"),
        (_no_orbit, "orbit-missing"),
        (_manifest(swaths=[1, 2]), "swath-absent"),
        (_manifest(polarisation="vh"), "polarisation-absent"),
        (_no_safe, "inputs-missing"),
        (_small_dem, "dem-not-covering"),
        (_dem_with_void, "dem-void"),
        (_manifest(bbox=[10.0, 10.0, 10.1, 10.1]), "product-elsewhere"),
        (_manifest(format="slidecube-insar-job-9"), "manifest-unreadable"),
        (lambda job: (job / "inputs/dem.tif").write_bytes(b"no raster"), "dem-unusable"),
    ],
)
def test_unfit_inputs_are_named(tmp_path: Path, spoil: Callable[[Path], None], code: str) -> None:
    job = make_job(tmp_path / "job")
    spoil(job)
    assert code_of(job) == code


def test_bursts_without_burst2safe_are_refused(tmp_path: Path) -> None:
    job = make_job(tmp_path / "job")
    data = json.loads((job / "manifest.json").read_text("utf-8"))
    data["reference"]["layout"] = "bursts"
    _manifest(**data)(job)
    assert code_of(job) == "burst2safe-missing"


def test_absent_topsapp_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert code_of(make_job(tmp_path / "job")) == "topsapp-absent"


def test_geocoding_before_anything_exists_is_an_error(tmp_path: Path) -> None:
    job = make_job(tmp_path / "job")
    manifest = read_manifest(job)
    work = job / "scratch/topsapp"
    prepare(job, manifest, work, job / "scratch/logs")
    watch = Watch(deadline=time.monotonic() + 60, memory_bytes=MIB * 1024)
    command = (str(Path(shutil.which("topsApp.py") or "")),)
    _, error = Attempts(command, work, job / "scratch", manifest, watch).run("geocode")
    assert error is not None and error.code == "state-missing"


def test_every_known_sign_is_read_from_a_log(tmp_path: Path) -> None:
    said = {
        "processor-versions-differ": "Trying to combine SLC products from different IPF versions 002.9+003.1",
        "slices-apart": "There appears to be a gap between slices. Cannot stitch them successfully.",
        "bursts-differ": "Trying to access shift for secondary burst index 3, which may not overlap",
        "calibration-missing": "Warning: Aux file requested but no suitable auxiliary file found.",
        "platform-unknown": "ValueError: Encountered unknown mission id S1E",
        "dem-missing": "Exception: Unknown reference system for DEM: NAVD88",
        "disk-full": "OSError: [Errno 28] No space left on device",
        "memory": "numpy.core._exceptions.MemoryError: Unable to allocate 4.00 GiB",
        "isce2-broken": "ImportError: libgdal.so.31: cannot open shared object file",
        "no-bursts": "Generated error:  NODATA: No bursts to extract",
        "nothing-to-geocode": "No products found to geocode",
        "swath-absent": "Generated error:  No annotation xml file found in /x.SAFE",
        "orbit-missing": "Generated error:  No suitable orbit file found. If you want to process anyway",
        "step-unknown": "ERROR: start=nonsense is not one of the named steps",
        "state-missing": "Cannot open PICKLE/topo",
        "no-burst-overlap": "Exception: Could not determine a suitable burst offset",
        "esd-too-strict": "Exception: Coherence threshold too strict. No points left for reliable ESD estimate",
    }
    assert set(said) == {sign.code for sign in KNOWN_FAILURES}
    for code, line in said.items():
        log = tmp_path / "step.log"
        log.write_text(
            f"Running step topo\n{line}\nThe remaining steps are (in order):  []\n", encoding="utf-8"
        )
        error = failure("topo", read_log(log), 0)
        assert error is not None and error.code == code


def test_a_quiet_log_is_no_failure(tmp_path: Path) -> None:
    log = tmp_path / "step.log"
    log.write_text(" Warning: west limit may be insufficient for global height range\n", encoding="utf-8")
    reading = read_log(log)
    assert failure("topo", reading, 0) is None and len(reading.lines) == 1
    assert failure("topo", reading, 1) is not None


# what follows needs the runner as a process of its own


@pytest.fixture
def started(tmp_path: Path) -> Iterator[Callable[..., tuple[subprocess.Popen[str], Path]]]:
    """Starts the runner over a job where one step hangs, eats memory or fills the disk; all ended afterwards."""
    running = []

    def start(how: str, step: str = "startup", **limits: Any) -> tuple[subprocess.Popen[str], Path]:
        job = make_job(tmp_path / "job", **limits)
        order(job, step=step, how=how)
        process = subprocess.Popen(
            [sys.executable, "-m", "pipeline.insar.isce2.topsapp", str(job)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        running.append(process)
        return process, job

    yield start
    for process in running:
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout):
            stream.close()


def failure_of(process: subprocess.Popen[str]) -> dict[str, Any]:
    """The runner's last event, once it has ended."""
    assert process.stdout is not None
    output = process.stdout.read()
    assert process.wait(30) == EXIT_FAILED
    event = parse_event(output.splitlines()[-1])
    assert event is not None and event["slidecube"] == "failed"
    return event


def hanging(job: Path) -> list[psutil.Process]:
    """The stand-in that hangs, and its own child, once both run."""
    file = job / "scratch/hanging.txt"
    until = time.monotonic() + 30
    while time.monotonic() < until:
        if file.exists() and file.read_text("utf-8"):
            process = psutil.Process(int(file.read_text("utf-8")))
            return [process, *process.children()]
        time.sleep(0.05)
    raise AssertionError("the stand-in did not get as far as to hang")


def assert_gone(processes: list[psutil.Process]) -> None:
    _, alive = psutil.wait_procs(processes, timeout=15)
    assert not alive


def test_runner_and_topsapp_end_when_the_caller_closes_their_input(started: Any) -> None:
    process, job = started("hang")
    below = hanging(job)
    assert len(below) == 2
    process.stdin.close()
    assert failure_of(process)["code"] == "caller-gone"
    assert_gone(below)
    assert not list((job / "products").iterdir())


def test_sigterm_ends_all_and_the_state_stays(started: Any) -> None:
    process, job = started("hang", "computeBaselines")
    below = hanging(job)
    process.send_signal(signal.SIGTERM)
    assert failure_of(process)["code"] == "stopped"
    assert_gone(below)
    (job / "scratch/standin.json").unlink()
    assert run_job(job, None).valid_fraction == 1.0
    assert attempts(job).count("preprocess") == 1


def test_topsapp_dies_with_a_runner_that_is_killed_outright(started: Any) -> None:
    process, job = started("hang")
    below = hanging(job)
    process.kill()
    assert_gone(below[:1])
    for process_below in below[1:]:
        process_below.kill()


def test_time_limit_ends_all(started: Any) -> None:
    process, job = started("hang", time_s=3.0)
    below = hanging(job)
    assert failure_of(process)["code"] == "timeout"
    assert_gone(below)


def test_memory_beyond_the_limit_ends_the_step(started: Any) -> None:
    process, _ = started("eat-memory", memory_bytes=200 * MIB)
    event = failure_of(process)
    assert event["code"] == "memory" and "0.2 GiB" in event["message"]
