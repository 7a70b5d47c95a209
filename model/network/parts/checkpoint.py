"""A training as a file, from which a killed one goes on."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any
from zipfile import ZIP_STORED, ZipFile

import psutil

from model.network.torch_guard import torch
from pipeline.files import whole_file

log = logging.getLogger(__name__)


class Checkpoint:
    """The state of one training, in a file that is named after everything that decides the training."""

    def __init__(self, folder: Path, identity: str) -> None:
        """
        Args:
            identity: sha256 of what decides the weights: network, plan, seed, data.
        """
        self._identity = identity
        self.file = folder / f"{identity[:24]}.checkpoint"
        """where it is kept while the training runs"""

    def read(self) -> dict[str, Any] | None:
        """The state that an earlier, unfinished training left; None: there is none, or it cannot be used.

        Nothing in the file is executed: torch reads tensors and plain values alone. Nothing in it is unpacked, since
        torch writes without compression; a file larger than the free memory is not read.
        """
        if not self.file.is_file():
            return None
        try:
            _refuse_packed(self.file)
            found: dict[str, Any] = torch.load(self.file, map_location="cpu", weights_only=True)
            if found["identity"] == self._identity:
                return found
            why = "it is of another training"
        except Exception as error:  # zipfile, pickle and torch raise what they like
            why = type(error).__name__
        log.warning("%s is not used (%s): the training begins anew", self.file, why)
        return None

    def write(self, state: dict[str, Any]) -> None:
        """Replace the file, whole.

        Raises:
            OSError: the folder cannot be written.
        """
        self.file.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(self.file) as partial:
            torch.save({**state, "identity": self._identity}, partial)

    def remove(self) -> None:
        """Remove the file of a finished training."""
        self.file.unlink(missing_ok=True)


def _refuse_packed(file: Path) -> None:
    """
    Raises:
        ValueError: the file is larger than it looks, or than the free memory.
    """
    if file.stat().st_size > psutil.virtual_memory().available:
        raise ValueError("it does not fit into memory")
    with ZipFile(file) as archive:
        members = archive.infolist()
        if any(member.compress_type != ZIP_STORED for member in members):
            raise ValueError("it is compressed, and torch does not compress")
        if sum(member.file_size for member in members) > file.stat().st_size:
            raise ValueError("its members are larger than the file")
