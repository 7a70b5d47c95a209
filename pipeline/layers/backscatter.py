"""The kind of layer `backscatter`: one polarisation of one pass."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from shapely.geometry import shape

from pipeline.archives.geotiff import rasters
from pipeline.areas.area import AreaOfInterest
from pipeline.catalogue.catalogue import Catalogue
from pipeline.catalogue.passes import Pass
from pipeline.cube.layers import LayerRecord, LayerValues, Recipe, Source
from pipeline.cube.manifest import Timestep
from pipeline.cube.schema import BACKSCATTER
from pipeline.grid import Grid
from pipeline.layers import rtc_mosaic
from pipeline.layers.former_entries import former_passes
from pipeline.layers.gamma0 import MASKED
from pipeline.layers.kind import (
    Entry,
    LayerKind,
    LayerTask,
    Lost,
    Site,
    Wanted,
    one_reason_of,
    without_files,
)
from pipeline.layers.plan_inputs import PlanInputs


class BackscatterTask(LayerTask):
    """One polarisation of one pass."""

    overflight: Pass

    @property
    def key(self) -> str:
        """Id of the pass."""
        return self.overflight.id

    @property
    def polarisation(self) -> str:
        """The variable."""
        return self.recipe.variables[0]


@dataclass(frozen=True)
class Backscatter(LayerKind[BackscatterTask]):
    """gamma0 of every pass, in each polarisation that any pass of the area has."""

    name = "backscatter"
    variables = BACKSCATTER
    axis = "timestep"
    begun_first = False

    def wanted(self, inputs: PlanInputs) -> Wanted:
        """One layer for each pass and polarisation; where a pass lacks one, the layer is without data."""
        area, passes = inputs.area, inputs.passes.passes
        gone = [one for one in inputs.listed.passes if one.id not in {each.id for each in passes}]
        before = {step.pass_id for step in inputs.previous.timesteps} if inputs.previous else set()
        undelivered = tuple(
            f"pass {one.id}: {'kept as it was' if one.id in before else 'left out'} (its files are listed and no "
            "server has them)"
            for one in gone
        )
        former = former_passes(inputs)
        present = [p for p in area.polarisations if any(p in s.assets for o in passes for s in o.slices)]
        return Wanted(
            kind=self,
            tasks=tuple(
                self._task(inputs, overflight, polarisation)
                for overflight in passes
                for polarisation in present
            ),
            missing=(
                *inputs.passes.left_out,
                *_absent_polarisations(area, passes),
                *undelivered,
                *former.missing,
            ),
            notes=former.notes,
            staying=frozenset([*(one.id for one in gone), *former.kept]),
            undelivered=undelivered,
        )

    def _task(self, inputs: PlanInputs, overflight: Pass, polarisation: str) -> BackscatterTask:
        area = inputs.area
        pieces = [piece for piece in overflight.slices if polarisation in piece.assets]
        masks = [(piece.id, piece.mask) for piece in pieces if piece.mask is not None]
        recipe = Recipe(
            kind=self.name,
            variables=(polarisation,),
            grid=inputs.grid.digest,
            # the order is that of the mosaic
            sources=(
                *(
                    Source(
                        id=f"{piece.id}/{polarisation}", fingerprint=piece.assets[polarisation].fingerprint
                    )
                    for piece in pieces
                ),
                *(Source(id=f"{name}/mask", fingerprint=mask.fingerprint) for name, mask in masks),
            ),
            parameters={"border_erosion_px": area.border_erosion_px} | ({"masked": MASKED} if masks else {}),
            algorithm=rtc_mosaic.ALGORITHM,
        )
        return BackscatterTask(
            kind=self,
            recipe=recipe,
            label=f"{polarisation} {overflight.instant:%Y-%m-%d %H:%M} track {overflight.relative_orbit}",
            size_bytes=sum(
                int((piece.assets[polarisation].size_bytes or 0) * _share_read(area, piece.geometry))
                for piece in pieces
            ),
            promised=inputs.grid.share_within(
                shape(piece.geometry)
                for one in inputs.listed.passes
                for piece in one.slices
                if one.id == overflight.id and polarisation in piece.assets
            ),
            overflight=overflight,
        )

    def derive(self, task: BackscatterTask, site: Site) -> LayerValues:
        """The slices of the pass, mosaicked on the grid."""
        return rtc_mosaic.read_backscatter(
            task.overflight, task.polarisation, site.grid, rasters.open_asset, site.area.border_erosion_px
        )

    def entry(self, task: BackscatterTask, layers: dict[str, str]) -> Timestep:
        """The pass."""
        overflight = task.overflight
        return Timestep(
            pass_id=overflight.id,
            instant=overflight.instant,
            platform=overflight.platform,
            absolute_orbit=overflight.absolute_orbit,
            relative_orbit=overflight.relative_orbit,
            direction=overflight.direction,
            source=overflight.source,
            layers=layers,
        )

    def delivered(self, record: LayerRecord, grid: Grid) -> float | None:
        """Share of the grid in squares that hold data: masked shadow and layover of steep terrain lack nothing.

        Layers of earlier releases state the share of pixels alone.
        """
        reached = record.report.get("reached")
        return (
            float(reached)
            if isinstance(reached, int | float) and reached > 0
            else super().delivered(record, grid)
        )

    def describe_losses(self, lost: Sequence[Lost[BackscatterTask]], version: int | None) -> list[str]:
        """Each reason once, with the passes that failed for it."""
        found: dict[tuple[bool, str], list[Lost[BackscatterTask]]] = {}
        for one in lost:
            found.setdefault((one.kept, without_files(one.reason)), []).append(one)
        lines = []
        for (kept, _), those in found.items():
            ids = list(dict.fromkeys(one.task.key for one in those))
            # no number of a version: the same state is the same text, and no new version
            passes = f"pass {ids[0]}" if len(ids) == 1 else f"{len(ids)} passes: {', '.join(ids)}"
            reason = one_reason_of([one.reason for one in those])
            lines.append(f"{passes}: {'kept as it was' if kept else 'left out'} ({reason})")
        return lines

    def credits(self, layers: Mapping[str, LayerRecord], entries: Sequence[Entry]) -> list[str]:
        """The notice that the Copernicus data terms ask for, with the years of the passes."""
        years = sorted({step.instant.year for step in cast("Sequence[Timestep]", entries)})
        return [f"contains modified Copernicus Sentinel data {', '.join(map(str, years))}"] if years else []

    def sources(self, area: AreaOfInterest, catalogue: Catalogue, entries: Sequence[Entry]) -> list[str]:
        """The collections and where they were searched."""
        return [f"backscatter: {' and '.join(area.collections)} at {catalogue.endpoint}"]


def _share_read(area: AreaOfInterest, geometry: dict[str, Any]) -> float:
    """Share of a slice's footprint inside the area's box: about the part of its file that a build reads."""
    footprint = shape(geometry)
    if footprint.is_empty or footprint.area == 0:
        return 1.0
    return float(min(1.0, area.footprint.envelope.intersection(footprint).area / footprint.area))


def _absent_polarisations(area: AreaOfInterest, passes: tuple[Pass, ...]) -> list[str]:
    missing = []
    for polarisation in area.polarisations:
        lacking = [o for o in passes if not any(polarisation in s.assets for s in o.slices)]
        if len(lacking) == len(passes):
            missing.append(f"{polarisation}: no pass has it")
        else:
            missing += [f"{polarisation}: pass {o.id} lacks it (NaN, coverage 0)" for o in lacking]
    return missing
