"""A lock in an object store: one holder, renewed while it lives, taken over after a kill."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest

from pipeline.cube.objects.object_store import ObjectStore
from pipeline.errors import BusyError
from pipeline.lock import LockedError
from pipeline.object_storage import lease as leases
from pipeline.object_storage.bucket import Bucket
from pipeline.object_storage.lease import leased

HOLDER = """
import sys, time
from pipeline.object_storage import lease
from pipeline.object_storage.bucket import Bucket
lease.LEASE_S = float(sys.argv[2])
with lease.leased(Bucket(sys.argv[1]), "lock", wait=False, what="x"):
    print("held", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases, "LEASE_S", 3.0)
    monkeypatch.setattr(leases, "SKEW_S", 1.0)
    monkeypatch.setattr(leases, "POLL_S", 0.2)


def test_of_those_who_want_it_at_once_one_holds_it(s3_bucket: str) -> None:
    objects, begin, end = Bucket(s3_bucket), Barrier(6), Barrier(6)

    def take(_: int) -> bool:
        begin.wait(30)
        try:
            with leased(objects, "lock", wait=False, what="x"):
                end.wait(30)
                return True
        except LockedError:
            end.wait(30)
            return False

    for _ in range(5):
        with ThreadPoolExecutor(6) as pool:
            assert sum(pool.map(take, range(6))) == 1


def test_a_killed_holder_is_followed_after_its_lease_and_a_living_one_is_not(
    s3_bucket: str, short: None
) -> None:
    command = [sys.executable, "-c", HOLDER, s3_bucket, str(leases.LEASE_S)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        time.sleep(leases.LEASE_S + leases.SKEW_S + 1.5)  # renewed meanwhile
        with (
            pytest.raises(LockedError, match=str(holder.pid)),
            leased(Bucket(s3_bucket), "lock", wait=False, what="x"),
        ):
            pass
        holder.send_signal(signal.SIGKILL)
    began = time.monotonic()
    with leased(Bucket(s3_bucket), "lock", wait=True, what="x") as (_, waited):
        assert waited
    assert time.monotonic() - began < 60


def test_who_lost_the_lock_commits_and_publishes_nothing(s3_bucket: str, short: None) -> None:
    store = ObjectStore(s3_bucket)
    with store.lock("writer.lock", wait=False):
        staging = store.staging("layers")
        store.put(f"{staging}/x", b"x")
        # as after this process was stopped for longer than its lease: another has the lock
        Bucket(s3_bucket).put("writer.lock", b'{"holder":"other","process":"other"}')
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            try:
                store.sweep("layers")
            except BusyError:
                break
            time.sleep(0.2)
        with pytest.raises(BusyError):
            store.commit(staging, "layers/x")
        with pytest.raises(BusyError):
            store.compare_and_swap("latest", None, b"1")
    assert (store.names("layers"), store.read("latest")) == ([], None)
    seen = store.read("writer.lock")
    assert seen is not None and b"other" in seen  # what the other holds was not released
