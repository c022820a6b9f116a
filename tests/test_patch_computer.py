"""The neural computer that paints patches: what it shows, remembers and saves, and that training reads the same."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tiny_desktop import random_events, tiny_desktop, write_shard

from nc_gym.computer import patch_runtime, weights
from nc_gym.computer.backing_store import compose
from nc_gym.computer.code_denoiser import posterior_mean
from nc_gym.computer.computer import NeuralComputer
from nc_gym.computer.patch_batches import PatchData
from nc_gym.computer.patch_geometry import cut
from nc_gym.computer.patch_objective import log_terms
from nc_gym.computer.window_table import EDGE

T = 30


def play(computer: NeuralComputer, events: np.ndarray) -> tuple[torch.Tensor, torch.Tensor, list]:
    """Runs events (N, T, 4); returns screens (N, T, H, W, 3), codes (N, T + 1, tiles) and the states after each."""
    N = len(events)
    state = computer.boot(torch.arange(N), torch.zeros(N, dtype=torch.int64))
    screens, codes, states = [], [state.codes.clone()], []
    for t in range(events.shape[1]):
        computer.step(state, torch.from_numpy(events[:, t]))
        screens.append(computer.screens(state))
        codes.append(state.codes.clone())
        states.append(computer.snapshot(state))
    return torch.stack(screens, 1), torch.stack(codes, 1), states


@pytest.fixture(scope="module")
def computer() -> NeuralComputer:
    return tiny_desktop()


@pytest.fixture(scope="module")
def events() -> np.ndarray:
    return random_events(np.random.default_rng(0), 6, T)


def test_the_tiny_desktop_paints_something_different_for_every_history(computer, events):
    _, codes, _ = play(computer, events)
    assert len({tuple(row.flatten().tolist()) for row in codes[:, -1]}) == len(events)
    assert 0.01 < (codes[:, 1:] != codes[:, :-1]).float().mean() < 0.5


def test_a_row_does_not_depend_on_its_neighbours(computer, events):
    together, _, _ = play(computer, events)
    order = np.random.default_rng(1).permutation(len(events))
    state = computer.boot(torch.from_numpy(order), torch.zeros(len(order), dtype=torch.int64))
    for t in range(T):
        computer.step(state, torch.from_numpy(events[order, t]))
        assert torch.equal(computer.screens(state), together[order, t])


def test_rows_that_do_not_step_stay_as_they_are(computer, events):
    together, _, _ = play(computer, events)
    state = computer.boot(torch.arange(6), torch.zeros(6, dtype=torch.int64))
    for t in range(T):
        for chosen in (torch.arange(6) % 2 == 0, torch.arange(6) % 2 == 1):
            computer.step(state, torch.from_numpy(events[:, t]), chosen)
    assert torch.equal(computer.screens(state), together[:, -1])


def test_snapshot_and_fork_go_on_alike(computer, events):
    together, _, states = play(computer, events)
    state = computer.fork(states[9], 2, 3)
    for t in range(10, T):
        computer.step(state, torch.from_numpy(events[[2, 2, 2], t]))
    assert torch.equal(computer.screens(state), together[[2, 2, 2], -1])


def test_forks_part_when_their_events_differ_and_leave_each_other_alone(computer, events):
    _, _, states = play(computer, events[:, :10])
    state = computer.fork(states[9], 2, 3)
    last = torch.tensor([False, False, True])
    computer.step(state, torch.from_numpy(events[[2, 2, 4], 10]), last)  # the first that is written
    for t in range(10, T):
        computer.step(state, torch.from_numpy(events[[2, 5, 4], t]), ~last)
    alone = computer.fork(states[9], 2, 1)
    for t in range(10, T):
        computer.step(alone, torch.from_numpy(events[[2], t]))
    assert torch.equal(computer.screens(state)[:1], computer.screens(alone))
    assert len({tuple(codes) for codes in state.codes.tolist()}) == 3


def test_one_step_shows_what_the_flow_from_noise_shows(computer, events, monkeypatch):
    """What is drawn where one code's share is certain is no other screen."""
    quick, _, _ = play(computer, events)
    calls = []

    def from_noise(odds, codec, certain):
        calls.append(len(odds))
        noise = torch.randn(len(odds), codec.config.latent_dim, generator=torch.Generator().manual_seed(len(calls)))
        return codec.snap(posterior_mean(odds, noise.to(odds.dtype), 1.0, codec.code_latents))

    monkeypatch.setattr(patch_runtime, "one_step_codes", from_noise)
    assert torch.equal(play(computer, events)[0], quick) and sum(calls) > 100


