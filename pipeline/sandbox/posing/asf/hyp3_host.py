"""HyP3's interface of jobs, and the store of its products, for the bursts of the served worlds.

Follows the OpenAPI document, the handlers and `multi_burst_validation.py` of ASFHyP3/hyp3 10.17. A job is pending, then
running, then finished after `ServerOptions.hyp3_job_s` of the sandbox's clock; its product expires 14 days later by
that clock, when the store no longer has it. Jobs and credits live as long as the server.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import tempfile
import uuid
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from pipeline.catalogue.slc import Burst
from pipeline.sandbox.earth.parameters import SandboxError
from pipeline.sandbox.posing.asf.earthdata_host import Earthdata
from pipeline.sandbox.posing.faults import Fault
from pipeline.sandbox.posing.file_answers import s3_error, send_file
from pipeline.sandbox.posing.server_options import ServerOptions
from pipeline.sandbox.posing.shelf import Shelf
from pipeline.sandbox.slc.service_product import Looks, PairBursts, write_service_product
from pipeline.sandbox.slc.slc_index import read_index

HYP3_HOSTS = ("hyp3-api.asf.alaska.edu", "hyp3-plus.asf.alaska.edu")
HYP3_STORE = "d3gm2hf49xd6jj.cloudfront.net"
JOB_TYPE = "INSAR_ISCE_MULTI_BURST"
KEPT = timedelta(days=14)
PENDING_SHARE = 0.3
"""Of a job's time until it runs."""
_LOOKS = {"5x1": Looks(5, 1), "10x2": Looks(10, 2), "20x4": Looks(20, 4)}
_PARAMETERS = {"reference", "secondary", "looks", "apply_water_mask"}
_PAGE = 2
"""Jobs on a page; the real one has more, and may have none and name a next one."""


def _costs() -> dict[str, Any]:
    """Credits by looks and number of bursts, as `job_spec/INSAR_ISCE_MULTI_BURST.yml` has them."""
    steps = {"20x4": ((4, 1.0), (12, 5.0), (15, 10.0)), "10x2": ((3, 1.0), (9, 5.0), (15, 10.0))}
    table = {
        looks: {str(count): next(cost for most, cost in rows if count <= most) for count in range(1, 16)}
        for looks, rows in steps.items()
    }
    fine = [1.0, *(5.0 * n for n in range(1, 10)), *(90.0 + 5.0 * n for n in range(5))]
    table["5x1"] = {str(count): cost for count, cost in enumerate(fine, 1)}
    return {JOB_TYPE: {"cost_parameters": ["looks", "reference"], "cost_table": table}}


COSTS = _costs()


@dataclass
class _Job:
    """A job that was submitted; `fails` and `expired` are what a fault asked for."""

    id: str
    name: str | None
    parameters: dict[str, Any]
    cost: float
    requested: datetime
    fails: bool = False
    expired: bool = False
    product: Path | None = None


