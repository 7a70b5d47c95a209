"""How the archives behave while they are served."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from pipeline.records import Frozen


class ServerOptions(Frozen):
    """How the archives behave."""

    token_lifetime_s: float = Field(2700.0, gt=0, description="how long a signing token is valid")
    subscription_key: str | None = Field(None, description="key that the signing endpoint demands")
    page_size: int = Field(10, ge=1, le=1000, description="most items on a page of a search's answer")
    granule_page_size: int = Field(
        2000, ge=1, le=2000, description="most items on a page of the granule search"
    )
    login: Literal["password", "token", "both", "none"] = Field(
        "password", description="what the environment hands out to log in to Earthdata with"
    )
    login_lifetime_s: float = Field(
        604800.0, gt=0, description="how long an Earthdata token or cookie is valid"
    )
    eula_accepted: bool = Field(True, description="whether the Earthdata account has accepted the terms")
    token_brings_cookie: bool = Field(
        True, description="whether a file that is asked for with a token comes with the cookie"
    )
    signed_url_lifetime_s: float = Field(
        3600.0, gt=0, description="how long the address of a stored file is valid"
    )
    burst_wait_s: float = Field(
        0.2, ge=0, description="how long a burst is being cut out after the first request"
    )
    burst_retry_after_s: int | None = Field(
        None, ge=0, description="the wait that the archive names meanwhile; the real one names none"
    )
