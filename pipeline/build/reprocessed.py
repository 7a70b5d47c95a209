"""Files that an archive processed again under the same names: their layers are built anew, and named."""

from __future__ import annotations

from collections.abc import Iterable

from pipeline.cube.layers import Recipe
from pipeline.cube.manifest import Manifest
from pipeline.layers.kind import LayerTask


def reprocessed(tasks: Iterable[LayerTask], previous: Manifest | None) -> tuple[str, ...]:
    """A line for each layer to be built of which the latest version has one of the same files with other content.

    An archive may replace a file in place: then its ETag differs and its address does not
    (microsoft/PlanetaryComputer#404, #417).
    """
    if previous is None:
        return ()
    before = {_identity(record.recipe): record.recipe for record in previous.records.values()}
    lines = []
    for task in tasks:
        former = before.get(_identity(task.recipe))
        if task.held or former is None:
            continue
        held = {source.id: source.fingerprint for source in former.sources}
        changed = [source.id for source in task.recipe.sources if held[source.id] != source.fingerprint]
        if changed:
            more = f" and {len(changed) - 1} more" if len(changed) > 1 else ""
            lines.append(f"{task.label}: {changed[0]}{more} processed again by the archive: read anew")
    return tuple(lines)


def _identity(recipe: Recipe) -> tuple[object, ...]:
    """What a layer is made of, whatever the content of the files."""
    return (recipe.kind, recipe.variables, recipe.grid, frozenset(source.id for source in recipe.sources))
