"""The kind of layer `labels`: the landslides of an inventory."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.archives import inventories
from pipeline.area import AreaOfInterest, Inventory
from pipeline.cube.layers import LayerData, Recipe, Source
from pipeline.cube.schema import LABELS
from pipeline.cube.store import digest_of
from pipeline.layers import extents, label_rasters
from pipeline.layers.kind import LayerKind, LayerTask, Site, Wanted
from pipeline.layers.outlines.deciding_attributes import Span
from pipeline.layers.plan_inputs import PlanInputs


class LabelsTask(LayerTask):
    """Labels from one inventory."""

    inventory: Inventory


def _span(area: AreaOfInterest) -> Span:
    """The days of the event, to the end of the area's time range."""
    return area.event.start.date(), area.end.date()


@dataclass(frozen=True)
class Labels(LayerKind[LabelsTask]):
    """Landslides on the grid: one static layer. An inventory may come from any host, so no archive's limit applies."""

    name = "labels"
    variables = LABELS
    axis = None
    limit = None

    def wanted(self, inputs: PlanInputs) -> Wanted:
        """One layer, if the area names an inventory and the catalogue found its file."""
        inventory, found = inputs.area.inventory, inputs.catalogue.inventory
        if inventory is None or found is None:
            reason = "the area names none" if inventory is None else (inventory.note or "it has no file")
            return Wanted(kind=self, missing=(f"labels: no inventory ({reason})",))
        sources = [Source(id=found.url, fingerprint=found.fingerprint)]
        if found.extent_url:
            sources.append(Source(id=found.extent_url, fingerprint=found.extent_fingerprint or ""))
        # fields that are not used are left out: a new field changes no layer
        rules = inventory.model_dump(mode="json", exclude={"url", "page", "note"}, exclude_none=True)
        recipe = Recipe(
            kind=self.name,
            variables=LABELS,
            grid=inputs.grid.digest,
            sources=tuple(sources),
            parameters={**rules, "area": digest_of(inputs.area.footprint.wkb)},
            algorithm=label_rasters.ALGORITHM,
        )
        task = LabelsTask(
            kind=self, recipe=recipe, label=f"labels from {inventory.name}", inventory=inventory
        )
        return Wanted(kind=self, tasks=(task,))

    def derive(self, task: LabelsTask, site: Site) -> LayerData:
        """The inventory's polygons, on the grid and as landslides.parquet."""
        path = inventories.fetch_inventory(task.inventory, site.downloads)
        frame = label_rasters.read_inventory(path, task.inventory)
        extent = extents.mapped_extent(site.area, task.inventory, site.downloads)
        return label_rasters.rasterise_labels(frame, task.inventory, site.grid, extent, _span(site.area))
