"""The polygons of a map with what persons said of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
from shapely.geometry import Polygon

from model.bundle.summaries import ReviewSummary
from model.detector.pass_status import GONE
from model.reviews.inheritance import Held, Judged, counting, held_by
from model.reviews.verdict import Reviews, to_degrees, transformed
from pipeline.records import digest_of_json

UNREVIEWED, ACCEPTED, REJECTED, EDITED = "unreviewed", "accepted", "rejected", "edited"
"""values of the column `review`"""
TEXTS = ("review", "review_who", "review_note", "review_remark")
WHEN = "review_when"
MOST_ABSENT = 50
"""named in a report"""


def digest_of(judged: Sequence[Judged]) -> str:
    """By which one sees whether a map shows these verdicts."""
    return digest_of_json([one.verdict.model_dump(mode="json") for one in judged])


def with_verdicts(
    frame: gpd.GeoDataFrame, reviews: Reviews, extent: Polygon
) -> tuple[gpd.GeoDataFrame, ReviewSummary | None]:
    """The polygons of a map with the columns `review`, `review_who`, `review_when`, `review_note`, `review_remark`.

    An edited outline takes the place of the first polygon that inherits it, and that of the others; where none does, it
    is a row of its own with a number above those of the map, in the order of the verdicts. Its area, place and distance
    are those of the outline; score, pixels and slope stay those of the polygon that was mapped.

    Args:
        frame: with `id`, in projected metres.
        extent: of the map, in the same coordinates.

    Returns:
        The polygons, and the summary; None where there is no verdict in the area.
    """
    judged = counting(reviews, frame.crs, extent)
    held = held_by(list(frame.geometry), judged)
    result = _marked(frame, held)
    if held.edited_alone:
        drawn = _drawn(frame, held.edited_alone)
        result = _appended(result, drawn)
    if not judged:
        return result, None
    return result, _summary(result, held, digest_of(judged))


def _marked(frame: gpd.GeoDataFrame, held: Held) -> gpd.GeoDataFrame:
    count = len(frame)
    columns: dict[str, list[Any]] = {name: [""] * count for name in TEXTS}
    columns["review"] = [UNREVIEWED] * count
    when: list[Any] = [pd.NaT] * count
    geometry = list(frame.geometry)
    placed: set[int] = set()
    dropped: set[int] = set()
    for position, one in sorted(held.holds.items()):
        columns["review"][position] = one.verdict.judgement
        columns["review_who"][position], columns["review_note"][position] = one.verdict.who, one.verdict.note
        when[position] = pd.Timestamp(one.verdict.when)
        if one.verdict.judgement == EDITED:
            if id(one) in placed:
                dropped.add(position)
            placed.add(id(one))
            geometry[position] = one.outline
    for position, words in held.ambiguous.items():
        columns["review_remark"][position] = words
    result = frame.assign(
        **{name: pd.Series(values, index=frame.index, dtype=object) for name, values in columns.items()}
    )
    result[WHEN] = pd.Series(pd.to_datetime(when, utc=True), index=frame.index)
    changed = [p for p, one in held.holds.items() if one.verdict.judgement == EDITED]
    result = result.set_geometry(gpd.GeoSeries(geometry, index=frame.index, crs=frame.crs))
    result = _measured(result, changed)
    kept = [position for position in range(count) if position not in dropped]
    return result.iloc[kept].reset_index(drop=True)


def _drawn(frame: gpd.GeoDataFrame, alone: tuple[Judged, ...]) -> gpd.GeoDataFrame:
    """Rows of outlines that no polygon of the map inherits."""
    first = int(frame["id"].max()) + 1 if len(frame) else 1
    rows = gpd.GeoDataFrame(
        {
            "id": range(first, first + len(alone)),
            "review": [EDITED] * len(alone),
            "review_who": [one.verdict.who for one in alone],
            "review_note": [one.verdict.note for one in alone],
            "review_remark": [
                "drawn by a person"
                if one.verdict.polygon is None
                else "no polygon of this map is in its place"
                for one in alone
            ],
            WHEN: pd.to_datetime([one.verdict.when for one in alone], utc=True),
        },
        geometry=[one.outline for one in alone],
        crs=frame.crs,
    )
    shared = (
        "simulated",
        "model",
        "track",
        "passes_before",
        "passes_after",
        "newest_pass",
        "days_since_event",
    )
    for name in shared:
        if name in frame and len(frame):
            rows[name] = frame[name].iloc[0]
    for name in ("area_m2", "area_ha", "longitude", "latitude"):
        if name in frame:
            rows[name] = 0.0
    return _measured(rows, list(range(len(rows))))


def _measured(frame: gpd.GeoDataFrame, positions: list[int]) -> gpd.GeoDataFrame:
    """The frame with area and place of some rows by their outline."""
    if not positions:
        return frame
    frame = frame.copy()
    rows = frame.index[positions]
    outlines = [frame.geometry.iloc[position] for position in positions]
    if "area_m2" in frame:
        frame.loc[rows, "area_m2"] = [one.area for one in outlines]
    if "area_ha" in frame:
        frame.loc[rows, "area_ha"] = [round(one.area / 1e4, 2) for one in outlines]
    if "longitude" in frame:
        there = to_degrees(frame.crs)
        points = [transformed(one.representative_point(), there) for one in outlines]
        frame.loc[rows, "longitude"] = [round(one.x, 6) for one in points]
        frame.loc[rows, "latitude"] = [round(one.y, 6) for one in points]
    return frame


def _appended(frame: gpd.GeoDataFrame, rows: gpd.GeoDataFrame) -> gpd.GeoDataFrame:
    """Both, with the columns and types of the first; a column that the rows lack is empty or 0 there."""
    columns: dict[str, Any] = {}
    for name in frame.columns:
        if name == "geometry":
            continue
        kind = frame[name].dtype
        given = list(rows[name]) if name in rows else [_nothing(kind)] * len(rows)
        if isinstance(kind, pd.DatetimeTZDtype):
            columns[name] = pd.to_datetime([*frame[name], *given], utc=True)
        else:
            columns[name] = pd.Series([*frame[name], *given], dtype=kind)
    return gpd.GeoDataFrame(columns, geometry=[*frame.geometry, *rows.geometry], crs=frame.crs)


def _nothing(kind: Any) -> Any:
    if isinstance(kind, pd.DatetimeTZDtype):
        return pd.NaT
    return {"f": np.nan, "i": 0, "u": 0, "b": False}.get(getattr(kind, "kind", "O"))


def _summary(frame: gpd.GeoDataFrame, held: Held, digest: str) -> ReviewSummary:
    counts = frame["review"].value_counts()
    shown = [*held.holds.values(), *held.edited_alone]
    gone = (frame["status"] == GONE) & (frame["review"] == UNREVIEWED) if "status" in frame else False
    landslide = frame[(frame["review"] != REJECTED) & ~np.asarray(gone, dtype=bool)]
    ids = frame["id"].tolist()
    remarks = dict(zip(ids, frame["review_remark"], strict=True))
    unreviewed = set(frame.loc[frame["review"] == UNREVIEWED, "id"])
    return ReviewSummary(
        digest=digest,
        accepted=int(counts.get(ACCEPTED, 0)),
        rejected=int(counts.get(REJECTED, 0)),
        edited=int(counts.get(EDITED, 0)),
        drawn=len(held.edited_alone),
        unreviewed=int(counts.get(UNREVIEWED, 0)),
        ambiguous={int(number): words for number, words in remarks.items() if words and number in unreviewed},
        absent=tuple(_absent(one) for one in held.unmatched if one.verdict.judgement == ACCEPTED)[
            :MOST_ABSENT
        ],
        reviewers=tuple(sorted({one.verdict.who for one in shown})),
        newest=max((one.verdict.when for one in shown), default=None),
        landslide_km2=round(float(landslide.geometry.area.sum()) / 1e6, 6),
    )


def _absent(one: Judged) -> str:
    verdict = one.verdict
    longitude, latitude = verdict.outline["coordinates"][0][0]
    number = "" if verdict.polygon is None else f"No. {verdict.polygon} of {verdict.map}, "
    return f"{number}at {longitude:.5f}, {latitude:.5f}, accepted by {verdict.who} on {verdict.when:%Y-%m-%d}"
