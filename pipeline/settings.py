"""Settings from the environment and `.env`: endpoints, keys, limits, where results are kept."""

from __future__ import annotations

import os
import re
from difflib import get_close_matches
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from dotenv import dotenv_values
from pydantic import Field, SecretStr, ValidationError, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from pipeline.errors import SettingsError

FetchMode = Literal["bursts", "granules"]
"""What is fetched of single look complex data: the bursts needed, or whole granules."""


PREFIX = "SLIDECUBE_"
SCHEMES = ("s3", "gs", "az")
"""of addresses: Amazon S3 and compatible servers, Google Cloud Storage, Azure Blob Storage"""
FOR_TESTS = "SLIDECUBE_TESTS_"
"""variables that begin so steer the tests"""


def is_bucket_address(text: str) -> bool:
    """Whether a text is the address of something in an object store."""
    return text.partition("://")[0] in SCHEMES and "://" in text


def checked_address(text: str) -> str:
    """An address `scheme://bucket/prefix` without a slash at the end.

    Raises:
        SettingsError: it has a user name, a key or a signature, or names no bucket. It is not shown: it may be secret.
    """
    parts = urlsplit(text)
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise SettingsError(
            "An address of an object store has a key or a signature in it.",
            "Give scheme://bucket/prefix alone, and the credentials by the cloud's own variables.",
        )
    inner = parts.path.strip("/").split("/")
    if (
        parts.scheme not in SCHEMES
        or not parts.netloc
        or (parts.path.strip("/") and {"", ".", ".."} & {*inner})
    ):
        raise SettingsError(
            f"{text} is no address of an object store.", "Give one such as s3://bucket/prefix."
        )
    return text.rstrip("/")


