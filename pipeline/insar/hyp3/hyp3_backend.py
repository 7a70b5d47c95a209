"""The backend hyp3: finds or submits the job of a pair at HyP3, waits for it, and makes the job's products of it."""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import requests

from pipeline.archives.credentials import HOW
from pipeline.archives.http import http_client
from pipeline.archives.http.downloads import Wanted, download
from pipeline.archives.slc.zips import entries_of
from pipeline.errors import ArchiveError, InterferometryError, SourceDataError
from pipeline.files import write_whole
from pipeline.insar.hyp3.hyp3_api import Hyp3, JobOrder, ServiceJob
from pipeline.insar.hyp3.hyp3_credits import check_credits, has_login
from pipeline.insar.hyp3.hyp3_products import (
    ZIP_LIMITS,
    Unpacked,
    check_name,
    misfit,
    unpack_product,
    write_products,
)
from pipeline.insar.job import METADATA, Backend, Esd, JobManifest, JobMetadata, Step, folder_of
from pipeline.insar.products.products import ESTIMATORS
from pipeline.insar.products.validate import check_products
from pipeline.progress import Progress, no_progress
from pipeline.settings import settings

log = logging.getLogger(__name__)

MOST_ZIP_BYTES = 16 * 2**30
"""More than any product of ten bursts has."""
FAILED_STANDS = timedelta(days=1)
"""A job that failed is not submitted again before: it would cost credits again, and most likely fail again."""
_GONE = frozenset({403, 404, 410})


class ProductGoneError(ArchiveError):
    """The store no longer has the product."""


class ProductStore:
    """The store of HyP3's products, which anyone may read: no login is sent to it."""

    def open(
        self,
        href: str,
        headers: Mapping[str, str] | None = None,
        *,
        method: str = "GET",
        public: bool = False,
    ) -> requests.Response:
        """The store's response.

        Raises:
            ProductGoneError: it refuses or does not have the file, as after the product's expiry.
            ArchiveError: no response.
        """
        response = http_client.get_once(href, method=method, headers=headers)
        if response.status_code in _GONE:
            response.close()
            raise ProductGoneError(
                f"{http_client.bare(href)} answered HTTP {response.status_code}: HyP3 keeps products for 14 days.",
                "Build again: the job is submitted again, which costs its credits again.",
            )
        return response


class Hyp3Backend:
    """Makes products at HyP3; `service` is by default that of the settings, with the login of the process."""

    def __init__(self, service: Hyp3 | None = None) -> None:
        self._service = service

    @property
    def name(self) -> Backend:
        """The backend's name in the manifest and the settings."""
        return "hyp3"

    def ready(self) -> None:
        """Check that there is a login.

        Raises:
            InterferometryError: `hyp3-login`.
        """
        if not has_login():
            raise InterferometryError(
                "hyp3-login",
                "HyP3 needs a login of Earthdata, and there is none.",
                f"{HOW}, or set EARTHDATA_TOKEN.",
            )

    def run(self, job: Path, manifest: JobManifest, progress: Progress = no_progress) -> JobMetadata:
        """Find or submit the job, wait for it, fetch its product and make the products of `job` from it.

        A run that ends early leaves the job at HyP3; the next one finds it by its name and pays nothing.

        Raises:
            InterferometryError: `hyp3-looks`, `hyp3-polarisation`, `hyp3-access`, `hyp3-credits`, `hyp3-cost`,
                `hyp3-refused`, `hyp3-failed`, `hyp3-expired`, `hyp3-misfit`, `time-limit`, and those of the products.
            ArchiveError: HyP3 or its store cannot be reached, or answers with something that cannot be used.
        """
        job = job.resolve()
        scratch = folder_of(job)["scratch"]
        scratch.mkdir(parents=True, exist_ok=True)
        run = _Run(self._service or Hyp3(), JobOrder.of(manifest), manifest, progress)
        done, product = run.product(scratch)
        stated = write_products(job, manifest, product)
        run.finish_step("map")
        metadata = _metadata(job, manifest, run, done, product, stated)
        path = folder_of(job)["products"] / METADATA
        write_whole(path, metadata.model_dump_json(indent=1))
        shutil.rmtree(product.folder, ignore_errors=True)
        return metadata


