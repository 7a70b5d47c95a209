"""The public API hands on every name that it lists."""

from __future__ import annotations

import pytest

import slidecube


@pytest.mark.parametrize("name", slidecube.__all__)
def test_every_name_of_the_public_api_is_there(name: str) -> None:
    assert callable(getattr(slidecube, name))
