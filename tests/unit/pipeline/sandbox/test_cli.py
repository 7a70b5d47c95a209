"""The exports of `slidecube sandbox serve` are its owner's alone, and no file of another is written or deleted."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Any, ClassVar

import pytest
from click.testing import CliRunner

from pipeline.sandbox import cli


class Served:
    """A sandbox that ends at once; `seen` is the mode of the file and its text meanwhile."""

    environment: ClassVar[dict[str, str]] = {"HTTPS_PROXY": "http://127.0.0.1:1"}
    file: ClassVar[Path]
    seen: ClassVar[tuple[int, str] | None] = None

    def __init__(self, *_worlds: Path, **_options: Any) -> None: ...

    def __enter__(self) -> Served:
        return self

    def __exit__(self, *_: object) -> None: ...

    def wait(self) -> None:
        Served.seen = stat.S_IMODE(self.file.stat().st_mode), self.file.read_text()


@pytest.fixture
def serve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(cli, "Sandbox", Served)
    Served.seen, Served.file = None, tmp_path / "exports"
    (tmp_path / "world").mkdir()
    arguments = ["serve", str(tmp_path / "world"), "--env-file", str(Served.file)]
    return lambda: CliRunner().invoke(cli.sandbox, arguments)


def test_exports_are_private_and_deleted_at_the_end(serve: Any) -> None:
    assert serve().exit_code == 0
    assert Served.seen is not None
    mode, text = Served.seen
    assert mode == 0o600 and "export HTTPS_PROXY=http://127.0.0.1:1\n" in text
    assert not Served.file.exists()
    Served.file.write_text(text)  # as a kill leaves it
    Served.file.chmod(0o644)
    assert serve().exit_code == 0 and Served.seen[0] == 0o600


@pytest.mark.parametrize("link", [False, True])
def test_a_file_of_another_is_neither_written_nor_deleted(serve: Any, tmp_path: Path, link: bool) -> None:
    other = tmp_path / "precious" if link else Served.file
    other.write_text("KEY=1\n")
    if link:
        Served.file.symlink_to(other)
    ended = serve()
    assert ended.exit_code == 2 and Served.file.name in ended.output and Served.seen is None
    assert other.read_text() == "KEY=1\n" and Served.file.exists()
