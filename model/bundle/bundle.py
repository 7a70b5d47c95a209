"""A trained model as a folder that can be sent on. A folder from elsewhere is checked before it is used."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from model.bundle.card import model_card
from model.bundle.document import (
    CARD,
    DOCUMENT,
    EARLIER_FORMATS,
    FORMAT,
    LARGEST_DOCUMENT_BYTES,
    WEIGHTS,
    BundleDocument,
    software,
)
from model.bundle.markdown import one_line
from model.bundle.mlm import ITEM, item_of
from model.bundle.score_figures import CURVE, RELIABILITY, draw_precision_recall, draw_reliability
from model.network.parts.own_parts import PartOrigin
from model.network.weights import (
    Network,
    WeightsError,
    build_members,
    forms_of,
    load_weights,
    read_weights,
)
from pipeline.errors import ModelError
from pipeline.files import whole_folder
from pipeline.object_storage.result_copies import keep


@dataclass(frozen=True)
class ModelBundle:
    """A model ready to predict."""

    document: BundleDocument
    networks: tuple[Network, ...]

    @property
    def warning(self) -> str:
        """The warning that every product of the model must carry; empty if there is none."""
        if self.document.simulated:
            return (
                "The model was trained on a SIMULATED area: no real landslide is in its training set, and it must "
                "not guide decisions in the field."
            )
        return ""


def new_document(weights: bytes, **fields: Any) -> BundleDocument:
    """The document of a model that was just trained.

    Args:
        weights: content of the weights' file.
        fields: the document's other fields; digests, versions of software and the time are added.
    """
    draft = BundleDocument(
        digest="0" * 64,
        weights_sha256=hashlib.sha256(weights).hexdigest(),
        software=software(),
        created=datetime.now(UTC).replace(microsecond=0),
        **fields,
    )
    return draft.model_copy(update={"digest": draft.identity})


def save(document: BundleDocument, weights: bytes, target: Path) -> None:
    """Write a bundle, whole or not at all; a bundle that is there is replaced.

    Raises:
        ModelError: something else is at `target`.
    """
    with whole_folder(target, DOCUMENT) as folder:
        (folder / WEIGHTS).write_bytes(weights)
        (folder / DOCUMENT).write_text(document.model_dump_json(indent=1) + "\n", encoding="utf-8")
        (folder / CARD).write_text(model_card(document), encoding="utf-8")
        (folder / ITEM).write_text(
            json.dumps(item_of(document, WEIGHTS, CARD), indent=1) + "\n", encoding="utf-8"
        )
        draw_precision_recall(document, folder / CURVE)
        draw_reliability(document, folder / RELIABILITY)
    keep(target)


def load(folder: Path) -> ModelBundle:
    """Read a bundle from a folder of any origin. Nothing in it is executed.

    Raises:
        ModelError: a file, which the error names, is missing, too large, damaged, or of another model.
    """
    document, file = read_document(folder), _regular(folder / WEIGHTS)
    try:
        raw = read_weights(file, forms_of(document.network, document.members))
        if hashlib.sha256(raw).hexdigest() != document.weights_sha256:
            raise _damaged(file, f"its sha256 is not the one in {DOCUMENT}")
        networks = build_members(document.network, document.members)
        load_weights(networks, raw)
    except WeightsError as error:
        raise _damaged(file, error.message) from error
    except OSError as error:
        raise ModelError(f"{file} cannot be read ({error.strerror}).") from error
    return ModelBundle(document, networks)


def read_document(folder: Path) -> BundleDocument:
    """Read and check `bundle.json`.

    Raises:
        ModelError: it is missing, too large, malformed, or its digest is wrong.
    """
    file = folder / DOCUMENT
    raw = _read(file, LARGEST_DOCUMENT_BYTES)
    try:
        document = BundleDocument.model_validate_json(raw)
    except ValidationError as error:
        for problem in error.errors():
            if problem["loc"] == ("format",) and problem["input"] in EARLIER_FORMATS:
                raise ModelError(
                    f"{file} has the format {problem['input']}; this version reads {FORMAT} only.",
                    "Train the model again with `slidecube train`.",
                ) from error
            if problem["type"] in _NOT_HERE:
                raise _not_here(file, raw, problem["type"], str(problem["input"])) from error
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "document"
        raise _damaged(file, f"{where}: {first['msg']}") from error
    if document.identity != document.digest:
        raise _damaged(file, "its digest is not that of its content")
    return document


def _regular(file: Path) -> Path:
    """The file itself, where it is a regular one."""
    if not file.is_file():
        raise ModelError(
            f"{file} is missing or not a regular file.",
            "Give the folder of a bundle, as `slidecube train` writes it.",
        )
    return file


def _read(file: Path, limit_bytes: int) -> bytes:
    try:
        with _regular(file).open("rb") as stream:
            raw = stream.read(limit_bytes + 1)
    except OSError as error:
        raise ModelError(f"{file} cannot be read ({error.strerror}).") from error
    if len(raw) > limit_bytes:
        raise _damaged(file, f"it is larger than {limit_bytes} bytes")
    return raw


_NOT_HERE = {"unknown_network": "network", "unknown_channel": "channel"}
"""types of errors of a document that names what only its author has, and what that is"""


def _not_here(file: Path, raw: bytes, kind: str, name: str) -> ModelError:
    """The bundle is whole, but this session lacks a network or a channel that its author had."""
    what = _NOT_HERE[kind]
    words, origin = "", None
    if what == "network":
        try:
            origin = PartOrigin.model_validate(json.loads(raw)["network"]["builder"])
        except (ValueError, TypeError, KeyError):  # none is recorded
            origin = None
    if origin is not None:
        words = f" It is {one_line(origin.in_words)}."
    remedy = f"Register it under this name (slidecube.register_{what}) before the bundle is opened"
    if origin is not None and origin.source == "entry point":
        remedy = f"Install {one_line(origin.package)} from a source that you trust"
    return ModelError(
        f"{file} needs the {what} {one_line(name)[:60]!r}, which is not here.{words}", f"{remedy}."
    )


def _damaged(file: Path, why: str) -> ModelError:
    return ModelError(f"{file} cannot be used: {why}.", "Copy the bundle again from its source.")
