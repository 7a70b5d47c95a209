"""What a version will hold: the manifest of the layers that are wanted, without those that failed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from typing import Any, cast

from pipeline.areas.area import AreaOfInterest
from pipeline.build.plan import AXES, BuildPlan
from pipeline.build.shortfalls import SHORT_MARGIN, Shortfall, falls_short
from pipeline.catalogue.catalogue import Catalogue, content_digest, is_simulated
from pipeline.catalogue.item_fields import is_true
from pipeline.catalogue.left_out import Exclusion
from pipeline.cube import versions
from pipeline.cube.addresses import store_of_area
from pipeline.cube.layers import LayerRecord, read_record
from pipeline.cube.manifest import Look, Manifest, Timepair, Timestep
from pipeline.cube.schema import Axis
from pipeline.cube.store import Store
from pipeline.errors import CubeError
from pipeline.layers.kind import Entry, Key, LayerKind, LayerTask, Lost, Wanted


def store_of(area: AreaOfInterest) -> Store:
    """The store of an area's cube."""
    return store_of_area(area.name)


@dataclass(frozen=True)
class _AxisRule:
    """Where a manifest has the entries of an axis, what identifies each, and how they are sorted."""

    field: str
    key: Callable[[Any], Key]
    position: Callable[[Any], Any]
    """sorts the entries along the axis"""


_RULES: dict[Axis, _AxisRule] = {
    "timestep": _AxisRule("timesteps", lambda step: step.pass_id, lambda step: (step.instant, step.pass_id)),
    "timepair": _AxisRule(
        "timepairs", lambda pair: pair.pair_id, lambda pair: (pair.start, pair.end, pair.relative_orbit)
    ),
    "track": _AxisRule("looks", lambda look: look.relative_orbit, lambda look: look.relative_orbit),
}


@dataclass
class _Draft:
    """A manifest that is not complete yet."""

    area: AreaOfInterest
    store: Store
    plan: BuildPlan
    previous: Manifest | None
    failed: dict[str, str]
    """by the digest of the recipe, why its layer could not be built"""
    missing: list[str]
    undelivered: list[str]
    """of `missing`: what the archives list and this version does not have"""
    records: dict[str, LayerRecord] = field(default_factory=dict)
    """of the layers that this build or an earlier one made of the plan, by digest"""
    static: dict[str, str] = field(default_factory=dict)
    entries: dict[Axis, tuple[Entry, ...]] = field(default_factory=dict)

    def add_built(self, tasks: Iterable[LayerTask]) -> dict[str, str]:
        """The layers of tasks that did not fail: digest by variable."""
        layers: dict[str, str] = {}
        for task in tasks:
            digest = task.recipe.digest
            record = read_record(self.store, digest)
            if record is None:
                raise CubeError(
                    f"Layer {digest} is gone from {self.store.uri}.", "Run `slidecube build` again."
                )
            self.records[digest] = record
            layers |= dict.fromkeys(task.recipe.variables, digest)
        return layers

    def shortfall(self, task: LayerTask) -> Shortfall | None:
        """How far a layer that was built falls short of its plan; None where it does not, or the plan is unknown."""
        digest = task.recipe.digest
        found = self.coverage_of(task, digest)
        if found is None:
            return None
        before = self.layers_before(task)
        if not falls_short(found, task.promised):
            lost = {old: self.sources_lost(task, old, found) for old in before if old != digest}
            names = next((names for names in lost.values() if names), ())
            return Shortfall(task, found, True, names) if names else None
        covers_more = any((self.coverage_of(task, old) or 0.0) > found for old in before if old != digest)
        return Shortfall(task, found, covers_more)

    def coverage_of(self, task: LayerTask, digest: str) -> float | None:
        """Share of the grid where a layer of the task's kind has data."""
        record = self.records.get(digest)
        if record is None and self.previous is not None:
            record = self.previous.records.get(digest)
        return None if record is None else task.kind.delivered(record, self.plan.grid)

    def sources_lost(self, task: LayerTask, old: str, found: float) -> tuple[str, ...]:
        """Sources of a layer of the latest version that its successor lacks, where that one covers less for it.

        A successor of another rule or with other parameters, or of as many sources, is one of a person's or the
        archive's will.
        """
        record = self.previous.records.get(old) if self.previous is not None else None
        if record is None or (record.recipe.algorithm, record.recipe.parameters) != (
            task.recipe.algorithm,
            task.recipe.parameters,
        ):
            return ()
        if len(record.recipe.sources) <= len(task.recipe.sources):
            return ()
        if not (self.coverage_of(task, old) or 0.0) > found + SHORT_MARGIN:
            return ()
        present, excluded = {source.id for source in task.recipe.sources}, Exclusion(self.area.exclude)
        gone = [source.id for source in record.recipe.sources if source.id not in present]
        return tuple(one for one in gone if one.partition("/")[0] not in excluded)

    def layers_before(self, task: LayerTask) -> set[str]:
        """Digests of the latest version's layers of the same variables, at the same index of the axis."""
        if self.previous is None:
            return set()
        layers = self.previous.static
        if task.kind.axis is not None:
            rule = _RULES[task.kind.axis]
            entries = getattr(self.previous, rule.field)
            layers = next((entry.layers for entry in entries if rule.key(entry) == task.key), {})
        return {layers[name] for name in task.recipe.variables if name in layers}

    def lose(self, kind: LayerKind[Any], lost: Sequence[Lost[Any]]) -> None:
        """Name what failed."""
        lines = kind.describe_losses(lost, self.plan.current_version) if lost else []
        self.missing += lines
        self.undelivered += lines

    def name_shortfalls(self, kind: LayerKind[Any], short: Sequence[Shortfall]) -> None:
        """Name what falls short: as lost where the layer of the latest version stays instead.

        Where it stays since the archive no longer lists a source of it, nothing that is listed is lacking.
        """
        kept = [one for one in short if one.before_covers_more]
        self.lose(kind, [Lost(one.task, one.words, kept=True) for one in kept if not one.lost])
        if unlisted := [Lost(one.task, one.words, kept=True) for one in kept if one.lost]:
            self.missing += kind.describe_losses(unlisted, self.plan.current_version)
        lines = [f"{one.task.label}: {one.words}" for one in short if not one.before_covers_more]
        self.missing += lines
        self.undelivered += lines

    def used_records(self) -> dict[str, LayerRecord]:
        """Of every layer of the version, by digest."""
        entries = (entry for entries in self.entries.values() for entry in entries)
        used = {*self.static.values(), *(digest for entry in entries for digest in entry.layers.values())}
        before = self.previous.records if self.previous else {}
        return {digest: self.records.get(digest) or before[digest] for digest in used}

    def failure(self, tasks: Iterable[LayerTask]) -> tuple[LayerTask, str] | None:
        """The first of the tasks that failed, and why; None where none did."""
        for task in tasks:
            if (reason := self.failed.get(task.recipe.digest)) is not None:
                return task, reason
        return None


