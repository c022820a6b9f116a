"""Recordings with a pointer as patches, their batches, and what the parts of the network that paints them do."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_desktop import CODES, random_events, table_of, tiny_config, tiny_desktop, write_shard

from nc_gym.computer import patch_mistakes
from nc_gym.computer.batches import groups_of_like_length
from nc_gym.computer.computer import NeuralComputer
from nc_gym.computer.painter import TileLook
from nc_gym.computer.patch_batches import PatchData, fit_patch_codec
from nc_gym.computer.patch_geometry import cut, grid, moved_codes, tiles_around
from nc_gym.computer.patch_probe import first_boot, patch_closed_loop
from nc_gym.computer.patch_scout import PatchScout
from nc_gym.computer.patches import find_motion, shift_tiles
from nc_gym.computer.pointer_log import OutlookHead
from nc_gym.computer.training import Recipe, Trainer


def test_stale_patches_are_seen_and_mended(shard, monkeypatch):
    """The painter may see patches as they were before their last change; they, too, must become what is true."""
    monkeypatch.setattr(patch_mistakes, "STALE_EVENTS", 1.0)
    data = PatchData([shard], tiny_desktop().network, 1000, workers=1)
    true, stale = (data.batch([0, 1, 2], 36, torch.Generator().manual_seed(0), stale) for stale in (False, True))
    shown = [batch["states"][batch["canvas"]] for batch in (true, stale)]
    assert 0.001 < (shown[0] != shown[1]).float().mean() < 0.5
    assert torch.equal(true["at"], stale["at"])
    changed = set(zip(true["change_token"].tolist(), true["change_place"].tolist(), strict=True))
    aims = [
        {
            (t, p): batch["states"][s].tolist()
            for t, p, s in zip(
                batch["at"][batch["patch_event"]].tolist(), batch["place"].tolist(), batch["target"], strict=True
            )
            if (t, p) in changed
        }
        for batch in (true, stale)
    ]
    assert aims[0] == aims[1] and aims[0]
    painted = list(zip(stale["patch_event"].tolist(), stale["place"].tolist(), strict=True))
    for a, p in torch.nonzero((shown[0] != shown[1]).any(-1)).tolist():
        aim = stale["states"][stale["target"][painted.index((a, p))]].tolist()
        assert aim == aims[0].get((int(stale["at"][a]), p), shown[0][a, p].tolist())
    backed = stale["states"][stale["backed"]]
    assert torch.equal(backed, shown[1])  # what is kept behind is what was seen (there are no windows): no answer
    told = [list(zip(b["change_token"].tolist(), b["change_place"].tolist(), strict=True)) for b in (true, stale)]
    missed = len({(int(a), int(p)) for a, p in torch.nonzero((shown[0] != shown[1]).any(-1))})
    assert set(told[1]) < set(told[0]) and len(told[0]) - missed <= len(told[1]) < len(told[0])  # nor in the log


def test_only_one_batch_of_all_is_not_full():
    """Or the shortest sessions of every 512 would be a step of their own, at the weight of a full one."""
    lengths = np.random.default_rng(0).integers(8, 121, 5000)
    groups = groups_of_like_length(lengths, 960, torch.Generator().manual_seed(0))
    assert sorted(session for group in groups for session in group) == list(range(5000))
    longest = [lengths[group].max() for group in groups]
    assert all(len(group) * most <= 960 for group, most in zip(groups, longest, strict=True))
    assert sum((len(group) + 1) * most <= 960 for group, most in zip(groups, longest, strict=True)) <= 1


def test_long_sessions_are_not_padding_for_short_ones(tmp_path):
    network, rng = tiny_desktop().network, np.random.default_rng(0)
    shards = []
    for sessions, steps in ((40, 12), (4, 90)):
        frames, sprites = np.zeros((sessions, steps + 1, 320), np.int64), np.zeros((sessions, steps + 1), np.int64)
        events = random_events(rng, sessions, steps)
        shards.append(write_shard(tmp_path / f"shard-{steps}.npz", network, frames, events, sprites))
    data = PatchData(shards, network, 1000, workers=1)
    batches, lengths = data.batches(96, 8, torch.Generator().manual_seed(0)), []
    while len(lengths) < 44:
        valid = next(batches)["valid"]
        assert valid.numel() <= 96
        lengths += valid.sum(1).tolist()
    assert sorted(lengths) == 40 * [12] + 4 * [90]


def test_training_is_not_always_told_the_true_image_of_the_pointer():
    sprites, rng = np.arange(10_000) // 10, np.random.default_rng(0)
    known = patch_mistakes.known_sprites(sprites, rng)
    assert 0.08 < (known != sprites).mean() < 0.12
    assert patch_mistakes.known_sprites(sprites, None) is sprites


def test_training_does_not_always_see_the_true_tiles_under_the_pointer():
    rng = np.random.default_rng(0)
    near = np.arange(10_000)[:, None] * 25 + np.arange(25)
    known = patch_mistakes.known_tiles(near, -near, rng)
    wrong = known != near
    assert 0.10 < wrong.any(1).mean() < 0.13
    earlier = known[wrong] < 0
    assert 0.4 < earlier.mean() < 0.6  # the others are some event's, in the same place beside the pointer
    assert (known[wrong][~earlier] % 25 == near[wrong][~earlier] % 25).all()
    assert wrong[wrong.any(1)].mean() < 0.7  # not all of them at once, as a rule


def test_only_training_that_shall_bear_mistakes_sees_wrong_tiles(shard):
    data = PatchData([shard], tiny_desktop().network, 1000, workers=1)
    true, again = (data.batch([0, 1, 2], 9, torch.Generator().manual_seed(seed))["near"] for seed in (0, 1))
    assert torch.equal(true, again)
    stale = torch.stack(
        [data.batch([0, 1, 2], 9, torch.Generator().manual_seed(s), stale=True)["near"] for s in range(20)]
    )
    share = (stale != true).any(-1).float().mean()
    assert 0.0 < share < patch_mistakes.MISSEEN


def test_events_of_a_kind_that_goes_wrong_are_painted_more_often(shard):
    data = PatchData([shard], tiny_desktop().network, 1000, workers=1)
    kinds = data.batch([0, 1, 2], 3000, torch.Generator().manual_seed(0))["kind"].numpy()  # of all events
    assert (data.difficulty.weights(kinds) == 1).all()
    hard = int(np.bincount(kinds).argmax())

    def share():
        seeds = range(20)
        drawn = [data.batch([0, 1, 2], 9, torch.Generator().manual_seed(seed))["kind"].numpy() for seed in seeds]
        return float((np.concatenate(drawn) == hard).mean())

    before = share()
    for _ in range(50):
        data.difficulty.note(kinds, np.where(kinds == hard, 3.0, 0.1).astype(np.float32))
    weights = data.difficulty.weights(kinds)
    assert (weights[kinds == hard] > 1).all() and (weights[kinds != hard] < 1).all() and weights.max() <= 4
    assert share() > 1.3 * before


def screen_with_a_window(rng: np.random.Generator) -> np.ndarray:
    """A plain screen, tiles (60, 80), with a window of random tiles at rows 10 to 29, columns 20 to 49."""
    screen = np.zeros((60, 80), np.int64)
    screen[10:30, 20:50] = rng.integers(1, 500, (20, 30))
    return screen


def test_motion_is_found_by_what_moved_and_not_made_up():
    rng = np.random.default_rng(0)
    before = screen_with_a_window(rng)
    after = np.zeros_like(before)
    after[15:35, 12:42] = before[10:30, 20:50]
    assert find_motion(before, after) == (5, -8)
    assert find_motion(before, before) == (0, 0)
    drawn = before.copy()
    drawn[40:55, 5:60] = rng.integers(500, 900, (15, 55))
    assert find_motion(before, drawn) == (0, 0)


def test_what_is_dragged_nearly_off_the_screen_still_moves_with_the_pointer():
    """A fifth of the drags had no motion: too little of the window was left to explain most of what changed."""
    before = screen_with_a_window(np.random.default_rng(0))
    after = np.zeros_like(before)
    after[57:60, 70:80] = before[10:13, 20:30]
    assert find_motion(before, after) == (0, 0)  # by itself it might be chance
    assert find_motion(before, after, (47, 50)) == (47, 50)
    assert find_motion(before, after, (47, 49)) == (0, 0)  # the pointer went elsewhere


def test_what_stands_around_a_tile_is_found_across_patches_and_ends_at_the_screen():
    config, rng = tiny_config(), np.random.default_rng(0)
    screens = rng.integers(1, CODES, (3, config.tile_rows, config.tile_columns))
    event, row, column = torch.tensor([0, 1, 2, 2]), torch.tensor([0, 7, 15, 4]), torch.tensor([0, 10, 19, 3])
    around = tiles_around(config, cut(config, torch.from_numpy(screens).flatten(1)), event, row, column)
    padded = np.pad(screens, ((0, 0), (4, 4), (1, 1)))
    for q in range(4):
        window = padded[event[q], row[q] : row[q] + 9, column[q] : column[q] + 3]
        assert around[q].tolist() == window.reshape(-1).tolist()


def test_a_digit_that_moves_up_in_a_calculator_is_a_motion():
    before, after = np.zeros((20, 30), np.int64), np.zeros((20, 30), np.int64)
    before[4:8, 20:24] = np.arange(1, 17).reshape(4, 4)
    after[4:8, 18:22] = before[4:8, 20:24]
    after[4:8, 22:24] = np.arange(20, 28).reshape(4, 2)  # the new digit
    assert find_motion(before, after) == (0, -2)


def test_what_a_tile_shows_depends_on_key_and_place_together():
    """The change that another key makes is not the same everywhere, as it would be in a sum."""
    look = TileLook(tiny_config())
    torch.nn.init.normal_(look.out.weight)
    w, seen = look.out.out_features, look.seen.in_features
    slot, h = torch.randn(1, w).expand(4, w), torch.randn(1, tiny_config().width).expand(2, -1)
    events, event = torch.tensor([[5, 5, 0, 1], [5, 5, 0, 2]]), torch.tensor([0, 1, 0, 1])
    row, column = torch.tensor([5, 5, 8, 8]), torch.tensor([5, 5, 2, 2])
    with torch.no_grad():
        shown = look(slot, h, torch.zeros(4, seen), events, table_of().expand(2, -1, -1), event, row, column)
    assert not torch.allclose(shown[0], shown[1]) and not torch.allclose(shown[0], shown[2])
    assert not torch.allclose(shown[1] - shown[0], shown[3] - shown[2], atol=1e-3)


def test_moved_codes_are_the_shifted_screen():
    config = tiny_config()
    codes = torch.randint(CODES, (1, config.num_tiles), generator=torch.Generator().manual_seed(0))
    patches = cut(config, codes)
    place = torch.arange(config.num_patches)
    moved = moved_codes(config, patches, torch.zeros_like(place), place, torch.tensor([[3, -2]]))
    expected = shift_tiles(codes.view(config.tile_rows, config.tile_columns).numpy(), 3, -2)
    expected[expected == -1] = CODES
    assert (grid(moved.numpy(), config) == expected).all()


@pytest.fixture(scope="module")
def shard(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A world to learn: a click draws a block of its key's code around the pointer, everything else does nothing."""
    config, rng = tiny_config(), np.random.default_rng(0)
    network = tiny_desktop().network
    events = random_events(rng, 40, 12)
    frames = np.zeros((40, 13, config.tile_rows, config.tile_columns), np.int64)
    for s in range(40):
        for t, (column, row, button, key) in enumerate(events[s]):
            frames[s, t + 1] = frames[s, t]
            if button == 3:
                top, left = row // 4 * 4, column // 4 * 4
                frames[s, t + 1, top : top + 4, left : left + 4] = 5 + key
    path = tmp_path_factory.mktemp("shards") / "shard-00000.npz"
    return write_shard(path, network, frames.reshape(40, 13, -1), events, np.zeros((40, 13), np.int64))


