"""What flows announce as events of Prefect, in words that can be sent on: `release.ready`, `build.failed`, and those of
an event, which `watch-events` and `follow-events` emit.

The resource of each has the label `slidecube.says`, a text of at most `MOST_TEXT` characters. `notices`
makes the automations that send it to people.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from prefect.client.schemas.objects import FlowRun, State
from prefect.events import emit_event
from prefect.flows import Flow

from pipeline.archives.http.http_errors import without_secrets
from pipeline.errors import number_of
from pipeline.places import maps_root
from pipeline.settings import settings

if TYPE_CHECKING:  # set-up and local server name the events alone, and start without the model stage
    from model.bundle.summaries import ReleaseRecord
    from pipeline.events.detected_event import DetectedEvent
    from pipeline.events.ledger import Entry, MapStatus

RELEASE_READY = "release.ready"
BUILD_FAILED = "build.failed"
EVENT_DETECTED = "event.detected"
EVENT_REVISED = "event.revised"
EVENT_RETRACTED = "event.retracted"
EVENT_WAITING = "event.waiting"
SAYS = "slidecube.says"
"""the label that holds the text for people"""
TOLD = "slidecube.told"
"""the label of an event's announcement that says whether people are told of it (`SLIDECUBE_NOTIFY_TIER`)"""
MOST_TEXT = 600


def plain(text: object, longest: int = MOST_TEXT) -> str:
    """Text from outside as one short line that no receiver takes for a tag, a mention, a link or a secret.

    Control characters and invisible ones go, as do the characters of HTML, of Slack's and Discord's mentions and of
    Markdown's links; queries of addresses, which may hold tokens, become dots.
    """
    line = " ".join(without_secrets(str(text)).split())
    line = "".join(each for each in line if each.isprintable())
    line = re.sub(r"[<>@\[\]`|*~\\]", "·", line).replace("://", ":· ·")
    return line if len(line) <= longest else f"{line[: longest - 1]}…"


def address_of(path: object) -> str:
    """Where a person opens a file of a map: below `SLIDECUBE_PAGES_URL` where that is set, else its path."""
    base, root = settings().pages_url, maps_root().resolve()
    text = str(path)
    if base is None or not text.startswith(f"{root}/"):
        return text
    return f"{base.rstrip('/')}/{quote(text.removeprefix(f'{root}/'))}"


def by_status(release: ReleaseRecord) -> str:
    """The polygons by status over the passes: "12 confirmed, 3 first"; empty of a map by a model."""
    return ", ".join(f"{number} {name}" for name, number in release.statuses.items() if number)


def summary(release: ReleaseRecord) -> str:
    """What a map holds and what it lacks, in one sentence."""
    mapped = "no polygons" if release.mapped_km2 is None else f"{release.mapped_km2:.3g} km² mapped"
    count = "" if release.polygons is None else f" in {number_of(release.polygons, 'polygon')}"
    statuses = f" ({by_status(release)})" if by_status(release) else ""
    lacks = f"; {release.no_data_share:.1%} of the area without data" if release.no_data_share else ""
    return f"{mapped}{count}{statuses}, {number_of(release.seen_after, 'pass')} after the event{lacks}"


def release_ready(release: ReleaseRecord, status: MapStatus) -> None:
    """Announce a map that was written, and its status by the passes after the event."""
    version = "" if release.cube_version is None else f", version {release.cube_version}"
    page = address_of((release.page or release.report).resolve())
    area = plain(release.area, 80)
    title = plain(release.title, 200) or f"Map of {area}"
    says = [
        f"{'SIMULATED. ' if release.simulated else ''}{title} ({area}{version}): {summary(release)}.",
        f"Status: {status}.",
    ]
    emit_event(
        event=RELEASE_READY,
        resource={
            "prefect.resource.id": f"release.{release.area}.{release.path.name}",
            "prefect.resource.name": f"map of {release.area}{version}",
            "release.area": release.area,
            "release.map": str(release.path),
            "release.page": page,
            "release.version": "" if release.cube_version is None else str(release.cube_version),
            "release.status": status,
            "release.km2": "" if release.mapped_km2 is None else f"{release.mapped_km2:.6g}",
            SAYS: f"{' '.join(says)} Page: {page}",
        },
        payload={"statuses": release.statuses, "passes_after": release.seen_after},
    )


def build_failed(flow: Flow[Any, Any], flow_run: FlowRun, state: State[Any]) -> None:
    """Announce that a build failed, crashed or is incomplete: a hook of the flow `build-datacube`."""
    area = plain(flow_run.parameters.get("aoi", flow_run.name), 80)
    why = plain(state.message or "no reason was given")
    emit_event(
        event=BUILD_FAILED,
        resource={
            "prefect.resource.id": f"datacube.{area}",
            "prefect.resource.name": f"build of {area}",
            "datacube.area": area,
            "datacube.state": str(state.name),
            SAYS: plain(f"Build of {area}: {state.name}. {why}"),
        },
        related=[
            {
                "prefect.resource.id": f"prefect.flow-run.{flow_run.id}",
                "prefect.resource.name": flow_run.name,
                "prefect.resource.role": "flow-run",
            }
        ],
        payload={"why": why},
    )


def says_of_event(event: DetectedEvent, tier: str, words: str) -> str:
    """What became of an event: size, place and time, what is done for it, and the words of its history."""
    size = "" if event.magnitude is None else f"M {event.magnitude:.1f} "
    where = plain(event.place, 120) or f"{event.longitude:.2f}, {event.latitude:.2f}"
    when = f"{event.start:%Y-%m-%d %H:%M} UTC"
    return (
        f"{'SIMULATED. ' if event.simulated else ''}{size}{event.kind}, {where}, {when} ({event.status}). "
        f"Tier: {tier}. {plain(words, 300)}"
    )


def says_of_waiting(entry: Entry) -> str:
    """Which pass an event waits for, and what is missing."""
    missing = f"; missing: {plain('; '.join(entry.missing), 200)}" if entry.missing else ""
    simulated = "SIMULATED. " if entry.event.simulated else ""
    return f"{simulated}{plain(entry.name, 80)}: {plain(entry.waiting_for, 300)}{missing}"
