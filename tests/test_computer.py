"""The neural computer: rows that mind their own business, copies that go on alike, and a step that touches no more
than it says.

Tolerance: the pixels of a row are compared exactly. What lies behind them, keys and values of the memory, is a float32
sum whose order depends on how many rows step together, so it may differ by rounding: TOLERANCE is its bound.
"""

from __future__ import annotations

import pytest
import torch
from tiny import prompt_screen, save_tiny_computer, tiny_computer

from nc_gym.computer.boots import BootBank
from nc_gym.computer.computer import NeuralComputer
from nc_gym.computer.machine import NeuralMachine
from nc_gym.machines.keys import KEYS, encode
from nc_gym.paths import data_root

TOLERANCE = 2e-5
STEPS, ROWS = 12, 8


def lively_computer(**changes):
    """The tiny computer with a scout that lets it draw more: several tokens per event, now and then a scroll."""
    computer = tiny_computer(**changes)
    computer.network.scout.read.weight.data *= 4
    return computer


@pytest.fixture(scope="module")
def computer():
    return lively_computer()


def fresh(computer, seeds):
    seeds = torch.as_tensor(seeds)
    return computer.boot(seeds, torch.zeros_like(seeds))


def some_events(rows=ROWS, steps=STEPS, seed=0):
    return torch.randint(len(KEYS), (rows, steps), generator=torch.Generator().manual_seed(seed))


def run(computer, state, events):
    """Steps all rows; returns the screens after every step, uint8 (steps, rows, H, W, 3)."""
    shown = []
    for event in events.T:
        computer.step(state, event)
        shown.append(computer.screens(state))
    return torch.stack(shown)


def memory_of(state, row):
    used = int(state.memory.length[row])
    return state.memory.keys[:, row, :, :used], state.memory.values[:, row, :, :used], state.memory.taps[:, row]


@pytest.fixture(scope="module")
def together(computer):
    """Eight rows in one batch: their seeds, events, screens and final state."""
    seeds, events = torch.arange(100, 100 + ROWS), some_events()
    state = fresh(computer, seeds)
    return seeds, events, run(computer, state, events), state


def test_a_boot_shows_the_recorded_screen(computer):
    state = fresh(computer, [3, 4])
    assert torch.equal(computer.screens(state), prompt_screen().repeat(2, 1, 1, 1))


def test_rows_boot_to_boot_0_unless_told():
    both, _, screens = booted()  # its boot 1 ends on another screen
    assert torch.equal(both.screens(both.boot(torch.tensor([3, 4]))), prompt_screen().repeat(2, 1, 1, 1))
    assert not torch.equal(screens[-1:], prompt_screen())


def test_screens_are_a_history_not_noise(together):
    """The tiny computer must draw, differently in every row: else the comparisons below would compare nothing."""
    _, _, screens, state = together
    assert all((screens[:, a] != screens[:, b]).any() for a in range(ROWS) for b in range(a))
    assert (screens[1:] != screens[:-1]).flatten(2).any(2).float().mean() > 0.5
    assert len(state.memory.length.unique()) > 1  # rows of different length share the batch


@pytest.mark.parametrize("row", [0, 5])
def test_a_row_alone_shows_what_it_shows_among_eight(computer, together, row):
    seeds, events, screens, batch = together
    state = fresh(computer, seeds[row : row + 1])
    assert torch.equal(run(computer, state, events[row : row + 1])[:, 0], screens[:, row])
    for alone, among in zip(memory_of(state, 0), memory_of(batch, row), strict=True):
        torch.testing.assert_close(alone, among, rtol=0, atol=TOLERANCE)


def test_permuted_rows_show_permuted_screens(computer, together):
    seeds, events, screens, batch = together
    order = torch.tensor([3, 7, 0, 5, 1, 6, 2, 4])
    state = fresh(computer, seeds[order])
    assert torch.equal(run(computer, state, events[order]), screens[:, order])
    for row, was in enumerate(order.tolist()):
        for now, before in zip(memory_of(state, row), memory_of(batch, was), strict=True):
            torch.testing.assert_close(now, before, rtol=0, atol=TOLERANCE)


def test_rows_that_step_at_other_times_show_the_same(computer, together):
    """Each row takes its own events, but only some rows step in each call."""
    seeds, events, screens, _ = together
    state, taken = fresh(computer, seeds), torch.zeros(ROWS, dtype=torch.int64)
    generator = torch.Generator().manual_seed(4)
    for _ in range(3 * STEPS):
        rows = (torch.rand(ROWS, generator=generator) < 0.5) & (taken < STEPS)
        before = computer.screens(state)
        computer.step(state, events[torch.arange(ROWS), taken.clamp(max=STEPS - 1)], rows)
        taken += rows
        after = computer.screens(state)
        assert torch.equal(after[~rows], before[~rows])
        for row in rows.nonzero().flatten().tolist():
            assert torch.equal(after[row], screens[taken[row] - 1, row])
    assert taken.min() > STEPS // 2


