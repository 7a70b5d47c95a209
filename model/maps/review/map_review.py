"""A person's review of a map: verdicts by number or from an edited file, kept by area, shown by the map's files."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import geopandas as gpd
import pandas as pd
from pydantic import Field

from model.bundle.summaries import ReleaseRecord, ReviewSummary
from model.maps.review.renewed_map import record_in, renew, unsaved
from model.releases.announcement.feed import write_feed
from model.releases.kept_map import kept_map
from model.releases.polygon_attributes import reviewed
from model.reviews.given_verdicts import Reviewer, by_number
from model.reviews.handed_in import Deleted, ShownMap, verdicts_of_file
from model.reviews.inheritance import counting
from model.reviews.review_labels import LabelsRecord, write_labels
from model.reviews.review_store import place_of_area, read_reviews, save_reviews, writing_reviews
from model.reviews.reviewed_polygons import UNREVIEWED
from model.reviews.verdict import Judgement, Reviews, Verdict
from pipeline.errors import ModelError, ReplaceError, SlidecubeError
from pipeline.files import is_there
from pipeline.places import feed_of_maps, maps_root
from pipeline.records import Frozen

log = logging.getLogger(__name__)


class ReviewRequest(Frozen):
    """What a person says of a map; nothing: the verdicts that there are."""

    accept: tuple[int, ...] = ()
    reject: tuple[int, ...] = ()
    withdraw: tuple[int, ...] = ()
    all: Literal["accept", "reject"] | None = Field(
        None, description="said of every polygon that is unreviewed and not named"
    )
    who: str = ""
    note: str = ""
    handed_in: Path | None = Field(None, description="an edited file of the polygons")
    deleted: Deleted | None = Field(None, description="what it means that the file lacks polygons")
    renew: bool = Field(False, description="write the files of the map again in any case")
    dry_run: bool = False

    @property
    def says_something(self) -> bool:
        """Whether it may hold a verdict."""
        return bool(self.accept or self.reject or self.withdraw or self.all or self.handed_in)


class PolygonReview(Frozen):
    """One polygon of a map and what persons said of it."""

    number: int
    review: str
    who: str = ""
    when: datetime | None = None
    note: str = ""
    remark: str = ""
    area_ha: float
    longitude: float
    latitude: float


class ReviewRecord(Frozen):
    """The state of a review after a request."""

    map: Path
    area: str
    given: dict[Judgement, int] = Field(description="verdicts that are new, by their kind")
    remarks: tuple[str, ...] = ()
    summary: ReviewSummary | None = Field(description="None: no person said anything of the area")
    polygons: tuple[PolygonReview, ...]
    shown: bool = Field(description="whether the files of the map show these verdicts")
    renewed: tuple[Path, ...] = Field((), description="maps whose files were written again")
    page: Path | None


def review_map(folder: Path, request: ReviewRequest) -> ReviewRecord:
    """Take a person's verdicts on a map, keep them beside the area's maps, and write the map's files again.

    The verdicts are on the disk before a file of the map is written: a kill in between leaves a map whose files show
    the old ones, which the next call says, and `renew` mends. The map that `latest` points at is renewed too.

    Raises:
        ModelError: there is no such map or polygon, nobody is named, or the file cannot be taken; nothing is kept then.
        ReplaceError: the map's folder holds changes by hand that are not handed in; nothing is kept then.
        SourceDataError: the file is none that is read.
    """
    is_there(folder)  # brings back a map whose renewal was killed
    made, record = record_in(folder)
    place = place_of_area(record.area)
    if not request.says_something and not request.renew:
        return _record(folder, read_reviews(record.area))
    with writing_reviews(record.area):
        reviews = read_reviews(record.area)
        if lost := unsaved(folder, made, request.handed_in):
            raise ReplaceError(
                f"{folder} holds a person's work that is not handed in: {'; '.join(lost)}.",
                f"Save and close it, and hand it in: `slidecube review {folder} --from {folder}/landslides.gpkg`.",
            )
        verdicts, remarks = _verdicts(folder, record, reviews, request)
        later = reviews.with_further(verdicts)
        if request.dry_run:
            return _record(folder, later, verdicts, remarks, shown=False)
        if verdicts:
            save_reviews(later)
        renewed: list[Path] = []
        own = request.handed_in is not None and request.handed_in.resolve().parent == folder.resolve()
        if verdicts or request.renew or own or not _record(folder, later).shown:
            renew(folder, later, request.handed_in)
            renewed.append(folder)
        latest = place.latest_map.resolve()
        if latest.is_dir() and latest != folder.resolve():
            remarks += _renew_other(latest, later, renewed)
        if renewed and maps_root().is_dir():
            write_feed(maps_root(), feed_of_maps())
        return _record(folder, later, verdicts, remarks, renewed=tuple(renewed))


def labels_of(folder: Path, target: Path) -> LabelsRecord:
    """Write every verdict on the area of a map as an inventory, by which an area file names it.

    Raises:
        ModelError: there is no such map, or no verdict says that there is a landslide.
    """
    _, record = record_in(folder)
    return write_labels(read_reviews(record.area), target)


def _verdicts(
    folder: Path, record: ReleaseRecord, reviews: Reviews, request: ReviewRequest
) -> tuple[tuple[Verdict, ...], list[str]]:
    """The new verdicts, and what is to be said of them."""
    finished = reviewed(kept_map(folder, record), reviews)
    shown, judged = finished.frame, counting(reviews, finished.frame.crs, finished.extent)
    newest = max((one.when for one in reviews.verdicts), default=datetime.min.replace(tzinfo=UTC))
    when = datetime.now(UTC)
    if when <= newest:
        raise ModelError(
            f"A verdict of {newest:%Y-%m-%d %H:%M:%S} UTC lies in the future of this machine's clock.",
            "Set the clock.",
        )
    reviewer = Reviewer.of(request.who, request.note, when, folder.name, shown.crs)
    wanted: dict[Judgement, tuple[int, ...]] = {
        "accepted": request.accept, "rejected": request.reject, "withdrawn": request.withdraw,
    }  # fmt: skip
    if request.all is not None:
        named = {*request.accept, *request.reject, *request.withdraw}
        rest = tuple(n for n in shown.loc[shown["review"] == UNREVIEWED, "id"].tolist() if n not in named)
        kind: Judgement = "accepted" if request.all == "accept" else "rejected"
        wanted[kind] = (*wanted[kind], *rest)
    verdicts = by_number(reviewer, shown, judged, wanted)
    if request.handed_in is None:
        return verdicts, []
    of_map = ShownMap(finished.mapped, shown, judged, finished.extent)
    found = verdicts_of_file(request.handed_in, of_map, reviewer, request.deleted)
    return (*found.verdicts, *verdicts), found.remarks


def _renew_other(latest: Path, reviews: Reviews, renewed: list[Path]) -> list[str]:
    """Renew the newest map of the area where its files would show something else; what keeps it from that, in words."""
    try:
        if not _record(latest, reviews).shown:
            renew(latest, reviews)
            renewed.append(latest)
    except SlidecubeError as error:
        log.info("%s", error)
        return [f"the files of {latest.name} do not show it: {error.message}"]
    return []


def _record(
    folder: Path,
    reviews: Reviews,
    verdicts: tuple[Verdict, ...] = (),
    remarks: list[str] | None = None,
    *,
    renewed: tuple[Path, ...] = (),
    shown: bool | None = None,
) -> ReviewRecord:
    """The state of a map's review with these verdicts."""
    _, record = record_in(folder)
    finished = reviewed(kept_map(folder, record), reviews)
    given: dict[Judgement, int] = {}
    for verdict in verdicts:
        given[verdict.judgement] = given.get(verdict.judgement, 0) + 1
    now = finished.record.review
    same = record.review == now
    return ReviewRecord(
        map=folder,
        area=record.area,
        given=given,
        remarks=tuple(remarks or ()),
        summary=now,
        polygons=_rows(finished.frame),
        shown=same if shown is None else shown,
        renewed=renewed,
        page=record.page,
    )


def _rows(frame: gpd.GeoDataFrame) -> tuple[PolygonReview, ...]:
    names = [
        "id",
        "review",
        "review_who",
        "review_when",
        "review_note",
        "review_remark",
        "area_ha",
        "longitude",
    ]
    rows = frame[[*names, "latitude"]].itertuples(index=False)
    return tuple(
        PolygonReview(
            number=number,
            review=review,
            who=who,
            when=None if pd.isna(when) else when.to_pydatetime(),
            note=note,
            remark=remark,
            area_ha=area,
            longitude=longitude,
            latitude=latitude,
        )
        for number, review, who, when, note, remark, area, longitude, latitude in rows
    )
