"""Count hostile inputs by class and outcome, in Markdown.

    python -m tests.faults.tally               # all, about 15 minutes on two cores
    python -m tests.faults.tally --documents   # documents and files alone, two minutes
    python -m tests.faults.tally zips rasters  # these classes, which are named as in the table

Each class, and each test, says on standard error when it ended and how long it took; the table comes last. A test that
takes longer than half an hour ends the run with the stack of every thread.

The classes of documents and files are read in this process; those that need commands, servers or cubes are the tests of
this folder, which pytest runs. The exit status is 1 where an input had another outcome than a named error or none.
"""

from __future__ import annotations

import argparse
import faulthandler
import logging
import os
import sys
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from pipeline.settings import settings
from tests.faults import odd_documents, odd_files, outcomes
from tests.faults.odd_documents import Action

CLASSES: dict[str, Callable[[], Iterator[tuple[str, Action]]]] = {
    "area files": odd_documents.areas,
    "items of a search": odd_documents.items,
    "saved catalogues": odd_documents.catalogues,
    "vector files": odd_documents.vectors,
    "manifests": odd_documents.manifests,
    "documents of bundles": odd_documents.bundles,
    "rasters": odd_files.rasters,
    "rasters to import": odd_files.imports,
    "zips": odd_files.zips,
}
MOST_S = 1800.0
TESTS = {
    "test_hostile_answers.py": "answers of servers",
    "test_hostile_archive.py": "archives that do not deliver",
    "test_hostile_files.py::test_an_area_file": "area files, by the command",
    "test_hostile_files.py::test_an_inventory": "inventories, by the command",
    "test_hostile_files.py::test_a_cube": "cubes, by the commands",
    "test_hostile_bundles.py": "bundles and records of results",
}


def outcomes_of(name: str, folder: Path) -> Iterator[tuple[str, str, str]]:
    """The name of each input of a class, its outcome and the words of its error."""
    before = os.environ.get("SLIDECUBE_LOCAL_ITEMS")
    os.environ["SLIDECUBE_LOCAL_ITEMS"] = "true"
    settings.cache_clear()
    try:
        for number, (label, action) in enumerate(CLASSES[name]()):
            own = folder / str(number) / "work"
            own.mkdir(parents=True)
            yield label, *outcomes.outcome_of(lambda action=action, own=own: action(own), own)  # type: ignore[misc]
    finally:
        os.environ.pop("SLIDECUBE_LOCAL_ITEMS")
        if before is not None:
            os.environ["SLIDECUBE_LOCAL_ITEMS"] = before
        settings.cache_clear()


class Counting:
    """A plugin of pytest that counts the outcomes of tests of hostile inputs."""

    def __init__(self) -> None:
        self.found: dict[str, Counter[str]] = {}

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        """Bound a test."""
        faulthandler.dump_traceback_later(MOST_S, exit=True, file=sys.__stderr__)

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        """Lift the bound."""
        faulthandler.cancel_dump_traceback_later()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Count a test that ended, by what it noted; one that noted nothing is an error by name or no harm."""
        name = next((words for part, words in TESTS.items() if part in report.nodeid), None)
        if name is None or (report.when != "call" and not report.failed):
            return
        counted = self.found.setdefault(name, Counter())
        words = "FAILED" if report.failed else "passed"
        _say(f"{name}: {report.nodeid.rpartition('/')[2]}: {words}, {report.duration:.0f} s")
        if report.failed:
            counted["traceback"] += 1
        else:
            counted.update(outcomes.NOTED or [outcomes.NAMED])
        outcomes.NOTED.clear()


def _say(words: str) -> None:
    """To the standard error of this process, also where pytest keeps what tests write."""
    print(words, file=sys.__stderr__, flush=True)


def table(found: dict[str, Counter[str]]) -> str:
    lines = [
        f"| class | inputs | {' | '.join(outcomes.OUTCOMES)} |",
        f"|---|{'---|' * (len(outcomes.OUTCOMES) + 1)}",
    ]
    total = sum(found.values(), Counter[str]())
    for name, counted in {**found, "all": total}.items():
        cells = " | ".join(str(counted[one]) for one in outcomes.OUTCOMES)
        lines.append(f"| {name} | {counted.total()} | {cells} |")
    return "\n".join(lines)


def main() -> int:
    logging.disable(logging.ERROR)
    warnings.simplefilter("ignore")
    parser = argparse.ArgumentParser(prog="python -m tests.faults.tally", description=__doc__)
    parser.add_argument(
        "classes", nargs="*", metavar="CLASS", help=f"of {', '.join((*CLASSES, *TESTS.values()))}"
    )
    parser.add_argument("--documents", action="store_true", help="no command, server or cube")
    asked = parser.parse_args()
    if odd := [name for name in asked.classes if name not in (*CLASSES, *TESTS.values())]:
        parser.error(f"no class: {', '.join(odd)}")
    wanted = asked.classes or [*CLASSES, *(() if asked.documents else TESTS.values())]
    found: dict[str, Counter[str]] = {}
    for name in (name for name in CLASSES if name in wanted):
        began = time.monotonic()
        with TemporaryDirectory() as folder:
            counted = Counter[str]()
            for label, outcome, words in outcomes_of(name, Path(folder)):
                counted[outcome] += 1
                if outcome in outcomes.BAD:
                    print(f"{name}: {label}: {outcome}: {words}", file=sys.stderr)
        found[name] = counted
        _say(f"{name}: {counted.total()} inputs, {time.monotonic() - began:.0f} s")
    parts = [part for part, name in TESTS.items() if name in wanted]
    tested, status = of_tests(parts) if parts else ({}, 0)
    print(table({**found, **tested}))
    bad = any(counted[one] for counted in (*found.values(), *tested.values()) for one in outcomes.BAD)
    return int(bad or status != 0)


def of_tests(parts: list[str]) -> tuple[dict[str, Counter[str]], int]:
    """The outcomes of tests of this folder by class, and the status of pytest."""
    logging.disable(logging.NOTSET)
    counting = Counting()
    here = Path(__file__).parent
    files = {str(here / part.partition("::")[0]) for part in parts}
    chosen = " or ".join(part.rpartition("::")[2].removesuffix(".py") for part in parts)
    options = ["-q", "--no-header", "-p", "no:xdist", "-W", "ignore::pytest.PytestAssertRewriteWarning"]
    status = pytest.main([*options, "-k", chosen, *sorted(files)], [counting])
    return counting.found, int(status)


if __name__ == "__main__":
    sys.exit(main())