def test_no_row_at_all_may_step(computer):
    state = fresh(computer, [1])
    computer.step(state, torch.tensor([5]), torch.tensor([False]))
    assert int(state.memory.length) == 0 and torch.equal(state.pixels, prompt_screen())


def test_the_seed_decides_and_only_the_seed(computer):
    same_events = some_events(1).expand(3, -1)
    screens = run(computer, fresh(computer, [5, 5, 6]), same_events)
    assert torch.equal(screens[:, 0], screens[:, 1])
    assert not torch.equal(screens[:, 0], screens[:, 2])


def test_a_restored_snapshot_goes_on_identically(computer, together):
    seeds, events, screens, _ = together
    state = fresh(computer, seeds)
    run(computer, state, events[:, :4])
    rows = torch.arange(ROWS) % 3 == 1
    snapshot = computer.snapshot(state, rows)
    run(computer, state, events[:, 4:])
    kept = computer.screens(snapshot).clone()
    assert torch.equal(kept, screens[3, rows])  # stepping did not reach into the snapshot
    computer.restore(state, rows, snapshot)
    assert torch.equal(computer.screens(state)[~rows], screens[-1, ~rows])
    for t in range(4, STEPS):
        computer.step(state, events[:, t], rows)
        assert torch.equal(computer.screens(state)[rows], screens[t, rows])
    computer.restore(state, rows, snapshot)  # and a second time
    computer.step(state, events[:, 4], rows)
    assert torch.equal(computer.screens(state)[rows], screens[4, rows])


def test_a_snapshot_of_no_row_holds_none(computer):
    state = fresh(computer, [1, 2])
    nobody = torch.zeros(2, dtype=torch.bool)
    empty = computer.snapshot(state, nobody)
    assert len(empty) == 0
    computer.restore(state, nobody, empty)
    assert torch.equal(state.pixels, prompt_screen().repeat(2, 1, 1, 1))


def test_a_snapshot_fits_only_as_many_rows(computer):
    state = fresh(computer, [1, 2, 3])
    snapshot = computer.snapshot(state, torch.tensor([True, True, False]))
    with pytest.raises(ValueError, match="1 rows chosen for a snapshot of 2; choose equally many"):
        computer.restore(state, torch.tensor([True, False, False]), snapshot)


def test_forks_go_on_like_their_row_and_apart_from_each_other(computer, together):
    seeds, events, screens, _ = together
    state = fresh(computer, seeds)
    run(computer, state, events[:, :5])
    forks = computer.fork(state, 2, 3)
    other = some_events(1, STEPS - 5, seed=9)
    shown = run(computer, forks, torch.cat([events[2:3, 5:], other, events[2:3, 5:]]))
    assert torch.equal(shown[:, 0], screens[5:, 2]) and torch.equal(shown[:, 2], screens[5:, 2])
    assert not torch.equal(shown[:, 1], screens[5:, 2])
    assert torch.equal(computer.screens(state), screens[4])  # the row itself did not move


def test_forks_remember_one_copy_of_the_past_until_they_are_written(computer, together):
    """What happens in the meantime to the row they come from, or to one of them, is nothing to the others."""
    seeds, events, screens, _ = together
    state = fresh(computer, seeds)
    run(computer, state, events[:, :5])
    forks = computer.fork(state, 2, 3)
    assert forks.memory.keys.stride(1) == 0 and forks.memory.values.stride(1) == 0
    run(computer, state, some_events(len(state), 3, seed=11))
    middle = torch.tensor([False, True, False])
    computer.restore(forks, middle, computer.snapshot(fresh(computer, seeds), torch.arange(len(seeds)) == 0))
    assert forks.memory.keys.stride(1) != 0
    shown = run(computer, forks, torch.cat([events[2:3, 5:], events[:1, : STEPS - 5], events[2:3, 5:]]))
    assert torch.equal(shown[:, 0], screens[5:, 2]) and torch.equal(shown[:, 2], screens[5:, 2])
    assert torch.equal(shown[:, 1], screens[: STEPS - 5, 0])


def test_the_first_fork_that_is_written_leaves_the_others_alone(computer, together):
    seeds, events, screens, _ = together
    state = fresh(computer, seeds)
    run(computer, state, events[:, :5])
    forks = computer.fork(state, 2, 3)
    computer.step(forks, some_events(3, 1, seed=12)[:, 0], torch.tensor([False, True, False]))
    copy = computer.fork(forks, 0, 2)  # a fork of one that was not written
    assert torch.equal(run(computer, copy, events[2:3, 5:].expand(2, -1))[:, 1], screens[5:, 2])
    shown = run(computer, forks, events[2:3, 5:].expand(3, -1))
    assert torch.equal(shown[:, 0], screens[5:, 2]) and torch.equal(shown[:, 2], screens[5:, 2])
    assert not torch.equal(shown[:, 1], screens[5:, 2])


