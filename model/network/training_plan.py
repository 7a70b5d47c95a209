"""The settings of networks, of their training and of prediction windows. This module does not import torch."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from model.network.architectures import architecture_name, architecture_named
from model.network.parts.own_parts import PartOrigin
from pipeline.records import Frozen

STRIDE_PX = 32
"""the sides of a window must be multiples of this: five halvings in the encoder"""

LARGEST_PX = 4096
"""largest side of a chip or window: one of 64 channels then takes 4 GiB"""
LARGEST_BATCH = 4096
ONE_VIEW_SHARE = 0.5
MOST_STEPS = 10_000_000
LARGEST_NORM = 5.0
"""of the gradients, which are scaled down to it"""

ArchitectureName = Annotated[str, AfterValidator(architecture_name)]
Encoder = Literal["resnet18", "resnet34", "resnet50"]
Augmentation = Literal["mirror along track", "gain"]
TestTime = Literal["plain", "mirrored"]
Standardise = Literal["auto", "scene", "training"]
LoggerName = Literal["csv", "tensorboard", "mlflow"]


class NetworkSpec(Frozen):
    """The network to build. Only registered networks and known encoders: a foreign bundle cannot name any other
    class."""

    architecture: ArchitectureName = "unet"
    encoder: Encoder = "resnet18"
    encoder_depth: int = Field(5, ge=3, le=5, description="halvings in the encoder")
    decoder_channels: tuple[int, ...] | None = Field(
        None, description="one for each halving, deepest first; None: the defaults of smp"
    )
    classes: Literal[1, 2] = Field(1, description="2: the paper's, whose log-odds is the difference of both")
    in_channels: int = Field(ge=1, le=64)
    channels: tuple[Annotated[str, Field(max_length=64)], ...] = Field(
        (),
        max_length=64,
        exclude_if=lambda names: not names,
        description="names of the input channels, where the network is built from them; else empty",
    )
    initial_weights: Literal["random", "imagenet", "pretrained"] = Field(
        "random", description="pretrained: from a file that self-supervised training wrote"
    )

    builder: PartOrigin | None = Field(
        None,
        exclude_if=lambda origin: origin is None,  # documents of slidecube's own networks stay unchanged
        description="where the network came from; None: it is one of slidecube's own",
    )

    @model_validator(mode="after")
    def _one_each(self) -> NetworkSpec:
        if self.decoder_channels is not None:
            if len(self.decoder_channels) != self.encoder_depth:
                raise ValueError("decoder_channels needs one number for each halving of the encoder")
            if not all(1 <= width <= 1024 for width in self.decoder_channels):
                raise ValueError("decoder_channels lie between 1 and 1024")
        return self

    def on(self, channels: tuple[str, ...]) -> NetworkSpec:
        """The network for these input channels."""
        named = architecture_named(self.architecture).named_channels
        update = {"in_channels": len(channels), "channels": channels if named else ()}
        return self.model_copy(update=update)

    @property
    def in_words(self) -> str:
        """The network in words, as in 'unet with a resnet18 encoder'."""
        kind = architecture_named(self.architecture)
        return f"{self.architecture} with a {self.encoder} encoder" if kind.encoder else kind.title

    @property
    def decoder(self) -> tuple[int, ...] | None:
        """Widths of the decoder where they are not those of smp for five halvings."""
        if self.decoder_channels is not None:
            return self.decoder_channels
        return None if self.encoder_depth == 5 else (256, 128, 64, 32, 16)[: self.encoder_depth]


class TrainingPlan(Frozen):
    """How a network is trained; the defaults are the best recipe of docs/learning.md.

    Chips are shifted, and mirrored along the track. They are neither rotated nor flipped across the track: the radar
    looks to one side, and a slope that faces it would become one that faces away.
    """

    chip_px: int = Field(
        128, ge=STRIDE_PX, le=LARGEST_PX, multiple_of=STRIDE_PX, description="side of a chip, pixels"
    )
    stride_px: int = Field(
        64, ge=1, le=LARGEST_PX, description="distance of neighbouring training chips, pixels"
    )
    steps: int = Field(300, ge=1, le=MOST_STEPS, description="batches in all")
    batch: int = Field(8, ge=2, le=LARGEST_BATCH, description="chips in a batch")
    share_with_landslide: float = Field(0.7, ge=0, le=1, description="share of chips that hold a landslide")
    sampling: Literal["random crops", "fixed chips"] = Field(
        "random crops", description="fixed chips: non-overlapping ones, shuffled once an epoch, without shift"
    )
    augmentation: tuple[Augmentation, ...] = ("mirror along track", "gain")
    one_view_share: float = Field(
        ONE_VIEW_SHARE,
        ge=0,
        le=1,
        exclude_if=lambda share: share == ONE_VIEW_SHARE,
        description="share of chips of which one view alone is shown, drawn at random, where a network takes any view",
    )
    optimiser: Literal["adamw", "adam"] = "adamw"
    schedule: Literal["cosine", "constant"] = Field("cosine", description="cosine: with a linear warm-up")
    ema_decay: float | None = Field(
        0.98,
        gt=0,
        lt=1,
        description="decay per step of the mean of the weights, which is evaluated; None: no mean",
    )
    learning_rate: float = Field(2e-3, gt=0, description="peak of the one cycle")
    weight_decay: float = Field(1e-2, ge=0)
    warm_up: float = Field(0.1, ge=0, lt=1, description="share of the steps in which the rate rises")
    dice_weight: float = Field(
        1.0, ge=0, description="weight of the Dice loss, which is added to the cross entropy"
    )
    loss: str | None = Field(
        None,
        max_length=300,
        exclude_if=lambda name: name is None,  # documents with the default loss stay unchanged
        description="name of a registered loss, or of an entry point; None: cross entropy plus Dice",
    )
    validate_every: int = Field(30, ge=1, description="steps between two evaluations on the validation area")
    device: Literal["auto", "cpu", "cuda"] = "auto"
    precision: Literal["float32", "bfloat16"] = Field(
        "float32", description="bfloat16: mixed precision where there is a GPU; a CPU keeps float32"
    )
    compiled: bool = Field(
        False, description="compile the network where there is a GPU; takes about a minute"
    )
    checkpoints: Path | None = Field(
        None,
        exclude=True,  # where a training keeps its state does not decide what is trained
        description="folder where the state is kept at each evaluation; a killed training goes on from there",
    )
    logger: LoggerName = Field(
        "csv",
        exclude=True,
        description="where the evaluations are written too, besides metrics.csv in the folder of the checkpoint",
    )
    processes: int = Field(
        1,
        ge=1,
        le=64,
        description="processes that share each batch, one for each GPU; on a CPU they share its cores",
    )

    @model_validator(mode="after")
    def _in_a_folder(self) -> TrainingPlan:
        if self.logger != "csv" and self.checkpoints is None:
            raise ValueError(f"the logger {self.logger} needs a folder for checkpoints (--checkpoints)")
        return self

    @model_validator(mode="after")
    def _shared_evenly(self) -> TrainingPlan:
        if self.batch % self.processes or self.batch < 2 * self.processes:
            raise ValueError(
                "a batch is shared evenly: it must be a multiple of processes, two chips or more for each"
            )
        return self


Switch = Literal["as published", "corrected"]


class PaperSwitches(Frozen):
    """The defects of the published experiment by name, each as it was or put right."""

    dropped_newest_before: Switch = Field(
        "as published",
        description="the newest pass before the event is not used where there are more passes than are taken",
    )
    date_string_slicing: Switch = Field(
        "as published", description="a pass on the event's UTC day counts as before, even hours after it"
    )
    one_direction: Switch = Field("as published", description="descending passes alone are used")
    whole_scene_statistics: Switch = Field(
        "as published", description="inputs are standardised with tested pixels too"
    )
    raw_aspect: Switch = Field("as published", description="aspect in degrees, with its jump at north")
    pixels_without_input: Switch = Field(
        "as published",
        description="a missing value is 0 once standardised, each channel alone, and its pixel is trained on and "
        "scored; corrected: such a pixel is neither",
    )
    validation_as_test: Switch = Field(
        "as published",
        description="the validation chips (61 of 309) are reported as test; corrected: those never used (32) are",
    )


class PaperPlan(Frozen):
    """How the published code trains; smaller numbers are for screening."""

    epochs: int = Field(100, ge=1, le=MOST_STEPS)
    batch: int = Field(64, ge=2, le=LARGEST_BATCH)
    learning_rate: float = Field(0.01, gt=0)
    weight_decay: float = Field(1e-4, ge=0)
    factor: float = Field(
        0.1, gt=0, lt=1, description="factor of the rate when the training loss does not fall"
    )
    patience: int = Field(10, ge=0, description="epochs without a fall before the rate changes")
    threshold: float = Field(1e-4, ge=0, description="relative improvement that counts")
    chip_px: int = Field(128, ge=STRIDE_PX, le=LARGEST_PX, multiple_of=STRIDE_PX)
    split_seed: int = 42
    switches: PaperSwitches = PaperSwitches()
    device: Literal["auto", "cpu", "cuda"] = "auto"


class Check(Frozen):
    """One evaluation on the validation area."""

    step: int
    loss: float = Field(description="mean training loss since the last evaluation")
    validation_auprc: float


class InferencePlan(Frozen):
    """Windows and how they overlap, in pixels.

    The outermost `margin_px` of a window, which padding affects, count only at the scene's edge.
    """

    window_px: int = Field(512, ge=STRIDE_PX, le=LARGEST_PX, multiple_of=STRIDE_PX)
    overlap_px: int = Field(96, ge=0)
    margin_px: int = Field(16, ge=0)

    @model_validator(mode="after")
    def _fits(self) -> InferencePlan:
        if 2 * self.margin_px > self.overlap_px or 2 * self.overlap_px > self.window_px:
            raise ValueError("twice the margin must fit into the overlap, twice the overlap into the window")
        return self


class Case(Frozen):
    """Numbers of passes: the newest before and the first after the event. None: all."""

    before: int | None = Field(None, ge=1)
    after: int | None = Field(None, ge=1)


def member_seed(seed: int, number: int) -> int:
    """The seed of a network of an ensemble; that of the first one is the seed itself."""
    return seed + 1000 * number
