"""Recordings as tokens: motion and tiles must rebuild every screen, and inputs must be what was drawn before."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tiny import tiny_computer

from nc_gym.computer.boots import BootBank
from nc_gym.computer.tokens import damage_spans, find_shift, focus_row, gaze_window, shift_rows, tokenize

NUM_CODES, NUM_EVENTS = 6, 9


@st.composite
def videos(draw):
    """Frames (E + 1, rows, columns), events (E,), group and gaze rows: typing, scrolling, redrawing, idling."""
    rows, columns = draw(st.integers(1, 5)), draw(st.integers(1, 6))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    frames = [rng.integers(0, NUM_CODES, (rows, columns)) * rng.integers(0, 2, (rows, 1))]
    kinds = draw(
        st.lists(st.sampled_from(["idle", "tile", "run", "scroll", "redraw", "clear"]), min_size=1, max_size=8)
    )
    for kind in kinds:
        frame = frames[-1].copy()
        if kind == "scroll":
            frame = shift_rows(frame, int(rng.integers(1, rows + 1)))
        at = int(rng.integers(frame.size))
        if kind in ("tile", "scroll"):
            frame.flat[at] = rng.integers(NUM_CODES)
        elif kind == "run":
            frame.reshape(-1)[at : at + 4] = rng.integers(0, NUM_CODES, frame.reshape(-1)[at : at + 4].shape)
        elif kind == "redraw":
            frame = rng.integers(0, NUM_CODES, frame.shape)
        elif kind == "clear":
            frame = np.zeros_like(frame)
        frames.append(frame)
    events = rng.integers(0, NUM_EVENTS, len(kinds))
    return np.stack(frames), events, draw(st.integers(1, 3)), draw(st.integers(1, min(2, rows)))


def tokens_of(frames, events, group, gaze_rows, extra=0.0):
    """Tokenizes frames; a share ``extra`` of unchanged tiles is listed as changed too, as a lossy codec does."""
    rng = np.random.default_rng(0)
    flat = frames.reshape(len(frames), -1)
    listed = [np.flatnonzero((a != b) | (rng.random(a.shape) < extra)) for a, b in pairwise(flat)]
    return tokenize(
        flat[0], events, np.cumsum([0, *map(len, listed)]), np.concatenate(listed),
        np.concatenate([flat[i + 1][p] for i, p in enumerate(listed)]),
        columns=frames.shape[2], num_codes=NUM_CODES, num_events=NUM_EVENTS, group=group, gaze_rows=gaze_rows,
    )  # fmt: skip


def played(session, frame, num_codes=NUM_CODES):
    """Applies every token to a screen, the motion and then the tiles; yields the screen after each event."""
    frame = frame.copy()
    for t in range(len(session)):
        frame = shift_rows(frame, int(session.shift[t]))
        for code, row, col in zip(session.code[t], session.row[t], session.col[t], strict=True):
            if code < num_codes:
                frame[row, col] = code
        if not session.more[t]:
            yield frame.copy()


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(videos(), st.sampled_from([0.0, 0.3]))
def test_tokens_rebuild_every_screen(video, extra):
    frames, events, group, gaze_rows = video
    session = tokens_of(frames, events, group, gaze_rows, extra)
    np.testing.assert_array_equal(list(played(session, frames[0])), frames[1:])


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(videos())
def test_tokens_read_what_was_drawn_before_and_where_they_look(video):
    frames, events, group, gaze_rows = video
    s = tokens_of(frames, events, group, gaze_rows)
    for name in ("shift", "code", "row", "col"):
        np.testing.assert_array_equal(getattr(s, f"{name}_in")[1:], getattr(s, name)[:-1])
    assert s.shift_in[0] == 0 and (s.code_in[0] == NUM_CODES).all()
    assert s.event[s.first == 1].tolist() == events.tolist()
    assert (s.event[s.first == 0] == NUM_EVENTS).all()
    np.testing.assert_array_equal(s.index, np.cumsum(s.first) - 1)
    np.testing.assert_array_equal(s.count, (s.code < NUM_CODES).sum(1))
    assert (s.count[s.more == 1] == group).all()  # only a full token is continued
    assert (s.shift[s.first == 0] == 0).all()
    np.testing.assert_array_equal(s.more[:-1], 1 - s.first[1:])
    for e, window in enumerate(s.gaze):
        focus = int(s.focus[s.index == e][0])
        assert (s.focus[s.index == e] == focus).all()
        np.testing.assert_array_equal(window, gaze_window(frames[e], focus, gaze_rows))


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(videos())
def test_a_tiles_surroundings_are_the_screen_after_the_motion_and_before_any_drawing(video):
    frames, events, group, gaze_rows = video
    s = tokens_of(frames, events, group, gaze_rows)
    columns = frames.shape[2]
    for t in range(len(s)):
        moved = shift_rows(frames[s.index[t]], int(s.shift[s.index == s.index[t]][0])).reshape(-1)
        for i in range(s.count[t]):
            place = s.row[t, i] * columns + s.col[t, i]
            around = [moved[p] if 0 <= p < moved.size else 0 for p in (place - 1, place, place + 1)]
            assert s.old[t, i].tolist() == around


def test_a_scroll_costs_its_new_row_only():
    before = np.arange(1, 13).reshape(4, 3)
    after = np.array([[4, 5, 6], [7, 8, 9], [10, 11, 12], [1, 0, 2]])
    assert find_shift(before, after) == 1
    assert damage_spans(shift_rows(before, 1), after).tolist() == [9, 10, 11]  # the span holds the blank between
    assert find_shift(before, before) == 0


def test_a_cleared_screen_is_one_motion_without_a_tile():
    frames = np.stack([np.arange(1, 13).reshape(4, 3), np.zeros((4, 3), int)])
    session = tokens_of(frames, np.array([5]), 2, 2)
    assert (len(session), session.shift[0], session.count[0], session.more[0]) == (1, 4, 0, 0)


def test_the_gaze_rests_on_the_last_row_with_content():
    codes = np.zeros((4, 3), int)
    assert focus_row(codes) == 0
    codes[2, 1] = 5
    assert focus_row(codes) == 2
    assert gaze_window(codes, 2, 2).tolist() == [0, 0, 0, 0, 5, 0]
    assert gaze_window(codes + 1, 0, 2).tolist() == [0, 0, 0, 1, 1, 1]  # background above the screen


def test_a_boot_bank_gives_each_boots_tokens_and_screens_back():
    computer = tiny_computer()
    codec, c = computer.network.codec, computer.config
    generator = torch.Generator().manual_seed(0)
    codes = torch.randint(c.num_codes, (4, c.num_tiles), generator=generator)
    screens = codec.screens(codes)
    bank = BootBank.record(codec, [([], screens[:1]), ([7, 8], screens[1:])])
    assert len(bank) == 2
    session, first, last = bank.session(0, c)
    assert session is None and torch.equal(first, codes[0]) and torch.equal(last, codes[0])
    session, first, last = bank.session(1, c)
    assert torch.equal(first, codes[1]) and torch.equal(last, codes[3])
    assert session.event[session.first == 1].tolist() == [7, 8]
    frames = list(played(session, codes[1].view(12, 40).numpy(), c.num_codes))
    np.testing.assert_array_equal(np.stack(frames).reshape(2, -1), codes[2:])


@pytest.mark.parametrize("k", range(4))
def test_rows_move_up_and_background_comes_in(k):
    codes = np.arange(1, 10).reshape(3, 3)
    moved = shift_rows(codes, k)
    np.testing.assert_array_equal(moved, np.concatenate([codes[k:], np.zeros((k, 3), int)]))
