"""Exported networks as files, and their outputs as another program gets them from the file."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from model.network.export.exported_network import ExportedNetwork
from model.network.torch_guard import torch
from model.network.training_plan import LARGEST_PX, STRIDE_PX
from pipeline.errors import ModelError

ExportKind = Literal["onnx", "torch"]
METADATA = "slidecube.json"
"""name of the metadata in a torch file, and its key in an ONNX file"""
TOLERANCE: dict[ExportKind, float] = {"torch": 1e-5, "onnx": 1e-4}
"""largest difference of a probability from that of the bundle: another order of float32 sums, other kernels"""
OPSET = 18
LARGEST_BATCH = 256


def write_network(
    network: ExportedNetwork, kind: ExportKind, metadata: Mapping[str, Any], file: Path
) -> None:
    """Write a network with its metadata; batch, height and width stay free, sides are multiples of 32.

    Raises:
        ModelError: the network cannot be exported, or the packages for ONNX are not installed.
    """
    example = torch.zeros(2, network.mean.shape[1], 2 * STRIDE_PX, 3 * STRIDE_PX)
    most = LARGEST_PX // STRIDE_PX
    free = {
        0: torch.export.Dim("batch", min=1, max=LARGEST_BATCH),
        2: STRIDE_PX * torch.export.Dim("rows", min=1, max=most),
        3: STRIDE_PX * torch.export.Dim("columns", min=1, max=most),
    }
    text = json.dumps(dict(metadata), indent=1)
    network = network.cpu().eval()
    with _named(kind), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the exporters, about their own parts
        if kind == "torch":
            program = torch.export.export(network, (example,), dynamic_shapes={"channels": free})
            torch.export.save(program, file, extra_files={METADATA: text})
            return
        made = torch.onnx.export(
            network,
            (example,),
            dynamo=True,
            dynamic_shapes={"channels": free},
            input_names=["channels"],
            output_names=["probability"],
            opset_version=OPSET,
            verbose=False,
        )
        if made is None:
            raise ModelError("The exporter of torch gave no program.")
        made.model.metadata_props[METADATA] = text
        made.save(file)


def outputs_of_file(
    file: Path, kind: ExportKind, channels: list[NDArray[np.float32]]
) -> list[NDArray[np.float32]]:
    """The probabilities that a file gives for batches of channels, by ONNX Runtime or by torch.

    Raises:
        ModelError: the file cannot be run.
    """
    with _named(kind), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if kind == "torch":
            module = torch.export.load(file).module()
            with torch.no_grad():
                return [module(torch.from_numpy(one)).numpy() for one in channels]
        import onnxruntime

        session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
        return [session.run(None, {"channels": one})[0] for one in channels]


@contextmanager
def _named(kind: ExportKind) -> Iterator[None]:
    """Name what an exporter raises."""
    try:
        yield
    except ModelError:
        raise
    except ImportError as error:
        raise ModelError(
            f"An export to {kind} needs {error.name or 'a package'}, which is not installed.",
            "Install it: pip install 'slidecube[onnx]'.",
        ) from error
    except OSError:
        raise
    except Exception as error:  # the exporters raise many kinds of error for a network that they do not know
        reason = str(error).strip().splitlines()[0][:300] if str(error).strip() else ""
        raise ModelError(
            f"The network cannot be exported to {kind} ({type(error).__name__}: {reason}).",
            "Networks of slidecube can; of one of your own, torch.export must be able to trace it.",
        ) from error