@pytest.mark.parametrize("row", [-1, 2])
def test_there_is_no_fork_of_a_row_that_is_not_there(computer, row):
    with pytest.raises(ValueError, match=rf"row {row} of 2; choose one in \[0, 2\)"):
        computer.fork(fresh(computer, [1, 2]), row, 4)


def test_nothing_global_is_touched(computer):
    state, threads = torch.get_rng_state(), torch.get_num_threads()
    dtype, grad = torch.get_default_dtype(), torch.is_grad_enabled()
    deterministic = torch.are_deterministic_algorithms_enabled()
    run(computer, fresh(computer, [1, 2]), some_events(2, 3))
    assert torch.equal(torch.get_rng_state(), state)
    assert (torch.get_num_threads(), torch.get_default_dtype(), torch.is_grad_enabled()) == (threads, dtype, grad)
    assert torch.are_deterministic_algorithms_enabled() == deterministic


def test_only_damaged_tiles_change(computer):
    """Motion aside: with the scout's motion held at zero, as many tiles change as ``damage`` says, or fewer."""
    still = lively_computer()
    still.network.scout.read.bias.data[0] = 1e4
    state = fresh(still, range(ROWS))
    drew = 0
    for event in some_events().T:
        before = still.screens(state)
        still.step(state, event)
        codec = still.network.codec
        changed = (codec.tiles(before) != codec.tiles(state.pixels)).flatten(2).any(2).sum(1)
        assert (changed <= (state.damage * still.config.num_tiles).round()).all()
        drew += int(changed.sum())
    assert drew > 0


def test_pixels_are_the_codes_drawn(computer, together):
    *_, state = together
    assert torch.equal(computer.network.codec.screens(state.codes), state.pixels)
    assert torch.equal(computer.latents(state), computer.network.codec.code_latents[state.codes])
    assert torch.equal(computer.encode(state.pixels), computer.latents(state))


def booted(keys=(10, 20, 30), **changes):
    """A computer whose boot 1 was recorded from its own screens under ``keys``, and those screens."""
    computer = lively_computer(boots=((), tuple(keys)), **changes)
    state = fresh(computer, [7])
    screens = torch.cat([computer.screens(state), run(computer, state, torch.tensor([keys]))[:, 0]])
    bank = BootBank.record(computer.network.codec, [([], prompt_screen()), (list(keys), screens)])
    return NeuralComputer(computer.network, bank, device="cpu"), state, screens


def test_a_boot_with_events_ends_as_if_the_computer_had_drawn_it(computer):
    """What the log has read, and what it reads next, must be the same after a replay as after acting.

    The recording must be one that replay cannot tell from acting, so only the last screen and its memory of what
    happened before the first drawing differ in no way: compared are the screen, the length and the events read.
    """
    replayed, _, screens = booted()
    state = replayed.boot(torch.tensor([1, 2]), torch.tensor([1, 1]))
    assert torch.equal(replayed.screens(state), screens[-1:].repeat(2, 1, 1, 1))
    session, _, _ = replayed.bank.session(1, replayed.config)
    assert state.memory.length.tolist() == [len(session)] * 2
    assert state.shift_in.tolist() == [int(session.shift[-1])] * 2
    assert state.code_in[0].tolist() == session.code[-1].tolist()
    assert (state.row_in[0].tolist(), state.col_in[0].tolist()) == (session.row[-1].tolist(), session.col[-1].tolist())


