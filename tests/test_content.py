"""What h_t says by itself of the tiles that small changes show, for every event of a batch."""

from __future__ import annotations

import numpy as np
import torch
from tiny_desktop import CODES, random_events, tiny_desktop, write_shard

from nc_gym.computer.patch_batches import PatchData
from nc_gym.computer.patch_objective import FEW_PATCHES, content, log_terms, losses


def batch_of(tmp_path, frames, events):
    network = tiny_desktop().network.float().requires_grad_(True)
    sprites = np.zeros(frames.shape[:2], np.int64)
    data = PatchData(
        [write_shard(tmp_path / "shard-0.npz", network, frames, events, sprites)], network, 1000, workers=1
    )
    return network, data.batch(list(range(len(frames))), 1, torch.Generator().manual_seed(0))


def loss_of(network, batch):
    h = log_terms(network, batch, network.encoder(batch["states"]))[0]
    return content(network, batch, h, torch.Generator().manual_seed(0))


def test_events_that_no_painter_sees_teach_the_log(tmp_path):
    """Each event turns one tile into what its key says; h learns to say which, from where the tile is and the log."""
    rng = np.random.default_rng(0)
    events = random_events(rng, 4, 40)
    frames = np.zeros((4, 41, 320), np.int64)
    for t in range(40):
        frames[:, t + 1] = frames[:, t]
        frames[np.arange(4), t + 1, 5] = 10 * events[:, t, 3] + t % 2
    network, batch = batch_of(tmp_path, frames, events)
    optimizer = torch.optim.Adam(network.parameters(), lr=3e-3)
    before, _ = loss_of(network, batch)
    for _ in range(80):
        optimizer.zero_grad()
        loss_of(network, batch)[0].backward()
        optimizer.step()
    after, right = loss_of(network, batch)
    assert after < 0.3 * before
    assert right[0] > 0.9
    assert network.log.blocks[0].qkv.weight.grad.abs().sum() > 0


class Knows(torch.nn.Module):
    """A denoiser that is sure of all tiles but those that became ``unknown``, of which it has no idea."""

    def __init__(self, now, codes, unknown):
        super().__init__()
        self.odds = 20.0 * torch.nn.functional.one_hot(now, codes).float()
        self.odds[now == unknown] = 0.0

    def forward(self, slots):
        return self.odds


def test_a_single_unknown_tile_is_not_drowned_by_those_that_are_known(tmp_path, monkeypatch):
    """What is known weighs nothing, so the loss is that of the unknown tile, however many others there are."""
    monkeypatch.setattr("nc_gym.computer.patch_objective.CONTENT_SHARE", 1.0)
    frames = np.zeros((1, 41, 320), np.int64)
    for t in range(40):
        frames[:, t + 1] = frames[:, t]
        frames[:, t + 1, 5] = 30 if t == 20 else t % 2 + 1
    network, batch = batch_of(tmp_path, frames, random_events(np.random.default_rng(0), 1, 40))
    changed = batch["states"][batch["damage_state"]] != batch["states"][batch["damage_before"]]
    now = batch["states"][batch["damage_state"]][changed]
    network.denoiser = Knows(now, network.config.num_codes, 30)
    assert int((now == 30).sum()) == 1 and len(now) > 30
    missed, right = loss_of(network, batch)
    assert abs(float(missed) / 2 - np.log(network.config.num_codes)) < 0.1  # said by h and by the h before
    assert right.min() > 0.9


def test_what_an_event_draws_is_asked_of_it_and_of_the_event_before_which_is_told_the_key(tmp_path):
    frames = np.zeros((1, 41, 320), np.int64)
    frames[:, 21:, :5] = 30
    network, batch = batch_of(tmp_path, frames, random_events(np.random.default_rng(0), 1, 40))
    h = torch.randn(40, network.config.width, requires_grad=True)
    torch.nn.init.normal_(network.look.out.weight)
    content(network, batch, h, torch.Generator().manual_seed(0))[0].backward()
    asked = torch.nonzero(h.grad.abs().sum(1))[:, 0]
    assert asked.tolist() == [19, 20]
    learned = torch.nonzero(network.foresight.key.weight.grad.abs().sum(1))[:, 0]
    assert learned.tolist() == [int(batch["event"][0, 20, 3])]


def test_large_changes_and_none_are_left_to_the_painter(tmp_path):
    rng = np.random.default_rng(0)
    patches = rng.integers(CODES, size=(1, 9, 20))
    frames = patches[:, :, :1].repeat(320, 2)  # all patches at once
    network, batch = batch_of(tmp_path, frames, random_events(rng, 1, 8))
    assert int(torch.bincount(batch["damage_token"]).max()) > FEW_PATCHES
    assert float(loss_of(network, batch)[0].detach()) == 0
    still, batch = batch_of(tmp_path, np.zeros_like(frames), random_events(rng, 1, 8))
    assert float(loss_of(still, batch)[0].detach()) == 0
    losses(still, batch, torch.Generator().manual_seed(0), corrupted=False)["total"].backward()  # and all is finite
    assert all(p.grad is None or bool(p.grad.isfinite().all()) for p in still.parameters())
