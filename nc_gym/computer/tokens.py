"""A recording as the event log reads it: sessions of screens and events become sequences of tokens.

An event's damage is written as motion plus tiles, as a video codec does: the framebuffer scrolls up by ``shift`` tile
rows (0: not at all), then in every row the span from the first to the last tile that still differs is drawn, raster
order, ``group`` tiles per token. A token says what was drawn last and which event arrives now; its targets say what is
drawn next. Everything is found from pixels (as codes); nothing here knows what a terminal is.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

Int = NDArray[np.int16]
Drawn = tuple[int, list[int], list[int], list[int]]  # motion, then codes, rows and columns of S slots


@dataclass
class TokenSession:
    """One session of E events as T tokens (T >= E). S is ``group``; unused slots hold code ``num_codes``."""

    event: Int  # (T,) the event, or ``num_events`` on a token that continues the event before
    first: Int  # (T,) 1 on the token that brings an event
    index: Int  # (T,) which event of the session, for the gaze
    focus: Int  # (T,) tile row of the gaze's last row
    shift_in: Int  # (T,) motion drawn by the previous token
    code_in: Int  # (T, S) tiles drawn by the previous token
    row_in: Int  # (T, S)
    col_in: Int  # (T, S)
    shift: Int  # (T,) targets from here
    count: Int  # (T,) tiles to draw now, 0..S
    more: Int  # (T,) 1 if another token continues this event
    code: Int  # (T, S)
    row: Int  # (T, S)
    col: Int  # (T, S)
    old: Int  # (T, S, 3) framebuffer codes at column-1, column, column+1 of each tile, after the motion
    gaze: Int  # (E, gaze_rows * columns) framebuffer codes in the gaze before each event

    def __len__(self) -> int:
        return len(self.event)


def find_shift(before: NDArray[np.int64], after: NDArray[np.int64], background: int = 0) -> int:
    """Returns the upward motion in rows that leaves the fewest tiles to draw.

    Args:
        before: codes (rows, columns) of the framebuffer.
        after: codes (rows, columns) of the next screen.
        background: code that fills rows that scroll in.
    """
    rows = len(before)
    best, best_cost = 0, int((before != after).sum())
    for k in range(1, rows + 1):
        cost = int((before[k:] != after[: rows - k]).sum() + (after[rows - k :] != background).sum())
        if cost < best_cost or (cost == best_cost and best):
            best, best_cost = k, cost
    return best


def shift_rows(codes: NDArray[np.int64], k: int, background: int = 0) -> NDArray[np.int64]:
    """Returns codes (rows, columns) moved up by ``k`` rows."""
    out = np.full_like(codes, background)
    out[: len(codes) - k] = codes[k:]
    return out


def damage_spans(before: NDArray[np.int64], after: NDArray[np.int64]) -> NDArray[np.int64]:
    """Returns positions, raster order, of every row's span from its first to its last differing tile."""
    differs = before != after
    columns = before.shape[1]
    spans = []
    for r in np.flatnonzero(differs.any(1)):
        c = np.flatnonzero(differs[r])
        spans.append(np.arange(r * columns + c[0], r * columns + c[-1] + 1))
    return np.concatenate(spans) if spans else np.zeros(0, np.int64)


def focus_row(codes: NDArray[np.int64], background: int = 0) -> int:
    """Returns where the gaze rests on a screen (rows, columns) that has just booted: its last row with content."""
    content = np.flatnonzero((codes != background).any(1))
    return int(content[-1]) if len(content) else 0


def gaze_window(codes: NDArray[np.int64], focus: int, gaze_rows: int, background: int = 0) -> NDArray[np.int64]:
    """Returns the codes (gaze_rows * columns,) of the rows that end at ``focus``."""
    above = max(0, gaze_rows - 1 - focus)
    seen = codes[focus + 1 - gaze_rows + above : focus + 1].reshape(-1)
    return np.concatenate([np.full(above * codes.shape[1], background, codes.dtype), seen]) if above else seen


def tokenize(
    screen0: NDArray[np.int64],
    events: NDArray[np.int64],
    delta_starts: NDArray[np.int64],
    delta_pos: NDArray[np.int64],
    delta_code: NDArray[np.int64],
    *,
    columns: int,
    num_codes: int,
    num_events: int,
    group: int,
    gaze_rows: int,
) -> TokenSession:
    """Turns one session, a first screen and per-event changes of codes, into its tokens.

    Args:
        screen0: codes (tiles,) of the first screen.
        events: (E,).
        delta_starts: (E + 1,), event e changes entries ``delta_starts[e]:delta_starts[e + 1]`` of the next two.
        delta_pos: (M,), tile positions, ascending within an event.
        delta_code: (M,), their new codes; a code may be the old one.
        columns: tile columns of the screen.
        num_codes: stands for an unused slot.
        num_events: stands for the event of a token that continues an event.
        group: S, tiles per token.
        gaze_rows: tile rows in the gaze.
    """
    canvas = screen0.reshape(-1, columns)
    focus = focus_row(canvas)
    tokens: list[tuple] = []  # the fields of TokenSession but gaze
    gazes = np.zeros((len(events), gaze_rows * columns), np.int16)
    edge = np.zeros(1, canvas.dtype)  # beyond the first and the last tile; np.pad takes ten times as long
    drawn: Drawn = (0, [num_codes] * group, [0] * group, [0] * group)  # by the previous token
    for e, event in enumerate(events):
        gazes[e] = gaze_window(canvas, focus, gaze_rows)
        changed = slice(delta_starts[e], delta_starts[e + 1])
        shift, moved, canvas, pos = _damage(canvas, delta_pos[changed], delta_code[changed], group)
        before, after = np.concatenate((edge, moved.reshape(-1), edge)), canvas.reshape(-1)
        n = max(1, -(-len(pos) // group))
        for j in range(n):
            places = pos[j * group : (j + 1) * group]
            unused = group - len(places)
            code = after[places].tolist() + [num_codes] * unused
            row, col = ((x.tolist() + [0] * unused) for x in (places // columns, places % columns))
            old = [before[x : x + 3].tolist() for x in places] + [[0, 0, 0]] * unused
            inputs = (event if j == 0 else num_events, int(j == 0), e, focus, *drawn)
            drawn = (shift if j == 0 else 0, code, row, col)
            tokens.append((*inputs, drawn[0], len(places), int(j + 1 < n), code, row, col, old))
        focus = int(pos[-1]) // columns if len(pos) else max(0, focus - shift)
    names = [f.name for f in fields(TokenSession)][:-1]
    arrays = {name: np.array(values, np.int16) for name, values in zip(names, zip(*tokens, strict=True), strict=True)}
    return TokenSession(**arrays, gaze=gazes)


def _damage(
    canvas: NDArray[np.int64], pos: NDArray[np.int64], code: NDArray[np.int64], group: int
) -> tuple[int, NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Returns the motion, the canvas after it, the next screen (both (rows, columns)), and the places to draw (P,)."""
    if not len(pos):
        return 0, canvas, canvas, pos
    after = canvas.copy()
    after.reshape(-1)[pos] = code
    if len(pos) <= 2 * group and pos[-1] - pos[0] + 1 == len(pos):  # one short run, as typing makes: no motion
        return 0, canvas, after, pos
    shift = find_shift(canvas, after)
    moved = shift_rows(canvas, shift)
    return shift, moved, after, damage_spans(moved, after)
