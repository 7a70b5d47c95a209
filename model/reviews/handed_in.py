"""What a person changed in the polygons of a map, from a file that comes back: checked, compared, told as verdicts.

The file may be anything: it is read as an inventory is (`pipeline.layers.outlines.vectors`), in any coordinate
reference system that it names. A feature is a polygon of the map by its number and place, or else by half of the
union. Nothing is taken where one feature cannot be.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from pyproj.exceptions import ProjError
from shapely.geometry import Polygon

from model.reviews.given_verdicts import Reviewer, edits_of, named
from model.reviews.inheritance import SAME_SHARE, Judged, share_of_union
from model.reviews.reviewed_polygons import ACCEPTED, EDITED, REJECTED, UNREVIEWED
from model.reviews.verdict import MOST_POINTS, Verdict
from pipeline.errors import ModelError, SourceDataError
from pipeline.layers.outlines.vectors import read_features

LAYER = "landslides"
MOST_FEATURES = 200_000
SAME_M = 0.1
"""an outline that moved by less on average did not move: GeoJSON, with 6 digits of degrees, rounds to this"""
MOST_MISSING = 0.5
"""of the map's polygons: where more are missing, a person must say what that means"""
KEPT = (
    "mean_score", "max_score", "mean_probability", "max_probability", "status", "status_words", "probability_class",
    "score_class", "pixels", "threshold",
)  # fmt: skip
"""columns whose changes are named and not taken"""

Deleted = Literal["reject", "keep"]


@dataclass
class HandedIn:
    """What a file says that the map does not show."""

    verdicts: list[Verdict] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _Feature:
    """One feature of the file, its parts the largest first."""

    name: str
    parts: tuple[Polygon, ...]
    number: int | None
    said: str
    who: str
    note: str
    row: int


@dataclass(frozen=True)
class ShownMap:
    """A map as its files show it."""

    mapped: gpd.GeoDataFrame
    """the polygons as it made them"""
    shown: gpd.GeoDataFrame
    """the same with what persons said"""
    judged: tuple[Judged, ...]
    """the verdicts that count"""
    extent: Polygon

    @cached_property
    def edits(self) -> dict[bytes, Judged]:
        """The verdicts whose outline stands in the map, by that outline."""
        return edits_of(self.judged)

    @cached_property
    def originals(self) -> dict[int, Polygon]:
        """The polygons as the map made them, by number."""
        return dict(zip(self.mapped["id"].tolist(), self.mapped.geometry, strict=True))


def verdicts_of_file(
    path: Path, shown_map: ShownMap, reviewer: Reviewer, deleted: Deleted | None = None
) -> HandedIn:
    """The verdicts that a file states by its columns `review`, `review_who`, `review_note`, by changed outlines, by new
    features and by those that are gone.

    `unreviewed` never withdraws a verdict: the file may be older than it.

    Args:
        deleted: what it means that polygons of the map are gone; None: they are rejected, unless most are gone.

    Raises:
        SourceDataError: it is no vector file that is read, or has no layer of polygons.
        ModelError: a feature cannot be taken, or too many polygons are gone.
    """
    frame = _in_map(_read(path), shown_map)
    features, remarks = _features(frame, shown_map.extent)
    matches = _matches(features, shown_map)
    found = HandedIn(remarks=remarks)
    gone = sorted(set(range(len(shown_map.shown))) - set(matches.values()))
    of_map = set(shown_map.mapped["id"])
    gone = [position for position in gone if shown_map.shown["id"].iloc[position] in of_map]
    outlines = dict(enumerate(features))
    merged = _merged(gone, outlines, matches, shown_map)
    for number, feature in enumerate(features):
        if number not in matches and _replaced(feature, shown_map):
            found.remarks.append(f"{feature.name}: a person's outline stands in its place; not taken")
        elif number in matches:
            found.verdicts += _on_known(feature, matches[number], merged.get(number, []), shown_map, reviewer)
        else:
            found.verdicts += _on_drawn(feature, merged.get(number, []), shown_map, reviewer)
    lost = [position for position in gone if not any(position in some for some in merged.values())]
    _on_gone(found, lost, shown_map, reviewer, deleted)
    _remark_on_others(found, features, frame, matches, shown_map)
    return found


