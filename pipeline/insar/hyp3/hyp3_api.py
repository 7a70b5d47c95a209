"""HyP3's interface of jobs: account, costs, jobs by name and by id, submission.

Sources: the OpenAPI document and the handlers of ASFHyP3/hyp3 10.17, the client hyp3-sdk 7.7, and
https://hyp3-docs.asf.alaska.edu (credits, product guide of bursts). The client is not used: it follows redirects with
the login, waits for answers and bodies without a bound, and unpacks archives without a check.

Jobs and their names can be read by anyone. A name of a job is the digest of what is asked of HyP3 (`JobOrder.name`), so
that what was paid for is found again from any machine.
"""

from __future__ import annotations

import json
import logging
import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Literal, TypeVar
from urllib.parse import parse_qs, urlencode, urlsplit
from uuid import UUID

import requests
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from pipeline.archives.earthdata import Earthdata, earthdata
from pipeline.archives.http import http_client
from pipeline.errors import ArchiveError, InterferometryError
from pipeline.insar.job import JobManifest
from pipeline.records import Frozen, Utc, digest_of_json
from pipeline.settings import settings

log = logging.getLogger(__name__)

JOB_TYPE = "INSAR_ISCE_MULTI_BURST"
"""Also of one burst: its products have one form whatever their number."""
LOOKS = {(5, 1): 20.0, (10, 2): 40.0, (20, 4): 80.0}
"""Looks in range and azimuth that HyP3 offers, with the pixel of the product, metres."""
ACCESS = "https://hyp3-docs.asf.alaska.edu/using/requesting_access"
CREDITS = "https://hyp3-docs.asf.alaska.edu/using/credits"
MOST_ANSWER_BYTES = 16 * 2**20
MOST_PAGES = 50
_MOST_DETAIL = 300

T = TypeVar("T")


class _Answer(BaseModel):
    """A document of the service: fields that are not named here are left out."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class ProductFile(_Answer):
    """A file of a finished job."""

    url: str = Field(max_length=2000)
    size: int = Field(gt=0)
    filename: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,150}$")


class ServiceJob(_Answer):
    """A job as the service describes it."""

    job_id: UUID
    job_type: str
    status_code: Literal["PENDING", "RUNNING", "SUCCEEDED", "FAILED"]
    request_time: Utc
    name: str = ""
    job_parameters: dict[str, Any] = {}
    files: tuple[ProductFile, ...] = ()
    logs: tuple[str, ...] = ()
    expiration_time: Utc | None = None
    credit_cost: float | None = None


class Account(_Answer):
    """The account's standing; credits None for an account without a limit."""

    application_status: str
    remaining_credits: float | None = None


class CostRule(_Answer):
    """Credits of a type of job: one number, or a table by the values of some parameters."""

    cost: float | None = None
    cost_parameters: tuple[str, ...] = ()
    cost_table: dict[str, Any] = {}

    def of(self, parameters: dict[str, Any]) -> float | None:
        """Credits of a job with these parameters; None where the table does not say."""
        found: Any = self.cost if self.cost is not None else self.cost_table
        for name in () if self.cost is not None else self.cost_parameters:
            value = parameters.get(name)
            key = str(len(value)) if isinstance(value, list | tuple) else str(value)
            found = found.get(key) if isinstance(found, dict) else None
        return float(found) if isinstance(found, int | float) and found >= 0 else None


