"""What identifies satellites, passes and products, in one spelling each, however an archive writes it."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from typing import Any, Literal
from urllib.parse import unquote, urlsplit

Direction = Literal["ascending", "descending"]

POLARISATIONS = ("vv", "vh", "hh", "hv")

_DIRECTIONS: dict[str, Direction] = {
    **dict.fromkeys(("a", "asc", "ascend", "ascending"), "ascending"),
    **dict.fromkeys(("d", "dsc", "desc", "descend", "descending"), "descending"),
}
_DUAL: dict[str, tuple[str, ...]] = {"dv": ("vv", "vh"), "dh": ("hh", "hv"), "sv": ("vv",), "sh": ("hh",)}
"""Codes of Sentinel-1's product names: dual or single, and what is sent."""
_PRODUCT = re.compile(
    r"(?P<unit>S1[A-D])_[A-Z0-9]{2}_(?P<type>[A-Z]{3})[A-Z_]_\d[A-Z][SD][VH]_\d{8}T\d{6}_\d{8}T\d{6}"
    r"_\d{6}_(?P<datatake>[0-9A-F]{6})(?![0-9A-F])(?P<rest>.*)",
    re.IGNORECASE | re.DOTALL,
)
"""A product's name (Sentinel-1 Product Specification, S1-RS-MDA-52-7441, 5.1), and what an archive appends to it."""
_OTHER_PRODUCTS = ("GRD", "SLC", "OCN", "RAW")
_ID_ENDINGS = (".zip", ".safe", "-slc", "-burst")


def platform_name(stated: str) -> str:
    """The satellite as it is spelt in cubes and catalogues: 'sentinel-1a'.

    `stated` is its name in any spelling ('SENTINEL-1A', 'sentinel_1a', 'Sentinel-1 A') or its abbreviation ('S1A'); the
    name of another satellite is returned in lower case with hyphens.
    """
    name = unicodedata.normalize("NFKC", stated).strip().lower()
    unit = re.fullmatch(r"s(?:entinel)?0?1([a-d])", re.sub(r"[\W_]+", "", name))
    return f"sentinel-1{unit[1]}" if unit else re.sub(r"[\s_-]+", "-", name)


def direction_name(stated: Any) -> Direction | None:
    """'ascending' or 'descending' from the word or its abbreviation ('D', 'DESC'); None for anything else."""
    return _DIRECTIONS.get(str(stated).strip().lower())


def polarisations_in(stated: Any) -> tuple[str, ...]:
    """'VV+VH', 'VV, VH', 'DV' or a list of such words as ('vv', 'vh'), in the order of `POLARISATIONS`."""
    words = [stated] if isinstance(stated, str) else stated if isinstance(stated, Iterable) else []
    parts = [part for word in words for part in re.split(r"[^a-z]+", str(word).lower())]
    found = {name for part in parts for name in _DUAL.get(part, (part,))}
    return tuple(name for name in POLARISATIONS if name in found)


def polarisation_of(asset: Any) -> str | None:
    """The polarisation that an item's file is named after, as in 'vv' or ' VV '; None for another file."""
    name = str(asset).strip().lower()
    return name if name in POLARISATIONS else None


def datatake_name(stated: Any, item_id: str = "") -> Any:
    """The datatake as a decimal number without leading zeros, where it is one: '425458'.

    Names of products have it in hexadecimal (067DF2). `stated` is taken for that where it has a letter, or where it is
    the number in the product's name that `item_id` begins with. What is neither text nor number is returned unchanged.
    """
    if isinstance(stated, bool) or not isinstance(stated, str | int | float):
        return stated
    text = str(int(stated)) if isinstance(stated, float) and stated.is_integer() else str(stated).strip()
    if not re.fullmatch("[0-9A-Fa-f]{1,8}", text):
        return text
    named = _PRODUCT.match(item_id.strip())
    as_named = named is not None and int(named["datatake"], 16) == int(text, 16)
    return str(int(text, 16 if as_named or not text.isdigit() else 10))


def platform_of_product(item_id: str) -> str | None:
    """The satellite that a product's name begins with; None for an id that is none."""
    named = _PRODUCT.match(item_id.strip())
    return platform_name(named["unit"]) if named else None


def other_product(
    item_id: str, product_type: str | None, collection: str | None, hrefs: Iterable[str]
) -> str | None:
    """What an item is instead of terrain-corrected backscatter, as in 'GRD'; None where nothing says that it is.

    The Planetary Computer's own RTC items state the product type GRD, of which they are made: there the name, the
    addresses of the files (`hrefs`) or the collection say RTC.
    """
    named = _PRODUCT.match(item_id.strip())
    if _says_rtc(named["rest"] if named else item_id):
        return None
    addresses = [unquote(urlsplit(href).path) for href in hrefs]
    if addresses and all(_says_rtc(address) for address in addresses):
        return None
    if named is not None:
        return named["type"].upper()
    stated = (product_type or "").strip().upper()
    other = next((name for name in _OTHER_PRODUCTS if stated.startswith(name)), None)
    return None if _says_rtc(collection or "") else other


def _says_rtc(text: str) -> bool:
    return any(re.fullmatch(r"rtc\d*", word) for word in re.split(r"[^a-z0-9]+", text.lower()))


def id_key(stated: str) -> str:
    """An id by which items are compared: without case, surrounding blanks, and the endings of a file or a level."""
    key = stated.strip().lower()
    for ending in _ID_ENDINGS:
        key = key.removesuffix(ending)
    return key


def collection_name(stated: Any) -> str:
    """A collection's id by which collections are compared: 'sentinel-1-rtc'."""
    return str(stated).strip().lower()
