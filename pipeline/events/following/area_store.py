"""The store of the areas of events, `<data>/areas`: an area file each, and the passes that were listed for it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from pipeline.areas.area import AreaOfInterest, parse_area
from pipeline.errors import AreaError, LedgerError
from pipeline.events.following.area_document import MadeFrom, made_from
from pipeline.events.following.pass_history import SeenPass
from pipeline.files import read_regular, write_whole
from pipeline.places import stored_area

MOST_BYTES = 2**20
_PASSES = TypeAdapter(tuple[SeenPass, ...])


class StoredArea:
    """One area of the store."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.path = stored_area(name)

    def exists(self) -> bool:
        """Whether there is a file of that name, whatever it holds."""
        return self.path.exists()

    def made_from(self) -> tuple[MadeFrom | None, bool]:
        """What it was made from, and whether a person edited it; (None, True) where it cannot be read."""
        try:
            return made_from(read_regular(self.path, MOST_BYTES).decode("utf-8"))
        except (OSError, UnicodeDecodeError):
            return None, True

    def area(self) -> AreaOfInterest:
        """The area.

        Raises:
            AreaError: there is none, or a person's edit made it invalid.
        """
        try:
            return parse_area(read_regular(self.path, MOST_BYTES).decode("utf-8"), self.path)
        except (OSError, UnicodeDecodeError) as error:
            raise AreaError(
                f"The area file {self.path} cannot be read ({type(error).__name__}).",
                "Correct it, or remove it.",
            ) from error

    def write(self, text: str, passes: Sequence[SeenPass]) -> None:
        """Write the area and the passes that were listed for it; an existing file is never replaced.

        Raises:
            LedgerError: there is one.
        """
        if self.exists():
            raise LedgerError(f"{self.path} exists and is kept.", "Remove it by hand to have it made again.")
        self.path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(self.listed, _PASSES.dump_json(tuple(passes), indent=1))
        write_whole(self.path, text)

    @property
    def listed(self) -> Path:
        """The file of the passes that the archive listed in the year before the event."""
        return self.path.with_suffix(".passes.json")

    def history(self) -> tuple[SeenPass, ...]:
        """These passes; none where the file is absent or damaged."""
        try:
            return _PASSES.validate_json(read_regular(self.listed, MOST_BYTES))
        except (OSError, ValueError, ValidationError):
            return ()