class _Run:
    """One order on its way: what was found or submitted, and the steps with their seconds."""

    def __init__(self, service: Hyp3, order: JobOrder, manifest: JobManifest, progress: Progress) -> None:
        self.service = service
        self.order = order
        self.steps: list[Step] = []
        self._progress = progress
        self._limit_s = manifest.limits.time_s
        self._began = self._since = time.monotonic()
        self._gone: set[UUID] = set()

    def finish_step(self, name: str, *lines: str) -> None:
        """Note a step that ends now."""
        now = time.monotonic()
        self.steps.append(Step(name=name, seconds=round(now - self._since, 2), lines=lines))
        self._since = now

    def product(self, scratch: Path) -> tuple[ServiceJob, Unpacked]:
        """The finished job and its product in `scratch`; a product that is gone is ordered once more."""
        for last in (False, True):
            done = self._wait(self._standing() or self._submit())
            self.finish_step("wait", f"job {done.job_id}")
            try:
                return done, self._fetch(done, scratch)
            except ProductGoneError as error:
                if last:
                    raise InterferometryError("hyp3-expired", error.message, error.remedy) from error
                log.warning("%s It is submitted again, which costs credits.", error.message)
                self._gone.add(done.job_id)
        raise AssertionError("the second round returns or raises")

    def _standing(self) -> ServiceJob | None:
        """The order's job that is finished or under way; None if there is none."""
        jobs = [job for job in self.service.jobs_named(self.order.name) if self.order.is_of(job)]
        failed = next((job for job in jobs if job.status_code == "FAILED"), None)
        for job in jobs:
            if job.job_id in self._gone or job.status_code == "FAILED":
                continue
            if job.expiration_time is not None and job.expiration_time <= self.service.now:
                log.warning("The product of job %s at HyP3 has expired; it is not used.", job.job_id)
                continue
            log.info("%s is job %s at HyP3 (%s)", self.order.label, job.job_id, job.status_code)
            return job
        if failed is not None and self.service.now - failed.request_time < FAILED_STANDS:
            raise _failed(failed, self.order)
        return None

    def _submit(self) -> ServiceJob:
        """Submit the job. Where the answer is lost the job is looked for by name before it is sent again."""
        cost = check_credits(self.service, self.order)
        for attempt in range(settings().retries + 1):
            try:
                job = self.service.submit(self.order)
                log.info(
                    "%s is submitted to HyP3 as job %s for %g credits", self.order.label, job.job_id, cost
                )
                return job
            except ArchiveError as error:
                if not error.transient or attempt == settings().retries:
                    raise
                log.warning("%s It is looked for by its name.", error.message)
                time.sleep(min(http_client.LONGEST_WAIT_S, settings().backoff_s * 2.0**attempt))
            accepted = self._standing()
            if accepted is not None:
                return accepted
        raise AssertionError("the last attempt returns or raises")

    def _wait(self, job: ServiceJob) -> ServiceJob:
        """The job when it is finished."""
        while job.status_code in ("PENDING", "RUNNING"):
            waited_s = time.monotonic() - self._began
            self._progress(
                f"HyP3: {job.status_code.lower()}", int(waited_s), None, f"{self.order.label}, seconds"
            )
            if waited_s + settings().hyp3_poll_s > self._limit_s:
                raise InterferometryError(
                    "time-limit",
                    f"{self.order.label} is still {job.status_code.lower()} at HyP3 after {waited_s / 3600:.3g} hours.",
                    "Build again later: the job goes on there and is found by its name, at no cost. "
                    "Or wait longer (SLIDECUBE_INSAR_HOURS).",
                )
            time.sleep(settings().hyp3_poll_s)
            job = self.service.job(job.job_id)
            if not self.order.is_of(job):
                raise misfit(f"job {job.job_id} is no longer the one that was ordered")
        if job.status_code == "FAILED":
            raise _failed(job, self.order)
        return job

    def _fetch(self, done: ServiceJob, scratch: Path) -> Unpacked:
        """Fetch and unpack the product of a finished job."""
        if len(done.files) != 1:
            raise misfit(f"job {done.job_id} has {len(done.files)} files, not one")
        file = done.files[0]
        name = check_name(file.filename)
        if urlsplit(file.url).scheme != "https" or file.size > MOST_ZIP_BYTES:
            raise misfit(f"its file of {file.size} bytes lies at {http_client.bare(file.url)[:200]}")

        def is_whole(path: Path) -> None:
            entries_of(path, ZIP_LIMITS)

        wanted = Wanted(
            url=file.url,
            path=scratch / file.filename,
            size_bytes=file.size,
            check=is_whole,
            most_bytes=MOST_ZIP_BYTES,
        )
        try:
            archive = download(wanted, ProductStore(), self._progress)
        except SourceDataError as error:
            raise misfit(error.message.rstrip(".")) from None
        self.finish_step("fetch", f"{file.size} bytes")
        try:
            return unpack_product(archive, name, scratch, self.order, self._progress)
        finally:
            archive.unlink(missing_ok=True)  # a damaged one would be taken for the right one by the next run


