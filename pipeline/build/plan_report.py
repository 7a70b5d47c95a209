"""What a plan says to a person: its passes, pairs and layers as rows and as tables, and what is proposed."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

from pipeline.areas.area import AreaOfInterest
from pipeline.build import run as builder
from pipeline.build.plan import BuildPlan
from pipeline.build.proposals import proposal_for
from pipeline.console import plain_console, plain_table, readable_size
from pipeline.errors import number_of
from pipeline.insar.costs import pair_rows, print_pairs
from pipeline.layers.kind import Key, LayerTask


def plan_rows(area: AreaOfInterest, catalogue: Path | None) -> dict[str, Any]:
    """The plan of a build, JSON-able; `problems` are the layers that it would lack.

    Raises:
        ArchiveError, CubeError: as for `builder.make_plan`.
    """
    found = builder.find_catalogue(area, catalogue)
    made = builder.make_plan(area, found)
    held = frozenset(str(t.key) for t in made.tasks if t.kind.axis == "timepair" and t.held)
    rows = _rows_of(made, area.when) | pair_rows(area, made.pairs, made.unpaired, held)
    problems, remarks = builder.examine_sources(area, made)
    rows |= {"problems": [*problems, *(line for part in made.parts for line in part.undelivered)]}
    rows["notes"] += remarks
    # a saved search is replayed without an archive
    proposal = proposal_for(area, made.passes) if catalogue is None else None
    rows["proposals"] = proposal.lines(area) if proposal is not None else []
    rows["proposed"] = proposal.model_dump(mode="json") if proposal is not None else None
    return rows


def _rows_of(made: BuildPlan, when: Callable[[datetime], str]) -> dict[str, Any]:
    by_pass: dict[Key | None, list[LayerTask]] = {}
    for task in made.tasks:
        if task.kind.axis == "timestep":
            by_pass.setdefault(task.key, []).append(task)
    passes = [
        {
            "pass": o.id, "instant": o.instant.isoformat(), "when": when(o.instant), "track": o.relative_orbit,
            "direction": o.direction, "platform": o.platform, "slices": len(o.slices),
            "source": o.source, "zones": sorted({s.epsg for s in o.slices}),
            "coverage_percent": round(100 * o.coverage, 1),
            "polarisations": [t.recipe.variables[0] for t in by_pass[o.id] if t.recipe.sources],
            "bytes_to_read": sum(t.size_bytes for t in by_pass[o.id]),
            "held": all(t.held for t in by_pass[o.id]),
        }
        for o in made.passes
    ]  # fmt: skip
    others = [
        {"layer": t.label, "bytes_to_read": t.size_bytes, "held": t.held}
        for t in made.tasks
        if t.kind.axis not in ("timestep", "timepair")
    ]
    return {
        "area": made.area, "cube": made.cube, "epsg": made.grid.epsg, "shape": list(made.grid.shape),
        "resolution_m": made.grid.resolution_m, "current_version": made.current_version, "passes": passes,
        "layers": others, "layers_to_build": len(made.wanted), "bytes_to_read": made.bytes_to_read,
        "missing": list(made.missing), "notes": list(made.notes), "changes": made.changes,
    }  # fmt: skip


def print_plan(rows: dict[str, Any]) -> None:
    """Print the rows of one plan as tables."""
    console = plain_console()
    height, width = rows["shape"]
    version = rows["current_version"]
    console.print(
        f"{rows['area']}: {height} x {width} pixels of {rows['resolution_m']:g} m, EPSG:{rows['epsg']}; "
        + (f"cube at version {version}" if version else "no cube yet")
    )
    table = plain_table(
        "pass (UTC)",
        "event",
        "track",
        "dir",
        "sat",
        "slices",
        "cover",
        "pol",
        "to read",
        "cube",
        wrapped=("slices",),
    )
    for p in rows["passes"]:
        zones = f" in zones {'/'.join(str(z) for z in p['zones'])}" if len(p["zones"]) > 1 else ""
        table.add_row(
            p["instant"][:16].replace("T", " "),
            p["when"], str(p["track"]), p["direction"].removesuffix("ending"),
            _short_platform(p["platform"]), f"{p['slices']}{zones}",
            f"{p['coverage_percent']:.1f} %", " ".join(p["polarisations"]), readable_size(p["bytes_to_read"]),
            "held" if p["held"] else "wanted",
        )  # fmt: skip
    console.print(table)
    others = plain_table("layer", "to read", "cube", wrapped=("layer",))
    for layer in rows["layers"]:
        state = "held" if layer["held"] else "wanted"
        others.add_row(layer["layer"], readable_size(layer["bytes_to_read"]), state)
    if rows["layers"]:
        console.print(others)
    print_pairs(console, rows)
    titled = (("missing", rows["missing"]), ("note", rows["notes"]), ("proposal", rows["proposals"]))
    for title, lines in titled:
        for line in lines:
            console.print(f"{title}: {line}")
    if rows["changes"]:
        console.print(
            f"A build would make {number_of(rows['layers_to_build'], 'layer')}, "
            f"reading {readable_size(rows['bytes_to_read'])}."
        )
    else:
        console.print("Up to date: a build would do nothing.")


def _short_platform(name: str) -> str:
    """'S1A' for sentinel-1a; another name as it is."""
    return f"S1{name[-1].upper()}" if name.lower().startswith("sentinel-1") else name
