"""Networks, losses and channels of other people: by callable, by entry point, and in bundles opened elsewhere."""

from __future__ import annotations

import functools
import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import slidecube
from model.bundle.bundle import load, read_document
from model.bundle.document import DOCUMENT
from model.inputs import channel_registry
from model.network import architectures
from model.network.network import build
from model.network.parts import losses
from model.network.parts.losses import own_loss
from model.network.parts.own_network import own_network
from model.network.parts.own_parts import NETWORKS, fingerprint, installed_part
from model.network.torch_guard import smp, torch
from model.network.training_plan import NetworkSpec
from pipeline.errors import ModelError
from tests.small_cube import small_cube, write

PLAN = {"chip_px": 64, "stride_px": 32, "steps": 3, "batch": 4, "validate_every": 3, "device": "cpu"}
INPUTS = {"backscatter": ["vv"], "terrain": []}
PACKAGE = """
import torch


class Tiny(torch.nn.Module):
    def __init__(self, in_chans, num_classes):
        super().__init__()
        self.layer = torch.nn.Conv2d(in_chans, num_classes, 3, padding=1)

    def forward(self, inputs):
        return {"out": self.layer(inputs)}
"""


@pytest.fixture(autouse=True)
def registries(monkeypatch):
    """Registries that are as before after each test."""
    monkeypatch.setattr(architectures, "ARCHITECTURES", dict(architectures.ARCHITECTURES))
    monkeypatch.setattr(losses, "_REGISTERED", {})
    kept = list(channel_registry.CHANNELS), dict(channel_registry._BY_NAME), set(channel_registry._OWN)
    yield
    channel_registry.CHANNELS[:] = kept[0]
    channel_registry._BY_NAME.clear()
    channel_registry._BY_NAME.update(kept[1])
    channel_registry._OWN.clear()
    channel_registry._OWN.update(kept[2])


@pytest.fixture(scope="module")
def cube(tmp_path_factory) -> str:
    return str(write(small_cube(256), tmp_path_factory.mktemp("cubes") / "one.zarr"))


def install(folder: Path, name: str = "tiny_networks", version: str = "1.2") -> Path:
    """A package with an entry point, as an installer leaves it."""
    (folder / f"{name}.py").write_text(PACKAGE)
    info = folder / f"{name}-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    (info / "entry_points.txt").write_text(f"[slidecube.networks]\ntiny = {name}:Tiny\n")
    return folder


def request(**experiment: object) -> slidecube.TrainingRequest:
    return slidecube.TrainingRequest(
        plan=PLAN, experiment={"inputs": INPUTS, "test_time": "plain", "cases": (), **experiment}
    )


def conv(in_channels: int, classes: int) -> torch.nn.Module:
    return torch.nn.Conv2d(in_channels, classes, 3, padding=1)


SIZES = SimpleNamespace(in_channels=5, classes=1)


@pytest.mark.parametrize(
    "made_by",
    [
        conv,
        lambda in_chans, num_classes: conv(in_chans, num_classes),
        lambda sizes: conv(sizes.in_channels, sizes.classes),
        functools.partial(smp.Unet, "resnet18", encoder_weights=None),
        functools.partial(smp.Segformer, "mit_b0", encoder_weights=None),
        functools.partial(smp.Unet, "tu-mobilenetv3_small_100", encoder_weights=None),  # of timm
        functools.partial(torch.nn.Conv2d, out_channels=1, kernel_size=1),
    ],
)
def test_any_callable_that_gives_a_module_is_called_by_its_own_names(made_by):
    network = own_network(made_by, SIZES)
    assert tuple(network(torch.zeros(2, 5, 96, 64)).shape) == (2, 1, 96, 64)


class Wrapped(torch.nn.Module):
    """Gives its output in the form of another library."""

    def __init__(self, form: str) -> None:
        super().__init__()
        self.layer, self.form = torch.nn.Conv2d(5, 1, 1), form

    def forward(self, inputs: torch.Tensor) -> object:
        found = self.layer(inputs)
        return {
            "torchvision": {"out": found, "aux": None},
            "terratorch": SimpleNamespace(output=found),
            "tuple": (found, None),
            "no class": found[:, 0],
        }[self.form]


@pytest.mark.parametrize("form", ["torchvision", "terratorch", "tuple", "no class"])
def test_outputs_of_other_libraries_become_one_tensor(form):
    assert tuple(own_network(lambda sizes: Wrapped(form), SIZES)(torch.zeros(1, 5, 64, 64)).shape) == (
        1,
        1,
        64,
        64,
    )


