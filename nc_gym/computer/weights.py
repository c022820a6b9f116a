"""Reading and writing a weights folder: config.json, model.safetensors (bf16) and boots.safetensors, strictly."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import json
import shutil
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from nc_gym.computer.boots import BootBank
from nc_gym.computer.config import NeuralComputerConfig
from nc_gym.computer.network import Network
from nc_gym.computer.patch_network import PatchNetwork

CONFIG, MODEL, BOOTS = "config.json", "model.safetensors", "boots.safetensors"
_BOOT_NAMES = {"codes", "events", "starts"}
AnyNetwork = Network | PatchNetwork


class WeightsError(ValueError):
    """A weights folder cannot be used."""


def choose_device(device: str) -> torch.device:
    """Returns the device called ``device``; "auto" is a GPU if there is one.

    Raises:
        ValueError: there is no such device here.
    """
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        chosen = torch.device(device)
        torch.empty(0, device=chosen)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise ValueError(
            f"device={device!r} cannot be used here; choose 'auto', 'cpu' or a device of this machine"
        ) from error
    return chosen


def read_config(path: Path) -> NeuralComputerConfig:
    """Reads config.json of the folder ``path``."""
    file = path / CONFIG
    if not file.is_file():
        raise WeightsError(f"no weights at {path}: {CONFIG} is missing; pass a folder that `nc-gym train` wrote")
    try:
        raw = dict(json.loads(file.read_text()))
        known = {f.name: f.type for f in dataclasses.fields(NeuralComputerConfig)}
        if unknown := sorted(set(raw) - set(known)):
            raise WeightsError(f"{file} has unknown entries {unknown}; were the weights made by a newer nc_gym?")
        for name, value in raw.items():
            if known[name] == "int" and (type(value) is not int or value < 1):
                raise WeightsError(f"{file}: {name} is {value!r}, expected a positive whole number; restore the file")
        for name in ("keys", "gaze_layers", "event_sizes", "frame"):  # weights of before there were pointers lack two
            if name in raw:
                raw[name] = tuple(raw[name])
        raw["boots"] = tuple(tuple(b) for b in raw["boots"])
        return NeuralComputerConfig(**raw)
    except WeightsError:
        raise
    except (ValueError, KeyError, TypeError) as error:
        raise WeightsError(f"{file} is not a neural computer's configuration ({error}); restore the file") from error


def build(config: NeuralComputerConfig) -> AnyNetwork:
    """Returns an untrained network of the kind that the configuration asks for."""
    return PatchNetwork(config) if config.event_sizes else Network(config)


def load(path: Path) -> tuple[AnyNetwork, BootBank]:
    """Builds the network of a weights folder and fills it; every tensor must be there and fit."""
    config = read_config(path)
    network = build(config)
    tensors = _read_tensors(path / MODEL)
    expected = network.state_dict()
    if missing := sorted(set(expected) - set(tensors)):
        raise WeightsError(
            f"{path / MODEL} lacks {missing[0]} ({len(missing)} missing); take it and {CONFIG} from one training run"
        )
    if extra := sorted(set(tensors) - set(expected)):
        raise WeightsError(
            f"{path / MODEL} has {extra[0]} ({len(extra)} unexpected); take it and {CONFIG} from one training run"
        )
    for name, tensor in tensors.items():
        if tensor.shape != expected[name].shape:
            raise WeightsError(
                f"{path / MODEL}: {name} is {tuple(tensor.shape)}, {CONFIG} expects {tuple(expected[name].shape)}; "
                "take both files from one training run"
            )
    network.load_state_dict(tensors)
    return network, _read_boots(path / BOOTS, config)


def save(path: Path, network: AnyNetwork, bank: BootBank) -> None:
    """Writes a weights folder; floating-point tensors as bf16. Files that were there stay until all are written.

    Raises:
        WeightsError: the disk is full or the folder cannot be written.
    """
    tensors = {
        name: t.detach().to("cpu", torch.bfloat16 if t.is_floating_point() else t.dtype).contiguous()
        for name, t in network.state_dict().items()
    }
    partial = path.with_name(path.name + ".partial")
    try:
        path.mkdir(parents=True, exist_ok=True)
        partial.mkdir(exist_ok=True)
        (partial / CONFIG).write_text(json.dumps(dataclasses.asdict(network.config), indent=1) + "\n")
        save_file(tensors, partial / MODEL)
        save_file(bank.tensors(), partial / BOOTS)
        for name in (CONFIG, MODEL, BOOTS):
            (partial / name).replace(path / name)
    except (OSError, SafetensorError) as error:
        raise WeightsError(
            f"weights could not be written to {path} ({error}); free some space and try again"
        ) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def sha256(path: Path) -> str:
    """Returns the sha256 of a file, hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _read_boots(file: Path, config: NeuralComputerConfig) -> BootBank:
    """Reads boots.safetensors and checks it against the configuration."""
    boots = _read_tensors(file)
    expected = _BOOT_NAMES | {"pointers"} if config.event_sizes else _BOOT_NAMES
    if set(boots) != expected:
        raise WeightsError(f"{file} holds {sorted(boots)}, expected {sorted(expected)}; restore the file")
    starts = [0, *itertools.accumulate(len(boot) for boot in config.boots)]
    frames = starts[-1] + len(config.boots)
    if (
        boots["starts"].tolist() != starts
        or boots["events"].tolist() != [event for boot in config.boots for event in boot]
        or boots["codes"].shape != (frames, config.num_tiles)
        or not 0 <= int(boots["codes"].min()) <= int(boots["codes"].max()) < config.num_codes
        or not _pointers_fit(boots.get("pointers"), config)
    ):
        raise WeightsError(f"{file} does not hold the boots of {CONFIG}; take both files from one training run")
    return BootBank(**boots)


def _pointers_fit(pointers: Tensor | None, config: NeuralComputerConfig) -> bool:
    """Says whether there is one pointer per boot, on the screen and of a known image; none without a pointer."""
    if pointers is None:
        return not config.event_sizes
    limits = torch.tensor([config.tile_columns, config.tile_rows, config.num_sprites])
    return pointers.shape == (len(config.boots), 3) and bool(((pointers >= 0) & (pointers < limits)).all())


def _read_tensors(file: Path) -> dict[str, Tensor]:
    if not file.is_file():
        raise WeightsError(f"{file} is missing; a weights folder holds {CONFIG}, {MODEL} and {BOOTS}")
    try:
        return load_file(file)
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{file} is corrupt ({error}); fetch or train the weights again") from error