def test_a_replayed_boot_is_remembered(computer):
    """Two boots with the same last screen but different events before go on differently."""
    one, _, screens = booted(keys=(10, 20, 30))
    bank = BootBank.record(one.network.codec, [([10, 20, 30], screens), ([11, 21, 31], screens)])
    both = NeuralComputer(one.network, bank, device="cpu")
    state = both.boot(torch.tensor([1, 1]), torch.tensor([0, 1]))
    assert torch.equal(state.pixels[0], state.pixels[1])
    assert not torch.equal(state.memory.keys[:, 0], state.memory.keys[:, 1])
    alone = both.boot(torch.tensor([1]), torch.tensor([1]))
    torch.testing.assert_close(alone.memory.keys[:, 0], state.memory.keys[:, 1], rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("boot", [-1, 1])
def test_an_unknown_boot_is_refused(computer, boot):
    with pytest.raises(ValueError, match=rf"boot {boot}; these weights hold 1 boots: choose one in \[0, 1\)"):
        computer.boot(torch.tensor([0]), torch.tensor([boot]))


@pytest.mark.parametrize("steps", [0, -1])
def test_denoising_without_a_step_is_refused(computer, steps):
    with pytest.raises(ValueError, match=f"denoise_steps={steps}; at least 1 step is needed"):
        NeuralComputer(computer.network, computer.bank, device="cpu", denoise_steps=steps)


def test_more_denoising_steps_may_be_asked_for(computer):
    finer = NeuralComputer(computer.network, computer.bank, device="cpu", denoise_steps=3)
    assert len(finer.sampler.levels) == 4
    assert run(finer, fresh(finer, [1]), some_events(1, 4)).shape == (4, 1, 192, 320, 3)


def test_saved_and_loaded_weights_run_identically(tmp_path):
    first = NeuralComputer.from_pretrained(save_tiny_computer(tmp_path / "a"), device="cpu")
    first.save_pretrained(tmp_path / "b")
    second = NeuralComputer.from_pretrained(tmp_path / "b", device="cpu")
    assert second.config == first.config
    for name in ("config.json", "model.safetensors", "boots.safetensors"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    events = some_events(3)
    assert torch.equal(run(first, fresh(first, [1, 2, 3]), events), run(second, fresh(second, [1, 2, 3]), events))


def test_a_machine_resets_chosen_rows_and_leaves_the_others(computer):
    machine = NeuralMachine(computer, 3)
    everyone, events = torch.ones(3, dtype=torch.bool).numpy(), some_events(3, 2).numpy()
    machine.reset(everyone, torch.tensor([1, 2, 3]).numpy(), torch.zeros(3, dtype=torch.int64).numpy())
    machine.step(events[:, 0], everyone)
    before = machine.screens()
    machine.reset(torch.tensor([False, True, False]).numpy(), torch.tensor([1, 9, 3]).numpy(), 0 * events[:, 0])
    after = machine.screens()
    assert (after[[0, 2]] == before[[0, 2]]).all() and (after[1] == prompt_screen()[0].numpy()).all()
    machine.step(events[:, 1], everyone)
    assert machine.damage().shape == (3,) and machine.latents().shape == (3, 480, computer.config.latent_dim)


def test_a_long_episode_wraps_around_the_ring_in_every_row(computer):
    """With room for eight tokens, rows alone and together still agree after the ring was overwritten."""
    small = lively_computer(memory_tokens=8)
    events = some_events(3, 15, seed=2)
    state = fresh(small, [1, 2, 3])
    screens = run(small, state, events)
    assert (state.memory.length > 8).all() and state.memory.keys.shape[3] == 8 + small.config.foresight
    copy = small.fork(state, 1, 1)
    assert torch.equal(run(small, fresh(small, [2]), events[1:2])[:, 0], screens[:, 1])
    more = some_events(1, 4, seed=3)
    a, b = run(small, copy, more), run(small, small.fork(state, 1, 2), more.expand(2, -1))
    assert torch.equal(a[:, 0], b[:, 1])


def test_wrong_foresight_changes_nothing(computer, together, monkeypatch):
    seeds, events, screens, state = together
    runtime = computer._runtime
    monkeypatch.setattr(runtime, "_foresee", lambda state, active, h, event: runtime._no_draft(len(active)))
    plain = fresh(computer, seeds)
    assert torch.equal(run(computer, plain, events), screens)
    assert torch.equal(plain.clock, state.clock) and torch.equal(plain.focus, state.focus)
    torch.testing.assert_close(plain.damage, state.damage)
    for row in range(ROWS):
        for a, b in zip(memory_of(plain, row), memory_of(state, row), strict=True):
            torch.testing.assert_close(a, b, rtol=0, atol=TOLERANCE)


def test_right_foresight_saves_passes_and_changes_nothing(monkeypatch):
    """The shipped computer foresees most of what bash prints; with and without foresight it shows the same."""
    computer = NeuralComputer.from_pretrained(data_root() / "weights" / "terminal", device="cpu")
    events = torch.tensor([encode("echo some words > file\ncat file\nls\nnosuchthing\n")] * 2)
    passes = 0
    step = computer.network.log.step

    def counted(tokens, gaze, memory):
        nonlocal passes
        passes += 1
        return step(tokens, gaze, memory)

    monkeypatch.setattr(computer.network.log, "step", counted)
    foreseeing, with_foresight = fresh(computer, [1, 2]), 0
    screens = run(computer, foreseeing, events)
    with_foresight, passes = passes, 0
    runtime = computer._runtime
    monkeypatch.setattr(runtime, "_foresee", lambda state, active, h, event: runtime._no_draft(len(active)))
    plain = fresh(computer, [1, 2])
    assert torch.equal(run(computer, plain, events), screens)
    assert torch.equal(plain.clock, foreseeing.clock)
    beyond_one_per_event = passes - events.shape[1]
    assert with_foresight - events.shape[1] < 0.75 * beyond_one_per_event
