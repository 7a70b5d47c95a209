"""Networks for small landslides and for two views, which are compared with the plain U-Net.

A ResNet halves its input before it looks at it, and landslides are five pixels across. The two directions see a slope
from opposite sides: mirrored, an ascending scene is one that a descending pass could have seen.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from model.inputs.channel import DIRECTIONS
from model.inputs.channel_registry import name_in_view
from model.inputs.channels.coherence_channels import SEEN
from model.network.torch_guard import torch

FIRST_WIDTH = 16
"""channels of the level at full resolution"""
EASTWARD = {"aspect_sin", "aspect_to_sensor_sin"}
"""channels whose sign flips when east and west are exchanged"""


class FullResolution(torch.nn.Module):
    """A U-Net of smp with a level at full resolution: two convolutions of the input, joined to the decoder's output."""

    def __init__(self, unet: torch.nn.Module, in_channels: int, decoded: int, classes: int) -> None:
        """
        Args:
            unet: of smp; its own head is not used.
            decoded: channels of its decoder's output.
        """
        super().__init__()
        self.encoder: torch.nn.Module = unet.get_submodule("encoder")
        self.decoder: torch.nn.Module = unet.get_submodule("decoder")
        self.first = torch.nn.Sequential(
            *_convolved(in_channels, FIRST_WIDTH), *_convolved(FIRST_WIDTH, FIRST_WIDTH)
        )
        self.segmentation_head = torch.nn.Conv2d(decoded + FIRST_WIDTH, classes, 3, padding=1)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """(chip, channel, y, x) to (chip, class, y, x)."""
        decoded = self.decoder(self.encoder(inputs))
        found: torch.Tensor = self.segmentation_head(torch.cat([decoded, self.first(inputs)], dim=1))
        return found


class SharedViews(torch.nn.Module):
    """A U-Net of smp whose encoder sees each direction by itself, the ascending one mirrored east to west.

    The features of the views are averaged, each with the share of pixels that its view sees.
    """

    def __init__(self, unet_of: Callable[[int], torch.nn.Module], channels: Sequence[str]) -> None:
        """
        Args:
            unet_of: builds a U-Net of smp from the number of its input channels.
            channels: names of the input channels, of two views.

        Raises:
            ValueError: they are not those of two views.
        """
        super().__init__()
        names = list(channels)
        views = [[i for i, name in enumerate(names) if name.endswith(f"@{one}")] for one in DIRECTIONS]
        kinds = [[names[i].partition("@")[0] for i in view] for view in views]
        if not kinds[0] or kinds[0] != kinds[1]:
            raise ValueError("this network needs inputs of two views (track 'both')")
        common = [i for i, name in enumerate(names) if "@" not in name]
        self._views = [[*view, *common] for view in views]
        seen = [name_in_view(SEEN, one) for one in DIRECTIONS]
        self._seen = [names.index(name) for name in seen] if set(seen) <= set(names) else []
        signs = [-1.0 if names[i].partition("@")[0] in EASTWARD else 1.0 for i in self._views[0]]
        self.signs: torch.Tensor
        self.register_buffer("signs", torch.tensor(signs)[:, None, None], persistent=False)
        unet = unet_of(len(self._views[0]))
        self.encoder: torch.nn.Module = unet.get_submodule("encoder")
        self.decoder: torch.nn.Module = unet.get_submodule("decoder")
        self.segmentation_head = unet.get_submodule("segmentation_head")

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """(chip, channel, y, x) to (chip, class, y, x)."""
        found: torch.Tensor = self.segmentation_head(self.decoder(self.features(inputs)))
        return found

    def features(self, inputs: torch.Tensor) -> list[torch.Tensor]:
        """The merged features of both views at every level, from full resolution down."""
        ascending, descending = (inputs[:, view] for view in self._views)
        together = torch.cat([mirrored(ascending * self.signs), descending])
        features = [stage.chunk(2) for stage in self.encoder(together)]
        seen = inputs[:, self._seen] if self._seen else torch.ones_like(inputs[:, :2])
        return [self._merged(mirrored(first), second, seen) for first, second in features]

    @staticmethod
    def _merged(first: torch.Tensor, second: torch.Tensor, seen: torch.Tensor) -> torch.Tensor:
        step = seen.shape[-1] // first.shape[-1]
        share = torch.nn.functional.avg_pool2d(seen, step) if step > 1 else seen
        weight = share / share.sum(dim=1, keepdim=True).clamp(min=1e-3)
        return first * weight[:, :1] + second * weight[:, 1:]


def _convolved(inputs: int, outputs: int) -> tuple[torch.nn.Module, ...]:
    return (
        torch.nn.Conv2d(inputs, outputs, 3, padding=1, bias=False),
        torch.nn.BatchNorm2d(outputs),
        torch.nn.ReLU(inplace=True),
    )


def mirrored(values: torch.Tensor) -> torch.Tensor:
    """Columns mirrored about column 0 and moved back by one: column c is column n - c, and column 0 the last one.

    A stride of 2 looks at columns 0, 2, 4: a plain mirror would look at odd columns, and features that are mirrored
    back would lie up to a cell beside those of the other view.
    """
    return torch.cat([values[..., -1:], values.flip(-1)[..., :-1]], dim=-1)
