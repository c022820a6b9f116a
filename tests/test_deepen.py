"""A deeper network computes the same until its new layers are trained."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from nc_gym.computer import weights
from nc_gym.computer.computer import NeuralComputer
from nc_gym.deepen import deepen


def screens_after_ten_events(folder: Path) -> torch.Tensor:
    computer = NeuralComputer.from_pretrained(folder, device="cpu")
    state = computer.boot(torch.tensor([3, 4]), torch.tensor([0, 0]))
    sizes = computer.config.event_sizes or (computer.config.num_events,)
    generator = torch.Generator().manual_seed(5)
    events = torch.stack([torch.randint(size, (10, 2), generator=generator) for size in sizes], -1)
    screens = []
    for event in events:
        computer.step(state, event if computer.config.event_sizes else event[:, 0])
        screens.append(computer.screens(state))
    return torch.stack(screens)


@pytest.mark.parametrize("kind", ["tiny_weights", "tiny_desktop_weights"])
def test_a_deeper_network_shows_the_same_screens(kind, request, tmp_path):
    folder = request.getfixturevalue(kind)
    deepen(folder, [0, 0, 1], tmp_path / "deeper")
    before, after = weights.read_config(folder), weights.read_config(tmp_path / "deeper")
    assert after.num_layers == before.num_layers + 3
    assert after.training["deepened"] == f"a new layer after each of [0, 0, 1] of {before.num_layers}"
    assert torch.equal(screens_after_ten_events(folder), screens_after_ten_events(tmp_path / "deeper"))


def test_layers_that_look_at_the_screen_still_do(tiny_weights, tmp_path):
    assert weights.read_config(tiny_weights).gaze_layers == (1,)
    deepen(tiny_weights, [0], tmp_path / "deeper")
    assert weights.read_config(tmp_path / "deeper").gaze_layers == (2,)


def test_a_new_layer_can_learn(tiny_weights, tmp_path):
    deepen(tiny_weights, [0], tmp_path / "deeper")
    network, _ = weights.load(tmp_path / "deeper")
    new = network.log.blocks[1]
    assert not new.out.weight.any() and not new.down.weight.any()
    assert new.qkv.weight.any() and new.up.weight.any()  # else no gradient would reach it


def test_a_layer_that_does_not_exist_is_refused(tiny_weights, tmp_path):
    with pytest.raises(ValueError, match=r"there is no layer 2 in .*; choose from 0 to 1"):
        deepen(tiny_weights, [2], tmp_path / "deeper")
    assert not (tmp_path / "deeper").exists()
