"""Set a Prefect server up for slidecube: the work pool, the limits, the deployments of prefect.yaml.

    python -m flows.setup

A second run makes nothing twice, and does not change a limit that somebody set. The server is that of
`PREFECT_API_URL`.
"""

from __future__ import annotations

import logging
import subprocess
import sys
from pathlib import Path

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import GlobalConcurrencyLimitCreate, WorkPoolCreate
from prefect.exceptions import ObjectNotFound
from prefect.settings import PREFECT_API_URL
from prefect.workers.process import ProcessWorker

from flows.serving.limits import LIMITS
from pipeline.errors import SettingsError, SlidecubeError

PROJECT = Path(__file__).resolve().parents[2]
"""the folder of prefect.yaml"""

POOL = "local"

log = logging.getLogger(__name__)


def make_pool(client: SyncPrefectClient) -> bool:
    """Make the work pool whose workers run flows as processes; False where it exists."""
    try:
        client.read_work_pool(POOL)
    except ObjectNotFound:
        template = ProcessWorker.get_default_base_job_template()
        client.create_work_pool(WorkPoolCreate(name=POOL, type="process", base_job_template=template))
        return True
    return False


def make_limits(client: SyncPrefectClient) -> list[str]:
    """Make the global concurrency limits; returns the names of those that did not exist."""
    made = []
    for name, slots in LIMITS.items():
        try:
            client.read_global_concurrency_limit_by_name(name)
        except ObjectNotFound:
            client.create_global_concurrency_limit(GlobalConcurrencyLimitCreate(name=name, limit=slots))
            made.append(name)
    return made


def deploy() -> None:
    """Make every deployment of prefect.yaml, with its schedules and triggers.

    Raises:
        SlidecubeError: `prefect deploy` failed; the message quotes it.
    """
    command = [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all"]
    answer = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)
    if answer.returncode != 0:
        raise SlidecubeError(
            f"`prefect deploy --all` failed: {(answer.stdout + answer.stderr)[-2000:]}",
            "Correct prefect.yaml or the server's address (PREFECT_API_URL).",
        )


def set_up() -> None:
    """Make pool, limits and deployments on the server of `PREFECT_API_URL`.

    Raises:
        SettingsError: no server is named.
        SlidecubeError: deploying failed.
    """
    if not PREFECT_API_URL.value():
        raise SettingsError(
            "PREFECT_API_URL is not set, so there is no server to set up.",
            "Start one (`prefect server start`) and `prefect config set PREFECT_API_URL=http://127.0.0.1:4200/api`.",
        )
    with get_client(sync_client=True) as client:
        log.info("work pool %r: %s", POOL, "made" if make_pool(client) else "exists")
        log.info("limits made: %s", ", ".join(make_limits(client)) or "none, all exist")
    deploy()
    log.info("deployed from %s", PROJECT / "prefect.yaml")


def main() -> int:
    """Command line of this module."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    try:
        set_up()
    except SlidecubeError as error:
        log.error("%s", error)
        return error.exit_code
    return 0
