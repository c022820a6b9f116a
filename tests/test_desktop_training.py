"""From recordings of the real desktop to shards, to a weights folder, to a neural desktop that boots like it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from nc_gym.computer.computer import NeuralComputer
from nc_gym.computer.config import NeuralComputerConfig
from nc_gym.computer.patch_geometry import grid
from nc_gym.computer.training import TrainingError
from nc_gym.machines.desktop import XDesktop
from nc_gym.machines.desktop_events import KEYS, SIZES
from nc_gym.traces.desktop_dataset import build_desktop_shards
from nc_gym.traces.desktop_recorder import collect_desktop
from nc_gym.traces.desktop_trace import read_screens, read_trace
from nc_gym.train import train

SMALL = NeuralComputerConfig(
    machine="desktop", screen_height=240, screen_width=320, tile_height=4, tile_width=4, keys=KEYS, event_sizes=SIZES,
    patch=4, num_codes=1500, latent_dim=16, group=16, width=32, num_layers=1, num_heads=2, num_kv_heads=1,
    gaze_layers=(), renderer_width=16, renderer_layers=1, memory_tokens=64, versions=3, scout_width=32, patch_width=16,
    scout_layers=1, painter_layers=1,
)  # fmt: skip


@pytest.fixture(scope="module")
def traces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("traces")
    collect_desktop(3, 14, 5, folder, workers=1, progress=False)
    return folder


@pytest.fixture(scope="module")
def weights(traces: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("run") / "desktop"
    return train(traces, 0.01, out, 0, None, "cpu", config=SMALL, computer="desktop")


def test_shards_hold_the_recorded_screens(traces, tmp_path):
    [path] = build_desktop_shards(traces, tmp_path, workers=1, progress=False)
    shard = np.load(path)
    files = sorted(traces.rglob("*.jsonl"))
    assert len(shard["screen0"]) == len(files) == 3
    for s, file in enumerate(files):
        state = shard["screen0"][s].copy()
        screens = read_screens(file, pointer=False)
        for t, screen in enumerate(screens):
            if t:
                e = shard["starts"][s] + t - 1
                changed = slice(shard["delta_starts"][e], shard["delta_starts"][e + 1])
                state[shard["delta_patch"][changed]] = shard["delta_state"][changed]
            tiles = shard["tiles"][grid(shard["patches"][state], SMALL)]  # (60, 80, 4, 4, 3)
            assert np.array_equal(tiles.swapaxes(1, 2).reshape(240, 320, 3), screen)
        assert t == 14


def test_a_damaged_recording_is_left_out_with_a_warning(traces, tmp_path):
    copy = tmp_path / "traces"
    copy.mkdir()
    for file in (p for p in traces.rglob("*") if p.is_file()):
        (copy / file.name).write_bytes(file.read_bytes())
    victim = sorted(copy.glob("*.mkv"))[1]
    victim.write_bytes(victim.read_bytes()[: victim.stat().st_size // 2])
    with pytest.warns(UserWarning, match=victim.stem):
        [path] = build_desktop_shards(copy, tmp_path / "shards", workers=1, progress=False)
    shard = np.load(path)
    assert len(shard["screen0"]) == 2 and len(shard["events"]) == 28 == len(shard["delta_starts"]) - 1


def test_no_recordings_is_one_clear_sentence(tmp_path):
    with pytest.raises(FileNotFoundError, match="nc-gym collect desktop"):
        build_desktop_shards(tmp_path, tmp_path / "out")


def test_a_trained_desktop_boots_to_the_real_screen_pointer_included(weights):
    computer = NeuralComputer.from_pretrained(weights, device="cpu")
    state = computer.boot(torch.tensor([0]), torch.tensor([0]))
    with XDesktop(1) as machine:
        machine.reset(np.ones(1, bool), np.zeros(1, np.int64), np.zeros(1, np.int64))
        assert np.array_equal(computer.screens(state).numpy(), machine.screens())


@torch.inference_mode()
def test_recorded_pointers_are_drawn_as_the_real_desktop_draws_them(weights, traces):
    """Whatever the network thinks of it: given image and place, the screen is the recorded one."""
    computer = NeuralComputer.from_pretrained(weights, device="cpu")
    file = sorted(traces.rglob("*.jsonl"))[0]
    trace, screens = read_trace(file), list(read_screens(file))
    state = computer.boot(torch.tensor([0]), torch.tensor([0]))
    x, y, shape = trace.pointers[-1]
    network = computer.network
    same = [
        k
        for k in range(SMALL.num_sprites)
        if np.array_equal(
            network.sprites[k, : trace.sprites[shape].pixels.shape[0], : trace.sprites[shape].pixels.shape[1]].numpy(),
            trace.sprites[shape].pixels,
        )
    ]
    bare = list(read_screens(file, pointer=False))[-1]
    state.pixels[0] = torch.from_numpy(bare.copy())
    state.pointer[0] = torch.tensor([x // 4, y // 4, same[0]])
    assert np.array_equal(computer.screens(state)[0].numpy(), screens[-1])


def test_weights_of_another_computer_do_not_start_a_desktop(traces, tmp_path, tiny_weights):
    with pytest.raises(TrainingError, match="weights of a terminal, not of a desktop"):
        train(traces, 1, tmp_path / "run", 0, None, "cpu", start=tiny_weights, computer="desktop")