def test_traits_travel_with_the_motion():
    config = tiny_config()
    traits, motion = torch.rand(3, config.num_patches, 16, 8), torch.tensor([[3, -2], [0, 0], [-5, 7]])
    carried = PatchScout(config).carry(traits, motion).numpy()
    for a, far in enumerate(motion.tolist()):
        for k in range(8):
            shifted = shift_tiles(grid(traits[a, :, :, k].numpy(), config), *far)
            here = (shifted != -1) & any(far)  # nothing comes where nothing moves
            assert (grid(carried[a, :, :, k], config) == np.where(here, shifted, 0)).all()
            assert (grid(carried[a, :, :, 8], config) == here).all()


def test_a_part_of_the_screen_can_move_as_far_as_the_pointer_did_however_rare_that_is():
    """Of drags whose window moved as the pointer did, one in seven showed it elsewhere: every far way is rare."""
    config = tiny_config()
    head, h = OutlookHead(config), torch.randn(4, config.width)
    moved = torch.tensor([[19, -15], [-7, 4], [0, 0], [1, 15]])
    plain = head(h, moved)
    assert torch.equal(plain.down, head(h, moved.flip(0)).down)  # before training nothing follows
    head.follow.bias.data[:] = 100.0
    outlook = head(h, moved)
    assert outlook.motion().tolist() == moved.flip(1).tolist()
    assert torch.equal(outlook.column, plain.column)


