"""Credits: what jobs cost by HyP3's own table, and what is left to the account."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import Field

from pipeline.archives.credentials import HOW, find_credentials
from pipeline.areas.area import Interferometry
from pipeline.catalogue.slc import Pair
from pipeline.errors import ArchiveError, InterferometryError, SettingsError
from pipeline.insar.hyp3.hyp3_api import (
    ACCESS,
    JOB_TYPE,
    CostRule,
    Hyp3,
    JobOrder,
    check_offered,
    out_of_credits,
)
from pipeline.insar.job_parts import Box, parts_of
from pipeline.records import Frozen


class Bill(Frozen):
    """What pairs cost, and what is left; None where it could not be asked, for the reason in `note`."""

    credits: tuple[float | None, ...] = Field(description="of each pair, all of its jobs")
    left: float | None = None
    note: str = ""


def bill(pairs: Sequence[Pair], rule: Interferometry, bbox: Box) -> Bill:
    """Credits of each pair over the box, and the account's; nothing is raised where HyP3 cannot be asked."""
    service = Hyp3()
    notes: list[str] = []
    costs: dict[str, CostRule] = {}
    try:
        costs = service.costs() if pairs else {}
    except ArchiveError as error:
        notes.append(str(error))
    left = None
    try:
        if not has_login():
            notes.append("what is left is known only with a login")
        elif pairs:
            account = service.account()
            left = account.remaining_credits
            if account.application_status != "APPROVED":
                notes.append(not_approved(account.application_status).message)
            elif left is None:
                notes.append("the account has no limit")
    except (ArchiveError, SettingsError) as error:
        notes.append(str(error))
    try:
        for pair in pairs:
            check_offered(rule.range_looks, rule.azimuth_looks, pair.polarisation)
    except InterferometryError as error:
        notes.append(str(error))
    table = costs.get(JOB_TYPE, CostRule())
    return Bill(
        credits=tuple(_cost_of_pair(pair, table, rule, bbox) for pair in pairs),
        left=left,
        note="; ".join(notes),
    )


def _cost_of_pair(pair: Pair, table: CostRule, rule: Interferometry, bbox: Box) -> float | None:
    total = 0.0
    for part in parts_of(pair, bbox):
        cost = table.of({"looks": f"{rule.range_looks}x{rule.azimuth_looks}", "reference": list(part.bursts)})
        if cost is None:
            return None
        total += cost
    return total


def check_credits(service: Hyp3, order: JobOrder) -> float:
    """Credits that an order costs, after a check that the account may give it and has them.

    Raises:
        InterferometryError: `hyp3-access`, `hyp3-credits`, or `hyp3-cost` for a job whose price is not known.
        ArchiveError: HyP3 cannot be asked.
    """
    account = service.account()
    if account.application_status != "APPROVED":
        raise not_approved(account.application_status)
    parameters: dict[str, Any] = order.parameters
    cost = service.costs().get(JOB_TYPE, CostRule()).of(parameters)
    if cost is None:
        raise InterferometryError(
            "hyp3-cost",
            f"HyP3 states no price of {JOB_TYPE} for {len(order.reference)} bursts with {parameters['looks']} looks.",
            "It is not submitted. Choose other looks, or another SLIDECUBE_INSAR_BACKEND.",
        )
    left = account.remaining_credits
    if left is not None and cost > left:
        raise out_of_credits(f"{order.label} costs {cost:g} credits at HyP3, and {left:g} are left.")
    return cost


def not_approved(status: str) -> InterferometryError:
    """The error of an account that may not submit jobs."""
    words = {
        "NOT_STARTED": "has not requested access to HyP3",
        "PENDING": "waits for its access to HyP3",
        "REJECTED": "was refused access to HyP3",
    }
    return InterferometryError(
        "hyp3-access", f"The Earthdata account {words.get(status, 'has no access to HyP3')}.", f"See {ACCESS}"
    )


def login_text() -> str:
    """Which login HyP3 needs and whether it is there; nothing secret."""
    try:
        found = find_credentials()
    except SettingsError as error:
        return str(error)
    needs = "HyP3 needs user name and password of Earthdata, or a token"
    if found.has_password:
        return f"{needs}: user name and password found in netrc"
    if found.token is not None:
        return f"{needs}: token found in EARTHDATA_TOKEN"
    return f"{needs}: no login found. {HOW}, or set EARTHDATA_TOKEN."


def has_login() -> bool:
    """Whether there is a login of Earthdata that HyP3 takes: user name and password, or a token.

    Raises:
        SettingsError: the netrc or the token cannot be read.
    """
    found = find_credentials()
    return found.has_password or found.token is not None