def _read(path: Path) -> gpd.GeoDataFrame:
    try:
        frame = read_features(path, LAYER, "the layer's name")
    except SourceDataError as first:
        try:
            frame = read_features(path, None, f"a layer called {LAYER}")
        except SourceDataError:
            raise first from None
    if len(frame) > MOST_FEATURES:
        raise ModelError(f"{path.name} has {len(frame)} features, of at most {MOST_FEATURES}.")
    return frame


def _in_map(frame: gpd.GeoDataFrame, shown_map: ShownMap) -> gpd.GeoDataFrame:
    try:
        return frame.to_crs(shown_map.shown.crs)
    except (ProjError, ValueError) as error:
        raise ModelError(
            "The coordinates of the file cannot be brought into those of the map.",
            "Save it in the map's own.",
        ) from error


def _features(frame: gpd.GeoDataFrame, extent: Polygon) -> tuple[list[_Feature], list[str]]:
    """The features, and what was repaired.

    Raises:
        ModelError: some cannot be taken; the first are named.
    """
    names = {str(name).lower(): name for name in frame.columns}
    found, problems, remarks = [], [], []
    numbers = [_number(value) for value in frame[names["id"]]] if "id" in names else [None] * len(frame)
    texts = {name: _texts(frame, names.get(name)) for name in ("review", "review_who", "review_note")}
    for row, (label, geometry) in enumerate(zip(frame.index, frame.geometry, strict=True)):
        name = f"feature {label}" + ("" if numbers[row] is None else f" (No. {numbers[row]})")
        said = texts["review"][row].lower()
        if said not in ("", UNREVIEWED, ACCEPTED, REJECTED, EDITED):
            problems.append(f"{name}: review is {said[:40]!r}")
            continue
        parts, words = _parts(geometry, extent)
        if not parts:
            problems.append(f"{name}: {words}")
            continue
        if words:
            remarks.append(f"{name}: {words}")
        who, note = texts["review_who"][row], texts["review_note"][row]
        found.append(_Feature(name, parts, numbers[row], said, who, note, row))
    if problems:
        more = f"; and {len(problems) - 5} more" if len(problems) > 5 else ""
        raise ModelError(
            f"Nothing is taken: {'; '.join(problems[:5])}{more}.",
            "Correct or delete these features. The column review is one of unreviewed, accepted, rejected, edited.",
        )
    return found, remarks


def _parts(geometry: Any, extent: Polygon) -> tuple[tuple[Polygon, ...], str]:
    """The polygons of a geometry, the largest first, valid; and what was repaired or, where none is left, is wrong."""
    if geometry is None or geometry.is_empty:
        return (), "it has no outline"
    if geometry.geom_type not in ("Polygon", "MultiPolygon"):
        return (), f"it is a {geometry.geom_type}"
    if shapely.get_num_coordinates(geometry) > MOST_POINTS:
        return (), f"it has more than {MOST_POINTS} points"
    geometry, words = shapely.force_2d(geometry), ""
    if not np.isfinite(shapely.get_coordinates(geometry)).all():
        return (), "it has coordinates that are not finite"
    if not geometry.is_valid:
        geometry, words = (
            shapely.make_valid(geometry, method="structure", keep_collapsed=False),
            "its outline crossed itself and was repaired",
        )
    parts = [one for one in shapely.get_parts(geometry) if one.geom_type == "Polygon" and one.area > 0]
    if not parts:
        return (), "its outline covers no area"
    if not all(one.intersects(extent) for one in parts):
        return (), "it lies outside the area of the map"
    return tuple(sorted(parts, key=lambda one: -one.area)), words