def test_the_codec_finds_tiles_and_pointers(shard):
    network = tiny_desktop(seed=1).network
    network.sprites.zero_()
    fit_patch_codec(network, [shard], seed=0)
    assert not network.codec.prototypes[0].any()  # the background, which most of the screen shows
    assert torch.equal(network.sprites[0], tiny_desktop().network.sprites[0])
    assert network.codec.used_codes() == CODES


def test_training_learns_the_world_and_the_closed_loop_shows_it(shard, tmp_path):
    config = tiny_config(boots=((),))
    recipe = Recipe(minutes=0, tokens_per_step=192, learning_rate=1e-2, probe_minutes=100)
    trainer = Trainer([shard], [shard], tmp_path / "run", recipe, config, "cpu")
    data, generator = trainer.data, torch.Generator().manual_seed(1)
    totals = []
    for batch, _ in zip(trainer.course.batches(data, trainer.net, 192, generator), range(250), strict=False):
        total = trainer.course.losses(trainer.net, batch, generator)["total"]
        total.backward()
        trainer.optimizer.step(min(1.0, (len(totals) + 1) / 20, 2 * (1 - len(totals) / 250)))
        totals.append(float(total.detach()))
    assert np.mean(totals[-20:]) < 0.25 * np.mean(totals[:5])
    computer = NeuralComputer(trainer.network(), first_boot(data), device="cpu")
    run = patch_closed_loop(computer, data, 40, 12)
    assert run["tiles"][:, 3].mean() > 0.5 and run["sprite"].mean() > 0.9
