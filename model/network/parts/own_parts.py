"""Networks and losses of other people: by a callable of this session, or by an entry point of an installed package.

A document names a part only by such a name. No document can name a class or a module: what is not registered in this
session, and is no entry point of an installed package, cannot be built. Importing this module does not import torch.
"""

from __future__ import annotations

import functools
import hashlib
import inspect
from collections.abc import Callable
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Literal

from pydantic import Field

from pipeline.errors import ModelError
from pipeline.records import Frozen

NETWORKS, LOSSES = "slidecube.networks", "slidecube.losses"
"""groups of entry points"""


class PartOrigin(Frozen):
    """Where a part came from, for a person who opens the bundle elsewhere. Nothing is imported by it."""

    source: Literal["entry point", "session"]
    made_by: str = Field(max_length=300, description="module and name of the callable")
    package: str | None = Field(None, max_length=300, description="that has the entry point")
    version: str | None = Field(None, max_length=100, description="of the package")

    @property
    def in_words(self) -> str:
        """As in 'the entry point of some-package 1.2'."""
        if self.source == "entry point":
            return f"the entry point of {self.package} {self.version or ''}".rstrip()
        return f"{self.made_by}, which its author registered in the session"


def installed_part(group: str, name: str) -> EntryPoint | None:
    """The entry point of a name; None: no installed package has it. Nothing is imported.

    Raises:
        ModelError: several packages have it.
    """
    found = {one.value: one for one in entry_points(group=group, name=name)}
    if len(found) > 1:
        packages = ", ".join(sorted(_package_of(one)[0] or "?" for one in found.values()))
        raise ModelError(
            f"Several packages have an entry point {name!r} of {group}: {packages}.",
            "Uninstall all but one of them.",
        )
    return next(iter(found.values()), None)


def installed_names(group: str) -> list[str]:
    """Names of the entry points of a group, sorted."""
    return sorted({one.name for one in entry_points(group=group)})


def loaded_part(point: EntryPoint) -> Any:
    """The object that an entry point of an installed package names.

    Raises:
        ModelError: the package cannot be imported.
    """
    try:
        return point.load()
    except Exception as error:  # whatever a package of somebody else raises when it is imported
        package, version = _package_of(point)
        raise ModelError(
            f"The entry point {point.name!r} ({point.value}) of {package} {version} cannot be loaded "
            f"({type(error).__name__}: {str(error)[:200]}).",
            "Mend or reinstall the package.",
        ) from error


def origin_of_entry_point(point: EntryPoint) -> PartOrigin:
    """Where a part that an entry point names came from."""
    package, version = _package_of(point)
    return PartOrigin(source="entry point", made_by=point.value[:300], package=package, version=version)


def origin_of_callable(made_by: Callable[..., Any]) -> PartOrigin:
    """Where a part that was given in this session came from."""
    return PartOrigin(source="session", made_by=name_of(made_by)[:300])


def name_of(part: Any) -> str:
    """The module and the name of a callable, without what a `functools.partial` binds."""
    while isinstance(part, functools.partial):
        part = part.func
    kind = part if hasattr(part, "__qualname__") else type(part)
    return f"{kind.__module__}.{kind.__qualname__}"


def fingerprint(part: Any, *more: str) -> str:
    """sha256 of what tells two callables of one name apart: the text of their source, and what is bound to them.

    A function that another one calls is not looked at.
    """
    words = [name_of(part), *more]
    while isinstance(part, functools.partial):
        words += [repr(part.args), repr(sorted(part.keywords.items()))]
        part = part.func
    kind = part if hasattr(part, "__qualname__") else type(part)
    try:
        words.append(inspect.getsource(kind))
    except (OSError, TypeError):  # no source is kept, as for code that was typed in
        code = getattr(kind, "__code__", None)
        words.append(repr((code.co_code, code.co_consts, code.co_names)) if code else "")
    if kind is not part:  # an object such as a loss with settings
        words.append(repr(part))
    return hashlib.sha256("\n".join(words).encode()).hexdigest()


def _package_of(point: EntryPoint) -> tuple[str | None, str | None]:
    if point.dist is None:
        return None, None
    return point.dist.name, point.dist.version