def test_weights_written_and_read_show_the_same(computer, events, tmp_path):
    computer.save_pretrained(tmp_path / "w")
    exact = {"device": "cpu", "dtype": torch.float64}  # no rounding decides what is painted
    again = NeuralComputer.from_pretrained(tmp_path / "w", **exact)
    assert again.config == computer.config
    again.save_pretrained(tmp_path / "v")  # bf16 both
    assert weights.sha256(tmp_path / "w" / weights.MODEL) == weights.sha256(tmp_path / "v" / weights.MODEL)
    assert torch.equal(again.bank.pointers, computer.bank.pointers)
    assert torch.equal(again.bank.codes, computer.bank.codes)
    first, _, _ = play(again, events[:, :3])
    assert first.shape == (6, 3, 64, 80, 3)
    third = NeuralComputer.from_pretrained(tmp_path / "v", **exact)
    assert torch.equal(first, play(third, events[:, :3])[0])


def test_the_pointer_lies_on_the_screen_where_the_network_puts_it(computer, events):
    screens, codes, states = play(computer, events[:, :5])
    bare = computer.network.codec.screens(codes[:, 5])
    differs = (screens[:, 4] != bare).any(-1)
    for row, (column, line, _) in enumerate(states[4].pointer.tolist()):
        ys, xs = torch.nonzero(differs[row], as_tuple=True)
        assert (ys >= 4 * line).all() and (ys < 4 * line + 8).all() and (xs >= 4 * column).all()
        assert (xs < 4 * column + 4).all()


def test_latents_are_those_of_the_screens_with_their_pointers(computer, events):
    state = computer.boot(torch.arange(2), torch.zeros(2, dtype=torch.int64))
    seen = computer.latents(state)
    assert torch.equal(seen, computer.encode(computer.screens(state)))
    assert not torch.equal(seen, computer.network.codec.code_latents[state.codes])


def test_a_patch_without_earlier_states_is_painted_as_in_training(computer, events, monkeypatch):
    """Training gives the painter the patch itself where it has no past; code 0 stood there when the computer ran."""
    seen = []
    paint = computer.network.painter.forward
    monkeypatch.setattr(
        computer.network.painter, "forward", lambda s, h, canvas: seen.append(canvas) or paint(s, h, canvas)
    )
    state = computer.boot(torch.zeros(6, dtype=torch.int64), torch.zeros(6, dtype=torch.int64))
    with torch.inference_mode():
        state.codes[:] = 7
    computer.step(state, torch.from_numpy(events[:, 0]))
    (canvas,) = seen
    assert (canvas.age == -1).all()
    own = computer.network.encoder(torch.full((1, 16), 7))
    assert torch.allclose(canvas.versions, own.expand_as(canvas.versions).to(canvas.versions.dtype))


def test_a_row_s_noise_does_not_depend_on_whether_other_rows_paint(computer, events, monkeypatch):
    """The scout of row 0 finds nothing to paint; alone or beside rows that paint, its clock is the same."""
    scout = computer.network.scout.damage
    monkeypatch.setattr(computer.network.outlook, "forward", _awake(computer.network.outlook.forward))
    clocks = []
    for rows in (1, 6):
        quiet = lambda x: torch.where(torch.arange(len(x))[:, None, None] == 0, -1.0, 1.0).expand(*x.shape[:2], 1)  # noqa: E731
        monkeypatch.setattr(scout, "forward", quiet)
        _, codes, states = play(computer, events[:rows, :5])
        assert (codes[0, 1:] == codes[0, :-1]).all()
        clocks.append([int(state.clock[0]) for state in states])
    assert clocks[0] == clocks[1] == [1, 2, 3, 4, 5]


def _awake(forward):
    """An outlook that always says that something changes."""

    def always(h, moved):
        outlook = forward(h, moved)
        outlook.changes = torch.tensor([0.0, 1.0]).expand(len(h), 2)
        return outlook

    return always


