"""Each `slidecube` command in the README and the pages exists, with the options that are written there."""

from __future__ import annotations

import importlib
import inspect
import itertools
import re
import shlex
from pathlib import Path

import click
import pytest
import yaml

from pipeline.cli import main

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted(
    [
        *ROOT.glob("*.md"),
        *(ROOT / "docs").glob("*.md"),
        *(ROOT / folder / "README.md" for folder in ("aoi", "model", "pipeline")),
    ]
)
# A command stands in backquotes or in a line of a fenced block, perhaps after settings.
INLINE = re.compile(r"`((?:[A-Z_]+=\S+ )*slidecube [^`]+)`")
FENCED = re.compile(r"^```(?:sh|bash|console)?\n(.*?)^```", re.MULTILINE | re.DOTALL)
PLACEHOLDER = re.compile(r"[\[\]]|\.\.\.|\s\|\s.*")


def _commands(page: Path) -> list[str]:
    text = page.read_text("utf-8")
    fenced = [line for block in FENCED.findall(text) for line in block.replace("\\\n", " ").splitlines()]
    lines = [*INLINE.findall(text), *(part for line in fenced for part in line.split("; "))]
    named = [line for line in lines if re.match(r"(?:[A-Z_]+=\S+ )*slidecube\s", line.strip())]
    return [line for line in named if "COMMAND" not in line]  # stands for any of them


def _words(command: str) -> list[str]:
    """The words after `slidecube`, without comments, brackets and what is piped on."""
    words = shlex.split(PLACEHOLDER.sub("", command), comments=True)
    return words[words.index("slidecube") + 1 :]


def _parse(words: list[str]) -> None:
    """Parse as the command line does, values and completeness apart.

    Raises:
        click.UsageError: A command or an option does not exist.
    """
    command: click.Command = main
    context = click.Context(main, info_name="slidecube")
    while True:
        parser = command.make_parser(context)
        _, rest, _ = parser.parse_args(list(words))
        if not isinstance(command, click.Group) or not rest:
            return
        name, found, words = command.resolve_command(context, rest)
        assert found is not None, name
        command, context = found, click.Context(found, info_name=name, parent=context)


DEPLOYMENTS = {
    entry["name"]: entry["entrypoint"]
    for entry in yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]
}


def _deployment_runs(page: Path) -> list[list[str]]:
    text = page.read_text("utf-8").replace("\\\n", " ")
    return [shlex.split(run, comments=True) for run in re.findall(r"prefect deployment run ([^`\n]+)", text)]


CASES = [(page, command) for page in PAGES if page.name != "CHANGELOG.md" for command in _commands(page)]


def test_the_readme_and_the_pages_state_commands() -> None:
    assert len(CASES) > 150
    assert sum(page.name == "README.md" and page.parent == ROOT for page, _ in CASES) > 10
    assert len([run for page in PAGES for run in _deployment_runs(page)]) >= 7


@pytest.mark.parametrize(
    "page", sorted({page for page, _ in CASES}), ids=lambda page: str(page.relative_to(ROOT))
)
def test_the_commands_of_a_page_exist(page: Path) -> None:
    refused = {}
    for command in [command for of, command in CASES if of == page]:
        words = _words(command)
        try:
            _parse(words)
            if "--" in words and "slidecube" in words:  # sandbox run WORLD -- slidecube ...
                _parse(words[words.index("slidecube") + 1 :])
        except click.UsageError as error:
            refused[command] = error.format_message()
    assert refused == {}


@pytest.mark.parametrize("words", [["plam", "x"], ["map", "x", "--treshold", "1"], ["event", "ad"]])
def test_a_command_that_does_not_exist_is_refused(words: list[str]) -> None:
    with pytest.raises(click.UsageError):
        _parse(words)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_deployments_of_a_page_exist_and_take_the_parameters(page: Path) -> None:
    for name, *words in _deployment_runs(page):
        module, _, function = DEPLOYMENTS[name.partition("/")[0]].rpartition(".")
        taken = inspect.signature(getattr(importlib.import_module(module), function).fn).parameters
        given = [word.partition("=")[0] for option, word in itertools.pairwise(words) if option == "--param"]
        assert set(given) <= set(taken), (name, given)
