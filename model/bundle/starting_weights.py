"""Weights of a bundle to start a training from, with the inputs and the network that they belong to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from model.bundle.bundle import load, read_document
from model.bundle.starting_bundle import StartingBundle
from pipeline.errors import ModelError
from pipeline.places import bundle_named

if TYPE_CHECKING:
    from model.bundle.document import BundleDocument
    from model.inputs.inputs import Inputs
    from model.network.training_plan import NetworkSpec


def starting_bundle(name: str) -> StartingBundle:
    """The bundle of a name, as it is now.

    Raises:
        ModelError: there is none, or it is damaged.
    """
    document = read_document(bundle_named(name))
    return StartingBundle(name=name, digest=document.digest, simulated=document.simulated)


def document_of(start: StartingBundle) -> BundleDocument:
    """The document of the very bundle.

    Raises:
        ModelError: it is absent or damaged, or another one has its name now.
    """
    document = read_document(bundle_named(start.name))
    if document.digest != start.digest:
        raise ModelError(
            f"{start.name} is no longer the bundle {start.digest[:12]}, but {document.digest[:12]}.",
            "Begin again from the bundle that is there, or put the earlier one back.",
        )
    return document


def network_from(document: BundleDocument) -> NetworkSpec:
    """The network of a bundle, for a training that starts from its weights."""
    return document.network.model_copy(update={"initial_weights": "pretrained"})


def weights_from(start: StartingBundle, inputs: Inputs, member: int = 0) -> dict[str, Any]:
    """The tensors of a network of the bundle by name.

    Args:
        inputs: of the training, whose channels must be those of the bundle.
        member: of an ensemble; one that has fewer networks gives them in turn.

    Raises:
        ModelError: the bundle is not the one that was asked for, or has other channels.
    """
    document = document_of(start)
    if document.inputs.channels != inputs.channels:
        raise ModelError(
            f"{start.name} has other inputs than this training: {', '.join(document.inputs.channels)}.",
            "Leave the inputs out: they are those of the bundle that the training starts from.",
        )
    networks = load(bundle_named(start.name)).networks
    return dict(networks[member % len(networks)].state_dict())
