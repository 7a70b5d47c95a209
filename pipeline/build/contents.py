"""What a version will hold: the manifest of the layers that are wanted, without those that failed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any

from pipeline.area import AreaOfInterest
from pipeline.catalogue.catalogue import Catalogue, content_digest
from pipeline.cube import versions
from pipeline.cube.layers import LayerRecord, read_record
from pipeline.cube.manifest import Look, Manifest, Timepair, Timestep
from pipeline.cube.storage import LocalStore
from pipeline.errors import CubeError
from pipeline.layers.tasks import BuildPlan, LayerTask, pairs_in_words, store_of


@dataclass
class _Contents:
    """A manifest in the making."""

    store: LocalStore
    current_version: int | None
    previous: Manifest | None
    failed: dict[str, str]
    """by the digest of the recipe, why its layer could not be built"""
    missing: list[str]
    records: dict[str, LayerRecord] = field(default_factory=dict)

    def take(self, task: LayerTask) -> dict[str, str]:
        """The layer of a task that did not fail: its digest, by variable."""
        digest = task.recipe.digest
        record = read_record(self.store, digest)
        if record is None:
            raise CubeError(f"Layer {digest} is gone from {self.store.root}.", "Run `slidecube build` again.")
        self.records[digest] = record
        return dict.fromkeys(task.recipe.variables, digest)

    def keep(self, layers: dict[str, str]) -> dict[str, str]:
        """Layers of the latest version, as they are."""
        assert self.previous is not None
        self.records |= {digest: self.previous.records[digest] for digest in layers.values()}
        return layers

    def why(self, tasks: Iterable[LayerTask]) -> str | None:
        """Why the first of the tasks that failed did, or None."""
        return next((self.failed[t.recipe.digest] for t in tasks if t.recipe.digest in self.failed), None)


def manifest_of(
    area: AreaOfInterest, plan: BuildPlan, catalogue: Catalogue, failed: dict[str, str]
) -> Manifest:
    """The manifest of the plan's layers, without those that failed.

    A pass, a pair or a track of which a layer failed stays as it was in the latest version, or is left out; either way
    it is named in `missing`.

    Raises:
        CubeError: a layer that the plan holds is gone.
    """
    store = store_of(area)
    current = plan.current_version
    previous = versions.read_manifest(store, current) if current is not None else None
    contents = _Contents(store, current, previous, failed, list(plan.missing))
    steps = _timesteps(plan, contents)
    static = _static(plan, contents)
    pairs = _timepairs(area, plan, contents)
    looks = _looks(plan, contents, {pair.relative_orbit for pair in pairs})
    return Manifest(
        area=area.name,
        title=area.title,
        event=area.event,
        grid=plan.grid,
        catalogue=content_digest(catalogue),
        timesteps=steps,
        timepairs=pairs,
        looks=looks,
        static=static,
        records=contents.records,
        missing=tuple(contents.missing),
        attributes=_cube_attributes(area, catalogue, pairs),
    )


def _static(plan: BuildPlan, contents: _Contents) -> dict[str, str]:
    static: dict[str, str] = {}
    for task in plan.tasks:
        if task.kind not in ("terrain", "labels"):
            continue
        reason = contents.why([task])
        if reason is None:
            static |= contents.take(task)
            continue
        contents.missing.append(f"{task.label}: {reason}")
        held = contents.previous.static if contents.previous else {}
        static |= contents.keep({n: d for n, d in held.items() if n in task.recipe.variables})
    return static


def _timesteps(plan: BuildPlan, contents: _Contents) -> tuple[Timestep, ...]:
    before = {step.pass_id: step for step in contents.previous.timesteps} if contents.previous else {}
    by_pass: dict[str, list[LayerTask]] = {}
    for task in plan.tasks:
        if task.pass_id is not None:
            by_pass.setdefault(task.pass_id, []).append(task)
    steps: list[Timestep] = []
    for overflight in plan.passes:
        tasks = by_pass[overflight.id]
        if (reason := contents.why(tasks)) is not None:
            old = before.get(overflight.id)
            if old and set(old.layers) != {task.recipe.variables[0] for task in tasks}:
                old = None  # every pass of a version has the same variables
            kept_words = f"kept as in version {contents.current_version}" if old else "left out"
            contents.missing.append(f"pass {overflight.id}: {kept_words} ({reason})")
            if old:
                contents.keep(old.layers)
                steps.append(old)
            continue
        layers = {name: digest for task in tasks for name, digest in contents.take(task).items()}
        steps.append(
            Timestep(
                pass_id=overflight.id,
                instant=overflight.instant,
                platform=overflight.platform,
                absolute_orbit=overflight.absolute_orbit,
                relative_orbit=overflight.relative_orbit,
                direction=overflight.direction,
                layers=layers,
            )
        )
    return tuple(sorted(steps, key=lambda step: (step.instant, step.pass_id)))


def _timepairs(area: AreaOfInterest, plan: BuildPlan, contents: _Contents) -> tuple[Timepair, ...]:
    before = {pair.pair_id: pair for pair in contents.previous.timepairs} if contents.previous else {}
    built: list[Timepair] = []
    staying = before if plan.interferometry == "kept" else plan.postponed
    kept: list[Timepair] = [before[name] for name in staying if name in before]
    planned = {pair.id: pair for pair in plan.pairs}
    lacking: dict[tuple[bool, str], list[str]] = {}
    for task in plan.tasks:
        if task.pair_id is None or task.backend is None:
            continue
        pair, reason = planned[task.pair_id], contents.why([task])
        if reason is None:
            built.append(
                Timepair(
                    pair_id=pair.id,
                    start=pair.reference.instant,
                    end=pair.secondary.instant,
                    relative_orbit=pair.relative_orbit,
                    perpendicular_baseline_m=pair.perpendicular_baseline_m,
                    backend=task.backend,
                    layers=contents.take(task),
                )
            )
            continue
        old = before.get(pair.id)
        lacking.setdefault((old is not None, reason), []).append(pair.id)
        if old:
            kept.append(old)
    for (stays, reason), names in lacking.items():
        what = "kept as it was" if stays and len(names) == 1 else "kept as they were" if stays else "left out"
        contents.missing.append(f"{pairs_in_words(names)}: {what} ({reason})")
    rule = area.interferometry
    if rule is not None and not rule.allow_mixed_backends:
        kept = _of_one_backend(built, kept, contents)
    for pair_kept in kept:
        contents.keep(pair_kept.layers)
    return tuple(sorted([*built, *kept], key=lambda p: (p.start, p.end, p.relative_orbit)))


def _of_one_backend(built: list[Timepair], kept: list[Timepair], contents: _Contents) -> list[Timepair]:
    """Of what is kept, the pairs of the backend of those that were built; of the most frequent one if none were."""
    names = Counter(pair.backend for pair in built or kept)
    if not names:
        return []
    backend = max(sorted(names), key=lambda name: names[name])
    others: dict[str, list[str]] = {}
    for pair in kept:
        if pair.backend != backend:
            others.setdefault(pair.backend, []).append(pair.pair_id)
    contents.missing += [
        f"{pairs_in_words(ids)}: left out (made by {name}, and this cube is of {backend}; "
        "allow_mixed_backends keeps both)"
        for name, ids in others.items()
    ]
    return [pair for pair in kept if pair.backend == backend]


def _looks(plan: BuildPlan, contents: _Contents, of_pairs: set[int]) -> tuple[Look, ...]:
    before = {look.relative_orbit: look for look in contents.previous.looks} if contents.previous else {}
    planned = {task.track for task in plan.tasks}
    # what a pair is looked at with stays with the pair, and what cannot be made anew now stays with its passes
    stay = (of_pairs | {one.relative_orbit for one in plan.passes}) - planned
    found = {track: before[track] for track in before if track in stay and plan.interferometry != "none"}
    for look in found.values():
        contents.keep(look.layers)
    for task in plan.tasks:
        if task.track is None:
            continue
        reason = contents.why([task])
        if reason is None:
            found[task.track] = Look(relative_orbit=task.track, layers=contents.take(task))
            continue
        old = before.get(task.track)
        contents.missing.append(f"{task.label}: {'kept as it was' if old else 'left out'} ({reason})")
        if old:
            contents.keep(old.layers)
            found[task.track] = old
    return tuple(found[track] for track in sorted(found))


def _cube_attributes(
    area: AreaOfInterest, catalogue: Catalogue, pairs: tuple[Timepair, ...]
) -> dict[str, Any]:
    inventory = area.inventory
    backends = sorted({pair.backend for pair in pairs})
    interferometry = [f"interferometry: Sentinel-1 SLC at ASF, by {', '.join(backends)}"] if backends else []
    return {
        "sources": [
            *area.sources,
            f"backscatter: {area.rtc_collection} at {catalogue.endpoint}",
            *interferometry,
        ],
        "license": area.licence,
        "inventory": f"{inventory.name}: {inventory.citation} ({inventory.licence})" if inventory else "none",
        "software": f"slidecube {version('slidecube')}",
        "simulated": area.simulated,
    }
