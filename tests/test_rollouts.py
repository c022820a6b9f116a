"""Sessions that a computer played by itself: its own screens as history, the true ones as goals."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch

from nc_gym.computer import patch_mistakes, rollouts
from nc_gym.computer.batches import save_whole
from nc_gym.computer.patch_batches import PatchData
from nc_gym.computer.patch_geometry import grid
from nc_gym.computer.patch_objective import losses
from nc_gym.computer.patches import PatchFile, link_patches
from nc_gym.computer.window_table import FIELDS
from tests.tiny_desktop import CODES, random_events, tiny_config, tiny_desktop, write_shard

N, T = 5, 9


@pytest.fixture
def shards(tmp_path: Path) -> list[Path]:
    """Two shards of random worlds."""
    config, rng = tiny_config(), np.random.default_rng(0)
    paths = []
    for k in range(2):
        events = random_events(rng, N, T)
        frames = np.zeros((N, T + 1, config.num_tiles), np.int64)
        for t in range(T):
            frames[:, t + 1] = np.where(rng.random((N, config.num_tiles)) < 0.02, rng.integers(CODES), frames[:, t])
        path = tmp_path / f"shard-0000{k}.npz"
        windows = rng.integers(1, 60, (N, T, 4, len(FIELDS)))
        sprites = np.zeros((N, T + 1), np.int64)
        paths.append(write_shard(path, tiny_desktop().network, frames, events, sprites, windows))
    return paths


def rolled(shard: Path) -> tuple[PatchFile, PatchFile]:
    computer = tiny_desktop()
    true = PatchFile.load(link_patches(shard, computer.network.codec, computer.network.sprites))
    path = shard.with_name("rolled-00000.npz")
    save_whole(path, rollouts.roll_out(computer, true, list(range(N))))
    return true, PatchFile.load(path)


def test_a_rolled_session_shows_what_the_computer_drew_and_aims_at_what_is_true(shards, monkeypatch):
    monkeypatch.setattr(rollouts, "MOST_LOST", 2.0)  # go on whatever happens
    monkeypatch.setattr(rollouts, "_ROWS", 3)
    true, file = rolled(shards[0])
    computer, config = tiny_desktop(), tiny_config()
    assert (file.windows == true.windows).all() and true.windows.any()
    for s in range(N):
        states = true.state[true.shown(s, config.num_patches)]
        assert (file.codes[file.goal_shown(s, config.num_patches)] == true.codes[states]).all()
        assert (true.goal_shown(s, config.num_patches) == states).all()
    state = computer.boot(torch.arange(3), torch.zeros(3, dtype=torch.int64))
    drew, said = False, file.said.reshape(N, T, 4, len(FIELDS))
    for t in range(T):
        computer.step(state, torch.from_numpy(true.events.reshape(N, T, 4)[:3, t].astype(np.int64)))
        for s in range(3):
            shown = file.codes[file.state[file.shown(s, config.num_patches)[t + 1]]]
            assert (grid(shown, config).reshape(-1) == state.codes[s].numpy()).all()
        assert (said[:3, t] == state.windows.numpy()).all()
        drew |= bool(state.codes.any())
    assert drew and said.any()


def test_a_session_ends_where_the_screen_is_too_far_from_the_truth(shards, monkeypatch):
    monkeypatch.setattr(rollouts, "MOST_LOST", 0.3)
    _, file = rolled(shards[0])
    patches, lengths = tiny_config().num_patches, np.diff(file.starts)
    assert lengths.min() < T
    for s, length in enumerate(lengths):
        own, goal = file.state[file.shown(s, patches)], file.goal_shown(s, patches)
        wrong = (own != goal).mean(1)
        assert length == 1 or (wrong[:length] <= 0.3).all()
        assert length == T or wrong[length] > 0.3


def test_training_asks_for_the_truth_where_an_event_draws_and_leaves_lost_patches_alone(shards, monkeypatch):
    monkeypatch.setattr(rollouts, "MOST_LOST", 2.0)
    rolled(shards[0])
    network = tiny_desktop().network.float()
    data = PatchData(shards, network, 1000, workers=1, rolled=[shards[0].with_name("rolled-00000.npz")])
    assert len(data.sessions) == 3 * N
    batch = data.batch(list(range(2 * N, 3 * N)), N * T, torch.Generator().manual_seed(0))
    assert batch["lost"].any()
    assert not batch["lost"][batch["patch_event"], batch["place"]].any()
    drawn = set(zip(batch["damage_token"].tolist(), batch["damage_place"].tolist(), strict=True))
    asked = set(zip(batch["at"][batch["patch_event"]].tolist(), batch["place"].tolist(), strict=True))
    assert drawn <= asked
    terms = losses(network, batch, torch.Generator().manual_seed(0), corrupted=False)
    assert torch.isfinite(terms["total"])
    left_alone = losses(
        network, batch | {"lost": torch.ones_like(batch["lost"])}, torch.Generator().manual_seed(0), False
    )
    assert terms["scout"] > 0 and left_alone["scout"] == 0


def test_training_asks_to_mend_what_was_drawn_wrong_lately(shards, monkeypatch):
    monkeypatch.setattr(rollouts, "MOST_LOST", 2.0)
    monkeypatch.setattr(patch_mistakes, "STALE_EVENTS", 0.0)
    _, file = rolled(shards[0])
    network = tiny_desktop().network.float()
    data = PatchData(shards, network, 1000, workers=1, rolled=[shards[0].with_name("rolled-00000.npz")])
    chosen = list(range(2 * N, 3 * N))
    left, asked = (data.batch(chosen, N * T, torch.Generator().manual_seed(0), stale) for stale in (False, True))
    wrong = asked["canvas"][asked["patch_event"], asked["place"]] != asked["target"]
    drawn = set(zip(asked["damage_token"].tolist(), asked["damage_place"].tolist(), strict=True))
    mended = [
        (token, place, target)
        for token, place, target, is_wrong in zip(
            asked["at"][asked["patch_event"]].tolist(), asked["place"].tolist(), asked["target"].tolist(),
            wrong.tolist(), strict=True,
        )
        if is_wrong and (token, place) not in drawn
    ]  # fmt: skip
    assert mended and asked["lost"].sum() < left["lost"].sum()
    for token, place, target in mended:
        s, t = divmod(token, T)
        should = file.codes[file.goal_shown(s, tiny_config().num_patches)[t, place]]
        assert asked["states"][target].tolist() == should.tolist()
        when = file.when[file.shown(s, tiny_config().num_patches)[t, place]]
        assert t - patch_mistakes.RECENT <= when < t
    assert max(Counter(token for token, *_ in mended).values()) <= patch_mistakes.MOST_STALE
