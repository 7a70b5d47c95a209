"""A model as a STAC item with the MLM extension, for catalogues of models.

The fields are those of version 1.5.2 (https://github.com/stac-extensions/mlm). pystac knows them up to 1.4.0; what 1.5
changed is put in here: named inputs have a dimension `bands`, and the asset of the weights lists each band.
"""

from __future__ import annotations

import re
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
from model.network.architectures import architecture_named
from pipeline.errors import number_of

if TYPE_CHECKING:
    from model.bundle.document import BundleDocument

ITEM = "item.json"
SCHEMA = "https://stac-extensions.github.io/mlm/v1.5.2/schema.json"
"""of the MLM extension"""
RASTER = "https://stac-extensions.github.io/raster/v1.1.0/schema.json"
"""of the extension by which bands are listed; STAC 1.1 has no bands of an item"""


def item_of(document: BundleDocument, weights: str, card: str) -> dict[str, Any]:
    """The STAC item of a bundle, whose assets are the bundle's own files.

    Its geometry covers the scenes of the training events, its time range their passes.

    Args:
        weights, card: names of the files in the bundle.
    """
    d, events = document, document.training_events
    passes = [used.instant for one in events for used in (*one.selection.before, *one.selection.after)]
    footprints = unary_union([footprint(one.grid, one.cube.shape) for one in events if one.grid is not None])
    item = pystac.Item(
        id=f"slidecube-{d.digest[:12]}",
        geometry=None if footprints.is_empty else mapping(footprints),
        bbox=None if footprints.is_empty else list(footprints.bounds),
        datetime=None,
        start_datetime=min(passes),
        end_datetime=max(passes),
        properties={
            "title": f"Landslides of {d.area_names}" + (", simulated" if d.simulated else ""),
            "description": _described(d),
            "created": d.created.isoformat().replace("+00:00", "Z"),
            "slidecube:channels": {
                name: d.inputs.meanings.get(name.partition("@")[0], name) for name in d.inputs.channels
            },
            "slidecube:digest": d.digest,
            "slidecube:cubes": [one.cube.digest for one in events],
            "slidecube:simulated": d.simulated,
            "slidecube:attribution": [one.cube.attribution for one in events if one.cube.attribution],
            "slidecube:licences": [one.cube.licence for one in events if one.cube.licence],
            "slidecube:threshold": d.threshold,
            "slidecube:test_auprc": d.test_score.auprc,
            "slidecube:test_prevalence": d.test_score.prevalence,
        },
    )
    _add_model(item, d)
    _add_assets(item, d, weights, card)
    kept = [one for one in item.stac_extensions if not one.startswith(SCHEMA.partition("/v")[0])]
    item.stac_extensions = [SCHEMA, RASTER, *kept]
    found: dict[str, Any] = item.to_dict(include_self_link=False, transform_hrefs=False)
    return found


def _add_model(item: pystac.Item, document: BundleDocument) -> None:
    """The fields of the MLM extension."""
    d = document
    MLMExtension.ext(item, add_if_missing=True).apply(
        name=_name(d.area_names),
        architecture=architecture_named(d.network.architecture).title,
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


def _name(areas: str) -> str:
    """The name of the model: letters, digits, blanks and `_.-` only, as the extension wants it."""
    return f"slidecube landslides {re.sub(r'[^a-zA-Z0-9_. -]+', '-', areas).strip('_. -')}".strip()


def _add_assets(item: pystac.Item, document: BundleDocument, weights: str, card: str) -> None:
    """The weights, with their checksum, and the card."""
    item.add_asset(
        "weights",
        pystac.Asset(
            href=f"./{weights}",
            title="Weights as safetensors",
            media_type="application/octet-stream; application=safetensors",
            roles=["mlm:model", "mlm:weights", "data"],
            extra_fields={
                "raster:bands": [{"name": name, "data_type": "float32"} for name in document.inputs.channels]
            },
        ),
    )
    # multihash of a sha256: function 0x12, length 0x20
    checksum = f"1220{document.weights_sha256}"
    FileExtension.ext(item.assets["weights"], add_if_missing=True).checksum = checksum
    AssetGeneralMLMExtension.ext(item.assets["weights"]).apply(artifact_type="safetensors.torch.save_file")
    item.add_asset(
        "card",
        pystac.Asset(href=f"./{card}", title="Model card", media_type="text/markdown", roles=["metadata"]),
    )


def _described(document: BundleDocument) -> str:
    simulated = (
        "Trained on a SIMULATED area: no real landslide is in the training set. "
        if document.simulated
        else ""
    )
    return (
        f"{simulated}{'Mean test' if document.events else 'Test'} AUPRC {document.test_score.auprc:.3f} at a "
        "prevalence of "
        f"{document.test_score.prevalence:.4f}, "
        f"{number_of(len(document.selection.before), 'pass')} before and {len(document.selection.after)} after the "
        "event, "
        f"{document.selection.track}."
    )


def _input(document: BundleDocument) -> ModelInput:
    """The channels by name, as the network reads them: standardised, clipped, 0 where unknown."""
    statistics = document.statistics
    scaling = (
        f"; the scaling is that of {document.cube.area}, bundle.json has that of each event"
        if document.others
        else ""
    )
    found = ModelInput.create(
        name="channels of the cube",
        bands=list(statistics.channels),
        input=InputStructure.create(
            shape=[-1, len(statistics.channels), -1, -1],
            dim_order=["batch", "bands", "height", "width"],
            data_type=DataType.FLOAT32,
        ),
        description=f"height and width are multiples of 32; standardised values are clipped at "
        f"{statistics.clip_sd:g}, and 0 where unknown{scaling}",
    )
    # the extension asks for one object a channel; the library's setter takes a single object only
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
        description="before the calibration in bundle.json"
        + ("" if classes == 1 else "; the log-odds are the second of the two channels minus the first"),
        classes=[
            Classification.create(value=0, name="other", description="no landslide"),
            Classification.create(value=1, name="landslide", description="landslide of the event"),
        ],
    )
