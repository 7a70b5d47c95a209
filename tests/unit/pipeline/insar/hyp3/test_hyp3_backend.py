"""Jobs at the sandbox's HyP3: found by name instead of paid for twice, waited for, fetched, mapped to the contract."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio

from pipeline.archives.earthdata import Earthdata
from pipeline.errors import InterferometryError
from pipeline.insar.hyp3.hyp3_api import Hyp3
from pipeline.insar.hyp3.hyp3_backend import Hyp3Backend
from pipeline.insar.job import JobManifest, JobMetadata, folder_of
from pipeline.insar.products.validate import read_finished
from pipeline.records import digest_of_json
from pipeline.sandbox.posing.asf.hyp3_host import HYP3_STORE
from pipeline.sandbox.posing.faults import Fault
from pipeline.sandbox.posing.server import Sandbox
from pipeline.sandbox.posing.server_options import ServerOptions
from pipeline.settings import settings
from tests.unit.hyp3_world import PEAK_M, make_hyp3_world, manifest_of, names_of, prepared
from tests.unit.slc_world import SlcWorld

WAVELENGTH_M = 299_792_458 / 5.405000454e9
START = datetime(2026, 1, 1, tzinfo=UTC)
SERVICE = "hyp3-api.asf.alaska.edu"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> SlcWorld:
    return make_hyp3_world(tmp_path_factory.mktemp("hyp3") / "w")


@pytest.fixture
def request_of(world: SlcWorld, request: pytest.FixtureRequest) -> JobManifest:
    """A job of the test's own: its name at HyP3 begins with the pair's."""
    pair = f"T046_{digest_of_json(request.node.name)[:8]}"
    return manifest_of(names_of(world, "20180824"), names_of(world, "20180905"), pair=pair)


@pytest.fixture(scope="module")
def shared(world: SlcWorld) -> Iterator[Sandbox]:
    with Sandbox(world.world, options=ServerOptions(hyp3_job_s=0.3, login="both")) as archives:
        yield archives


Enter = Callable[..., Sandbox]


@pytest.fixture
def enter(
    world: SlcWorld, shared: Sandbox, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[Enter]:
    """Leads this process to the shared sandbox, or starts one with options."""
    running: list[Sandbox] = []

    def start(**options: Any) -> Sandbox:
        archives = shared
        if options:
            archives = Sandbox(world.world, options=ServerOptions(**({"hyp3_job_s": 0.3} | options)))
            running.append(archives.__enter__())
        archives.reset()
        archives.set_clock(START, rate=1.0)
        for name, value in archives.environment.items():
            monkeypatch.setenv(name, value)
        return archives

    for name, value in {"HYP3_POLL_S": "0.1", "BACKOFF_S": "0.05", "RETRIES": "2"}.items():
        monkeypatch.setenv(f"SLIDECUBE_{name}", value)
    monkeypatch.chdir(tmp_path)
    settings.cache_clear()
    yield start
    for archives in running:
        archives.close()
    settings.cache_clear()


def run(folder: Path, manifest: JobManifest, progress: Any = lambda *_: None) -> JobMetadata:
    return Hyp3Backend(Hyp3(Earthdata())).run(prepared(folder, manifest), manifest, progress)


def submissions(archives: Sandbox) -> list[int]:
    return [seen.status for seen in archives.log if seen.method == "POST" and seen.path == "/jobs"]


def read(job: Path, name: str) -> Any:
    with rasterio.open(folder_of(job)["products"] / f"{name}.tif") as image:
        return image.read(1)


@pytest.mark.parametrize("login", ["password", "token"])
def test_a_pair_is_paid_for_once_and_its_products_keep_the_contract(
    enter: Enter, request_of: JobManifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, login: str
) -> None:
    archives = enter()
    monkeypatch.setenv(*{"password": ("EARTHDATA_TOKEN", ""), "token": ("NETRC", "none")}[login])
    heard: list[str] = []
    job = tmp_path / "a"
    metadata = run(job, request_of, lambda what, *_: heard.append(what))
    assert read_finished(job, request_of) == metadata
    assert {"HyP3: pending", "HyP3: running"} & set(heard)
    assert submissions(archives) == [200]
    run(tmp_path / "b", request_of)
    assert submissions(archives) == [200], "found by its name"
    assert [step.name for step in metadata.steps] == ["wait", "fetch", "map"]
    assert list(folder_of(job)["scratch"].iterdir()) == [folder_of(job)["scratch"] / ".locks"]
    assert not metadata.esd.applied and metadata.orbits == {"reference": "unknown", "secondary": "unknown"}
    said = metadata.parameters
    assert (said["pixel_m"], said["epsg"], said["water_masked"]) == ([20.0, 20.0], 32654, "no")
    assert "phsig" in said["coherence"] and "GLO_30" in said["heights"] and "0.5" in said["filter"]
    assert said["beside"] == ["unwrapped_phase.tif", "connected_components.tif"]
    assert set(metadata.versions) == {"hyp3_isce2", "ISCE"}


def test_the_products_are_the_truth_as_hyp3_sees_it(
    enter: Enter, request_of: JobManifest, tmp_path: Path
) -> None:
    enter()
    run(tmp_path / "job", request_of)
    coherence, phase = read(tmp_path / "job", "coherence"), read(tmp_path / "job", "interferogram")
    height, width = coherence.shape
    west, east = coherence[:, : width // 2 - 8], coherence[:, width // 2 + 8 :]
    assert np.nanmean(west) > 0.93, "phsig reads higher than the 0.8 of the truth"
    assert np.nanmean(west) > np.nanmean(east) + 0.1
    middle = phase[height // 2 - 2 : height // 2 + 2, width // 2 - 4 : width // 2]
    expected = -4 * np.pi / WAVELENGTH_M * PEAK_M
    assert abs(np.angle(np.nanmean(middle) * np.exp(-1j * expected))) < 0.5
    assert expected > 0, "away from the satellite"
    np.testing.assert_allclose(np.nanmean(read(tmp_path / "job", "incidence")), 38.0, atol=0.01)
    unwrapped = read(tmp_path / "job", "unwrapped_phase")
    assert np.nanmax(unwrapped[:, : width // 2]) > np.pi


def test_secrets_go_to_their_hosts_alone(enter: Enter, request_of: JobManifest, tmp_path: Path) -> None:
    archives = enter()
    run(tmp_path / "job", request_of)
    # the store answers 400 to a request with a login or a cookie
    assert {seen.status for seen in archives.log if seen.host == HYP3_STORE} == {200}
    assert {seen.host for seen in archives.log} == {
        SERVICE, HYP3_STORE, "urs.earthdata.nasa.gov", "cumulus.asf.alaska.edu",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"hyp3_credits": 4.0}, "hyp3-credits"),
        ({"hyp3_access": "NOT_STARTED"}, "hyp3-access"),
        ({"hyp3_access": "PENDING"}, "hyp3-access"),
        ({"login": "none"}, "hyp3-login"),
    ],
)
def test_nothing_is_submitted_where_it_cannot_be_paid(
    enter: Enter, request_of: JobManifest, tmp_path: Path, options: dict[str, Any], code: str
) -> None:
    archives = enter(**options)
    with pytest.raises(InterferometryError) as caught:
        Hyp3Backend().ready()
        run(tmp_path / "job", request_of)
    assert caught.value.code == code and caught.value.remedy
    assert submissions(archives) == []


def test_credits_that_are_spent_in_between_are_named_by_the_service(
    enter: Enter, request_of: JobManifest, tmp_path: Path
) -> None:
    archives = enter()
    archives.add_fault(Fault(action="no_credits", host=SERVICE, method="POST"))
    with pytest.raises(InterferometryError) as caught:
        run(tmp_path / "job", request_of)
    assert caught.value.code == "hyp3-credits" and "5.0 credits" in caught.value.message
    assert submissions(archives) == [400]


def test_a_failed_job_is_named_with_its_log_and_not_paid_for_again_at_once(
    enter: Enter, request_of: JobManifest, tmp_path: Path
) -> None:
    archives = enter()
    archives.add_fault(Fault(action="failed_job", host=SERVICE, method="POST"))
    for name in "ab":
        with pytest.raises(InterferometryError) as caught:
            run(tmp_path / name, request_of)
        assert caught.value.code == "hyp3-failed" and ".log" in caught.value.message
    assert submissions(archives) == [200]
    archives.set_clock(archives.now.replace(day=3))
    run(tmp_path / "c", request_of)
    assert submissions(archives) == [200, 200]


def test_an_expired_product_is_made_again(enter: Enter, request_of: JobManifest, tmp_path: Path) -> None:
    archives = enter()
    run(tmp_path / "a", request_of)
    archives.set_clock(archives.now.replace(day=20))
    run(tmp_path / "b", request_of)
    assert submissions(archives) == [200, 200]


@pytest.mark.parametrize("times", [1, None])
def test_a_product_that_is_gone_before_its_time_is_ordered_once_more(
    enter: Enter, request_of: JobManifest, tmp_path: Path, times: int | None
) -> None:
    archives = enter()
    archives.add_fault(Fault(action="status", host=HYP3_STORE, status=404, times=times))
    if times is None:
        with pytest.raises(InterferometryError) as caught:
            run(tmp_path / "a", request_of)
        assert caught.value.code == "hyp3-expired"
    else:
        run(tmp_path / "a", request_of)
    assert submissions(archives) == [200, 200]


def test_a_lost_answer_is_no_second_job(enter: Enter, request_of: JobManifest, tmp_path: Path) -> None:
    archives = enter()
    archives.add_fault(Fault(action="cut", host=SERVICE, method="POST", after_bytes=20))
    run(tmp_path / "a", request_of)
    assert len(submissions(archives)) == 1


def test_a_cut_download_is_resumed(enter: Enter, request_of: JobManifest, tmp_path: Path) -> None:
    archives = enter()
    archives.add_fault(Fault(action="cut", host=HYP3_STORE, after_bytes=5000))
    run(tmp_path / "a", request_of)
    asked = [seen for seen in archives.log if seen.host == HYP3_STORE]
    assert [seen.range is not None for seen in asked] == [False, True]


def test_a_corrupt_download_is_refused_and_fetched_again(
    enter: Enter, request_of: JobManifest, tmp_path: Path
) -> None:
    archives = enter()
    archives.add_fault(Fault(action="corrupt", host=HYP3_STORE, after_bytes=5000))
    job = prepared(tmp_path / "a", request_of)
    backend = Hyp3Backend(Hyp3(Earthdata()))
    with pytest.raises(InterferometryError) as caught:
        backend.run(job, request_of)
    assert caught.value.code == "hyp3-misfit" and not list(folder_of(job)["products"].iterdir())
    backend.run(job, request_of)
    assert submissions(archives) == [200]


def test_a_job_that_takes_too_long_is_left_at_hyp3_and_found_again(
    enter: Enter, request_of: JobManifest, tmp_path: Path
) -> None:
    archives = enter()
    archives.set_clock(rate=0)
    short = request_of.model_copy(update={"limits": request_of.limits.model_copy(update={"time_s": 0.3})})
    with pytest.raises(InterferometryError) as caught:
        run(tmp_path / "a", short)
    assert caught.value.code == "time-limit"
    archives.set_clock(archives.now.replace(minute=1))
    run(tmp_path / "b", request_of)
    assert submissions(archives) == [200]


@pytest.mark.parametrize(
    ("changes", "code"),
    [({"range_looks": 7}, "hyp3-looks"), ({"polarisation": "vh"}, "hyp3-polarisation")],
)
def test_what_hyp3_does_not_offer_is_refused_here(
    request_of: JobManifest, tmp_path: Path, changes: dict[str, Any], code: str
) -> None:
    with pytest.raises(InterferometryError) as caught:
        run(tmp_path / "job", request_of.model_copy(update=changes))
    assert caught.value.code == code
