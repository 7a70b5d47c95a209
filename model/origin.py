"""What a folder of results was made of, and whether it is what is wanted now: nothing replaces what it did not make.

Each bundle and each map holds `origin.json`: cube, model and options by which the same request is recognised, the
record that was printed, and the names and digests by which a person's changes are recognised.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, JsonValue, ValidationError

from pipeline.errors import ModelError, ReplaceError
from pipeline.files import put_folder, read_regular, scratch_name, writing
from pipeline.object_storage.result_copies import keep
from pipeline.places import BUNDLE_DOCUMENT, is_name
from pipeline.records import Frozen

ORIGIN = "origin.json"
REPORT = "report.json"
EDITABLE = ("landslides.gpkg",)
"""files of a result that a person changes by hand"""
LARGEST_BYTES = 8 << 20

LATER = {"before", "after", "track", "threshold", "recall", "precision", "experiment.left_out", "exposure"}
"""options that older results do not know, and that are absent where they are not chosen"""
LONGEST_VALUE = 80
"""characters of an option's value that an error shows"""

Kind = Literal["bundle", "map"]


def _name_of_file(text: str) -> str:
    """The name itself, if it is that of a file directly in a folder."""
    if not is_name(text):
        raise ValueError("is not the name of a file")
    return text


FileName = Annotated[str, AfterValidator(_name_of_file)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Origin(Frozen):
    """What a result is made of: the same origin gives the same result."""

    kind: Kind
    cube: str = Field(description="digest of the cube's version")
    model: str | None = Field(None, description="digest of the bundle that a map was made with")
    options: dict[str, JsonValue] = Field(default_factory=dict, description="what was chosen, by name")

    def differences(self, wanted: Origin) -> list[str]:
        """How `wanted` differs, one line each. An option that only one of them knows is not compared, but for
        those of `LATER`: a map that names no passes has all.
        """
        found = []
        if self.cube != wanted.cube:
            found.append(f"the cube {self.cube[:12]} instead of {wanted.cube[:12]}")
        if self.model != wanted.model:
            found.append(f"{_model(self.model)} instead of {_model(wanted.model)}")
        for name in sorted(self.options.keys() & wanted.options.keys() | LATER):
            if self.options.get(name) != wanted.options.get(name):
                values = (_short(each.options.get(name)) for each in (self, wanted))
                found.append(f"{name} {' instead of '.join(values)}")
        return found


class Made(Frozen):
    """`origin.json`: a result that is there."""

    format: Literal["slidecube-origin-1"] = "slidecube-origin-1"
    origin: Origin
    record: dict[str, JsonValue] | None = Field(
        None, description="what was printed, paths relative to the folder; None: not kept"
    )
    files: tuple[FileName, ...] | None = Field(
        None, max_length=1000, description="names in the folder when it was written; None: not kept"
    )
    digests: dict[Literal["landslides.gpkg"], Sha256] = Field(
        default_factory=dict, description="sha256 of the files that a person changes"
    )


def read_made(folder: Path) -> Made | None:
    """What lies in a folder, from `origin.json`, or from what bundles and maps of earlier releases say of themselves.

    None: it is no result of slidecube, or cannot be read.
    """
    if (raw := _read(folder / ORIGIN)) is not None:
        try:
            return Made.model_validate(raw)
        except ValidationError:
            return None
    try:
        if (bundle := _read(folder / BUNDLE_DOCUMENT)) is not None:
            return Made(origin=_earlier_bundle(bundle))
        if (report := _read(folder / REPORT)) is not None and str(report["format"]).startswith(
            "slidecube-map-"
        ):
            paths = {"path": ".", "picture": "quicklook.png", "report": REPORT}
            return Made(origin=_earlier_map(report), record=report["map"] | paths)
    except (KeyError, TypeError, ValueError, AttributeError):
        pass
    return None


def bundle_digest(folder: Path) -> str | None:
    """The digest that a bundle states; None where there is no bundle that can be read."""
    document = _read(folder / BUNDLE_DOCUMENT) or {}
    digest = document.get("digest")
    return digest if isinstance(digest, str) else None


def changes(folder: Path, made: Made) -> list[str]:
    """What a person changed in a result since it was written, one line each."""
    found = []
    if made.files is None:
        return [f"{name} may hold changes by hand" for name in EDITABLE if (folder / name).exists()]
    for name, digest in made.digests.items():
        if (folder / name).is_symlink() or not (folder / name).is_file():
            found.append(f"{name} was removed, or is no regular file")
        # a file beside a GeoPackage holds what an editor has not written back to it
        elif _digest(folder / name) != digest or _size(folder / f"{name}-wal") > 0:
            found.append(f"{name} was changed by hand")
    aside = {f"{name}{end}" for name in made.digests for end in ("-wal", "-shm", "-journal")}
    added = {path.name for path in folder.iterdir()} - set(made.files) - aside
    return [*found, *(f"{name} was added" for name in sorted(added))]


ELSEWHERE = {"bundle": "a --name or another --out", "map": "another --out"}
"""the options that put a result of each kind into a folder of its own"""


def existing(target: Path, wanted: Origin, *, replace: bool) -> Made | None:
    """The result at `target` where it is what is wanted; None where it is to be made.

    Args:
        replace: make it in any case, in place of another result of the same kind.

    Raises:
        ReplaceError: something else is there. What slidecube did not make is not replaced at all.
    """
    if not target.exists() or (target.is_dir() and not any(target.iterdir())):
        return None
    made = read_made(target)
    if made is None or made.origin.kind != wanted.kind:
        what = "not made by slidecube" if made is None else f"a {made.origin.kind}"
        raise ReplaceError(f"{target} exists and is {what}: it is never replaced.", "Give another --out.")
    if replace:
        return None
    if not (differences := made.origin.differences(wanted)):
        return made
    edits = changes(target, made)
    lost = f" It holds a person's work: {'; '.join(edits)}." if edits else ""
    raise ReplaceError(
        f"{target} holds another {wanted.kind}, of {'; '.join(differences)}.{lost}",
        f"Give {ELSEWHERE[wanted.kind]}, or replace it with --replace (in a flow: replace=true).",
    )


@dataclass
class Result:
    """A result in work: the folder to write, which does not exist yet, and the record to keep with it."""

    folder: Path
    record: dict[str, Any] = field(default_factory=dict)


@contextmanager
def whole_result(target: Path, origin: Origin, *, replace: bool) -> Iterator[Result]:
    """A folder to write that becomes `target`, with `origin.json`, when the block ends without an error.

    Call `existing` first. Where the block fails, nothing is left on the disk. A bundle or map of the data folder is
    copied to the object store, where the settings name one.

    Raises:
        DiskError: `target` cannot be written.
        StorageError: the store cannot be reached; `target` itself is whole.
        ReplaceError: meanwhile somebody else made `target`.
    """
    target = target.absolute()
    with scratch_name(target) as scratch, writing(target, alone=False):
        result = Result(scratch / target.name)
        try:
            yield result
        except ModelError as error:
            if isinstance(error.__cause__, OSError):  # names the scratch folder
                message = error.message.replace(str(result.folder), str(target))
                raise ModelError(message, error.remedy) from error.__cause__
            raise
        try:
            with writing(target):
                describe(result.folder, origin, result.record)
            put_folder(result.folder, target, replace=replace)
        except FileExistsError as error:
            raise ReplaceError(
                f"Meanwhile somebody else made {target}.", "Run again to see whether it is what is wanted."
            ) from error
    keep(target)


def describe(folder: Path, origin: Origin, record: dict[str, Any]) -> None:
    """Write `origin.json` into a finished folder.

    Args:
        record: what is printed, paths relative to the folder.
    """
    names = [path.name for path in folder.iterdir() if path.name != ORIGIN]
    made = Made(
        origin=origin,
        record=record,
        files=tuple(sorted([ORIGIN, *names])),
        digests={name: _digest(folder / name) for name in EDITABLE if name in names},
    )
    (folder / ORIGIN).write_text(made.model_dump_json(indent=1) + "\n", encoding="utf-8")


def _earlier_bundle(document: dict[str, Any]) -> Origin:
    """Of a bundle without `origin.json`: what it says, and the defaults for what it does not say."""
    network = document["network"]
    options = {f"plan.{name}": value for name, value in document["training"].items()}
    options |= {f"inputs.{name}": value for name, value in document["inputs"].items()}
    options |= {
        "seed": document["seed"],
        "others": [other["cube"]["digest"] for other in document.get("others", ())],
        "experiment.members": document.get("members", 1),
        "experiment.encoder": network["encoder"],
        "experiment.initial_weights": network["initial_weights"],
        "experiment.test_time": document["test_time"],
        "experiment.event": None,
    }
    return Origin(kind="bundle", cube=document["cube"]["digest"], options=options)


def _earlier_map(report: dict[str, Any]) -> Origin:
    """Of a map without `origin.json`, as above."""
    record = report["map"]
    options: dict[str, Any] = {"event": None}
    if record["model"] is None:
        options |= {"before": None, "after": None, "track": "best"}
    else:
        options |= {"smallest_m2": record["smallest_m2"], "standardise": "auto"}
    return Origin(kind="map", cube=report["cube"]["digest"], model=record["model"], options=options)


def _short(value: JsonValue) -> str:
    text = json.dumps(value)
    return text if len(text) <= LONGEST_VALUE else f"{text[:LONGEST_VALUE]}..."


def _model(digest: str | None) -> str:
    return f"the model {digest[:12]}" if digest else "no model"


def _read(file: Path) -> dict[str, Any] | None:
    """An object of a JSON file; None where there is none, or it is no JSON or too large."""
    try:
        content = json.loads(read_regular(file, LARGEST_BYTES))
    except (OSError, ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) else None


def _digest(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _size(file: Path) -> int:
    return file.stat().st_size if file.is_file() else 0
