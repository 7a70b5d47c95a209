"""The channels of slidecube by what they are computed from; `model.inputs.channel_registry` lists them."""
