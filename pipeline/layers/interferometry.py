"""The kind of layer `interferometry`: interferogram and coherence of a pair of passes."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import cast, get_args

from pydantic import Field
from shapely import Polygon, unary_union
from shapely.geometry import box, shape

from pipeline.areas.area import AreaOfInterest
from pipeline.areas.area import Interferometry as PairRule
from pipeline.catalogue.catalogue import Catalogue
from pipeline.catalogue.dem_items import SLC_DEM_MARGIN_DEG, DemTile, lost_within
from pipeline.catalogue.slc import Pair, SlcPass
from pipeline.cube.layers import LayerData, Recipe, Source
from pipeline.cube.manifest import Timepair
from pipeline.cube.schema import INTERFEROMETRY
from pipeline.errors import DiskError, InterferometryError, disk_error_of, number_of
from pipeline.insar.estimates import FetchMode, bytes_of_all, estimate, fetch_mode
from pipeline.insar.job import REMOTE, Backend, JobProducts
from pipeline.insar.process import GROUND_M, PairOrder, process_pair
from pipeline.insar.products import products
from pipeline.insar.readiness import obstacle
from pipeline.layers.former_entries import Former, former_pairs
from pipeline.layers.kind import Entry, LayerKind, LayerTask, Lost, Site, Wanted
from pipeline.layers.plan_inputs import PlanInputs, tile_sources
from pipeline.places import insar_root
from pipeline.settings import settings

PairProcessor = Callable[[AreaOfInterest, Pair, tuple[DemTile, ...]], tuple[JobProducts, ...]]
"""Makes the products of a pair, one job after the other, from the elevation tiles around its bursts."""


def by_backend(area: AreaOfInterest, pair: Pair, tiles: tuple[DemTile, ...]) -> tuple[JobProducts, ...]:
    """The products of a pair by the processor that the settings choose; see `pipeline.insar.process`."""
    return process_pair(PairOrder(area=area, pair=pair, tiles=tiles))


class PairTask(LayerTask):
    """One pair."""

    pair: Pair
    backend: Backend = Field(description="what makes it")
    tiles: tuple[DemTile, ...] = Field(description="elevation tiles around its bursts")
    fetch: FetchMode = Field("bursts", description="what is fetched for it")

    @property
    def key(self) -> str:
        """Id of the pair."""
        return self.pair.id

    @property
    def short_label(self) -> str:
        """Id of the pair."""
        return self.pair.id


@dataclass(frozen=True)
class Interferometry(LayerKind[PairTask]):
    """Every pair that the area's rule chooses, processed on this machine.

    Where ASF could not be searched, or no processor is chosen, the pairs of the latest version are kept: a server that
    fails does not cost hours of processing.
    """

    name = "interferometry"
    variables = INTERFEROMETRY
    axis = "timepair"
    limit = "processor"
    noun = "pair"

    process: PairProcessor = by_backend
    obstacle: Callable[[FetchMode], str | None] = obstacle
    """why this machine cannot process pairs, and what to do about it; None where it can"""

    def wanted(self, inputs: PlanInputs) -> Wanted:
        """One layer for each pair, except new pairs that this build cannot make or was asked not to make."""
        if inputs.area.interferometry is None:
            count = len(inputs.previous.timepairs) if inputs.previous else 0
            dropped = f"{number_of(count, 'pair')} left out (the area no longer asks for interferometry)"
            return Wanted(kind=self, notes=(dropped,) if count else ())
        former = former_pairs(inputs) if inputs.has_slc else Former()
        notes = (*inputs.slc_passes.notes, *inputs.pairs.notes, *former.notes)
        unusable = (*inputs.slc_passes.left_out, *inputs.slc_dem.left_out, *former.missing)
        standing = frozenset(former.kept)
        before = {pair.pair_id for pair in inputs.previous.timepairs} if inputs.previous else set()
        if not inputs.has_slc:
            no_processor = "SLIDECUBE_INSAR_BACKEND chooses no processor"
            reason = "their archives could not be searched" if inputs.wants_slc else no_processor
            line = f"pairs: {'kept as they were' if before else 'none'} ({reason})"
            return Wanted(kind=self, missing=(line,), notes=notes, staying=frozenset(before))
        if not inputs.pairs.pairs:
            has_passes = bool(inputs.slc_passes.passes)
            reason = "the SLC passes of the area make none" if has_passes else "no SLC pass of the area"
            line = f"pairs: {'no new ones' if standing else 'none'} ({reason})"
            return Wanted(kind=self, missing=(*unusable, line), notes=notes, staying=standing)
        tasks = pair_tasks(self, inputs)
        new = [task for task in tasks if not inputs.is_held(task.recipe)]
        obstacle = self._reason_to_postpone(inputs) if new else None
        if obstacle is None:
            return Wanted(kind=self, tasks=tasks, missing=unusable, notes=notes, staying=standing)
        kept = [task for task in new if task.key in before]
        as_before = f" ({len(kept)} kept as before)" if kept else ""
        postponed = [task.key for task in new]
        return Wanted(
            kind=self,
            tasks=tuple(task for task in tasks if task.key not in postponed),
            missing=(*unusable, f"{describe_pairs(postponed)}: not made{as_before}: {obstacle}"),
            notes=notes,
            staying=frozenset(postponed) | standing,
        )

    def _reason_to_postpone(self, inputs: PlanInputs) -> str | None:
        """Why new pairs are not made; decided before anything is fetched, since a pair is gigabytes of files."""
        if not inputs.make_pairs:
            return "left for a later build, as asked"
        around = unary_union([_around_bursts(pair) for pair in inputs.pairs.pairs])
        if settings().insar_backend not in REMOTE and lost_within(inputs.slc_dem, around):
            return "an elevation item that is left out leaves a gap around the bursts"
        return self.obstacle(fetch_mode(inputs.area))

    def derive(self, task: PairTask, site: Site) -> LayerData:
        """The products of the pair, on the grid.

        Raises:
            InterferometryError: also where its files cannot be written, or another processor made the products.
        """
        pair = task.pair
        try:
            jobs = self.process(site.area, pair, task.tiles)
        except (
            OSError,
            DiskError,
        ) as error:  # a job is gigabytes of files; other layers need none of that disk
            root = insar_root(site.area.name)
            disk = disk_error_of(error, root, writing=True) or DiskError(str(error))
            raise InterferometryError(
                "disk-full" if disk.full else "disk-failed",
                f"The files of pair {pair.id} cannot be kept below {root}: {disk.message}",
                disk.remedy,
            ) from error
        others = sorted({job.metadata.backend for job in jobs} - {task.backend})
        if others:
            raise InterferometryError(
                "other-backend",
                f"Pair {pair.id} was planned for {task.backend} and made by {', '.join(others)}.",
                "Build again with one setting of SLIDECUBE_INSAR_BACKEND.",
            )
        return products.to_grid(jobs, site.grid)

    def entry(self, task: PairTask, layers: dict[str, str]) -> Timepair:
        """The pair."""
        pair = task.pair
        return Timepair(
            pair_id=pair.id,
            start=pair.reference.instant,
            end=pair.secondary.instant,
            relative_orbit=pair.relative_orbit,
            perpendicular_baseline_m=pair.perpendicular_baseline_m,
            backend=task.backend,
            layers=layers,
        )

    def consistent(
        self, area: AreaOfInterest, built: Sequence[Entry], kept: Sequence[Entry]
    ) -> tuple[Sequence[Entry], list[str]]:
        """The kept pairs of one processor; all of them where the area allows a mix.

        The processor is that of the pairs that were built; where none were, the most frequent one of the kept pairs.
        """
        rule = area.interferometry
        before = cast("Sequence[Timepair]", kept)
        names = Counter(pair.backend for pair in cast("Sequence[Timepair]", built or kept))
        if rule is None or rule.allow_mixed_backends or not names:
            return kept, []
        backend = max(sorted(names), key=lambda name: names[name])
        others: dict[str, list[str]] = {}
        for pair in before:
            if pair.backend != backend:
                others.setdefault(pair.backend, []).append(pair.pair_id)
        lines = [
            f"{describe_pairs(ids)}: left out (made by {name}, and this cube is of {backend}; "
            "allow_mixed_backends keeps both)"
            for name, ids in others.items()
        ]
        return [pair for pair in before if pair.backend == backend], lines

    def describe_losses(self, lost: Sequence[Lost[PairTask]], version: int | None) -> list[str]:
        """Each reason once, with the pairs that failed for it."""
        found: dict[tuple[bool, str], list[str]] = {}
        for one in lost:
            found.setdefault((one.kept, one.reason), []).append(one.task.key)
        lines = []
        for (kept, reason), ids in found.items():
            kept_words = "kept as it was" if len(ids) == 1 else "kept as they were"
            lines.append(f"{describe_pairs(ids)}: {kept_words if kept else 'left out'} ({reason})")
        return lines

    def bytes_to_read(self, tasks: Sequence[PairTask]) -> int:
        """Estimate in bytes; data that two pairs share count once."""
        if not tasks:
            return 0
        return bytes_of_all(tuple(task.pair for task in tasks), tasks[0].fetch, tasks[0].backend)

    def sources(self, area: AreaOfInterest, catalogue: Catalogue, entries: Sequence[Entry]) -> list[str]:
        """The data and the processors of the pairs."""
        backends = sorted({pair.backend for pair in cast("Sequence[Timepair]", entries)})
        return [f"interferometry: Sentinel-1 SLC at ASF, by {', '.join(backends)}"] if backends else []


def describe_pairs(ids: Sequence[str]) -> str:
    """'pair T046_20180812_20180824', or '2 pairs: T046_20180812_20180824, T046_20180824_20180905'."""
    return f"pair {ids[0]}" if len(ids) == 1 else f"{len(ids)} pairs: {', '.join(ids)}"


def pair_tasks(kind: Interferometry, inputs: PlanInputs) -> tuple[PairTask, ...]:
    """One for each pair: interferogram and coherence in one layer.

    Where the area allows a mix, a pair that the latest version has from another processor stays as it is.
    """
    area, chosen = inputs.area, settings().insar_backend
    rule = area.interferometry
    if rule is None or chosen == "none":
        return ()
    before = {pair.pair_id: pair for pair in inputs.previous.timepairs} if inputs.previous else {}
    tasks = []
    for pair in inputs.pairs.pairs:
        tiles = tiles_of_pair(pair, inputs.slc_dem.tiles)
        backend, recipe = chosen, _recipe(inputs, pair, tiles, chosen)
        old = before.get(pair.id)
        for other in get_args(Backend):
            if rule.allow_mixed_backends and old is not None and old.backend == other != chosen:
                same = _recipe(inputs, pair, tiles, other)
                if same.digest in old.layers.values():
                    backend, recipe = other, same
        tasks.append(
            PairTask(
                kind=kind,
                recipe=recipe,
                label=f"pair {pair.id}",
                size_bytes=estimate(pair, fetch_mode(area), backend).bytes_to_fetch,
                promised=inputs.grid.share_within(
                    shape(burst.geometry)
                    for burst in pair.reference.bursts
                    if burst.full_id in pair.burst_ids
                ),
                pair=pair,
                backend=backend,
                tiles=tiles,
                fetch=fetch_mode(area),
            )
        )
    return tuple(tasks)


def _recipe(inputs: PlanInputs, pair: Pair, tiles: tuple[DemTile, ...], backend: Backend) -> Recipe:
    rule = inputs.area.interferometry or PairRule()
    sources = [
        Source(id=burst.id, fingerprint=_granule_fingerprint(one, burst.granule))
        for one in (pair.reference, pair.secondary)
        for burst in one.bursts
        if burst.full_id in pair.burst_ids
    ]
    # a service takes heights of its own, which its name in `backend` stands for
    heights = {} if backend in REMOTE else {"collection": inputs.area.dem.collection}
    return Recipe(
        kind=Interferometry.name,
        variables=INTERFEROMETRY,
        grid=inputs.grid.digest,
        sources=(*sources, *(() if backend in REMOTE else tile_sources(tiles))),
        parameters={
            "backend": backend,
            **products.ESTIMATORS[backend],
            "posting_m": max(GROUND_M[0] * rule.azimuth_looks, GROUND_M[1] * rule.range_looks),
            "polarisation": pair.polarisation,
            "azimuth_looks": rule.azimuth_looks,
            "range_looks": rule.range_looks,
            "esd": rule.esd,
            **heights,
        },
        algorithm=products.ALGORITHM,
    )


def _granule_fingerprint(one: SlcPass, name: str) -> str:
    """The granule's name, which ends in a checksum of its own, and its MD5 where the archive states it."""
    md5 = next((granule.md5 for granule in one.granules if granule.name == name), None)
    return f"{name} {md5}" if md5 else name


def tiles_of_pair(pair: Pair, tiles: Iterable[DemTile]) -> tuple[DemTile, ...]:
    """The elevation tiles around the bursts of a pair.

    Those of other tracks are left out, so that a new track changes no existing pair.
    """
    around = _around_bursts(pair)
    return tuple(tile for tile in tiles if box(*tile.bbox).intersects(around))


def _around_bursts(pair: Pair) -> Polygon:
    """The box around the bursts of a pair, with the margin."""
    footprints = [
        shape(burst.geometry)
        for one in (pair.reference, pair.secondary)
        for burst in one.bursts
        if burst.full_id in pair.burst_ids
    ]
    west, south, east, north = unary_union(footprints).bounds
    margin = SLC_DEM_MARGIN_DEG
    across = margin / math.cos(math.radians(max(abs(south), abs(north))))
    return box(west - across, south - margin, east + across, north + margin)
