"""The kind of layer `labels`: the landslides of an inventory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pipeline.archives import inventories
from pipeline.areas.area import AreaOfInterest, Inventory
from pipeline.cube.layers import LayerData, LayerRecord, Recipe, Source
from pipeline.cube.schema import LABELS
from pipeline.cube.store import digest_of
from pipeline.grid import Grid
from pipeline.layers.kind import Entry, LayerKind, LayerTask, Lost, Site, Wanted, share_without
from pipeline.layers.plan_inputs import PlanInputs, static_variables

if TYPE_CHECKING:  # imported when an inventory is read
    from pipeline.layers.outlines.deciding_attributes import Span

ALGORITHM = "labels-2"
"""of `pipeline.layers.label_rasters`, which a plan need not import"""
MOST_EXAMINED_BYTES = 256 * 2**20
"""of a remote inventory that a plan fetches to examine it; a larger one is left to the build"""


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
            if inventory is not None and inventory.url is not None:
                return self._unavailable(inventory, inputs)
            reason = "the area names none"
            if inventory is not None:
                source = inventory.page or "its publisher"
                reason = (
                    f"fetch {inventory.name!r} by hand from {source}, and put its path into inventory.url"
                )
            return Wanted(kind=self, missing=(f"labels: no inventory ({reason})",))
        sources = [Source(id=found.url, fingerprint=found.fingerprint)]
        if found.extent_url:
            sources.append(Source(id=found.extent_url, fingerprint=found.extent_fingerprint or ""))
        # fields that are not used are left out: a new field changes no layer
        rules = inventory.model_dump(
            mode="json", exclude={"url", "page", "note", "may_be_empty"}, exclude_none=True
        )
        if isinstance(inventory.extent, str) and inventory.extent != "area":
            rules["extent"] = inventories.shown(inventory.extent)  # its address may be signed
        recipe = Recipe(
            kind=self.name,
            variables=LABELS,
            grid=inputs.grid.digest,
            sources=tuple(sources),
            parameters={**rules, "area": digest_of(inputs.area.footprint.wkb)},
            algorithm=ALGORITHM,
        )
        task = LabelsTask(
            kind=self, recipe=recipe, label=f"labels from {inventory.name}", inventory=inventory
        )
        return Wanted(kind=self, tasks=(task,))

    def _unavailable(self, inventory: Inventory, inputs: PlanInputs) -> Wanted:
        """No layer: the inventory that the area names could not be had, which a note of the catalogue explains."""
        kept = static_variables(inputs.previous, LABELS)
        words = "none"
        if kept and inputs.previous is not None:
            record = inputs.previous.records[inputs.previous.static[min(kept)]]
            words = f"those of {record.recipe.parameters.get('name', 'the version before')} are kept"
        reason = next(
            (note for note in inputs.catalogue.notes if repr(inventory.name) in note), "no reason is recorded"
        )
        line = (
            f"labels from {inventory.name}: {words} ({reason.removesuffix(': the cube will have no labels')})"
        )
        return Wanted(kind=self, missing=(line,), undelivered=(line,), staying=kept)

    def describe_losses(self, lost: Sequence[Lost[LabelsTask]], version: int | None) -> list[str]:
        """The inventory that failed, and whether the labels of the latest version are kept."""
        return [
            f"{one.task.label}: {one.reason}{' The labels of the version before are kept.' if one.kept else ''}"
            for one in lost
        ]

    def delivered(self, record: LayerRecord, grid: Grid) -> float | None:
        """Share of the grid that is mapped."""
        return share_without(record, "unmapped_pixels", grid)

    def attributes(self, layers: Mapping[str, LayerRecord]) -> dict[str, Any]:
        """The inventory that the labels were made from, as their recipe names it."""
        if "landslides" not in layers:
            return {"inventory": "none"}
        made_from = layers["landslides"].recipe.parameters
        name, citation, licence = (made_from.get(key, "") for key in ("name", "citation", "licence"))
        return {"inventory": f"{name}: {citation} ({licence})"}

    def credits(self, layers: Mapping[str, LayerRecord], entries: Sequence[Entry]) -> list[str]:
        """The inventory, its citation and licence, and the words that its publisher asks for."""
        if "landslides" not in layers:
            return []
        made_from = layers["landslides"].recipe.parameters
        words = [f"landslides: {self.attributes(layers)['inventory']}"]
        return words + ([str(made_from["attribution"])] if made_from.get("attribution") else [])

    def examine(self, task: LabelsTask, site: Site) -> list[str]:
        """Fetch the inventory, find its layer, attributes and counted landslides, and open its extent.

        The header of a GeoPackage, a zip or a GeoJSON says too little: the file is fetched whole, up to
        `MOST_EXAMINED_BYTES`, and kept for the build.
        """
        from pipeline.layers import extents, label_rasters

        inventory, most = task.inventory, MOST_EXAMINED_BYTES
        try:
            path = inventories.fetch_inventory(inventory, site.downloads, most)
            extents.mapped_extent(site.area, inventory, site.downloads, most)
        except inventories.LargerError as error:
            return [f"not examined: {error.message.rstrip('.')}; a build fetches it"]
        frame = label_rasters.read_inventory(path, inventory)
        kept = inventories.kept_words(str(inventory.url), path)
        return [
            *label_rasters.examine_inventory(frame, inventory, site.grid, _span(site.area)),
            *([kept] if kept else []),
        ]

    def derive(self, task: LabelsTask, site: Site) -> LayerData:
        """The inventory's polygons, on the grid and as landslides.parquet."""
        from pipeline.layers import extents, label_rasters

        path = inventories.fetch_inventory(task.inventory, site.downloads)
        frame = label_rasters.read_inventory(path, task.inventory)
        extent = extents.mapped_extent(site.area, task.inventory, site.downloads)
        return label_rasters.rasterise_labels(frame, task.inventory, site.grid, extent, _span(site.area))
