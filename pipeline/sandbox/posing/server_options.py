"""Options of the simulated archives."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from pipeline.records import Frozen, Utc


class ServerOptions(Frozen):
    """Options of the simulated archives."""

    token_lifetime_s: float = Field(2700.0, gt=0, description="lifetime of a signing token")
    subscription_key: str | None = Field(None, description="key that the signing endpoint requires")
    page_size: int = Field(10, ge=1, le=1000, description="most items on a page of a search")
    granule_page_size: int = Field(
        2000, ge=1, le=2000, description="most items on a page of the granule search"
    )
    login: Literal["password", "token", "both", "none"] = Field(
        "password", description="the Earthdata login in the environment"
    )
    login_lifetime_s: float = Field(604800.0, gt=0, description="lifetime of an Earthdata token or cookie")
    eula_accepted: bool = Field(True, description="whether the Earthdata account has accepted the terms")
    token_brings_cookie: bool = Field(
        True, description="whether the response to a request with a token sets the cookie"
    )
    signed_url_lifetime_s: float = Field(3600.0, gt=0, description="lifetime of the signed URL of a file")
    burst_wait_s: float = Field(
        0.2, ge=0, description="duration of a burst's extraction after the first request"
    )
    burst_retry_after_s: int | None = Field(
        None, ge=0, description="the Retry-After of the archive meanwhile; the real one sends none"
    )
    hyp3_job_s: float = Field(2.0, ge=0, description="duration of a job at HyP3, by the sandbox's clock")
    hyp3_credits: float | None = Field(8000.0, ge=0, description="credits at HyP3; None: without a limit")
    hyp3_access: Literal["NOT_STARTED", "PENDING", "APPROVED", "REJECTED"] = Field(
        "APPROVED", description="standing of the account's request for access to HyP3"
    )
    clock_start: Utc | None = Field(None, description="what the clock shows at the start; None: real time")
    clock_rate: float = Field(
        1.0, ge=0, le=1e7, description="seconds of the clock in a real one; 0: it stands until it is set"
    )
