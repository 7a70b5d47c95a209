"""Area files as fields: safe YAML, the outlines that it names, and what is wrong with a field in words."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from pipeline.errors import AreaError
from pipeline.files import open_regular

MOST_FILE_BYTES = 16 * 2**20
"""A larger area file or outline is refused."""
MOST_NODES = 40_000
"""Values in an area file; reading more as YAML takes minutes."""
MOST_NAMED = 10
"""wrong fields in an error"""
SUFFIXES = (".yaml", ".yml", ".json")
"""of area files; no other file is read as one"""
MOST_HEAD_BYTES = 2**16
"""in which a file of another kind says so"""
_KIND = re.compile(rb"^kind\s*:", re.MULTILINE)
_FIELD = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,39}")
"""what is shown of a key; anything else may be a line of a file that is no area file"""

_REMEDIES = {
    "extra_forbidden": "unknown key; remove it or correct its spelling",
    "missing": "is missing; add it",
    "timezone_aware": "has no time zone; append Z for UTC",
    "string_pattern_mismatch": "must match {pattern}",
    "float_type": "is {input}, not a number; write it without quotes",
    "int_type": "is {input}, not a whole number; write it without quotes",
    "finite_number": "is not finite; give a number",
    "too_short": "is empty or too short; give at least {min_length}",
    "too_long": "is too long; give at most {max_length}",
    "invalid_key": "is no name of a field; put it in quotes or remove it",
}


def text_of(path: Path, what: str) -> str:
    """The text of a file; `what` names it in errors.

    Raises:
        AreaError: it cannot be read, is no UTF-8, or is larger than `MOST_FILE_BYTES`.
    """
    remedy = "Give an existing UTF-8 file."
    try:
        if path.exists() and not path.is_file():
            raise AreaError(f"{what} is {'a folder' if path.is_dir() else 'no regular file'}.", remedy)
        with path.open("rb") as file:
            raw = file.read(MOST_FILE_BYTES + 1)
        if len(raw) > MOST_FILE_BYTES:
            raise AreaError(f"{what} is larger than {MOST_FILE_BYTES // 2**20} MiB.", "Simplify its outline.")
        return raw.decode("utf-8")
    except OSError as error:
        raise AreaError(f"{what} cannot be read ({error.strerror}).", remedy) from error
    except (UnicodeDecodeError, ValueError) as error:
        raise AreaError(f"{what} is no UTF-8 text.", remedy) from error


class _PlainLoader(yaml.SafeLoader):
    """Safe YAML that refuses aliases (which can expand to huge documents), duplicate keys and too many values."""

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self._nodes = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            event = self.peek_event()  # type: ignore[no-untyped-call]
            raise yaml.composer.ComposerError(None, None, "an alias; write the value out", event.start_mark)
        self._nodes += 1
        if self._nodes > MOST_NODES:
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
            words = f"more than {MOST_NODES} values; put a large outline into a GeoJSON file"
            raise yaml.composer.ComposerError(None, None, words, mark)
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            name = str(key.value)
            if name in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {_shown_key(name)} twice", key.start_mark
                )
            seen.add(name)
        return super().construct_mapping(node, deep)


def mapping_of(raw: str, path: Path) -> dict[str, Any]:
    """The mapping written in `raw` (YAML or JSON), not checked yet; `path` names the file in errors.

    Raises:
        AreaError: the text is no mapping of named fields.
    """
    try:
        data = yaml.load(raw, _PlainLoader)
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # ValueError: a date such as 2018-13-45
        raise AreaError(
            f"{path}: not valid YAML ({_reason(error)}).", "Correct the line that it names."
        ) from error
    if not isinstance(data, dict):
        raise AreaError(f"{path}: holds no mapping of fields.", "Start from one of the shipped area files.")
    odd = [key for key in data if not isinstance(key, str)]
    if odd:
        raise AreaError(
            f"{path}: a key is {type(odd[0]).__name__}, which is no name of a field.",
            "Remove it or put it in quotes.",
        )
    return data


def fields_of(raw: str, path: Path) -> dict[str, Any]:
    """The fields written in `raw` (YAML or JSON), not checked yet, with the name of the file where it states none.

    An outline in a GeoJSON file is read, and paths of the inventory are made absolute. `path` names the area file in
    errors and is what relative paths refer to.

    Raises:
        AreaError: the text is no mapping of named fields, or the outline cannot be read.
    """
    data = mapping_of(raw, path)
    data.setdefault("name", path.stem)
    return _inline_files(data, path)


def is_of_other_kind(path: Path) -> bool:
    """Whether a file says by a `kind` of its own that it is no area: an area has none at its top level."""
    try:
        with open_regular(path) as file:
            return _KIND.search(file.read(MOST_HEAD_BYTES)) is not None
    except OSError:
        return False  # what is wrong is named where the area is read


def _reason(error: Exception) -> str:
    """What is wrong with YAML and where, without the lines of the file: it may be any file of this machine."""
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        mark = error.problem_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}"
        own = isinstance(error, yaml.composer.ComposerError | yaml.constructor.ConstructorError)
        words = str(error.problem) if own and "tag" not in str(error.problem) else "it cannot be parsed there"
        return f"{where}: {words}"
    if isinstance(error, yaml.reader.ReaderError):
        return f"a character at position {error.position} is not allowed"
    return (
        "it is nested too deeply"
        if isinstance(error, RecursionError)
        else "a value, such as a date, does not exist"
    )


def _shown_key(key: object) -> str:
    return repr(key) if isinstance(key, str) and _FIELD.fullmatch(key) else "of other characters"


def _inline_files(data: dict[str, Any], path: Path) -> dict[str, Any]:
    """Read a geometry given as a GeoJSON file; make relative inventory paths absolute."""
    geometry = data.get("geometry")
    if isinstance(geometry, str):
        source = _from(path, geometry, "geometry")
        remedy = "Give a GeoJSON file with one polygon."
        try:
            document = json.loads(text_of(source, f"{path}: geometry: {source}"))
        except (ValueError, RecursionError) as error:
            raise AreaError(f"{path}: geometry: {source} is no GeoJSON ({error}).", remedy) from error
        if isinstance(document, dict) and document.get("type") == "FeatureCollection":
            features = document.get("features")
            if not isinstance(features, list) or len(features) != 1:
                count = len(features) if isinstance(features, list) else "no"
                raise AreaError(f"{path}: geometry: {source} holds {count} features.", remedy)
            document = features[0]
        if not isinstance(document, dict):
            raise AreaError(f"{path}: geometry: {source} is no GeoJSON object.", remedy)
        data["geometry"] = document.get("geometry") if document.get("type") == "Feature" else document
    elif isinstance(geometry, dict) and geometry.get("type") == "Feature":
        data["geometry"] = geometry.get("geometry")
    inventory = data.get("inventory")
    if isinstance(inventory, dict):
        for key in ("url", "extent"):
            value = inventory.get(key)
            if isinstance(value, str) and value != "area" and "://" not in value:
                inventory[key] = str(_from(path, value, f"inventory.{key}"))
    return data


def _from(path: Path, text: str, field: str) -> Path:
    """A path that an area file states: `~` is the user's home, a relative path begins at the area file's folder."""
    try:
        return (path.parent / Path(text).expanduser()).resolve()
    except (RuntimeError, OSError, ValueError) as error:  # no such user, a loop of links, a zero byte
        raise AreaError(f"{path}: {field}: {text!r:.200} is no path ({error}).", "Correct it.") from error


def explained_all(issues: Sequence[Mapping[str, Any]]) -> str:
    """The issues of pydantic in words, each once; of many the first."""
    lines = list(dict.fromkeys(explained(dict(issue)) for issue in issues[: 10 * MOST_NAMED]))
    more = len(issues) - MOST_NAMED if len(lines) > MOST_NAMED else 0
    return "; ".join(lines[:MOST_NAMED]) + (f"; and {more} more" if more else "")


def explained(issue: dict[str, Any]) -> str:
    """One issue of pydantic in words: the field and what to do."""
    shown_parts = (
        str(p) if isinstance(p, int) or _FIELD.fullmatch(str(p)) else "a key" for p in issue["loc"]
    )
    field = ".".join(shown_parts)
    known = _REMEDIES.get(issue["type"])
    if known is None:
        text = str(issue["msg"]).removeprefix("Value error, ")
    else:
        shown = f"{issue.get('input')!r:.60}"
        text = known.format(
            **{"input": shown, **{k: v for k, v in issue.get("ctx", {}).items() if k != "input"}}
        )
    return f"{field}: {text}" if field else text