class JobOrder(Frozen):
    """What is asked of HyP3 for one job."""

    label: str = Field(description="pair and part, for people who read the list of jobs")
    reference: tuple[str, ...] = Field(description="names of the bursts of the earlier overflight")
    secondary: tuple[str, ...]
    range_looks: int
    azimuth_looks: int

    @classmethod
    def of(cls, manifest: JobManifest) -> JobOrder:
        """The order of a job.

        Raises:
            InterferometryError: `hyp3-looks` or `hyp3-polarisation`, which HyP3 does not offer.
        """
        looks = manifest.range_looks, manifest.azimuth_looks
        check_offered(*looks, manifest.polarisation)
        return cls(
            label=f"{manifest.pair}_{manifest.part}",
            reference=tuple(sorted(manifest.reference.files)),
            secondary=tuple(sorted(manifest.secondary.files)),
            range_looks=looks[0],
            azimuth_looks=looks[1],
        )

    @property
    def parameters(self) -> dict[str, Any]:
        """The job's parameters in HyP3's words."""
        return {
            "reference": list(self.reference),
            "secondary": list(self.secondary),
            "looks": f"{self.range_looks}x{self.azimuth_looks}",
            "apply_water_mask": False,
        }

    @property
    def name(self) -> str:
        """The job's name: the same for the same order, whoever gives it."""
        digest = digest_of_json({"job_type": JOB_TYPE, **self.parameters})
        return f"slidecube_{self.label}_{digest[:16]}"

    def is_of(self, job: ServiceJob) -> bool:
        """Whether a job is this order's: name, type and every parameter."""
        given = {name: job.job_parameters.get(name) for name in self.parameters}
        return job.name == self.name and job.job_type == JOB_TYPE and given == self.parameters


def check_offered(range_looks: int, azimuth_looks: int, polarisation: str) -> None:
    """Refuse looks and a polarisation that HyP3 does not offer.

    Raises:
        InterferometryError: `hyp3-looks` or `hyp3-polarisation`.
    """
    if (range_looks, azimuth_looks) not in LOOKS:
        offered = ", ".join(f"range_looks {r} with azimuth_looks {a}" for r, a in LOOKS)
        raise InterferometryError(
            "hyp3-looks",
            f"HyP3 makes no interferograms of {range_looks} looks in range and {azimuth_looks} in azimuth.",
            f"Set in the area's `interferometry` one of: {offered}; or choose another SLIDECUBE_INSAR_BACKEND.",
        )
    if polarisation != "vv":
        raise InterferometryError(
            "hyp3-polarisation",
            f"HyP3 makes no interferograms of {polarisation.upper()}.",
            "Set `polarisation: vv` in the area's `interferometry`, or choose another SLIDECUBE_INSAR_BACKEND.",
        )