def manifest_of(
    area: AreaOfInterest, plan: BuildPlan, catalogue: Catalogue, failed: dict[str, str]
) -> Manifest:
    """The manifest of the plan's layers, without those that failed.

    A pass, a pair or a track of which a layer failed stays as it was in the latest version, or is left out; either way
    it is named in `missing`. So is a layer that has data in far less of the grid than its sources promise; it does not
    replace one that covers more. `failed` has the reasons by digest of the recipe.

    Raises:
        CubeError: a layer that the plan holds is gone.
    """
    store, current = store_of(area), plan.current_version
    previous = versions.read_manifest(store, current) if current is not None else None
    undelivered = [line for part in plan.parts for line in part.undelivered]
    draft = _Draft(area, store, plan, previous, failed, list(plan.missing), undelivered)
    for axis in AXES:
        parts = [part for part in plan.parts if part.kind.axis == axis]
        if axis is None:
            _add_static(draft, parts)
        else:
            _add_entries(draft, axis, parts)
    steps, pairs, looks = (draft.entries[axis] for axis in _RULES)
    return Manifest(
        area=area.name,
        title=area.title,
        event=area.event,
        grid=plan.grid,
        catalogue=content_digest(catalogue),
        timesteps=cast("tuple[Timestep, ...]", steps),
        timepairs=cast("tuple[Timepair, ...]", pairs),
        looks=cast("tuple[Look, ...]", looks),
        static=draft.static,
        records=draft.used_records(),
        missing=tuple(draft.missing),
        undelivered=tuple(draft.undelivered),
        attributes=_cube_attributes(draft, catalogue),
    )


def _add_static(draft: _Draft, parts: Sequence[Wanted]) -> None:
    before = draft.previous.static if draft.previous else {}
    for part in parts:
        draft.static |= {name: digest for name, digest in before.items() if name in part.staying}
        for task in part.tasks:
            kept = {name: digest for name, digest in before.items() if name in task.recipe.variables}
            if (failure := draft.failure([task])) is not None:
                draft.static |= kept
                draft.lose(part.kind, [Lost(task, failure[1], kept=bool(kept))])
                continue
            built = draft.add_built([task])
            short = draft.shortfall(task)
            draft.static |= kept if short is not None and short.before_covers_more else built
            draft.name_shortfalls(part.kind, [] if short is None else [short])


