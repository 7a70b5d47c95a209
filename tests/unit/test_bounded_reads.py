"""No file is read whole before its size and its kind are known: `pipeline.files.read_regular`, or a reason here."""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).parents[2]
WHOLE = {"read_text", "read_bytes"}
"""methods that read all there is"""
LOADERS = {
    ("np", "load"),
    ("torch", "load"),
    ("np", "fromfile"),
    ("json", "load"),
    ("pickle", "load"),
    ("joblib", "load"),
}
"""functions that take what a file says of its size, or that run code"""

ALLOWED = {
    # what the kernel writes
    "pipeline/lock.py:holder": "proc",
    "pipeline/insar/isce2/container.py": "proc",
    "pipeline/insar/isce2/isce2_backend.py:available_memory_bytes": "proc",
    "pipeline/insar/isce2/topsapp/attempt.py:_out_of_memory_kills": "proc",
    "pipeline/insar/child.py": "proc",
    # what this process has just written, or what is installed with it
    "pipeline/insar/isce2/topsapp/preparation.py": "own",
    "flows/serving/prefect_file.py:shipped": "own",
    "flows/serving/deployments.py:make_pool": "own",
    "flows/workers/worker_check.py:code_digest": "own",
    "pipeline/registered_commands.py:_first_sentence": "own",
    "flows/serving/artifacts.py:show_map": "own",
    "flows/ablate.py:tables": "own",
    "model/cli/experiments.py": "own",
    # what is checked by other means
    "pipeline/archives/http/stac_transport.py:read_text": "an answer of a server, bounded by its caller",
    "pipeline/insar/pygmtsar/mosaic.py:array": "mapped, not read; arrays of objects are refused",
    "model/network/trainer/checkpoint.py:load_checkpoint": "weights alone, and nothing is unpacked",
    "model/training/prior/stored_events.py": "mapped: the file has what its header says",
}


def whole_reads(path: Path) -> list[str]:
    """`file:function` of every read of a whole file."""
    found = []

    def visit(node: ast.AST, function: str) -> None:
        for child in ast.iter_child_nodes(node):
            inside = child.name if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef) else function
            if isinstance(child, ast.Call) and isinstance(child.func, ast.Attribute):
                of = child.func.value.id if isinstance(child.func.value, ast.Name) else ""
                if child.func.attr in WHOLE or (of, child.func.attr) in LOADERS:
                    found.append(f"{path.relative_to(ROOT)}:{inside}")
            visit(child, inside)

    visit(ast.parse(path.read_text(encoding="utf-8")), "")
    return found


def test_every_read_of_a_whole_file_is_bounded_or_has_a_reason():
    read = [
        place
        for room in ("pipeline", "model", "flows")
        for path in sorted((ROOT / room).rglob("*.py"))
        if "sandbox" not in path.parts
        for place in whole_reads(path)
    ]
    free = [place for place in read if place not in ALLOWED and place.partition(":")[0] not in ALLOWED]
    assert free == []
    used = {*read, *(place.partition(":")[0] for place in read)}
    assert sorted(set(ALLOWED) - used) == []