class Hyp3:
    """The service, by the login of Earthdata."""

    def __init__(self, login: Earthdata | None = None) -> None:
        self._login = login or earthdata()
        self.now = datetime.now(UTC)
        """the service's clock at its last answer"""

    @property
    def host(self) -> str:
        """The service's host."""
        return settings().hyp3_host

    def account(self) -> Account:
        """The account's standing and credits.

        Raises:
            ArchiveError: no answer that can be used; `LoginError` without a login.
        """
        return self._read("user", TypeAdapter(Account))

    def costs(self) -> dict[str, CostRule]:
        """The table of credits by type of job; no login is sent.

        Raises:
            ArchiveError: no answer that can be used.
        """
        url = self._address("costs")
        response = http_client.request("GET", url)
        return _parsed(
            http_client.read_bounded(response, MOST_ANSWER_BYTES), TypeAdapter(dict[str, CostRule]), url
        )

    def jobs_named(self, name: str) -> tuple[ServiceJob, ...]:
        """The account's jobs of that name, the newest first.

        Raises:
            ArchiveError: no answer that can be used, or pages without an end.
        """
        found: list[ServiceJob] = []
        token: str | None = None
        for _page in range(MOST_PAGES):
            query = {"name": name} | ({"start_token": token} if token else {})
            page = self._read(f"jobs?{urlencode(query)}", TypeAdapter(_JobPage))
            found += page.jobs
            # the address of the next page is the service's word: only its token is taken, so that no login leaves
            token = parse_qs(urlsplit(page.next or "").query).get("start_token", [None])[0]
            if not token:
                return tuple(sorted(found, key=lambda job: job.request_time, reverse=True))
        raise ArchiveError(
            f"{self.host} lists jobs on more than {MOST_PAGES} pages.",
            "Report it to ASF (uso@asf.alaska.edu).",
        )

    def job(self, job_id: UUID) -> ServiceJob:
        """A job by its id.

        Raises:
            ArchiveError: no answer that can be used.
        """
        return self._read(f"jobs/{job_id}", TypeAdapter(ServiceJob))

    def submit(self, order: JobOrder) -> ServiceJob:
        """Submit a job, which costs credits; sent once, since a second request would be a second job.

        Raises:
            InterferometryError: `hyp3-credits`, `hyp3-access`, `hyp3-refused`.
            ArchiveError: no answer that can be used; transient where the job may have been accepted.
        """
        url = self._address("jobs")
        one = {"name": order.name, "job_type": JOB_TYPE, "job_parameters": order.parameters}
        response = self._ask(url, method="POST", document={"jobs": [one]})
        if response.status_code in (400, 403):
            raise _refusal(response, order)
        content = http_client.read_bounded(http_client.accepted(response, url), MOST_ANSWER_BYTES)
        jobs = _parsed(content, TypeAdapter(_JobPage), url).jobs
        if len(jobs) != 1 or not order.is_of(jobs[0]):
            raise ArchiveError(
                f"{self.host} confirms another job than was asked for.",
                "Report it to ASF (uso@asf.alaska.edu).",
            )
        return jobs[0]

    def _address(self, path: str) -> str:
        return f"https://{self.host}/{path}"

    def _read(self, path: str, form: TypeAdapter[T]) -> T:
        url = self._address(path)

        def once() -> bytes:
            response = http_client.accepted(self._ask(url), url)
            return http_client.read_bounded(response, MOST_ANSWER_BYTES)

        return _parsed(http_client.retried(once), form, url)

    def _ask(self, url: str, *, method: str = "GET", document: Any = None) -> requests.Response:
        with http_client.limit(self.host):
            response = self._login.ask_service(url, method=method, document=document)
        try:
            self.now = parsedate_to_datetime(response.headers.get("Date", "")).astimezone(UTC)
        except (TypeError, ValueError, OverflowError):
            self.now = datetime.now(UTC)
        return response


class _JobPage(_Answer):
    jobs: tuple[ServiceJob, ...] = Field(max_length=10_000)
    next: str | None = None


def _parsed(content: bytes, form: TypeAdapter[T], url: str) -> T:
    try:
        return form.validate_json(content)
    except ValidationError as error:
        where = ".".join(str(one) for one in error.errors(include_input=False)[0]["loc"])
        raise ArchiveError(
            f"{http_client.bare(url)} answered with a document that cannot be used (at {where or 'its start'}).",
            "Try again later; if it stays, HyP3 has changed: report it.",
        ) from None


def _refusal(response: requests.Response, order: JobOrder) -> InterferometryError:
    """The error of a submission that was refused, with the service's own words."""
    content = http_client.read_bounded(response, MOST_ANSWER_BYTES)
    try:
        detail = str(json.loads(content)["detail"])
    except (ValueError, KeyError, TypeError):
        detail = "no reason given"
    said = re.sub(r"[^ -~]+", " ", http_client.without_secrets(detail))[:_MOST_DETAIL]
    if response.status_code == 403:
        return InterferometryError(
            "hyp3-access", f"HyP3 does not take jobs of this account: {said}", f"Request access: {ACCESS}"
        )
    if "credits" in said.lower():
        return out_of_credits(f"HyP3 refused {order.label}: {said}")
    return InterferometryError(
        "hyp3-refused",
        f"HyP3 refused {order.label}: {said}",
        "Choose other bursts or another pair, or another SLIDECUBE_INSAR_BACKEND.",
    )


def out_of_credits(message: str) -> InterferometryError:
    """The error of an account whose credits do not suffice, with the ways out."""
    return InterferometryError(
        "hyp3-credits",
        message,
        "Credits are given anew each month: build again then, what was paid for is found by its name. Or buy some for "
        "HyP3+ (SLIDECUBE_HYP3_HOST=hyp3-plus.asf.alaska.edu), take more looks, or choose another "
        f"SLIDECUBE_INSAR_BACKEND. See {CREDITS}",
    )
