"""A model as a STAC item with the MLM extension, so that a catalogue of models can find it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pystac
from pystac.extensions.classification import Classification
from pystac.extensions.file import FileExtension
from pystac.extensions.mlm import (
    AcceleratorType,
    AssetGeneralMLMExtension,
    Hyperparameters,
    InputStructure,
    MLMExtension,
    ModelInput,
    ModelOutput,
    ResultStructure,
    TaskType,
    ValueScaling,
    ValueScalingType,
)
from pystac.extensions.raster import DataType
from shapely import unary_union
from shapely.geometry import mapping

from model.inputs.cubes import footprint
from model.network.architectures import ARCHITECTURES

if TYPE_CHECKING:
    from model.bundle.document import BundleDocument

ITEM = "item.json"


def item_of(document: BundleDocument, weights: str, card: str) -> dict[str, Any]:
    """The item; its links are of the bundle's own files.

    Its geometry is that of the scenes that the model was trained on, and its time that of their passes.

    Args:
        weights, card: names of the files in the bundle.
    """
    d = document
    passes = [used.instant for one in d.learnt for used in (*one.selection.before, *one.selection.after)]
    ground = unary_union([footprint(one.grid, one.cube.shape) for one in d.learnt if one.grid is not None])
    item = pystac.Item(
        id=f"slidecube-{d.digest[:12]}",
        geometry=None if ground.is_empty else mapping(ground),
        bbox=None if ground.is_empty else list(ground.bounds),
        datetime=None,
        start_datetime=min(passes),
        end_datetime=max(passes),
        properties={
            "title": f"Landslides of {d.place}" + (", simulated" if d.simulated else ""),
            "description": _described(d),
            "created": d.created.isoformat().replace("+00:00", "Z"),
            "slidecube:digest": d.digest,
            "slidecube:cubes": [one.cube.digest for one in d.learnt],
            "slidecube:simulated": d.simulated,
            "slidecube:threshold": d.threshold,
            "slidecube:test_auprc": d.test.auprc,
            "slidecube:test_prevalence": d.test.prevalence,
        },
    )
    MLMExtension.ext(item, add_if_missing=True).apply(
        name=f"slidecube landslides, {d.place}",
        architecture=ARCHITECTURES[d.network.architecture].title,
        tasks=[TaskType.SEMANTIC_SEGMENTATION],
        input=[_input(d)],
        output=[_output(d.network.classes)],
        framework="PyTorch",
        framework_version=d.software.get("torch"),
        total_parameters=d.parameters,
        pretrained=d.network.initial_weights != "random",
        pretrained_source={"imagenet": "ImageNet", "pretrained": "the unlabelled cube"}.get(
            d.network.initial_weights
        ),
        batch_size_suggestion=1,
        accelerator=AcceleratorType.AMD64,
        accelerator_constrained=False,
        hyperparameters=Hyperparameters.create(
            encoder=d.network.encoder, members=d.members, seed=d.seed, **d.training.model_dump(mode="json")
        ),
    )
    item.add_asset(
        "weights",
        pystac.Asset(
            href=f"./{weights}",
            title="Weights as safetensors",
            media_type="application/octet-stream; application=safetensors",
            roles=["mlm:model", "mlm:weights", "data"],
        ),
    )
    # multihash of a sha256: function 0x12, length 0x20
    FileExtension.ext(item.assets["weights"], add_if_missing=True).checksum = f"1220{d.weights_sha256}"
    AssetGeneralMLMExtension.ext(item.assets["weights"]).apply(artifact_type="safetensors")
    item.add_asset(
        "card",
        pystac.Asset(href=f"./{card}", title="Model card", media_type="text/markdown", roles=["metadata"]),
    )
    found: dict[str, Any] = item.to_dict(include_self_link=False, transform_hrefs=False)
    return found


def _described(document: BundleDocument) -> str:
    simulated = "Trained on a SIMULATED area: it knows no real landslide. " if document.simulated else ""
    return (
        f"{simulated}Test AUPRC {document.test.auprc:.3f} at a prevalence of {document.test.prevalence:.4f}, "
        f"{len(document.selection.before)} passes before and {len(document.selection.after)} after the event, "
        f"{document.selection.track}."
    )


def _input(document: BundleDocument) -> ModelInput:
    """Channels by name, as they go into the network: standardised, cut, 0 where unknown."""
    statistics = document.statistics
    scaling = (
        f"; the scaling is that of {document.cube.area}, and bundle.json has each event's own"
        if document.others
        else ""
    )
    found = ModelInput.create(
        name="channels of the cube",
        bands=list(statistics.channels),
        input=InputStructure.create(
            shape=[-1, len(statistics.channels), -1, -1],
            dim_order=["batch", "channel", "height", "width"],
            data_type=DataType.FLOAT32,
        ),
        description=f"height and width are multiples of 32; standardised values are cut at {statistics.clip_sd:g}, and "
        f"0 where unknown{scaling}",
    )
    # one object for each channel: what the extension's text asks for, while the library's setter takes a single one
    found.properties["value_scaling"] = [
        ValueScaling.create(ValueScalingType.Z_SCORE, mean=mean, stddev=sd).to_dict()
        for mean, sd in zip(statistics.mean, statistics.sd, strict=True)
    ]
    return found


def _output(classes: int) -> ModelOutput:
    return ModelOutput.create(
        name="log-odds of landslide",
        tasks=[TaskType.SEMANTIC_SEGMENTATION],
        result=ResultStructure.create(
            shape=[-1, classes, -1, -1],
            dim_order=["batch", "channel", "height", "width"],
            data_type=DataType.FLOAT32,
        ),
        description="before the calibration that the bundle carries"
        + ("" if classes == 1 else "; two channels, of which the second less the first is the log-odds"),
        classes=[
            Classification.create(value=0, name="other", description="no landslide"),
            Classification.create(value=1, name="landslide", description="moved by the event"),
        ],
    )
