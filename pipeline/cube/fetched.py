"""What is recorded beside a cube that was fetched whole, such as a published one: where it comes from, its licence.

`published.json` lies in the folder of the cube, next to the Zarr group that it names, and is written last: a folder
with it holds a whole cube.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, ValidationError

from pipeline.errors import CubeError
from pipeline.records import Frozen

DOCUMENT = "published.json"
PlainName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9._-]{0,99}$")]


class FetchedCube(Frozen):
    """A cube that was fetched, and what its publisher says of it."""

    area: PlainName = Field(description="the name by which commands find it")
    group: PlainName = Field(description="the Zarr group beside this document")
    source: str = Field(description="address of the page that publishes it")
    doi: str
    title: str
    citation: str
    licence: str
    file: str = Field(description="the file that was fetched")
    size_bytes: int = Field(ge=0)
    md5: str = Field(description="of that file, as the publisher states it; it was checked")
    simulated: bool = Field(description="whether the server said that it is a simulation")


def parse_fetched(raw: bytes, where: str) -> FetchedCube:
    """The document of a fetched cube.

    Raises:
        CubeError: it is damaged.
    """
    try:
        return FetchedCube.model_validate_json(raw)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"])) or DOCUMENT
        raise CubeError(
            f"{where}/{DOCUMENT} is damaged ({place}: {first['msg']}).",
            "Remove the folder and fetch the cube again with `slidecube fetch-published`.",
        ) from None
