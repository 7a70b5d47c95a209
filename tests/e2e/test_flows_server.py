"""The user's literal command, on a real Prefect server with a real worker, against archives on loopback."""

from __future__ import annotations

import json
import re
from base64 import b64decode
from collections.abc import Iterator
from pathlib import Path

import pytest
from prefect.client.schemas.actions import DeploymentScheduleCreate
from prefect.client.schemas.schedules import CronSchedule

from flows.serving.prefect_file import shipped
from pipeline.archives.planetary import PlanetaryComputer
from pipeline.cube.verify import verify_cube
from pipeline.sandbox.posing.faults import Fault
from tests.e2e.conftest import AREA
from tests.e2e.prefect_server import TOO_EARLY, Site, site
from tests.small_cube import small_cube, write

__all__ = ["site"]

pytestmark = pytest.mark.slow
BUILD = f"prefect deployment run build-datacube --param aoi={AREA}"


@pytest.fixture(autouse=True)
def honest_archive(site: Site) -> Iterator[None]:
    yield
    site.archive.reset()


def test_a_lost_layer_ends_the_run_by_name_and_the_next_run_reads_only_its_pass(site: Site) -> None:
    site.archive.add_fault(
        Fault(action="status", path="*vh*", status=404, host="*blob*", times=1, method="GET")
    )
    first = site.typed(BUILD)
    assert first.state is not None
    assert (first.state.name, first.state.is_failed()) == ("Incomplete", True)
    assert "vh 2018-" in (first.state.message or "")
    assert verify_cube(site.version(AREA, 1)).sound
    site.archive.reset()
    assert {"pipeline.archives.search_area", "pipeline.cube.versions"} <= {
        line.name for line in site.log(first)
    }
    second = site.run("build-datacube", aoi=AREA)
    assert second.state is not None
    assert second.state.is_completed()
    assert re.search(r": [12] layers built", second.state.message or ""), (
        "the pass that was lost, and no other"
    )


def test_one_command_turns_the_watch_on_and_setting_up_keeps_it(site: Site) -> None:
    def active() -> bool:
        with site.client() as client:
            watch = client.read_deployment_by_name("watch-events/watch-events")
            (schedule,) = client.read_deployment_schedules(watch.id)
            return bool(schedule.active)

    assert not active()
    for words, wanted in (("on --dry-run", False), ("on", True), ("", True), ("off", False)):
        command = (
            ["-c", "from flows.cli import watch; watch()", *words.split()] if words else ["-m", "flows.setup"]
        )
        answer = site.user("python", *command)
        assert answer.returncode == 0, answer.stderr
        assert active() is wanted


def test_the_event_of_a_version_starts_the_chain_which_ends_by_name(site: Site) -> None:
    """The small area is too small to be divided for training, so that only a map without training is possible."""
    end = site.chained(site.version(AREA, 2))
    assert end.state is not None
    assert end.state.name == "DetectorOnly", end.state.message
    assert end.created_by is not None and end.created_by.type == "AUTOMATION"
    folder = site.data / "maps" / AREA / "v2-detector"
    assert json.loads((folder / "report.json").read_text())["map"]["kind"] == "detector"
    assert (folder.parent / "latest").resolve() == folder.resolve() and (folder / "index.html").is_file()
    assert set(json.loads((site.data / "models" / AREA / "v2.refused.json").read_text())) == {"model"}


def test_a_misspelt_area_ends_the_run_with_one_sentence_in_its_pages(site: Site) -> None:
    run = site.run("build-datacube", aoi="smal")
    assert run.state is not None and run.state.is_failed()
    # Prefect quotes the message of a state, with backslashes before its quotes
    lines = [line.message.replace("\\", "") for line in site.log(run)]
    assert "smal" in (run.state.message or "")
    assert sum((run.state.message or "") in line for line in lines) == 1
    assert not any("Traceback" in line for line in lines)


def test_a_second_set_up_keeps_what_an_operator_set_and_says_so(site: Site) -> None:
    theirs = DeploymentScheduleCreate(
        schedule=CronSchedule(cron="5 4 1 1 *", timezone="Asia/Tokyo"),
        active=True,
        parameters={"aoi": "kaikoura"},
    )
    with site.client() as client:
        build = client.read_deployment_by_name("build-datacube/build-datacube")
        client.create_deployment_schedules(build.id, [theirs])
        (ours,) = (each for each in client.read_deployment_schedules(build.id) if each.slug)
        turned = site.user(
            "prefect", "deployment", "schedule", "resume", "build-datacube/build-datacube", str(ours.id)
        )
        assert turned.returncode == 0, turned.stdout + turned.stderr
        assert len(client.read_automations()) == 2  # the chain's trigger, and what ends silent runs
        for automation in client.read_automations():
            client.pause_automation(automation.id)
        before = {each.id: each for each in client.read_deployment_schedules(build.id)}
        assert (before[ours.id].active, before[ours.id].parameters) == (True, {"aoi": "hokkaido"})
        again = site.user("python", "-m", "flows.setup")
        assert again.returncode == 0, again.stdout + again.stderr
        after = {each.id: each for each in client.read_deployment_schedules(build.id)}
        for number, each in before.items():
            for field in ("schedule", "active", "parameters", "slug"):
                assert getattr(after[number], field) == getattr(each, field)
        assert len(after) == len(before) == 2
        assert [automation.enabled for automation in client.read_automations()] == [False, False]
        assert str(ours.slug) in again.stdout and "5 4 1 1 *" in again.stdout
        client.update_deployment_schedule(build.id, ours.id, active=False, parameters=ours.parameters)
        for automation in client.read_automations():
            client.resume_automation(automation.id)