@pytest.mark.parametrize(
    "made_by",
    [
        lambda sizes: 3,
        lambda in_channels, depth: conv(in_channels, 1),
        lambda sizes: torch.nn.Conv2d(5, 1, 3),  # no padding: smaller than its input
        lambda sizes: torch.nn.Conv2d(4, 1, 1),
    ],
)
def test_what_does_not_fit_is_named(made_by):
    with pytest.raises(ModelError):
        own_network(made_by, SIZES)


def test_a_network_and_a_loss_of_ones_own_are_trained_mapped_and_opened_again(cube, tmp_path):
    seen = []

    def focal(logits, target, mask):
        seen.append(tuple(logits.shape))
        return smp.losses.FocalLoss("binary")(logits[mask][None], target[mask][None])

    made = slidecube.train(cube, request(), out=tmp_path / "own", build=conv, loss=focal)
    assert made.new and len(seen) == PLAN["steps"] and made.record.parameters == 2 * 9 + 1
    document = read_document(tmp_path / "own")
    assert document.network.builder.source == "session" and document.network.builder.made_by.endswith("conv")
    assert document.training.loss.endswith("focal")
    assert not slidecube.train(cube, request(), out=tmp_path / "own", build=conv, loss=focal).new
    mapped = slidecube.map(cube, str(tmp_path / "own"), out=tmp_path / "map")
    assert mapped.record.polygons is not None
    with pytest.raises(ModelError):  # another function of this name is another network
        slidecube.train(cube, request(), out=tmp_path / "own", build=_other_conv(), loss=focal)


def _other_conv():
    def conv(in_channels, classes):
        return torch.nn.Conv2d(in_channels, classes, 1)

    conv.__module__, conv.__qualname__ = __name__, "conv"
    return conv


def test_a_bundle_of_a_session_is_refused_elsewhere_with_the_way_out(cube, tmp_path, monkeypatch):
    slidecube.train(cube, request(), out=tmp_path / "own", build=conv)
    name = read_document(tmp_path / "own").network.architecture
    monkeypatch.delitem(architectures.ARCHITECTURES, name)
    with pytest.raises(ModelError) as error:
        load(tmp_path / "own")
    assert name[:40] in error.value.message and "register_network" in str(error.value.remedy)
    slidecube.register_network(name, conv)
    assert len(load(tmp_path / "own").networks) == 1


def test_an_entry_point_is_built_recorded_and_refused_where_it_is_not_installed(cube, tmp_path, monkeypatch):
    (tmp_path / "site").mkdir()
    monkeypatch.syspath_prepend(install(tmp_path / "site"))
    slidecube.train(cube, request(), out=tmp_path / "tiny", build="tiny")
    record = json.loads((tmp_path / "tiny" / DOCUMENT).read_text())["network"]["builder"]
    assert record == {
        "source": "entry point", "made_by": "tiny_networks:Tiny", "package": "tiny_networks", "version": "1.2",
    }  # fmt: skip
    code = "import sys, slidecube; slidecube.load_bundle(sys.argv[1])"
    command = [sys.executable, "-c", code, str(tmp_path / "tiny")]
    paths = {"PYTHONPATH": f"{tmp_path / 'site'}:{Path(slidecube.__file__).parent}", "PATH": "/usr/bin"}
    done = subprocess.run(command, env=paths, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path != str(tmp_path / "site")])
    monkeypatch.delitem(architectures.ARCHITECTURES, "tiny")
    with pytest.raises(ModelError) as error:
        load(tmp_path / "tiny")
    assert "tiny_networks 1.2" in error.value.message and "Install tiny_networks" in str(error.value.remedy)


def test_two_packages_with_one_entry_point_are_both_named(tmp_path, monkeypatch):
    for name in ("one_package", "two_package"):
        (tmp_path / name).mkdir()
        monkeypatch.syspath_prepend(install(tmp_path / name, name))
    with pytest.raises(ModelError) as error:
        installed_part(NETWORKS, "tiny")
    assert "one_package" in error.value.message and "two_package" in error.value.message


@pytest.mark.parametrize("name", ["os:system", "subprocess.Popen", "torch.nn:Linear", "builtins.exec"])
def test_a_foreign_bundle_can_name_no_class_to_import(cube, tmp_path, name):
    slidecube.train(cube, request(), out=tmp_path / "own")
    file = tmp_path / "own" / DOCUMENT
    document = json.loads(file.read_text())
    document["network"] |= {"architecture": name, "builder": {"source": "entry point", "made_by": name}}
    file.write_text(json.dumps(document))
    with pytest.raises(ModelError):
        load(tmp_path / "own")


def test_names_of_slidecube_cannot_be_taken():
    with pytest.raises(ValueError):
        slidecube.register_network("unet", conv)
    with pytest.raises(ModelError):
        slidecube.register_channel(channel("slope"))