class Settings(BaseSettings):
    """What may differ from one installation to the next. The defaults are those of the real archives.

    Every field is read from `SLIDECUBE_<NAME>`; the Planetary Computer's key also from the SDK's own
    `PC_SDK_SUBSCRIPTION_KEY`.
    """

    model_config = SettingsConfigDict(env_prefix=PREFIX, env_file=".env", extra="ignore", frozen=True)

    work_dir: Path = Field(
        Path("data"),
        description="folder of this machine for what cannot be in an object store, where SLIDECUBE_DATA_DIR is one: "
        "downloads, jobs of pairs, events; bundles and maps are copied to the store",
    )
    data_dir: Path = Field(
        Path("data"),
        description="where cubes, models and maps are kept: a folder, or s3://, gs:// or az://bucket/prefix",
    )
    data_store: str | None = Field(
        None,
        validation_alias=f"{PREFIX}DATA_DIR",
        description="the same where it is an object store; `data_dir` is `work_dir` then",
    )
    aoi_dir: Path | None = Field(None, description="a folder of area files searched before the shipped ones")
    stac_url: str = Field(
        "https://planetarycomputer.microsoft.com/api/stac/v1", description="STAC API that is searched"
    )
    subscription_key: SecretStr | None = Field(
        None, description="Planetary Computer subscription key; PC_SDK_SUBSCRIPTION_KEY is read too"
    )
    local_items: bool = Field(
        False,
        description="files of this machine that a replayed catalogue names are read; for a catalogue of your own",
    )
    search_interval_s: float = Field(
        300.0, ge=0, description="a catalogue younger than this is used again instead of a new search"
    )
    read_concurrency: int = Field(4, ge=1, le=64, description="simultaneous window reads from one archive")
    retries: int = Field(
        5, ge=0, le=20, description="retries of a request that failed for a transient reason"
    )
    backoff_s: float = Field(1.0, gt=0, description="longest first wait before a retry; doubles, with jitter")
    timeout_s: float = Field(60.0, gt=0, description="longest wait for an archive's response")
    insar_backend: Literal["isce2", "pygmtsar", "hyp3", "none"] = Field(
        "isce2",
        description="what makes interferograms: topsApp in a container or on the PATH, in-process, ASF's cloud for "
        "credits, nothing",
    )
    hyp3_host: Literal["hyp3-api.asf.alaska.edu", "hyp3-plus.asf.alaska.edu"] = Field(
        "hyp3-api.asf.alaska.edu",
        description="HyP3 with the credits of each month, or HyP3+ with credits that were bought",
    )
    hyp3_poll_s: float = Field(
        60.0, gt=0, le=3600, description="time between two questions whether a job at HyP3 is finished"
    )
    container_engine: Literal["auto", "podman", "docker", "apptainer", "none"] = Field(
        "auto", description="what runs the ISCE2 image; none: a topsApp.py on the PATH"
    )
    isce2_image: str = Field(
        "slidecube-isce2", description="local image built from docker/isce2, or a .sif file for apptainer"
    )
    insar_concurrency: int = Field(
        1, ge=1, le=16, description="pairs processed at once; each needs memory and disk of its own"
    )
    insar_memory_gb: float | None = Field(
        None,
        gt=0,
        description="memory that one job of a pair may use, GB; None: what such a job is known to take",
    )
    insar_hours: float = Field(24.0, gt=0, description="longest that one job of a pair may run")
    insar_cpus: int = Field(2, ge=1, le=256, description="processors that one job of a pair may use")
    slc_fetch: FetchMode = Field(
        "bursts",
        description="what is fetched of single look complex data: the bursts needed, or whole granules",
    )
    max_area_km2: float = Field(50_000.0, gt=0, description="largest area that is built")
    work_pool: Literal["local", "docker", "kubernetes"] = Field(
        "local",
        description="work pool that set-up makes and deploys to: processes, or containers of the image",
    )
    webhook_url: SecretStr | None = Field(
        None, description="http(s) address that set-up has Prefect call with JSON where people are to be told"
    )
    notify_url: SecretStr | None = Field(
        None, description="address of Apprise (Slack, mailto://, ...) to which Prefect sends the same as text"
    )
    notify_tier: Literal["watch", "build", "priority"] = Field(
        "build",
        description="lowest tier of events of which people are told that they were detected, raised or retracted",
    )
    pages_url: str | None = Field(
        None, description="http(s) address at which the folder of the maps is served; messages link to it"
    )

    @field_validator("webhook_url", "pages_url")
    @classmethod
    def _http(cls, value: SecretStr | str | None) -> SecretStr | str | None:
        """An http or https address with a host; an empty variable is none."""
        text = value.get_secret_value() if isinstance(value, SecretStr) else value or ""
        if not text.strip():
            return None
        if not re.fullmatch(r"https?://[^\s/?#@]+([/?#]\S*)?", text):
            raise ValueError("is no http or https address with a host, without user name and blanks")
        return value

    @field_validator("subscription_key", "notify_url")
    @classmethod
    def _not_empty(cls, value: SecretStr | None) -> SecretStr | None:
        """An empty variable is no secret: compose passes those on that are not set."""
        return value if value is not None and value.get_secret_value().strip() else None

    event_bundle: str | None = Field(
        None,
        min_length=1,
        description="bundle by which each version of an event's area is mapped too, beside its own map",
    )

    @field_validator("data_store", mode="before")
    @classmethod
    def _object_store(cls, value: Any) -> Any:
        """The address of an object store; None for a folder."""
        if not isinstance(value, str) or not is_bucket_address(value.strip()):
            return None
        try:
            return checked_address(value.strip())
        except SettingsError as error:
            raise ValueError(error.message.rstrip(".")) from None

    @field_validator("data_dir", "work_dir", "aoi_dir", mode="before")
    @classmethod
    def _local_folder(cls, value: Any, info: ValidationInfo) -> Any:
        """A folder of this machine; `~` is the user's home. Beside an object store the data folder is `work_dir`."""
        text = str(value) if isinstance(value, str | Path) else ""
        if isinstance(value, str) and not value.strip():
            raise ValueError("is empty; name a folder, or leave the variable out")
        if info.field_name == "data_dir" and is_bucket_address(text.strip()):
            return info.data.get("work_dir", Path("data"))
        if "://" in text or re.match(r"[A-Za-z][A-Za-z0-9+]+:/", text):
            raise ValueError("is an address; only a folder of this machine can be used")
        try:
            return Path(text).expanduser() if text else value
        except RuntimeError as error:
            raise ValueError("names the home of an unknown user") from error


def unknown_variables() -> list[str]:
    """Variables of the environment and of `.env` that begin with SLIDECUBE_ and are no setting."""
    known = set(_variables())
    written = {*os.environ, *dotenv_values(".env")}
    return sorted(
        name
        for name in written
        if name.upper().startswith(PREFIX)
        and name.upper() not in known
        and not name.upper().startswith(FOR_TESTS)
    )


def _variables() -> list[str]:
    """The variables of the settings."""
    fields = [name for name, field in Settings.model_fields.items() if field.validation_alias is None]
    return [f"{PREFIX}{name}".upper() for name in fields]


def _with_nearest(name: str) -> str:
    known = _variables()
    similar = get_close_matches(name.upper(), known, n=1)
    return f"{name} (did you mean {similar[0]}?)" if similar else name


@lru_cache(maxsize=1)
def settings() -> Settings:
    """The settings of this process, read once.

    Raises:
        SettingsError: one of them is malformed, or there is none of that name; no value is shown, since
            it may be a key.
    """
    unknown = unknown_variables()
    if unknown:
        raise SettingsError(
            f"No setting is called {', '.join(map(_with_nearest, unknown))}.",
            "Correct it in the environment or in .env, or remove it.",
        )
    try:
        return Settings()
    except ValidationError as error:
        wrong = "; ".join(
            f"{PREFIX}{'_'.join(map(str, e['loc'])).upper().removeprefix(PREFIX)}: "
            f"{e['msg'].removeprefix('Value error, ')}"
            for e in error.errors(include_input=False)
        )
        raise SettingsError(f"{wrong}.", "Correct it in the environment or in .env.") from None