def test_building_again_does_nothing_and_starts_nothing(site: Site) -> None:
    before = len(site.prefect.runs("train-model"))
    run = site.run("build-datacube", aoi=AREA)
    assert run.state is not None
    assert run.state.name == "Unchanged"
    assert len(site.prefect.runs("train-model")) == before


def test_a_run_leaves_the_passes_and_the_picture_for_a_person(site: Site) -> None:
    rows = json.loads(site.artifact(f"passes-{AREA}"))
    assert [row["instant (UTC)"] for row in rows] == sorted(row["instant (UTC)"] for row in rows)
    assert {row["track"] for row in rows} == {46, 68}
    for key in (f"quicklook-{AREA}", f"map-{AREA}"):
        found = re.search(r"data:image/jpeg;base64,([^)]+)", site.artifact(key))
        assert found
        assert b64decode(found[1]).startswith(b"\xff\xd8")


def test_without_labels_and_without_a_pass_after_the_event_the_chain_refuses_by_name(site: Site) -> None:
    # the archive is not there for a moment, and the library is set not to ask twice
    site.archive.add_fault(
        Fault(action="status", path="*vv*", status=503, host="*blob*", times=1, method="GET")
    )
    build = site.run("build-datacube", aoi=TOO_EARLY)
    assert site.retried(build) == 1
    assert build.state is not None
    assert build.state.is_completed()
    assert "labels: no inventory" in (build.state.message or "")
    end = site.chained(site.version(TOO_EARLY, 1))
    assert end.state is not None
    assert (end.state.name, end.state.is_completed()) == ("Refused", True)
    refused = json.loads((site.data / "models" / TOO_EARLY / "v1.refused.json").read_text())
    assert set(refused) == {"model", "map"}
    assert not (site.data / "maps" / TOO_EARLY / "v1-detector").exists()


def test_the_reconciliation_finishes_what_an_event_left_and_then_has_nothing_to_do(site: Site) -> None:
    (site.data / "models" / AREA / "v2.refused.json").unlink()
    folder = site.data / "maps" / AREA / "v2-detector"
    folder.rename(folder.with_name("lost"))
    finished = site.run("reconcile")
    assert finished.state is not None
    assert finished.state.is_completed()
    assert (folder / "report.json").is_file()
    again = site.run("reconcile")
    assert again.state is not None
    assert again.state.name == "Unchanged"


def test_a_model_is_trained_announced_and_used_for_the_map(site: Site, tmp_path: Path) -> None:
    cube = write(small_cube(256), tmp_path / "elsewhere.zarr")
    plan = {"chip_px": 64, "stride_px": 64, "steps": 4, "batch": 2, "validate_every": 2}
    run = site.run("train-model", cube=str(cube), plan=plan)
    assert run.state is not None
    assert run.state.name == "Completed", run.state.message
    bundle = site.data / "models" / "elsewhere" / "unversioned"
    assert (bundle / "bundle.json").is_file()
    (folder,) = (site.data / "maps" / "elsewhere").glob("unversioned-elsewhere-unversioned-*")
    assert json.loads((folder / "report.json").read_text())["map"]["kind"] == "model"
    announced = site.events("model.ready")
    assert [event["resource"]["model.uri"] for event in announced] == [str(bundle)]
    assert "at a prevalence of" in site.artifact("model-small")


def test_another_areas_model_maps_a_cube_by_their_names_and_once(site: Site) -> None:
    for name in ("Completed", "Unchanged"):
        run = site.run("map-landslides", cube=AREA, bundle="elsewhere")
        assert run.state is not None
        assert run.state.name == name, run.state.message
    (folder,) = (site.data / "maps" / AREA).glob("v2-elsewhere-unversioned-*")
    assert (folder / "probability.tif").is_file()
    assert (site.data / "maps" / AREA / "v2-detector").is_dir()


def test_a_bundle_is_not_replaced_by_one_of_another_plan_unasked(site: Site, tmp_path: Path) -> None:
    cube = write(small_cube(256), tmp_path / "elsewhere.zarr")
    bundle = site.data / "models" / "elsewhere" / "unversioned" / "bundle.json"
    before = bundle.read_bytes()
    run = site.run("train-model", cube=str(cube), plan={"steps": 5})
    assert run.state is not None
    assert run.state.is_failed()
    assert "plan.steps" in (run.state.message or "")
    assert bundle.read_bytes() == before


def test_without_the_archives_limit_nothing_is_read_and_the_set_up_makes_it_again(site: Site) -> None:
    with site.client() as client:
        client.delete_global_concurrency_limit_by_name(PlanetaryComputer.name)
    site.archive.reset()
    run = site.run("build-datacube", aoi=AREA)
    assert run.state is not None
    assert run.state.is_failed()
    assert "python -m flows.setup" in (run.state.message or "")
    assert site.archive.log == ()
    answer = site.user("python", "-m", "flows.setup")
    assert answer.returncode == 0, answer.stderr
    with site.client() as client:
        assert client.read_global_concurrency_limit_by_name(PlanetaryComputer.name).active
        assert {each.name for each in client.read_deployments()} == {
            each["name"] for each in shipped()["deployments"]
        }
        assert len(client.request("POST", "/automations/filter", json={}).json()) == 2


def test_an_unknown_deployment_and_an_unknown_parameter_are_refused(site: Site) -> None:
    assert "not found" in site.user("prefect", "deployment", "run", "build-datacub").stdout
    refused = site.user(*BUILD.replace("aoi=", "area=").split())
    assert refused.returncode != 0
    assert "aoi" in refused.stdout
    assert Path(site.version(AREA, 2)).is_dir()
