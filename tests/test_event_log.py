"""The event log: stepping token by token is the same function as reading whole sequences, also around the ring."""

from __future__ import annotations

from dataclasses import fields

import pytest
import torch
import torch.nn.functional as F
from tiny import tiny_computer

from nc_gym.computer.event_log import LogTokens, mix_tokens, norm, rotary
from nc_gym.computer.memory import LogMemory

TOLERANCE = 2e-5  # float32, sums in another order; measured: 3e-6


@pytest.fixture(scope="module")
def log():
    return tiny_computer(group=2).network.log


def random_tokens(log, rows, length, seed=0):
    """Returns tokens (rows, length), gaze codes (rows, events, W) and the event of each token (rows, length)."""
    c = log.config
    generator = torch.Generator().manual_seed(seed)

    def draw(high, *shape):
        return torch.randint(high, (rows, length, *shape), generator=generator)

    tokens = LogTokens(
        draw(c.num_events + 1), draw(c.tile_rows), draw(c.tile_rows + 1), draw(c.num_codes + 1, c.group),
        draw(c.tile_rows, c.group), draw(c.tile_columns, c.group),
    )  # fmt: skip
    index = (draw(2).cumsum(1) - 1).clamp(min=0)
    gaze = torch.randint(c.num_codes, (rows, length, c.gaze_rows * c.tile_columns), generator=generator)
    return tokens, gaze, index


def at(tokens, rows, t):
    return LogTokens(*(getattr(tokens, f.name)[rows, t : t + 1] for f in fields(tokens)))


def one_step(log, tokens, gaze, memory, rows):
    """Feeds ``rows`` one token each; returns h (A, d)."""
    memory.open(rows, 1)
    h = log.step(tokens, log.gaze_encoder(gaze), memory)[:, 0]
    memory.advance(torch.ones_like(rows))
    return h


@torch.inference_mode()
def stepped(log, tokens, gaze, index, lengths, limit=None):
    """Feeds row r its first ``lengths[r]`` tokens one by one; returns h (rows, T, d) and the memory."""
    rows, T = tokens.event.shape
    memory = LogMemory.empty(log.config, rows, torch.device("cpu"), torch.float32)
    memory.limit = limit or memory.limit
    h = torch.zeros(rows, T, log.config.width)
    for t in range(max(lengths)):
        active = torch.tensor([r for r in range(rows) if t < lengths[r]])
        h[active, t] = one_step(log, at(tokens, active, t), gaze[active, index[active, t]], memory, active)
    return h, memory


