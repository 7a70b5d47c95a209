"""Errors that name the object and the remedy, and the exit status of each on the command line."""

from __future__ import annotations


class SlidecubeError(Exception):
    """Base of every error that a user can act on.

    `str(error)` is the message and, after a blank, what to do next (`remedy`).
    `exit_code` is what the command line returns.
    """

    exit_code = 1

    def __init__(self, message: str, remedy: str = "") -> None:
        self.message = message
        self.remedy = remedy
        super().__init__(message, remedy)

    def __str__(self) -> str:
        return f"{self.message} {self.remedy}".strip()


class AreaError(SlidecubeError):
    """An area file is missing, malformed, or asks for something that cannot be built."""

    exit_code = 2


class SettingsError(SlidecubeError):
    """An environment variable or a key is missing or malformed."""

    exit_code = 2


class ArchiveError(SlidecubeError):
    """An archive refused, failed or answered with something that cannot be used."""

    exit_code = 3

    def __init__(self, message: str, remedy: str = "", *, transient: bool = False) -> None:
        super().__init__(message, remedy)
        self.transient = transient  # True: trying again later may help


class SourceDataError(SlidecubeError):
    """A raster, DEM or inventory was read and its content cannot be used."""

    exit_code = 4


class GridError(SlidecubeError):
    """A layer does not lie exactly on the cube's grid."""

    exit_code = 4


class CubeError(SlidecubeError):
    """A cube is absent, damaged, or of another grid."""

    exit_code = 5


class InterferometryError(SlidecubeError):
    """A pair could not be processed: the processor, its engine or its product failed; `code` names how."""

    exit_code = 8

    def __init__(self, code: str, message: str, remedy: str = "") -> None:
        super().__init__(message, remedy)
        self.code = code


class IncompleteError(SlidecubeError):
    """The work was done in part; what is missing is named."""

    exit_code = 6


class ModelError(SlidecubeError):
    """A cube cannot be trained on or mapped, or a bundle cannot be used."""

    exit_code = 7


class ReplaceError(ModelError):
    """Another result exists at the target, and the caller did not allow replacing it."""


def number_of(count: int, noun: str) -> str:
    """A count with its noun: '1 layer', '2 layers', '2 passes', '1,000 pixels'."""
    return f"{count:,} {noun}{'' if count == 1 else 'es' if noun.endswith('s') else 's'}"
