"""How much a folder takes on the disk; no link is followed, and no other file system is entered."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, field
from pathlib import Path

BLOCK = 512
"""bytes of a block as stat(2) counts them"""


@dataclass
class Tree:
    """What lies below a path."""

    inodes: dict[tuple[int, int], int] = field(default_factory=dict)
    """bytes on the disk by device and inode: what has several names counts once"""
    newest: float = 0.0
    """the latest time of change of a file or folder, seconds since 1970"""
    elsewhere: list[Path] = field(default_factory=list)
    """folders of other file systems, which are not entered"""
    unread: list[Path] = field(default_factory=list)

    @property
    def size_bytes(self) -> int:
        """Of all files."""
        return sum(self.inodes.values())

    def without(self, other: Tree) -> int:
        """Bytes that are not also in `other`: what is freed when this goes and the other stays."""
        return sum(size for inode, size in self.inodes.items() if inode not in other.inodes)


def tree(*roots: Path) -> Tree:
    """The files below folders, and files; symbolic links count as themselves."""
    found = Tree()
    waiting: list[tuple[Path, int]] = []
    for root in roots:
        try:
            state = root.lstat()
        except OSError:
            continue
        _count(found, state)
        if stat.S_ISDIR(state.st_mode):
            waiting.append((root, state.st_dev))
    while waiting:
        folder, device = waiting.pop()
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    state = entry.stat(follow_symlinks=False)
                    if state.st_dev != device:
                        found.elsewhere.append(Path(entry.path))
                        continue
                    _count(found, state)
                    if stat.S_ISDIR(state.st_mode):
                        waiting.append((Path(entry.path), device))
        except OSError:  # it went meanwhile, or may not be read
            found.unread.append(folder)
    return found


def own_folders(root: Path) -> list[Path]:
    """Real folders directly below a real folder, by name; links and other file systems are left out."""
    try:
        device = root.lstat()
        if not stat.S_ISDIR(device.st_mode):
            return []
        with os.scandir(root) as entries:
            found = [
                Path(entry.path)
                for entry in entries
                if entry.is_dir(follow_symlinks=False)
                and entry.stat(follow_symlinks=False).st_dev == device.st_dev
            ]
    except OSError:
        return []
    return sorted(found)


def _count(found: Tree, state: os.stat_result) -> None:
    found.inodes[(state.st_dev, state.st_ino)] = state.st_blocks * BLOCK
    found.newest = max(found.newest, state.st_mtime)
