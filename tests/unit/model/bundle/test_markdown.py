"""Text from outside adds no markup to a card or a report: no link, no image, no HTML, no row, no heading."""

from __future__ import annotations

import jinja2
import pytest
from markdown_it import MarkdownIt

from model.bundle.markdown import code, escaped, render_markdown

HOSTILE = (
    "isle](https://evil.example) | b | <img src=x onerror=alert(1)> `c` ![d](javascript:e) **f** _g_ ~~h~~ $i_\n\n"
    "# j\n\n| k | l |\n|---|---|\n- m <https://evil.example> www.evil.example &lt; \\"
)
ON_ONE_LINE = " ".join(HOSTILE.split())
PARSER = MarkdownIt("commonmark").enable(["table", "strikethrough"])


def structure(markdown: str) -> list[str]:
    """The types of all tokens but text, in order."""
    return [
        token.type
        for block in PARSER.parse(markdown)
        for token in (block, *(block.children or ()))
        if token.type not in ("text", "text_special")
    ]


def shown(markdown: str) -> str:
    """The text that a reader sees."""
    return "".join(
        token.content
        for block in PARSER.parse(markdown)
        for token in (block.children or ())
        if token.type in ("text", "text_special", "code_inline")
    )


@pytest.mark.parametrize(
    "frame", ["{}", "# {}", "- {}", "> {}", "| a | b |\n|---|---|\n| {} | c |", "a {} b"]
)
@pytest.mark.parametrize(
    "text",
    [HOSTILE, "- a", "1. a", "12) a", "=== a", "---", "+", "# a", "    a", "a\tb", "a_b", "-1.5", "0.105"],
)
def test_text_from_outside_is_shown_as_it_is(frame, text):
    markdown = frame.format(escaped(text))
    assert structure(markdown) == structure(frame.format("plain"))
    assert " ".join(text.split()) in shown(markdown)
    assert "https://" not in markdown and "www." not in markdown  # which GitHub makes links of


@pytest.mark.parametrize("text", [HOSTILE, "S1A_IW_GRDH_1SDV", "a`b", "`", "``a`", "<b>"])
def test_a_code_span_ends_where_the_text_ends(text):
    markdown = f"| a | b |\n|---|---|\n| {code(text)} | c |"
    assert structure(markdown) == structure("| a | b |\n|---|---|\n| `plain` | c |")
    assert " ".join(text.split()).replace("|", "¦") in shown(markdown)


def test_figures_and_identifiers_need_no_escape():
    for text in ("0.105", "-1.337", "dem_slope_radians", "track 46 (descending)", "8,288"):
        assert escaped(text) == text


def test_a_template_that_misses_a_value_is_an_error():
    with pytest.raises(jinja2.UndefinedError):
        render_markdown("model.bundle", "model_card.md.j2")
