"""Area files as fields: safe YAML, the outlines that it names, and what is wrong with a field in words."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

from pipeline.errors import AreaError

MOST_FILE_BYTES = 16 * 2**20
"""A larger area file or outline is refused."""

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
        if path.stat().st_size > MOST_FILE_BYTES:
            raise AreaError(f"{what} is larger than {MOST_FILE_BYTES // 2**20} MiB.", "Simplify its outline.")
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise AreaError(f"{what} cannot be read ({error}).", remedy) from error


class _PlainLoader(yaml.SafeLoader):
    """Safe YAML that refuses aliases (which can expand to huge documents) and keys given twice."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            event = self.peek_event()  # type: ignore[no-untyped-call]
            raise yaml.composer.ComposerError(None, None, "an alias; write the value out", event.start_mark)
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            name = str(key.value)
            if name in seen:
                raise yaml.constructor.ConstructorError(None, None, f"the key {name!r} twice", key.start_mark)
            seen.add(name)
        return super().construct_mapping(node, deep)


def fields_of(raw: str, path: Path) -> dict[str, Any]:
    """The fields written in `raw` (YAML or JSON), not checked yet, with the name of the file where it states none.

    An outline in a GeoJSON file is read, and paths of the inventory are made absolute. `path` names the area file in
    errors and is what relative paths refer to.

    Raises:
        AreaError: the text is no mapping of named fields, or the outline cannot be read.
    """
    try:
        data = yaml.load(raw, _PlainLoader)
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # ValueError: a date such as 2018-13-45
        reason = " ".join(str(error).split())[:300]
        raise AreaError(f"{path}: not valid YAML ({reason}).", "Correct the line that it names.") from error
    if not isinstance(data, dict):
        raise AreaError(f"{path}: holds no mapping of fields.", "Start from one of the shipped area files.")
    odd = [key for key in data if not isinstance(key, str)]
    if odd:
        raise AreaError(f"{path}: {odd[0]!r}: is no name of a field.", "Remove it or put it in quotes.")
    data.setdefault("name", path.stem)
    return _inline_files(data, path)


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


def explained(issue: dict[str, Any]) -> str:
    """One issue of pydantic in words: the field and what to do."""
    field = ".".join(str(part) for part in issue["loc"])
    known = _REMEDIES.get(issue["type"])
    if known is None:
        text = str(issue["msg"]).removeprefix("Value error, ")
    else:
        shown = f"{issue.get('input')!r:.60}"
        text = known.format(
            **{"input": shown, **{k: v for k, v in issue.get("ctx", {}).items() if k != "input"}}
        )
    return f"{field}: {text}" if field else text
