"""Values that pass between rooms: frozen, JSON-able models and the types of their fields."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    AllowInfNan,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Strict,
)

__all__ = ["Frozen", "Number", "Utc", "Whole", "digest_of_json"]


def _instant(value: Any) -> Any:
    """A number would be taken for seconds since 1970, a date for its midnight: neither is what the writer meant."""
    if isinstance(value, str | datetime):
        return value
    raise ValueError(f"{value!r} is no instant; write date, time and zone as in 2018-09-05T18:07:59Z")


Utc = Annotated[AwareDatetime, BeforeValidator(_instant), AfterValidator(lambda value: value.astimezone(UTC))]
Number = Annotated[float, Strict(), AllowInfNan(False)]
Whole = Annotated[int, Strict()]


class Frozen(BaseModel):
    """A value that passes between rooms: immutable, JSON-able, no unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def digest_of_json(value: Any, *, compact: bool = False) -> str:
    """sha256 in hexadecimal of a JSON-able value with sorted keys: the same value has the same digest anywhere.

    Args:
        compact: without blanks, as the recipes of layers are digested.
    """
    separators = (",", ":") if compact else None
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=separators).encode()).hexdigest()
