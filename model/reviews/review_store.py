"""The verdicts of an area as one document beside its maps: read checked, written whole, one writer at a time."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager

from pydantic import ValidationError

from model.reviews.verdict import Reviews
from pipeline.errors import ModelError
from pipeline.files import read_regular, write_whole
from pipeline.lock import held
from pipeline.places import Place

MOST_BYTES = 512 * 2**20
LONGEST_WAIT_S = 600.0


@contextmanager
def writing_reviews(area: str) -> Iterator[None]:
    """Hold the writer's lock of an area's verdicts; read, add and save within it.

    Raises:
        BusyError: another review did not end in time.
        DiskError: the lock cannot be made.
        ModelError: the area cannot name a folder.
    """
    place = place_of_area(area)
    with held(
        place.reviews.with_name(f".{place.reviews.name}.lock"),
        what=f"the verdicts of {area}",
        longest_s=LONGEST_WAIT_S,
    ):
        yield


def place_of_area(area: str) -> Place:
    """Where the results of an area belong.

    Raises:
        ModelError: it cannot name a folder.
    """
    return Place(area=area, version=None)


def read_reviews(area: str) -> Reviews:
    """The verdicts of an area; none where nobody gave one, or where the area cannot name a folder.

    Raises:
        ModelError: the document cannot be read; it is never replaced.
    """
    try:
        file = place_of_area(area).reviews
    except ModelError:
        return Reviews(area=area)
    try:
        return Reviews.model_validate(json.loads(read_regular(file, MOST_BYTES)))
    except (FileNotFoundError, NotADirectoryError):
        return Reviews(area=area)
    except (OSError, ValueError, RecursionError, ValidationError) as error:
        raise ModelError(
            f"{file} cannot be read ({type(error).__name__}).",
            "Bring back a sound copy of it, or move it away; it holds a person's verdicts and is never replaced.",
        ) from error


def save_reviews(reviews: Reviews) -> None:
    """Write the verdicts of an area, whole or not at all. The caller holds the lock.

    Raises:
        DiskError: they cannot be written.
    """
    write_whole(place_of_area(reviews.area).reviews, reviews.model_dump_json(indent=1) + "\n")