def _number(value: Any) -> int | None:
    try:
        return int(value) if float(value) == int(value) else None
    except (TypeError, ValueError, OverflowError):
        return None


def _texts(frame: gpd.GeoDataFrame, column: Any) -> list[str]:
    if column is None:
        return [""] * len(frame)
    return ["" if value is None or pd.isna(value) else str(value).strip() for value in frame[column]]


def _matches(features: Sequence[_Feature], shown_map: ShownMap) -> dict[int, int]:
    """Position in the map by position in the file; one feature a polygon, the one that overlaps it most."""
    shown = shown_map.shown
    ids = {int(number): position for position, number in enumerate(shown["id"])}
    best: dict[int, tuple[float, int]] = {}

    def offer(position: int, number: int, share: float) -> None:
        if share > best.get(position, (0.0, -1))[0]:
            best[position] = (share, number)

    for number, feature in enumerate(features):
        if feature.number is not None and (position := ids.get(feature.number)) is not None:
            places = (shown.geometry.iloc[position], shown_map.originals.get(feature.number))
            offer(position, number, max(share_of_union(feature.parts[0], p) for p in places if p is not None))
    taken = {number for _, number in best.values()}
    tree = shapely.STRtree(np.asarray(shown.geometry.values, dtype=object))
    for number, feature in enumerate(features):
        if number not in taken:
            for position in tree.query(feature.parts[0], predicate="intersects").tolist():
                share = share_of_union(feature.parts[0], shown.geometry.iloc[position])
                if position not in best and share >= SAME_SHARE:
                    best[position] = (share, number)
                    break
    return {number: position for position, (_, number) in best.items()}


def _merged(
    gone: Sequence[int], features: dict[int, _Feature], matches: dict[int, int], shown_map: ShownMap
) -> dict[int, list[int]]:
    """Polygons that are gone because an outline of the file covers at least half of them, by that feature."""
    found: dict[int, list[int]] = {}
    changed = [
        number
        for number, feature in features.items()
        if number not in matches
        or not _same(feature.parts[0], shown_map.shown.geometry.iloc[matches[number]])
    ]
    for position in gone:
        polygon = shown_map.shown.geometry.iloc[position]
        shares = {n: features[n].parts[0].intersection(polygon).area / polygon.area for n in changed}
        if shares and max(shares.values()) >= SAME_SHARE:
            found.setdefault(max(shares, key=lambda one: shares[one]), []).append(position)
    return found


def _replaced(feature: _Feature, shown_map: ShownMap) -> bool:
    """Whether it is a polygon of the map, unchanged, that the map no longer shows."""
    original = None if feature.number is None else shown_map.originals.get(feature.number)
    return original is not None and _same(feature.parts[0], original)


def _same(one: Polygon, other: Polygon) -> bool:
    """Whether an outline did not move."""
    return bool(one.symmetric_difference(other).area <= SAME_M * other.length)


def _on_known(
    feature: _Feature, position: int, merged: Sequence[int], shown_map: ShownMap, reviewer: Reviewer
) -> list[Verdict]:
    """What a feature says of a polygon of the map."""
    row = shown_map.shown.iloc[position]
    number, outline = int(row["id"]), row.geometry
    edit = shown_map.edits.get(outline.wkb) if row["review"] == EDITED else None
    originals = [one for one in (shown_map.originals.get(number),) if one is not None]
    replaces = tuple(originals) if edit is None else edit.replaces
    kept = None if edit is not None and edit.verdict.polygon is None else number
    texts = {"who": feature.who if feature.who != row["review_who"] else "", "note": feature.note}
    moved = not any(_same(feature.parts[0], one) for one in (outline, *originals))
    if feature.said == REJECTED:
        if row["review"] == REJECTED and feature.note == row["review_note"]:
            return []
        return [reviewer.says("rejected", outline, kept, replaces if edit else (), **texts)]
    drawn = [
        reviewer.says("edited", one, None, who=texts["who"], note=feature.note) for one in feature.parts[1:]
    ]
    if moved or merged or drawn:
        others = [shown_map.shown.geometry.iloc[one] for one in merged]
        first = feature.parts[0] if moved or merged else outline
        return [reviewer.says("edited", first, kept, (*replaces, *others), **texts), *drawn]
    if feature.said in (ACCEPTED, EDITED):
        held = row["review"] in (ACCEPTED, EDITED)
        if held and feature.note in ("", row["review_note"]):
            return []
        return [
            reviewer.says("edited" if edit else "accepted", outline, kept, replaces if edit else (), **texts)
        ]
    return []


