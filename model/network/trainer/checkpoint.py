"""A training as a file, from which a killed one goes on."""

from __future__ import annotations

import logging
from contextlib import suppress
from pathlib import Path
from typing import Any
from zipfile import ZIP_STORED, ZipFile

import psutil

from model.network.trainer.lightning_guard import CheckpointIO, torch
from pipeline.files import whole_file

log = logging.getLogger(__name__)

FILE = "last.ckpt"


class CheckpointFiles(CheckpointIO):
    """How Lightning's checkpoints are written and read: whole, and without executing anything that is in them."""

    def __init__(self, identity: str) -> None:
        """
        Args:
            identity: sha256 of what decides the weights: network, plan, seed, data.
        """
        self._identity = identity

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None
    ) -> None:
        """Write a file, or replace it.

        Raises:
            DiskError: the folder cannot be written.
        """
        with whole_file(Path(path)) as partial:
            torch.save({**checkpoint, "identity": self._identity}, partial)

    def load_checkpoint(
        self, path: str | Path, map_location: Any | None = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Read a file: tensors and plain values alone, on the CPU.

        Nothing in the file is executed. Nothing in it is unpacked, since torch writes without compression; a file
        larger than the free memory is not read.

        Raises:
            OSError: it cannot be read.
            ValueError: it is of another training, larger than it looks, or its bytes are not those that were written.
            Exception: it is damaged, or holds something else; zipfile, pickle and torch raise what they like.
        """
        _refuse_packed(Path(path))
        found: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        if not isinstance(found, dict) or found.pop("identity", None) != self._identity:
            raise ValueError("it is of another training")
        return found

    def remove_checkpoint(self, path: str | Path) -> None:
        """Remove a file, and the folder where a process left nothing else."""
        Path(path).unlink(missing_ok=True)
        with suppress(OSError):
            Path(path).parent.rmdir()

    def usable(self, file: Path) -> bool:
        """Whether an earlier, unfinished training left a file from which this one goes on."""
        if not file.is_file():
            return False
        try:
            self.load_checkpoint(file)
        except Exception as error:  # zipfile, pickle and torch raise what they like
            log.warning("%s is not used (%s): the training begins anew", file, type(error).__name__)
            return False
        return True


def _refuse_packed(file: Path) -> None:
    """
    Raises:
        ValueError: the file is larger than it looks, or than the free memory, or a byte of it was changed.
    """
    if file.stat().st_size > psutil.virtual_memory().available:
        raise ValueError("it does not fit into memory")
    with ZipFile(file) as archive:
        members = archive.infolist()
        if any(member.compress_type != ZIP_STORED for member in members):
            raise ValueError("it is compressed, and torch does not compress")
        if sum(member.file_size for member in members) > file.stat().st_size:
            raise ValueError("its members are larger than the file")
        if (damaged := archive.testzip()) is not None:
            raise ValueError(f"the checksum of {damaged!r} is wrong")
