"""Markdown from templates: all text that is put into a template is escaped, so that it can add no markup of its own."""

from __future__ import annotations

import re
from datetime import datetime
from functools import cache
from typing import Any

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

SHARED = "model.bundle"
"""package whose templates every other package may import"""
_MARKUP = re.compile(
    r"[\\`*\[\]|~#]"
    r"|(?<![^\W_])_|_(?![^\W_])"  # an underscore within a word is no markup
    r"|(?<=\bwww)\.|:(?=//)"  # bare addresses
    r"|^[-+=](?=[-+=\s]|$)"  # list items and rules
    r"|(?<=^\d)[.)](?=\s|$)|(?<=^\d\d)[.)](?=\s|$)|(?<=^\d{3})[.)](?=\s|$)",  # numbered list items
    re.IGNORECASE,
)
_HTML = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})


def render_markdown(package: str, template: str, **values: Any) -> str:
    """A Markdown document from a template.

    Args:
        package: package that holds the folder `templates`, such as `model.maps`.
        template: name of a file there.
        values: values of the template's variables; text in them is escaped.

    Raises:
        jinja2.UndefinedError: the template names a variable that `values` lacks.
    """
    text = _environment(package).get_template(template).render(**values)
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"


def escaped(value: object) -> Markup:
    """Text on one line that Markdown (CommonMark with GitHub's tables and links) shows as it is."""
    return Markup(_MARKUP.sub(r"\\\g<0>", one_line(value).translate(_HTML)))


def code(value: object) -> Markup:
    """Text on one line as a code span, also within a table; for identifiers and file names."""
    text = one_line(value).replace("|", "¦")  # a table ends its cell at any bar
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * (longest + 1)
    blank = " " if longest else ""
    return Markup(f"{fence}{blank}{text}{blank}{fence}")


def instant(value: datetime) -> str:
    """An instant in UTC to the second."""
    return f"{value:%Y-%m-%d %H:%M:%S} UTC"


def one_line(value: object) -> str:
    """Text on one line without characters that cannot be printed."""
    return re.sub(r"\s+", " ", "".join(c if c.isprintable() else " " for c in str(value)))


@cache
def _environment(package: str) -> Environment:
    environment = Environment(
        loader=ChoiceLoader([PackageLoader(name) for name in dict.fromkeys((package, SHARED))]),
        undefined=StrictUndefined,
        autoescape=True,
        finalize=lambda value: value if hasattr(value, "__html__") else escaped(value),
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"code": code, "instant": instant}
    return environment