def _on_drawn(
    feature: _Feature, merged: Sequence[int], shown_map: ShownMap, reviewer: Reviewer
) -> list[Verdict]:
    """What a feature says that is no polygon of the map."""
    others = [shown_map.shown.geometry.iloc[one] for one in merged]
    judgement: Literal["rejected", "edited"] = "rejected" if feature.said == REJECTED else "edited"
    return [
        reviewer.says(judgement, one, None, others if first == 0 else (), who=feature.who, note=feature.note)
        for first, one in enumerate(feature.parts)
    ]


def _on_gone(
    found: HandedIn, lost: Sequence[int], shown_map: ShownMap, reviewer: Reviewer, deleted: Deleted | None
) -> None:
    """Polygons of the map that the file does not have."""
    if not lost:
        return
    numbers = [int(shown_map.shown["id"].iloc[position]) for position in lost]
    if deleted is None and len(lost) > MOST_MISSING * len(shown_map.mapped):
        raise ModelError(
            f"The file lacks {len(lost)} of {len(shown_map.mapped)} polygons of the map.",
            "Say --deleted reject where they are no landslides, or --deleted keep where it is a part of the map.",
        )
    if deleted == "keep":
        found.remarks.append(f"not in the file, left as they are: No. {named(numbers)}")
        return
    for position, number in zip(lost, numbers, strict=True):
        row = shown_map.shown.iloc[position]
        if row["review"] != REJECTED:
            edit = shown_map.edits.get(row.geometry.wkb) if row["review"] == EDITED else None
            found.verdicts.append(
                reviewer.says("rejected", row.geometry, number, edit.replaces if edit else ())
            )
    found.remarks.append(f"deleted in the file, rejected: No. {named(numbers)}")


def _remark_on_others(
    found: HandedIn,
    features: Sequence[_Feature],
    frame: gpd.GeoDataFrame,
    matches: dict[int, int],
    shown_map: ShownMap,
) -> None:
    """Name what is not taken: other columns, and polygons that a person drew before and that the file lacks."""
    shown = shown_map.shown
    rows = [features[number].row for number in matches]
    positions = list(matches.values())
    changed = []
    for name in KEPT:
        if name in frame and name in shown:
            given, known = frame[name].iloc[rows].astype(str), shown[name].iloc[positions].astype(str)
            if shown[name].dtype.kind in "fiu":
                given = pd.to_numeric(frame[name].iloc[rows], errors="coerce")
                same = np.isclose(given, shown[name].iloc[positions], rtol=1e-4, equal_nan=True)
            else:
                same = given.to_numpy() == known.to_numpy()
            if not np.all(same):
                changed.append(name)
    if changed:
        found.remarks.append(f"changed in the file and not taken: {', '.join(changed)}")
    of_map = set(shown_map.mapped["id"])
    drawn = [p for p in range(len(shown)) if shown["id"].iloc[p] not in of_map and p not in set(positions)]
    if drawn:
        numbers = [int(shown["id"].iloc[p]) for p in drawn]
        found.remarks.append(
            f"not in the file, drawn by a person before, kept (--withdraw removes them): No. {named(numbers)}"
        )
