"""Set a Prefect server up for slidecube: the work pool, the limits, the deployments of prefect.yaml.

    python -m flows.setup

A second run makes nothing twice, and keeps what an operator has set: limits, schedules, pauses, parameters,
automations. Each step is printed. The server is that of `PREFECT_API_URL`.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import yaml
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import GlobalConcurrencyLimitCreate, WorkPoolCreate
from prefect.exceptions import ObjectNotFound
from prefect.workers.process import ProcessWorker

from flows.serving import prefect_file
from flows.serving.limits import LIMITS, free_slots, lease_warning
from flows.serving.notifications import notices
from flows.serving.prefect_file import PROJECT, Entry
from flows.serving.server_client import server_client
from pipeline.errors import SlidecubeError
from pipeline.settings import settings

POOL = "local"
"""the pool whose workers run flows as processes"""
TEMPLATES = PROJECT / "docker" / "work-pools"
"""by name of a pool: the base job template whose workers run flows in containers of the image"""
DEPLOY_S = 600.0
"""longest wait for `prefect deploy --all`"""


def make_pool(client: SyncPrefectClient, name: str = POOL) -> bool:
    """Make a work pool: `local`, or one of `TEMPLATES`, which has the name of its type; False where it exists.

    A pool that exists keeps its template, which an operator may have changed.
    """
    try:
        client.read_work_pool(name)
    except ObjectNotFound:
        kind, template = "process", ProcessWorker.get_default_base_job_template()
        if name != POOL:
            kind, template = name, json.loads((TEMPLATES / f"{name}.json").read_text(encoding="utf-8"))
        client.create_work_pool(WorkPoolCreate(name=name, type=kind, base_job_template=template))
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


def deploy(document: Entry) -> None:
    """Make or renew every deployment of a document as prefect.yaml, with its triggers.

    Raises:
        SlidecubeError: `prefect deploy` failed, which the message quotes, or did not end within `DEPLOY_S`.
    """
    with TemporaryDirectory() as folder:
        file = Path(folder) / "prefect.yaml"
        file.write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")
        command = [
            sys.executable,
            "-m",
            "prefect",
            "--no-prompt",
            "deploy",
            "--all",
            "--prefect-file",
            str(file),
        ]
        try:
            answer = subprocess.run(
                command, cwd=PROJECT, capture_output=True, text=True, check=False, timeout=DEPLOY_S
            )
        except subprocess.TimeoutExpired as error:
            raise SlidecubeError(
                f"`prefect deploy --all` did not end within {DEPLOY_S / 60:.0f} minutes.",
                "See what the server is busy with, and run `python -m flows.setup` again: it makes nothing twice.",
            ) from error
    if answer.returncode != 0:
        raise SlidecubeError(
            f"`prefect deploy --all` failed: {(answer.stdout + answer.stderr)[-2000:]}",
            "Correct prefect.yaml or the server's address (PREFECT_API_URL).",
        )


def set_up() -> Iterator[str]:
    """Make pool, limits and deployments on the server of `PREFECT_API_URL`; yields a line for each step.

    Raises:
        SettingsError: no server is named, or it does not respond, or refuses, or is no Prefect server.
        SlidecubeError: deploying failed.
    """
    with server_client() as client:
        pool = settings().work_pool
        yield f"work pool {pool}: {'made' if make_pool(client, pool) else 'exists'}"
        yield f"limits made: {', '.join(make_limits(client)) or 'none, all exist'}"
        yield from free_slots(client)
        if (warning := lease_warning(client)) is not None:
            yield warning
        document = prefect_file.shipped()
        for entry in document["deployments"]:
            entry["work_pool"]["name"] = pool
        merged, kept = prefect_file.merged(client, document)
        yield from kept
        deploy(merged)
        yield from prefect_file.add_schedules(client, document)
        yield from notices.set_up_notices(client)
        names = ", ".join(entry["name"] for entry in document["deployments"])
        yield f"deployed from {PROJECT}: {names}"


def main() -> int:
    """Command line of this module."""
    try:
        for line in set_up():
            print(line, flush=True)
    except SlidecubeError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0
