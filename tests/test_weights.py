"""Weights folders that cannot be used: one clear error each, and a full disk costs nothing that was there."""

from __future__ import annotations

import dataclasses
import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file
from small_disk import grow, small_disk
from tiny import save_tiny_computer, tiny_computer
from tiny_desktop import tiny_desktop

from nc_gym.computer.computer import NeuralComputer, WeightsError
from nc_gym.computer.weights import read_config
from nc_gym.paths import data_root
from nc_gym.train import SUBJECTS

FILES = ("config.json", "model.safetensors", "boots.safetensors")


@pytest.fixture
def weights(tiny_weights, tmp_path):
    """A copy to break."""
    return shutil.copytree(tiny_weights, tmp_path / "weights")


def load(path, **options):
    return NeuralComputer.from_pretrained(path, device="cpu", **options)


def change_config(weights, **entries):
    config = json.loads((weights / "config.json").read_text())
    (weights / "config.json").write_text(json.dumps(config | entries))


def change_tensors(file, change):
    tensors = load_file(file)
    change(tensors)
    save_file(tensors, file)


def refused(path, *words):
    with pytest.raises(WeightsError) as raised:
        load(path)
    message = str(raised.value)
    assert "\n" not in message and len(message) < 400
    for word in words:
        assert word in message, message


def test_whole_weights_load(weights):
    assert load(weights).config.machine == "terminal"


def test_a_missing_folder(tmp_path):
    refused(tmp_path / "none", str(tmp_path / "none"), "config.json is missing", "nc-gym train")


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file(weights, name):
    (weights / name).unlink()
    refused(weights, str(weights), name, "missing")


@pytest.mark.parametrize("name", FILES[1:])
@pytest.mark.parametrize("damage", ["empty", "text", "truncated", "header"])
def test_a_corrupt_file(weights, name, damage):
    file = weights / name
    data = file.read_bytes()
    broken = {"empty": b"", "text": b"not tensors at all", "truncated": data[:-100], "header": b"\xff" * 8 + data[8:]}
    file.write_bytes(broken[damage])
    refused(weights, str(file), "is corrupt", "fetch or train the weights again")


@pytest.mark.parametrize("text", ["", "{", "[]", "3", '{"keys": 3}', "\xff"])
def test_a_corrupt_configuration(weights, text):
    (weights / "config.json").write_bytes(text.encode("latin-1"))
    refused(weights, str(weights / "config.json"), "is not a neural computer's configuration", "restore the file")


def test_an_unknown_entry(weights):
    change_config(weights, pointer_bins=4)
    refused(weights, "config.json", "unknown entries ['pointer_bins']", "newer nc_gym")


@pytest.mark.parametrize("value", [0, -3, "wide", 2.5, True, None])
def test_a_size_that_is_no_size(weights, value):
    change_config(weights, width=value)
    refused(weights, "config.json", f"width is {value!r}", "a positive whole number")


def test_tiles_that_do_not_fill_the_screen(weights):
    change_config(weights, tile_width=7)
    refused(weights, "config.json", "320x192 is not a whole number of 7x16 tiles")


def test_a_tensor_of_another_shape_is_named(weights):
    change_config(weights, renderer_width=48)
    refused(weights, "model.safetensors", "renderer.clean.weight is (8, 32)", "(8, 48)", "from one training run")


def test_a_missing_tensor_is_named(weights):
    change_tensors(weights / "model.safetensors", lambda tensors: tensors.pop("scout.read.bias"))
    refused(weights, "model.safetensors", "lacks scout.read.bias", "1 missing")


def test_an_unexpected_tensor_is_named(weights):
    change_tensors(weights / "model.safetensors", lambda tensors: tensors.update(extra=torch.zeros(1)))
    refused(weights, "model.safetensors", "has extra", "1 unexpected")


def test_boots_without_their_arrays(weights):
    change_tensors(weights / "boots.safetensors", lambda tensors: tensors.pop("events"))
    refused(weights, "boots.safetensors", "holds ['codes', 'starts']", "expected ['codes', 'events', 'starts']")


@pytest.mark.parametrize("name", ["codes", "starts"])
def test_boots_of_other_weights(weights, name):
    def change(tensors):
        tensors[name] = tensors[name] + 1000 if name == "codes" else torch.tensor([0, 5])

    change_tensors(weights / "boots.safetensors", change)
    refused(weights, "boots.safetensors", "does not hold the boots of config.json", "from one training run")


@pytest.mark.parametrize("pointers", [[[20, 0, 0]], [[0, 0, 2]], [[0, -1, 0]], [[0, 0, 0]] * 2])
def test_pointers_that_are_not_on_the_screen(tmp_path, pointers):
    tiny_desktop().save_pretrained(tmp_path / "w")
    assert len(load(tmp_path / "w").bank.pointers) == 1
    change_tensors(
        tmp_path / "w" / "boots.safetensors", lambda tensors: tensors.update(pointers=torch.tensor(pointers))
    )
    refused(tmp_path / "w", "boots.safetensors", "does not hold the boots of config.json")


def test_boots_that_the_configuration_does_not_name(weights):
    change_config(weights, boots=[[], [1, 2]])
    refused(weights, "boots.safetensors", "does not hold the boots of config.json")


@pytest.mark.parametrize("device", ["gpu", "cuda:77", "", "meta:x"])
def test_an_unknown_device(weights, device):
    with pytest.raises(ValueError, match=f"device='{device}' cannot be used here; choose 'auto', 'cpu' or a device"):
        NeuralComputer.from_pretrained(weights, device=device)


def test_no_denoising_step(weights):
    with pytest.raises(ValueError, match="denoise_steps=0; at least 1 step is needed"):
        load(weights, denoise_steps=0)


def test_a_full_disk_keeps_the_weights_that_were_there(tmp_path):
    with small_disk(tmp_path / "disk", kilobytes=1024) as disk:
        path = save_tiny_computer(disk / "weights")
        before = {name: (path / name).read_bytes() for name in FILES}
        (disk / "ballast").write_bytes(bytes(1024 * 1024 - sum(map(len, before.values())) - 48 * 1024))
        with pytest.raises(WeightsError, match=r"could not be written to .*weights \(.*\); free some space"):
            tiny_computer(seed=1).save_pretrained(path)
        assert {name: (path / name).read_bytes() for name in FILES} == before
        assert sorted(file.name for file in disk.iterdir()) == ["ballast", "weights"]
        grow(disk, kilobytes=4096)
        tiny_computer(seed=1).save_pretrained(path)
        assert (path / "model.safetensors").read_bytes() != before["model.safetensors"]
        load(path)


@pytest.mark.parametrize("computer", sorted(SUBJECTS))
def test_training_from_scratch_builds_the_network_that_ships(computer):
    shipped = read_config(data_root() / "weights" / computer)
    assert dataclasses.replace(shipped, training={}) == SUBJECTS[computer].config()