@torch.inference_mode()
def windowed(log, tokens, gaze, index, window):
    """The whole-sequence computation written out, each token attending to the last ``window`` tokens only."""
    rows, T = tokens.event.shape
    c = log.config
    i = torch.arange(T)
    near = (i[:, None] >= i) & (i[:, None] - i < window)
    cos, sin = rotary(i, c.width // c.num_heads // 2)
    seen = log.gaze_encoder(torch.cat([gaze[r, index[r]] for r in range(rows)]))
    x = log.embed(tokens)
    for block in log.blocks:
        q, k, v = block.split(mix_tokens(F.pad(norm(x), (0, 0, 2, 0))), cos, sin)
        k, v = (y.repeat_interleave(c.num_heads // c.num_kv_heads, 1) for y in (k, v))
        scores = (q @ k.transpose(2, 3) / q.shape[-1] ** 0.5).masked_fill(~near, -torch.inf)
        x = x + block.out((scores.softmax(-1) @ v).transpose(1, 2).flatten(2))
        if block.gaze is not None:
            x = x + block.gaze(norm(x).flatten(0, 1)[:, None], seen).view_as(x)
        x = x + block.mlp(x)
    return norm(x)


def test_steps_equal_the_whole_sequence_for_rows_of_different_length(log):
    tokens, gaze, index = random_tokens(log, rows=3, length=20)
    with torch.inference_mode():
        whole = log(tokens, gaze, index)
    lengths = [20, 7, 13]
    h, memory = stepped(log, tokens, gaze, index, lengths)
    for row, length in enumerate(lengths):
        torch.testing.assert_close(h[row, :length], whole[row, :length], rtol=0, atol=TOLERANCE)
    assert memory.length.tolist() == lengths


def test_a_row_that_pauses_goes_on_where_it_was(log):
    tokens, gaze, index = random_tokens(log, rows=2, length=6)
    with torch.inference_mode():
        whole = log(tokens, gaze, index)
        memory = LogMemory.empty(log.config, 2, torch.device("cpu"), torch.float32)
        for row, t in [(0, 0), (1, 0), (1, 1), (0, 1), (1, 2), (1, 3), (0, 2), (0, 3)]:
            rows = torch.tensor([row])
            h = one_step(log, at(tokens, rows, t), gaze[rows, index[rows, t]], memory, rows)
            torch.testing.assert_close(h[0], whole[row, t], rtol=0, atol=TOLERANCE)


def test_a_token_depends_on_the_past_and_not_on_the_future(log):
    tokens, gaze, index = random_tokens(log, rows=1, length=12)
    with torch.inference_mode():
        before = log(tokens, gaze, index)
        tokens.event[0, 6] = (tokens.event[0, 6] + 1) % log.config.num_events
        after = log(tokens, gaze, index)
    assert torch.equal(before[:, :6], after[:, :6])
    assert ((before[:, 6:] - after[:, 6:]).abs().amax(-1) > 1e-3).all()


@pytest.mark.parametrize("name", [f.name for f in fields(LogTokens)] + ["gaze"])
def test_every_input_is_read(log, name):
    tokens, gaze, index = random_tokens(log, rows=1, length=4)
    tokens.code_in %= log.config.num_codes  # the place of an unused slot may be ignored
    with torch.inference_mode():
        before = log(tokens, gaze, index)[0, -1]
        changed = gaze[0, index[0, -1]] if name == "gaze" else getattr(tokens, name)[0, -1]
        changed += torch.where(changed == 0, 1, -1)
        assert (log(tokens, gaze, index)[0, -1] - before).abs().max() > 1e-4


def test_a_full_ring_attends_to_exactly_the_last_tokens():
    limit, length = 8, 30
    log = tiny_computer(memory_tokens=limit).network.log
    tokens, gaze, index = random_tokens(log, rows=2, length=length)
    lengths = [length, 5 + limit]
    h, memory = stepped(log, tokens, gaze, index, lengths)
    expected = windowed(log, tokens, gaze, index, limit)
    for row, n in enumerate(lengths):
        torch.testing.assert_close(h[row, :n], expected[row, :n], rtol=0, atol=TOLERANCE)
    endless = windowed(log, tokens, gaze, index, length)
    assert (expected - endless)[:, limit:].abs().max() > 1e-2  # forgetting shows
    assert memory.keys.shape[3] == memory.values.shape[3] == memory.ring == limit + log.config.foresight


def test_the_memory_grows_to_its_limit_and_stays():
    log = tiny_computer(memory_tokens=300, foresight=2).network.log
    tokens, gaze, index = random_tokens(log, rows=1, length=320)
    _, memory = stepped(log, tokens, gaze, index, [250])
    assert memory.keys.shape[3] == 256
    h, memory = stepped(log, tokens, gaze, index, [320])
    assert memory.keys.shape[3] == memory.ring == 302
    expected = windowed(log, tokens, gaze, index, 300)
    torch.testing.assert_close(h, expected, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("limit", [256, 8])
def test_blocks_whose_guesses_are_wrong_equal_single_tokens(limit):
    """Every block holds a right token, perhaps right guesses, then wrong ones; also around a small ring."""
    log = tiny_computer(memory_tokens=limit, foresight=3).network.log
    tokens, gaze, _ = random_tokens(log, rows=2, length=40)
    wrong, _, _ = random_tokens(log, rows=2, length=40, seed=1)
    same = torch.zeros(2, 40, dtype=torch.int64)  # all with the first gaze
    expected = windowed(log, tokens, gaze, same, limit)
    memory = LogMemory.empty(log.config, 2, torch.device("cpu"), torch.float32)
    generator = torch.Generator().manual_seed(0)
    with torch.inference_mode():
        while int(memory.length.max()) < 32:
            accepted = torch.randint(1, 5, (2,), generator=generator)
            block = LogTokens(*(torch.stack([
                torch.cat([getattr(tokens, f.name)[r, n : n + k], getattr(wrong, f.name)[r, n + k : n + 4]])
                for r, (n, k) in enumerate(zip(memory.length.tolist(), accepted.tolist(), strict=True))
            ]) for f in fields(tokens)))  # fmt: skip
            start = memory.length.clone()
            memory.open(torch.arange(2), 4)
            h = log.step(block, log.gaze_encoder(gaze[:, 0]), memory)
            memory.advance(accepted)
            for r, (n, k) in enumerate(zip(start.tolist(), accepted.tolist(), strict=True)):
                torch.testing.assert_close(h[r, :k], expected[r, n : n + k], rtol=0, atol=TOLERANCE)


def test_taps_hold_the_last_two_inputs_of_every_layer(log):
    tokens, gaze, index = random_tokens(log, rows=2, length=5)
    _, memory = stepped(log, tokens, gaze, index, [5, 3])
    with torch.inference_mode():
        x = norm(log.embed(tokens))  # the first layer's inputs
    torch.testing.assert_close(memory.taps[0, 0], x[0, [3, 4]], rtol=0, atol=TOLERANCE)
    torch.testing.assert_close(memory.taps[0, 1], x[1, [1, 2]], rtol=0, atol=TOLERANCE)


def test_a_copied_row_goes_on_alike_in_another_memory(log):
    """Also into a memory whose capacity is smaller, and whose rows held something longer before."""
    tokens, gaze, index = random_tokens(log, rows=2, length=12)
    _, memory = stepped(log, tokens, gaze, index, [9, 11])
    with torch.inference_mode():
        whole = log(tokens, gaze, index)
        copied = memory.select(torch.tensor([0, 0]))
        target = memory.select(torch.tensor([1, 1, 1]))
        target.assign(torch.tensor([2]), copied.select(torch.tensor([1])))
        for t in range(9, 12):
            rows = torch.tensor([2])
            h = one_step(log, at(tokens, torch.tensor([0]), t), gaze[:1, index[0, t]], target, rows)
            torch.testing.assert_close(h[0], whole[0, t], rtol=0, atol=TOLERANCE)
    assert target.length.tolist() == [11, 11, 12] and memory.length.tolist() == [9, 11]


def test_unused_slots_add_no_place(log):
    tokens, _, _ = random_tokens(log, rows=1, length=3)
    tokens.code_in[:] = log.config.num_codes
    with torch.inference_mode():
        before = log.embed(tokens)
        tokens.row_in[:], tokens.col_in[:] = 0, 0
        assert torch.equal(log.embed(tokens), before)
        tokens.code_in[..., 0] = 5
        assert not torch.equal(log.embed(tokens), before)


def test_mixing_shifts_channels_in_time():
    x = torch.arange(1.0, 5.0)[:, None].expand(4, 8)[None]  # token t holds t + 1 in every channel
    mixed = mix_tokens(F.pad(x, (0, 0, 2, 0)))[0]
    now, before, before_that = mixed[:, 0], mixed[:, 4], mixed[:, 6]
    assert torch.equal(now, torch.tensor([1.0, 2, 3, 4]))
    assert torch.equal(before, F.pad(now, (1, 0))[:4])
    assert torch.equal(before_that, F.pad(now, (2, 0))[:4])