class Hyp3Host:
    """The service and its store."""

    def __init__(self, shelf: Shelf, login: Earthdata, options: ServerOptions) -> None:
        self._shelf = shelf
        self._login = login
        self._options = options
        self._credits = options.hyp3_credits
        self._jobs: dict[str, _Job] = {}
        self._making = asyncio.Lock()
        self._bursts = {burst.id: (root, burst) for root in shelf.roots for burst in read_index(root).bursts}

    @cached_property
    def _folder(self) -> Path:
        """Where products are made; it goes with the host."""
        folder = Path(tempfile.mkdtemp(prefix="sandbox-hyp3-"))
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        return folder

    async def answer(self, request: Request, fault: Fault | None) -> Response:
        """Route a request to the service."""
        parts = request.url.path.strip("/").split("/")
        if request.method == "GET" and parts == ["costs"]:
            return JSONResponse(COSTS)
        if parts[0] not in {"jobs", "user"}:
            return _problem(404, "The requested URL was not found on the server.")
        by_token = self._login.bearer(request, fault)
        standing = by_token if by_token.fault != "absent" else self._login.cookie(request, fault)
        if standing.user is None:
            said = (
                "No authorization token provided" if standing.fault == "absent" else "Invalid authorization"
            )
            return _problem(401, said)
        match request.method, parts:
            case "GET", ["user"]:
                return self._user(fault)
            case "POST", ["jobs"]:
                return await self._submit(request, fault)
            case "GET", ["jobs"]:
                return await self._list(request, fault)
            case "GET", ["jobs", job_id] if job_id in self._jobs:
                return JSONResponse(await self._described(self._jobs[job_id], fault))
        return _problem(404, f"job_id does not exist: {parts[-1]}")

    async def store(self, request: Request, fault: Fault | None) -> Response:
        """Serve a product, which needs no login, until it expires."""
        if "authorization" in request.headers or "cookie" in request.headers:
            return s3_error(400, "InvalidArgument", "A login was sent to a store that needs none.")
        job_id, _, name = request.url.path.strip("/").partition("/")
        job = self._jobs.get(job_id)
        if job is None or job.product is None or job.product.name != name or self._is_over(job):
            return s3_error(403, "AccessDenied", "Access Denied")
        return send_file(request, job.product)

    def _user(self, fault: Fault | None) -> Response:
        left = 0.0 if fault is not None and fault.action == "no_credits" else self._credits
        return JSONResponse(
            {
                "user_id": self._login.user,
                "application_status": self._options.hyp3_access,
                "remaining_credits": left,
                "credits_per_month": self._options.hyp3_credits,
                "job_names": sorted({job.name for job in self._jobs.values() if job.name}),
            }
        )

    async def _submit(self, request: Request, fault: Fault | None) -> Response:
        try:
            asked = json.loads(await request.body())["jobs"]
            orders = [(one.get("name"), one["job_type"], dict(one["job_parameters"])) for one in asked]
        except (ValueError, KeyError, TypeError, AttributeError):
            return _problem(400, "Bad Request")
        if self._options.hyp3_access != "APPROVED":
            return _problem(403, f"{self._login.user} must request access before submitting jobs.")
        jobs = []
        for name, kind, parameters in orders:
            wrong = self._wrong(kind, parameters)
            if wrong is not None:
                return _problem(400, wrong)
            cost = COSTS[JOB_TYPE]["cost_table"][parameters["looks"]][str(len(parameters["reference"]))]
            jobs.append(
                _Job(
                    str(uuid.uuid4()),
                    name,
                    parameters,
                    cost,
                    self._shelf.clock.now(),
                    _asked(fault, "failed_job"),
                )
            )
        total, left = sum(job.cost for job in jobs), self._credits
        if fault is not None and fault.action == "no_credits":
            left = 0.0
        if left is not None and total > left:
            said = f"These jobs would cost {total} credits, but you have only {left} remaining."
            return _problem(400, said)
        if self._credits is not None:
            self._credits -= total
        self._jobs |= {job.id: job for job in jobs}
        return JSONResponse({"jobs": [await self._described(job, None) for job in jobs]})

    def _wrong(self, kind: str, parameters: dict[str, Any]) -> str | None:
        """Why a job is refused; defaults are filled in."""
        if kind != JOB_TYPE:
            return f"The sandbox makes {JOB_TYPE} alone."
        parameters.setdefault("apply_water_mask", False)
        parameters.setdefault("looks", "20x4")
        sides = [parameters.get(side) for side in ("reference", "secondary")]
        if not all(isinstance(side, list) and 1 <= len(side) <= 15 for side in sides):
            return "Must include at least 1 and at most 15 reference and secondary scenes"
        if parameters["looks"] not in _LOOKS or set(parameters) - {
            "reference",
            "secondary",
            "looks",
            "apply_water_mask",
        }:
            return "Bad Request"
        reference, secondary = (self._found(side or []) for side in sides)
        if reference is None or secondary is None:
            return "Some requested scenes could not be found"
        places = [sorted((b.full_id, b.polarisation) for b in side) for side in (reference, secondary)]
        if places[0] != places[1] or len(set(places[0])) != len(places[0]):
            return "Burst number + swath + polarization identifiers must be the same and unique"
        if {b.polarisation for b in reference} != {"vv"}:
            return "only VV and HH polarization is currently supported"
        if max(b.start for b in reference) >= min(b.start for b in secondary):
            return "Reference scenes must be older than secondary scenes"
        return None

    def _found(self, names: Sequence[str]) -> tuple[Burst, ...] | None:
        """The published bursts of these names; None if one is not."""
        found = [self._bursts[name][1] for name in names if name in self._bursts]
        there = len(found) == len(names) and all(self._shelf.is_published(b.granule) for b in found)
        return tuple(found) if there else None

    async def _list(self, request: Request, fault: Fault | None) -> Response:
        name = request.query_params.get("name")
        jobs = [job for job in reversed(self._jobs.values()) if name in (None, job.name)]
        first = int(request.query_params.get("start_token") or 0)
        document: dict[str, Any] = {
            "jobs": [await self._described(job, fault) for job in jobs[first : first + _PAGE]]
        }
        if first + _PAGE < len(jobs):
            host = request.headers.get("host", "")
            document["next"] = f"https://{host}/jobs?start_token={first + _PAGE}" + (
                f"&name={name}" if name else ""
            )
        return JSONResponse(document)

    def _is_over(self, job: _Job) -> bool:
        return job.expired or self._shelf.clock.now() >= self._end(job) + KEPT

    def _end(self, job: _Job) -> datetime:
        return job.requested + timedelta(seconds=self._options.hyp3_job_s)

    async def _described(self, job: _Job, fault: Fault | None) -> dict[str, Any]:
        job.expired = job.expired or _asked(fault, "expired_job")
        passed_s = (self._shelf.clock.now() - job.requested).total_seconds()
        status = "PENDING" if passed_s < PENDING_SHARE * self._options.hyp3_job_s else "RUNNING"
        more: dict[str, Any] = {}
        if passed_s >= self._options.hyp3_job_s:
            status = "FAILED" if job.fails or not await self._made(job) else "SUCCEEDED"
            more["logs"] = [f"https://{HYP3_STORE}/{job.id}/{job.id}.log"]
        if status == "SUCCEEDED" and job.product is not None:
            end = self._shelf.clock.now() - timedelta(days=1) if job.expired else self._end(job) + KEPT
            more["expiration_time"] = end.isoformat(timespec="seconds")
            key = f"{job.id}/{job.product.name}"
            more["files"] = [
                {
                    "filename": job.product.name,
                    "size": job.product.stat().st_size,
                    "url": f"https://{HYP3_STORE}/{key}",
                    "s3": {"bucket": "hyp3-contentbucket-sandbox", "key": key},
                }
            ]
        return {
            "job_id": job.id,
            "job_type": JOB_TYPE,
            "user_id": self._login.user,
            "request_time": job.requested.isoformat(timespec="seconds"),
            "status_code": status,
            "execution_started": status != "PENDING",
            "job_parameters": job.parameters,
            "credit_cost": job.cost,
            "priority": 9999,
            **({"name": job.name} if job.name else {}),
            **more,
        }

    async def _made(self, job: _Job) -> bool:
        """Whether the job has its product, which is made when it is first asked for."""
        async with self._making:
            if job.product is None:
                root = self._bursts[job.parameters["reference"][0]][0]
                pair = PairBursts(
                    *(
                        tuple(self._bursts[n][1] for n in job.parameters[side])
                        for side in ("reference", "secondary")
                    )
                )
                looks, folder = _LOOKS[job.parameters["looks"]], self._folder / job.id
                try:
                    job.product = await asyncio.to_thread(write_service_product, root, pair, looks, folder)
                except SandboxError:
                    job.fails = True
        return job.product is not None


def _asked(fault: Fault | None, action: str) -> bool:
    return fault is not None and fault.action == action


def _problem(status: int, detail: str) -> Response:
    body = {"status": status, "detail": detail, "title": "Sandbox", "type": "about:blank"}
    return JSONResponse(body, status, media_type="application/problem+json")
