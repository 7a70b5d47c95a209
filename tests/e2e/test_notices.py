"""What people are told, by a real server that calls a receiver on loopback."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from uuid import uuid4

import pytest
from prefect import flow
from prefect.client.orchestration import SyncPrefectClient
from prefect.events.actions import DoNothing
from prefect.events.schemas.automations import Automation, AutomationCore, EventTrigger
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.states import Running

from flows.serving.local_server import LocalPrefect
from flows.serving.notifications import notices
from flows.serving.notifications.announcements import BUILD_FAILED, EVENT_WAITING, RELEASE_READY
from flows.serving.notifications.notices import NOTICES, set_up_notices
from pipeline.settings import settings
from tests.e2e.prefect_server import Site, new_home
from tests.small_cube import small_cube, write

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning"),  # by Apprise itself
]
SECRET = "t0ken-that-nobody-may-see"
HOSTILE = "<!channel> <script>alert(1)</script> @everyone [here](https://evil.example/x)"


@dataclass
class Receiver:
    """A chat server on loopback that keeps what it gets."""

    got: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    port: int = 0

    def of(self, path: str) -> list[dict[str, Any]]:
        return [body for where, body in list(self.got) if where.startswith(path)]

    def wait(
        self, wanted: Callable[[dict[str, Any]], bool], path: str, patience_s: float = 120.0
    ) -> dict[str, Any]:
        """The first message that is wanted."""
        deadline = time.monotonic() + patience_s
        while True:
            if found := [body for body in self.of(path) if wanted(body)]:
                return found[0]
            assert time.monotonic() < deadline, self.got
            time.sleep(0.2)


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    receiver = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            receiver.got.append((self.path, json.loads(body)))
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    receiver.port = server.server_port
    Thread(target=server.serve_forever, daemon=True).start()
    yield receiver
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def site(receiver: Receiver, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("notices")
    environment = {
        "SLIDECUBE_DATA_DIR": str(folder / "data"),
        "SLIDECUBE_WEBHOOK_URL": f"http://127.0.0.1:{receiver.port}/hook/{SECRET}",
        "SLIDECUBE_NOTIFY_URL": f"json://127.0.0.1:{receiver.port}/notify/{SECRET}",
        "SLIDECUBE_PAGES_URL": "https://maps.example.org/slides",
    }
    local = LocalPrefect(new_home(folder), folder / "logs", environment, user_interface=False)
    with local as prefect:
        yield Site(prefect, None, folder / "data")  # type: ignore[arg-type]


@flow(name="forgotten")
def forgotten() -> None:
    """The flow of a run that nobody runs."""


def automations(client: SyncPrefectClient) -> dict[str, Automation]:
    return {each.name: each for each in client.read_automations() if each.name.startswith("slidecube: ")}


def test_a_map_a_failed_build_and_a_failed_run_are_told_on_both_channels(
    site: Site, receiver: Receiver, tmp_path: Path
) -> None:
    cube = write(small_cube(64), tmp_path / "elsewhere.zarr")
    with site.client() as client:
        for flow, parameters in (
            ("map-landslides", {"cube": str(cube)}),
            ("build-datacube", {"aoi": "hokaido"}),
            ("map-landslides", {"cube": "nothing-of-this-name"}),
        ):
            deployment = client.read_deployment_by_name(f"{flow}/{flow}")
            client.create_flow_run_from_deployment(deployment.id, parameters=parameters)
    ready = receiver.wait(lambda body: body["kind"] == RELEASE_READY, "/hook/")
    (folder,) = (site.data / "maps" / "elsewhere").glob("unversioned*")
    assert ready["labels"]["release.map"] == str(folder)
    assert (
        ready["labels"]["release.page"]
        == f"https://maps.example.org/slides/elsewhere/{folder.name}/index.html"
    )
    assert ready["labels"]["release.page"] in ready["text"] and "/runs/flow-run/" in ready["text"]
    assert float(ready["labels"]["release.km2"]) >= 0
    failed = receiver.wait(lambda body: body["kind"] == BUILD_FAILED, "/hook/")
    assert "hokaido" in failed["text"] and "/runs/flow-run/" in failed["text"]
    run = receiver.wait(lambda body: body["kind"] == "run.failed", "/hook/")
    assert run["text"].startswith("map-landslides") and "nothing-of-this-name" in run["text"]
    assert len([body for body in receiver.of("/hook/") if "hokaido" in body["text"]]) == 1
    for words in ("elsewhere", "hokaido", "nothing-of-this-name"):
        receiver.wait(lambda body, words=words: words in body["message"], "/notify/")  # type: ignore[misc]


def test_no_address_is_in_what_the_server_shows_or_logs(site: Site, receiver: Receiver) -> None:
    shown = [path.read_text() for path in site.prefect.logs.iterdir()]
    with site.client() as client:
        for what in (
            "automations",
            "flow_runs",
            "logs",
            "events",
            "artifacts",
            "block_documents",
            "deployments",
        ):
            shown.append(client.request("POST", f"/{what}/filter", json={}).text)
    assert "slidecube-webhook" in "".join(shown)
    assert SECRET not in "".join(shown)


def emit(site: Site, name: str, labels: dict[str, str], related: list[dict[str, str]]) -> None:
    """An event as a client of the server sends it."""
    event = {
        "occurred": datetime.now(UTC).isoformat(),
        "event": name,
        "resource": labels,
        "related": related,
        "id": str(uuid4()),
    }
    with site.client() as client:
        client.request("POST", "/events", json=[event])


def test_text_from_outside_is_neither_a_tag_nor_a_mention_nor_a_link(site: Site, receiver: Receiver) -> None:
    run = {
        "prefect.resource.id": f"prefect.flow-run.{uuid4()}",
        "prefect.resource.name": "hostile",
        "prefect.state-type": "CRASHED",
        "prefect.state-name": "Crashed",
        "prefect.state-message": HOSTILE * 40,
    }
    tag = {"prefect.resource.id": "prefect.tag.slidecube", "prefect.resource.role": "tag"}
    training = {
        "prefect.resource.id": f"prefect.flow.{uuid4()}",
        "prefect.resource.name": "train-model",
        "prefect.resource.role": "flow",
    }
    emit(site, "prefect.flow-run.Crashed", run, [tag, training])
    told = [receiver.wait(lambda body: "hostile" in body["text"], "/hook/")["text"]]
    told.append(receiver.wait(lambda body: "hostile" in body["message"], "/notify/")["message"])
    for text in told:
        assert not re.search(r"[<>@]|://evil", text) and len(text) < 1000


def test_a_stalled_watch_and_a_silent_run_are_told_and_a_second_set_up_keeps_what_an_operator_changed(
    site: Site, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    with site.client() as client:
        before = automations(client)
        assert set(before) == {notice.name for notice in NOTICES}
        watch, late = before["slidecube: the watch has stalled"], before["slidecube: a run is late"]
        assert isinstance(watch.trigger, EventTrigger)
        sooner = watch.trigger.model_copy(update={"within": timedelta(seconds=10)})
        change(client, watch, trigger=sooner)
        silent = before["slidecube: a run is silent"]
        change(client, silent, trigger=silent.trigger.model_copy(update={"within": timedelta(seconds=10)}))
        change(client, late, enabled=False, actions=[DoNothing()])
        again = set_up(site, site.prefect.environment, monkeypatch)
        assert "kept automation 'slidecube: a run is late' (off)" in again
        after = automations(client)
        assert after["slidecube: the watch has stalled"].trigger.within == timedelta(seconds=10)  # type: ignore[union-attr]
        assert after["slidecube: a run is late"].enabled is False
        assert [action.type for action in after["slidecube: a run is late"].actions] == ["do-nothing"]
        assert {each.id for each in after.values()} == {each.id for each in before.values()}
        shorter = [replace(one, text=f"{one.text} ") for one in NOTICES]
        monkeypatch.setattr(notices, "NOTICES", shorter)
        anew = set_up(site, site.prefect.environment, monkeypatch)
        assert "renewed automation 'slidecube: a map is ready'" in anew, "nobody had edited it"
        assert "kept automation 'slidecube: a run is late' (off)" in anew
        monkeypatch.setattr(notices, "NOTICES", NOTICES)
        assert "renewed automation 'slidecube: a map is ready'" in set_up(
            site, site.prefect.environment, monkeypatch
        )
    done = {
        "prefect.resource.id": f"prefect.flow-run.{uuid4()}",
        "prefect.resource.name": "watch",
        "prefect.state-type": "COMPLETED",
        "prefect.state-name": "Unchanged",
    }
    watching = {
        "prefect.resource.id": f"prefect.flow.{uuid4()}",
        "prefect.resource.name": "watch-events",
        "prefect.resource.role": "flow",
    }
    emit(site, "prefect.flow-run.Unchanged", done, [watching])
    with site.client() as client:
        killed = client.create_flow_run(forgotten, state=Running())
        name = f"prefect.flow-run.{killed.id}"
        emit(site, "prefect.flow-run.heartbeat", {"prefect.resource.id": name}, [])
        receiver.wait(lambda body: body["kind"] == "watch.stalled", "/hook/")
        told = receiver.wait(lambda body: body["kind"] == "run.silent", "/hook/")
        assert str(killed.id) in told["text"]
        assert site.end_of(killed.id).state_name == "Crashed"
    assert not any(body["kind"] == EVENT_WAITING for body in receiver.of("/hook/"))


def test_a_channel_whose_setting_is_gone_leaves_the_server_and_the_last_takes_the_automations_along(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = dict(site.prefect.environment)
    with site.client() as client:
        del given["SLIDECUBE_WEBHOOK_URL"]
        said = set_up(site, given, monkeypatch)
        assert "SLIDECUBE_WEBHOOK_URL" in said and SECRET not in said
        left = automations(client)
        assert {action.type for each in left.values() for action in each.actions} == {
            "send-notification", "do-nothing", "change-flow-run-state",
        }  # fmt: skip
        del given["SLIDECUBE_NOTIFY_URL"]
        said = set_up(site, given, monkeypatch)
        assert "removed automation 'slidecube: a map is ready'" in said
        # what has an action of its own stays, and what an operator gave one
        assert set(automations(client)) == {"slidecube: a run is late", "slidecube: a run is silent"}
        names = [block["name"] for block in client.request("POST", "/block_documents/filter", json={}).json()]
        assert not any(str(name).startswith("slidecube") for name in names)


def set_up(site: Site, environment: Mapping[str, str], monkeypatch: pytest.MonkeyPatch) -> str:
    """The part of a further set-up that makes notices; what it prints."""
    for name in ("SLIDECUBE_WEBHOOK_URL", "SLIDECUBE_NOTIFY_URL"):
        monkeypatch.delenv(name, raising=False)
        if name in environment:
            monkeypatch.setenv(name, environment[name])
    settings.cache_clear()
    with temporary_settings({PREFECT_API_URL: site.prefect.api_url}), site.client() as client:
        said = "\n".join(set_up_notices(client))
    settings.cache_clear()
    return said


def change(client: SyncPrefectClient, automation: Automation, **fields: object) -> None:
    """Change an automation as its page does."""
    whole = {**automation.model_dump(exclude={"id", "owner_resource"}), **fields}
    client.update_automation(automation.id, AutomationCore.model_validate(whole))
