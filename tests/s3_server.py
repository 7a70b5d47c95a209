"""An S3 server on loopback: moto's, in a process of its own, so that a killed client leaves it as it is.

moto compares the tag of an object and writes it in two steps: of twelve conditional writes at once two were done in one
round of sixty. Real stores do it in one, so that requests are answered one at a time here.
"""

from __future__ import annotations

import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from uuid import uuid4

import pytest

ACCESS_KEY, SECRET_KEY = "AKIDEXAMPLEOFTESTS00", "wJalrXUtnFEMI-secret-of-tests-K7MDENG"
SERVER = """
import sys, threading
from werkzeug.serving import make_server
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
moto, one = DomainDispatcherApplication(create_backend_app), threading.Lock()
def app(environ, start_response):
    with one:
        return list(moto(environ, start_response))
server = make_server("127.0.0.1", 0, app, threaded=True)
print(server.port, flush=True)
server.serve_forever()
"""
NEEDED = ("obstore", "moto", "flask", "flask_cors", "boto3")


@contextmanager
def s3_server(folder: Path) -> Iterator[str]:
    """The server's address; the variables of the clouds are left alone. Its log is `folder/s3.log`.

    The tests that need it are skipped where a package is not installed.
    """
    for package in NEEDED:
        if find_spec(package) is None:
            pytest.skip(
                f"{package} is not installed: nothing is tested against an S3 server", allow_module_level=True
            )
    with (folder / "s3.log").open("wb") as log:
        process = subprocess.Popen([sys.executable, "-c", SERVER], stdout=subprocess.PIPE, stderr=log)
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert line, (folder / "s3.log").read_text()
            yield f"http://127.0.0.1:{int(line)}"
        finally:
            process.terminate()
            process.communicate(timeout=60)


def variables(endpoint: str) -> dict[str, str]:
    """The variables by which AWS's tools reach the server."""
    return {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": ACCESS_KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
        "AWS_REGION": "us-east-1",
    }


def new_bucket(endpoint: str) -> str:
    """The address of a bucket that nobody else uses."""
    name = f"b{uuid4().hex[:12]}"
    for attempt in range(50):
        try:
            urllib.request.urlopen(
                urllib.request.Request(f"{endpoint}/{name}", method="PUT"), timeout=60
            ).close()
            break
        except OSError:
            if attempt == 49:
                raise
            time.sleep(0.2)
    return f"s3://{name}"
