"""The registry of channels: what each channel needs, and the rules for statistics and augmentation."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from model.inputs.channel_registry import CHANNELS, channel_named, may_lack, variables_asked, words_of
from model.inputs.channels.terrain_channels import SLOPE_IF_KNOWN
from model.inputs.inputs import Inputs
from pipeline.cube.schema import VARIABLES
from pipeline.errors import ModelError


def named(rule):
    return {channel.name for channel in CHANNELS if rule(channel)}


def test_names_are_unique_and_every_variable_is_one_of_the_cube():
    assert len(named(lambda channel: True)) == len(CHANNELS)
    assert {name for channel in CHANNELS for name in channel.variables} <= VARIABLES.keys()


@pytest.mark.parametrize("channel", CHANNELS, ids=lambda channel: channel.name)
def test_inputs_can_ask_for_every_channel(channel):
    fields: dict[str, object] = {"backscatter": (), "terrain": ()}
    fields |= {field: word if field in ("aspect", "views") else (word,) for field, word in channel.asked_by}
    inputs = Inputs.model_validate(fields)
    assert channel in [asked for asked, _ in inputs.requested]
    assert set(channel.variables) <= set(inputs.variables)
    both = inputs.model_copy(update={"track": "both"}).channels
    expected = (
        [f"{channel.name}@ascending", f"{channel.name}@descending"] if channel.of_view else [channel.name]
    )
    assert [name for name in both if channel_named(name) == channel] == expected


def test_the_rules_are_those_with_which_older_bundles_were_trained():
    assert named(lambda c: not c.standardised) == {
        "aspect_sin", "aspect_cos", "aspect_to_sensor_sin", "aspect_to_sensor_cos", "layover_shadow",
        "seen", "passes", *(f"coherence_{word}_known" for word in words_of("coherence")), *SLOPE_IF_KNOWN,
    }  # fmt: skip
    assert named(lambda c: c.no_value == "mean") == {
        "vv_before_sd", "vh_before_sd", *(f"coherence_{word}" for word in words_of("coherence")), "slope_if_known",
    }  # fmt: skip
    assert named(lambda c: c.mirror == "sign flipped") == {"aspect_cos", "aspect_to_sensor_sin"}
    assert named(lambda c: c.mirror == "impossible") == {"aspect_deg"}
    older = {
        f"{polarisation}_{name}": gain
        for polarisation in ("vv", "vh")
        for name, gain in (
            ("before", {"before": 1}),
            ("after", {"after": 1}),
            ("log_ratio", {"before": -1, "after": 1}),
        )
    }
    assert {name: dict(channel_named(name).gain) for name in older} == older


def test_an_unknown_channel_is_named():
    with pytest.raises(ModelError, match="hv_before"):
        channel_named("hv_before")
    with pytest.raises(ModelError, match="dem@ascending"):  # the terrain is the same in every view
        channel_named("dem@ascending")
    for field in ("backscatter", "terrain", "change", "geometry", "coherence", "further"):
        with pytest.raises(ValidationError) as refused:
            Inputs.model_validate({field: ["no such word"]})
        (error,) = refused.value.errors()
        assert error["type"] == "unknown_channel" and error["loc"][0] == field


def test_words_have_variables_and_no_further_channel_changes_no_document():
    assert variables_asked("terrain", "aspect") == ("dem_aspect",)
    assert variables_asked("backscatter", "vh") == ("vh",)
    assert "further" not in Inputs().model_dump()
    assert may_lack(("coherence_loss", "dem")).tolist() == [True, False]
    assert may_lack(("coherence_loss",)).tolist() == [False]