def test_training_reads_what_the_computer_read(computer, events, tmp_path, monkeypatch):
    """A session that the computer painted itself, recorded and batched, gives the same h, versions and windows."""
    seen: list[torch.Tensor] = []
    step = computer.network.log.step
    monkeypatch.setattr(computer.network.log, "step", lambda *a: (seen.append(step(*a)), seen[-1])[1])
    _, codes, states = play(computer, events)
    pointer = torch.stack([computer.boot(torch.zeros(6, dtype=torch.int64), torch.zeros(6, dtype=torch.int64)).pointer,
                           *(s.pointer for s in states)], 1).numpy()  # fmt: skip
    windows = torch.stack([s.windows for s in states], 1)
    pixels = torch.where(windows[..., :1] > 0, windows - torch.tensor([0] * 3 + [EDGE, EDGE, 0, 0] * 2), 0)
    pixels *= torch.tensor([1] * 3 + [4] * 8)
    shard = write_shard(
        tmp_path / "shard-00000.npz", computer.network, codes.numpy(), events, pointer[..., 2], pixels.numpy()
    )
    data = PatchData([shard], computer.network, 1000, workers=1)
    batch = data.batch(list(range(6)), 6 * T, torch.Generator().manual_seed(0))
    encoded = computer.network.encoder(batch["states"])
    with torch.inference_mode():
        own = {"moved": batch["event"][..., :2] - torch.from_numpy(pointer[:, :-1, :2])}
        own["windows_in"] = torch.cat([torch.zeros_like(windows[:, :1]), windows[:, :-1]], 1)
        held_at = torch.stack([torch.zeros_like(states[0].held_at), *(s.held_at for s in states[:-1])], 1)
        own["since"] = batch["event"][..., :2] - held_at[..., :2]
        assert torch.equal(batch["last"], held_at[..., 2]) and len(held_at[..., 2].unique()) > 3
        assert len(windows.unique()) > 10 and torch.equal(batch["windows"], windows)
        h, _, _, damaged, _ = log_terms(computer.network, batch | own, encoded)
    assert torch.allclose(h.view(6, T, -1), torch.stack(seen, 1), atol=1e-4)
    truth = cut(computer.config, codes[:, 1:].flatten(0, 1)) != cut(computer.config, codes[:, :-1].flatten(0, 1))
    assert torch.equal(damaged.bool(), truth.any(-1))
    for a, p in zip(batch["patch_event"].tolist()[:200], range(200), strict=True):
        b, t = divmod(int(batch["at"][a]), T)
        if t == 0:
            continue
        place, before = int(batch["place"][p]), states[t - 1]
        drawn_at = before.drawn_at[b, place, 1:]
        age = torch.where(drawn_at == -2, -1, t - drawn_at)
        assert torch.equal(age, batch["age"][p])
        held = age >= 0
        assert torch.equal(before.versions[b, place][held].long(), batch["states"][batch["version"][p]][held])
    assert len(batch["at"]) == 6 * T
    for a, (b, t) in enumerate((int(at) // T, int(at) % T) for at in batch["at"]):
        if t:
            before, after = states[t - 1], windows[b : b + 1, t]
            row = slice(b, b + 1)
            _, shown = compose(computer.config, before.backing[row], before.codes[row], before.windows[row], after)
            assert torch.equal(cut(computer.config, shown)[0], batch["states"][batch["backed"][a]])
    assert (batch["states"][batch["backed"]] != batch["states"][batch["canvas"]]).any()


def says(computer: NeuralComputer, monkeypatch: pytest.MonkeyPatch, changes: bool, sprite: int) -> None:
    """Makes the log say whether the screen changes, and which image the pointer has."""
    outlook = computer.network.outlook.forward

    def forced(h, moved):
        said = outlook(h, moved)
        said.changes[:] = torch.tensor([0.0, 1.0] if changes else [1.0, 0.0])
        said.sprite[:] = torch.nn.functional.one_hot(torch.tensor(sprite), said.sprite.shape[1])
        return said

    monkeypatch.setattr(computer.network.outlook, "forward", forced)


def test_the_pointer_s_image_stays_while_nothing_moves_or_is_pressed(computer, monkeypatch):
    state = computer.boot(torch.arange(3), torch.zeros(3, dtype=torch.int64))
    column, row, image = state.pointer[0].tolist()
    says(computer, monkeypatch, changes=False, sprite=1 - image)
    computer.step(state, torch.tensor([[column, row, 0, 0], [column + 1, row, 0, 0], [column, row, 1, 0]]))
    assert state.pointer[:, 2].tolist() == [image, 1 - image, 1 - image]


def test_the_pointer_s_image_may_depend_on_the_windows_that_an_event_brings(computer, monkeypatch):
    state = computer.boot(torch.arange(2), torch.zeros(2, dtype=torch.int64))
    column, row, image = state.pointer[0].tolist()
    says(computer, monkeypatch, changes=False, sprite=image)

    def over(table, pointer):
        beside = torch.nn.functional.one_hot(torch.tensor(1 - image), computer.config.num_sprites) * 2.0
        return beside * (pointer[:, :1] > column)

    monkeypatch.setattr(computer.network.image, "forward", over)
    computer.step(state, torch.tensor([[column, row, 1, 0], [column + 1, row, 1, 0]]))
    assert state.pointer[:, 2].tolist() == [image, 1 - image]


@pytest.mark.parametrize("field, kept", [(0, False), (3, False), (7, True)])
def test_on_a_screen_that_stays_a_button_changes_only_what_a_window_goes_back_to(computer, monkeypatch, field, kept):
    state = computer.boot(torch.arange(2), torch.zeros(2, dtype=torch.int64))
    before = state.windows.clone()
    after = before[:1].clone()
    after[:, 0, field] += 1
    says(computer, monkeypatch, changes=False, sprite=0)
    table = computer.network.table.forward

    def forced(*arguments):
        odds = table(*arguments)
        odds.table = lambda: after.expand(len(odds.before), -1, -1)
        return odds

    monkeypatch.setattr(computer.network.table, "forward", forced)
    column, row, _ = state.pointer[0].tolist()
    computer.step(state, torch.tensor([[column, row, 2, 0], [column, row, 0, 0]]))
    assert torch.equal(state.windows[0], after[0] if kept else before[0])
    assert torch.equal(state.windows[1], before[1])  # nothing was pressed