def _failed(job: ServiceJob, order: JobOrder) -> InterferometryError:
    logs = ", ".join(http_client.bare(url)[:300] for url in job.logs[:3]) or "none"
    return InterferometryError(
        "hyp3-failed",
        f"Job {job.job_id} of {order.label} failed at HyP3. Its log: {logs}",
        f"It is not submitted again within {FAILED_STANDS.total_seconds() / 3600:.0f} hours, since it costs credits "
        "again. Ask ASF (uso@asf.alaska.edu), choose other pairs, or another SLIDECUBE_INSAR_BACKEND.",
    )


def _metadata(
    job: Path, manifest: JobManifest, run: _Run, done: ServiceJob, product: Unpacked, stated: dict[str, Any]
) -> JobMetadata:
    checked = check_products(job, manifest)
    said = product.stated
    return JobMetadata(
        pair=manifest.pair,
        part=manifest.part,
        backend="hyp3",
        versions=product.versions or {"hyp3": "not stated"},
        parameters={
            "azimuth_looks": manifest.azimuth_looks,
            "range_looks": manifest.range_looks,
            **stated,
            "coherence": "ISCE2's phsig (phase sigma correlation) of the filtered interferogram, which reads higher "
            "than the magnitude of correlation",
            "interferogram": "unit phasor of the wrapped phase; flat earth and topography removed; filtered",
            "filter": f"Goldstein-Werner, strength {said.get('Phase filter parameter', 'not stated')}",
            "incidence": "90 degrees less HyP3's look vector theta",
            "resampling_of_the_service": "nearest neighbour from degrees to UTM",
            "unwrapping": f"{said.get('Unwrapping type', 'not stated')}; not in the cube",
            "heights": f"{said.get('DEM source', 'not stated')}, {said.get('DEM resolution (m)', '?')} m, of HyP3 and "
            "not the area's",
            "water_masked": said.get("Water mask", "not stated"),
            "polarisation": manifest.polarisation,
            "service": run.service.host,
            "service_job": str(done.job_id),
            "service_product": product.folder.name,
            "algorithm": ESTIMATORS["hyp3"]["processing"],
        },
        steps=tuple(run.steps),
        bursts=manifest.bursts,
        orbits={"reference": "unknown", "secondary": "unknown"},
        esd=Esd(applied=False, reason="HyP3 does not apply it"),
        products=checked.products,
        valid_fraction=checked.valid_fraction,
        coherence_mean=checked.coherence_mean,
    )