def test_several_processes_refuse_a_callable(cube):
    asked = slidecube.TrainingRequest(plan={**PLAN, "processes": 2}, experiment={"inputs": INPUTS})
    with pytest.raises(ModelError):
        slidecube.train(cube, asked, build=conv)


@pytest.mark.parametrize(
    "loss",
    [
        torch.nn.BCEWithLogitsLoss(),
        torch.nn.BCEWithLogitsLoss,
        smp.losses.DiceLoss("binary"),
        smp.losses.TverskyLoss("binary"),
        lambda logits, target: torch.nn.functional.binary_cross_entropy_with_logits(logits, target),
    ],
)
def test_a_loss_of_two_parameters_sees_the_pixels_that_count(loss):
    found = own_loss(slidecube.register_loss("own", loss))
    logits = torch.tensor([[[3.0, -2.0, 50.0]]], requires_grad=True)
    target, mask = torch.tensor([[[1.0, 0.0, 0.0]]]), torch.tensor([[[True, True, False]]])
    value = found(logits, target, mask)
    assert value.ndim == 0 and float(value.detach()) < 0.3  # the wrong third pixel does not count
    value.backward()
    assert float(logits.grad[0, 0, 2]) == 0
    assert float(found(logits, target, torch.zeros_like(mask)).detach()) == 0


@pytest.mark.parametrize("name", ["nothing of this name"])
def test_a_loss_that_is_not_there_is_named(name):
    with pytest.raises(ModelError):
        own_loss(name)


@pytest.mark.parametrize("part", ["build", "loss"])
def test_a_part_that_is_not_there_is_named_before_anything_is_trained(cube, tmp_path, part):
    with pytest.raises(ModelError) as error:
        slidecube.train(cube, request(), out=tmp_path / "own", **{part: "nothing-of-this-name"})
    assert "nothing-of-this-name" in error.value.message and not (tmp_path / "own").exists()
    with pytest.raises(ModelError):
        own_loss(slidecube.register_loss("one parameter", lambda logits: logits.sum()))


def channel(name: str, variables: tuple[str, ...] = ("dem_slope_radians",)) -> slidecube.Channel:
    return slidecube.Channel(
        name=name,
        meaning="a test",
        variables=variables,
        compute=lambda window: window.layer(variables[0]) * 2,
        of_view=False,
    )


def test_a_channel_of_ones_own_is_read_and_a_bundle_with_it_is_refused_elsewhere(cube, tmp_path):
    slidecube.register_channel(channel("twice"))
    inputs = {**INPUTS, "terrain": ["slope"], "further": ["twice"]}
    chips = slidecube.ChipDataset(cube, inputs, chip=32)
    assert chips.channels == ("vv_before", "vv_after", "slope", "twice")
    np.testing.assert_allclose(chips[0]["image"][2], chips[0]["image"][3], atol=1e-5)
    slidecube.train(cube, request(inputs=inputs), out=tmp_path / "own")
    assert len(load(tmp_path / "own").networks) == 1
    channel_registry.CHANNELS[:] = [one for one in channel_registry.CHANNELS if one.name != "twice"]
    channel_registry._BY_NAME.pop("twice")
    with pytest.raises(ModelError) as error:
        load(tmp_path / "own")
    assert "twice" in error.value.message and "register_channel" in str(error.value.remedy)


def test_a_channel_may_take_a_variable_that_slidecube_does_not_know(tmp_path):
    cube = small_cube(256)
    cube["rain"] = cube.dem * 0.1
    slidecube.register_channel(channel("wet", ("rain",)))
    assert slidecube.ChipDataset(cube, {**INPUTS, "further": ["wet"]}, chip=32).channels[-1] == "wet"
    cube["rain"] = cube.vv
    with pytest.raises(ModelError):
        slidecube.ChipDataset(cube, {**INPUTS, "further": ["wet"]}, chip=32)


@pytest.mark.parametrize("changes", [{"name": "no word"}, {"group": "terrain"}])
def test_a_channel_that_cannot_be_asked_for_is_refused(changes):
    from dataclasses import replace

    with pytest.raises(ModelError):
        slidecube.register_channel(replace(channel("fine"), **changes))


def test_a_fingerprint_tells_functions_of_one_name_apart():
    assert fingerprint(conv) == fingerprint(conv) != fingerprint(_other_conv())
    bound = functools.partial(smp.Unet, "resnet18")
    assert fingerprint(bound) != fingerprint(functools.partial(smp.Unet, "resnet34"))


def test_own_networks_of_slidecube_have_no_builder_in_their_documents():
    assert "builder" not in NetworkSpec(in_channels=1).model_dump(mode="json")
    assert isinstance(build(NetworkSpec(in_channels=1)), smp.Unet)
