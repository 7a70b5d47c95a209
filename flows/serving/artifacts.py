"""Artifacts of a flow run, which Prefect's interface shows."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Sequence
from io import BytesIO
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from PIL import Image
from prefect.artifacts import create_markdown_artifact, create_table_artifact

from model.bundle.markdown import escaped
from pipeline.console import readable_size

if TYPE_CHECKING:  # what a flow shows, it has imported; the others need not
    from model.bundle.summaries import BundleRecord, ReleaseRecord
    from model.holdings.status import Status
    from pipeline.build.run import BuildPlan, Published
    from pipeline.cube.cube_quicklook import Quicklook

LONGEST_PX = 1200
"""longer side of the pictures in the server's database, which are shown without access to the disk"""


def key_of(kind: str, area: str) -> str:
    """Key of an artifact, of which Prefect wants lower-case letters, digits and hyphens."""
    return "-".join([kind, *re.findall(r"[a-z0-9]+", area.lower())])


def show_passes(plan: BuildPlan) -> None:
    """A table of the passes and pairs that the version is made of."""
    held = {task.key for task in plan.tasks if task.held}
    rows: list[dict[str, Any]] = [
        {
            "kind": "pass",
            "instant (UTC)": p.instant.isoformat(timespec="seconds"),
            "platform": p.platform,
            "track": p.relative_orbit,
            "direction": p.direction,
            "slices": len(p.slices),
            "coverage (%)": round(100 * p.coverage, 1),
            "MB": round(p.size_bytes / 1e6, 1),
        }
        for p in plan.passes
    ]
    rows += [
        {
            "kind": "pair, held" if pair.id in held else "pair, wanted",
            "instant (UTC)": " / ".join(
                side.instant.isoformat(timespec="seconds") for side in (pair.reference, pair.secondary)
            ),
            "platform": " / ".join(side.platform for side in (pair.reference, pair.secondary)),
            "track": pair.relative_orbit,
            "direction": pair.reference.direction,
            "bursts": len(pair.burst_ids),
            "days": round(pair.days, 1),
            "baseline (m)": pair.perpendicular_baseline_m,
        }
        for pair in plan.pairs
    ]
    columns = dict.fromkeys(
        name for row in rows for name in row
    )  # Prefect shows the columns of the first row
    missing = f" Missing: {'; '.join(plan.missing)}." if plan.missing else ""
    renewed = f" Processed again: {'; '.join(plan.reprocessed)}." if plan.reprocessed else ""
    create_table_artifact(
        table=[columns | row for row in rows],
        key=key_of("passes", plan.area),
        description=f"Passes of {plan.area}: {len(plan.passes)}, pairs: {len(plan.pairs)}.{missing}{renewed}",
    )


def show_quicklook(published: Published, picture: Quicklook) -> None:
    """The picture of a version."""
    create_markdown_artifact(
        with_picture(
            f"{published.area}, version {published.version}: `{published.uri}`", picture.uri, picture.png
        ),
        key=key_of("quicklook", published.area),
        description=f"{published.area}, version {published.version}",
    )


def show_bundle(bundle: BundleRecord) -> None:
    """The scores of a model, always with their prevalence, which a random map scores."""
    simulated = "\n\n**Simulated area: no real place, no real landslides.**" if bundle.simulated else ""
    create_markdown_artifact(
        f"Test AUPRC {bundle.auprc:.3f} at a prevalence of {bundle.prevalence:.3f} (what a random map scores), "
        f"validation AUPRC {bundle.validation_auprc:.3f}; {bundle.track}, {bundle.passes_before} passes before "
        f"and {bundle.passes_after} after the event; {bundle.parameters:,} parameters.\n\n`{bundle.path}`{simulated}",
        key=key_of("model", bundle.area),
        description=f"Model of {bundle.area}, cube version {bundle.cube_version}",
    )


def show_map(release: ReleaseRecord) -> None:
    """The picture of a map, with its scores where there are labels."""
    scores = "not scored"
    if release.auprc is not None and release.prevalence is not None:
        scores = f"AUPRC {release.auprc:.3f} at a prevalence of {release.prevalence:.3f}"
    simulated = "**Simulated area: no real place, no real landslides.**\n\n" if release.simulated else ""
    create_markdown_artifact(
        with_picture(
            f"{simulated}{release.kind} map of {release.area}: {scores}, on {release.scored_on}.",
            str(release.picture),
            release.picture.read_bytes(),
        ),
        key=key_of("map", release.area),
        description=f"Map of {release.area}, cube version {release.cube_version}",
    )


def show_status(found: Status) -> None:
    """The state of everything below the data folder; text from outside adds no markup."""
    events = [
        (
            one.name,
            one.state,
            one.map_status or "",
            "" if one.magnitude is None else one.magnitude,
            one.next_pass,
        )
        for one in found.events
    ]
    areas = [
        (
            one.name,
            "-" if one.version is None else one.version,
            len(one.versions),
            len(one.bundles),
            one.verdicts,
        )
        for one in found.areas
    ]
    maps = [
        (
            f"{area.name}/{one.name}",
            "-" if one.polygons is None else one.polygons,
            one.review,
            f"{one.written:%Y-%m-%d}",
        )
        for area in found.areas
        for one in area.maps
    ]
    disk = [(use.kind, readable_size(use.size_bytes)) for use in found.disk]
    if found.free_bytes is not None:
        disk.append(("free", readable_size(found.free_bytes)))
    wrong = [("damaged", line) for line in found.problems]
    wrong += [("failed", f"{area.name}: {line}") for area in found.areas for line in area.refused]
    wrong += [("missing", f"{one.name}: {line}") for one in found.events for line in one.missing]
    counts = f"{len(events)} events, {len(areas)} areas, {len(maps)} maps"
    create_markdown_artifact(
        "\n\n".join(
            [
                _table(("event", "state", "map", "magnitude", "next pass"), events),
                _table(("area", "version", "versions", "bundles", "verdicts"), areas),
                _table(("map", "polygons", "review", "written"), maps),
                _table(("what", ""), wrong),
                _table(("disk", ""), disk),
            ]
        ),
        key="status",
        description=f"State at {found.at:%Y-%m-%d %H:%M} UTC: {counts}",
    )


def _table(titles: tuple[str, ...], rows: Sequence[tuple[object, ...]]) -> str:
    """A table of GitHub's Markdown; empty without a row."""
    if not rows:
        return ""
    lines = [" | ".join(titles), " | ".join("---" for _ in titles)]
    lines += [" | ".join(escaped(cell) for cell in row) for row in rows]
    return "\n".join(f"| {line} |" for line in lines)


def with_picture(text: str, uri: str, picture: bytes) -> str:
    """Markdown of the text and a small copy of the picture, which is kept at `uri`."""
    small = BytesIO()
    with Image.open(BytesIO(picture)) as image:
        image.thumbnail((LONGEST_PX, LONGEST_PX))
        image.convert("RGB").save(small, "JPEG", quality=80)
    embedded = b64encode(small.getvalue()).decode("ascii")
    return f"{text}\n\n![{PurePosixPath(uri).stem}](data:image/jpeg;base64,{embedded})\n\n`{uri}`"