def _add_entries(draft: _Draft, axis: Axis, parts: Sequence[Wanted]) -> None:
    """Fill an axis: the entries of which every layer was built, and those of the latest version that stay."""
    rule = _RULES[axis]
    before = {rule.key(entry): entry for entry in getattr(draft.previous, rule.field, ())}
    groups: dict[Key, list[LayerTask]] = {}
    for part in parts:
        for task in part.tasks:
            if task.key is None:
                raise CubeError(f"{task.label} lies on no axis.", "Report it: its kind of layer states one.")
            groups.setdefault(task.key, []).append(task)
    built: list[Entry] = []
    unchanged: dict[Key, Entry] = {}
    lost: list[Lost[Any]] = []
    short: list[Shortfall] = []
    for key, tasks in groups.items():
        variables = {name for task in tasks for name in task.recipe.variables}
        old = before.get(key)
        if old is not None and set(old.layers) != variables:  # all entries of an axis have the same variables
            old = None
        if (failure := draft.failure(tasks)) is None:
            layers = draft.add_built(tasks)
            found = [one for task in tasks if (one := draft.shortfall(task)) is not None]
            if old is not None and any(one.before_covers_more for one in found):
                unchanged[key] = old
            else:
                built.append(tasks[0].kind.entry(tasks[0], layers))
            short += [replace(one, before_covers_more=key in unchanged) for one in found]
            continue
        if old is not None:
            unchanged[key] = old
        lost.append(Lost(*failure, kept=old is not None))
    pairs = cast("tuple[Timepair, ...]", draft.entries.get("timepair", ()))
    kept: dict[Key, Entry] = {}
    for part in parts:
        staying = part.kind.staying(part, pairs)
        kept |= {key: entry for key, entry in before.items() if key in staying and key not in groups}
        draft.lose(part.kind, [one for one in lost if one.task.kind == part.kind])
        draft.name_shortfalls(part.kind, [one for one in short if one.task.kind == part.kind])
    standing: Sequence[Entry] = list((kept | unchanged).values())
    for part in parts:
        standing, lines = part.kind.consistent(draft.area, built, standing)
        draft.missing += lines
    whole = _with_all_variables(draft, rule, [*built, *standing], built or standing)
    draft.entries[axis] = tuple(sorted(whole, key=rule.position))


def _with_all_variables(
    draft: _Draft, rule: _AxisRule, entries: Sequence[Entry], decisive: Sequence[Entry]
) -> Sequence[Entry]:
    """The entries with every variable of the decisive ones, since all entries of one axis must have the same ones."""
    variables = {name for entry in decisive for name in entry.layers}
    whole = []
    for entry in entries:
        if set(entry.layers) == variables:
            whole.append(entry)
        else:
            lacking = ", ".join(sorted(variables ^ set(entry.layers)))
            draft.missing.append(f"{rule.field} {rule.key(entry)}: left out (it differs in {lacking})")
    return whole


def _is_simulated(draft: _Draft, catalogue: Catalogue) -> bool:
    """Whether the area, the archives, or a version of which layers are kept say that the data are simulated."""
    if draft.area.simulated or is_simulated(catalogue):
        return True
    previous = draft.previous
    if previous is None or not is_true(previous.attributes.get("simulated")):
        return False
    return any(digest in previous.records for digest in draft.used_records())


def _cube_attributes(draft: _Draft, catalogue: Catalogue) -> dict[str, Any]:
    area = draft.area
    sources = [*area.references]
    before = draft.previous.records if draft.previous else {}
    layers = {name: draft.records.get(digest) or before[digest] for name, digest in draft.static.items()}
    decided: dict[str, Any] = {"inventory": "none"}
    simulated = _is_simulated(draft, catalogue)
    words = ["simulated by slidecube's sandbox, no real place"] if simulated else []
    words += [area.attribution] if area.attribution else []
    for part in draft.plan.parts:
        entries = draft.entries[part.kind.axis] if part.kind.axis is not None else ()
        sources += part.kind.sources(area, catalogue, entries)
        decided |= part.kind.attributes(layers)
        words += part.kind.credits(layers, entries) if not simulated else []
    return {
        "sources": sources,
        "license": area.licence,
        "attribution": "; ".join(words),
        **decided,
        "software": f"slidecube {version('slidecube')}",
        "simulated": simulated,
    }
