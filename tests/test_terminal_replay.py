"""Determinism of the real terminal: sessions replay to the same bytes and the same pixels, event by event."""

from __future__ import annotations

import random

import numpy as np
import pyte
from numpy.typing import NDArray

from nc_gym.machines import font
from nc_gym.machines.keys import KEY_INDEX, KEYS, NOOP, encode
from nc_gym.machines.terminal import COLUMNS, ROWS, BashTerminal

ONE = np.ones(1, np.bool_)
ZERO = np.zeros(1, np.int64)
WORDS = ("fox", "gem", "hut", "ink")
COMMANDS = (
    "echo {a} {b}", "echo {a} > {b}", "echo '{a}  {b}' >> {a}", "ls", "ls {a}", "cat {a}", "touch {a}{b}", "rm {a}",
    "rm *", "mkdir {a}", "rmdir {a}", "cd {a}", "cd ..", "cd", "pwd", "mv {a} {b}", "cp {a} {b}", "clear",
    "echo $(({n}+{m}))", "echo $(({n}-{m}))", "X={a}; echo $X", "{a} {b}", "false; echo $?", "true", "seq {n}",
    "cat", "read {a}", "history", "for i in {a} {b}; do echo $i; done", "echo {a} | tr a-m A-M | wc -c",
    "x=$(ls | wc -l); echo $x", "seq 4000 | tail -2", "printf '%s\\n' {{a..z}}", "echo {a} |", "echo '{a}",
    "cat {a} 2>&1 | sort | head -3", "(exit 3); echo $?", "cat << {a}",
)  # fmt: skip
EDITS = ("Backspace", "Tab", "Up", "Down", "Left", "Right", "Ctrl-C", "Ctrl-L", "Ctrl-U", "noop")


def session_events(seed: int, length: int = 120) -> list[int]:
    """Commands with slips: edits, stray keys and interrupts in between."""
    dice = random.Random(seed)
    events: list[int] = []
    while len(events) < length:
        words = {"a": dice.choice(WORDS), "b": dice.choice(WORDS), "n": dice.randrange(100), "m": dice.randrange(100)}
        events += encode(dice.choice(COMMANDS).format(**words))
        if dice.random() < 0.3:
            events += [KEY_INDEX[dice.choice(EDITS)] for _ in range(dice.randint(1, 4))]
        if dice.random() < 0.2:
            events.append(KEY_INDEX[dice.choice([key for key in KEYS if key != "&"])])  # a background job may come late
        events.append(KEY_INDEX["Enter"])
        if dice.random() < 0.2:
            events.append(KEY_INDEX["Ctrl-C"])
    return events[:length]


def slow_drawing(screen: pyte.Screen) -> NDArray[np.uint8]:
    """Draws a whole screen from pyte's cells, one pixel rule at a time."""
    pixels = np.zeros((ROWS * 16, COLUMNS * 8, 3), np.uint8)
    for row in range(ROWS):
        for column in range(COLUMNS):
            cell = screen.buffer[row][column]
            inverse = cell.reverse != ((row, column) == (screen.cursor.y, min(screen.cursor.x, COLUMNS - 1)))
            colors = [font.color(cell.fg, cell.bold, font.FOREGROUND), font.color(cell.bg, False, font.BACKGROUND)]
            ink, paper = colors[::-1] if inverse else colors
            glyph = font.GLYPHS[font.glyph_index(cell.data)]
            pixels[row * 16 : row * 16 + 16, column * 8 : column * 8 + 8] = np.where(glyph[:, :, None], ink, paper)
    return pixels


def test_fifty_recorded_sessions_replay_identically() -> None:
    """Each session is recorded, then replayed: the same screens, cursors and bytes after every single event.

    The recorded bytes alone, fed to a second terminal emulator and drawn afresh, also give the recorded pixels.
    """
    with BashTerminal() as machine:
        for seed in range(50):
            events = session_events(seed)
            machine.reset(ONE, ZERO, ZERO)
            emulator = pyte.Screen(COLUMNS, ROWS)
            stream = pyte.ByteStream(emulator)
            stream.feed(machine.output()[0])
            recorded = []
            for count, event in enumerate(events):
                machine.step(np.array([event]), ONE)
                screen, output = machine.screens(), machine.output()
                recorded.append((screen, machine.chars(), machine.cursors(), output))
                stream.feed(output[0])
                if count % 10 == 0:
                    assert (slow_drawing(emulator) == screen[0]).all(), (seed, count)
            machine.reset(ONE, ZERO, ZERO)
            for count, (event, (screen, chars, cursors, output)) in enumerate(zip(events, recorded, strict=True)):
                machine.step(np.array([event]), ONE)
                where = f"session {seed}, event {count} ({KEYS[event]}): {output} then {machine.output()}"
                where += f"; recorded next: {[later[3] for later in recorded[count + 1 : count + 3]]}"
                assert machine.output() == output, where
                assert (machine.chars() == chars).all() and (machine.cursors() == cursors).all(), where
                assert (machine.screens() == screen).all(), where


def test_sessions_hold_every_kind_of_event() -> None:
    events = [event for seed in range(50) for event in session_events(seed)]
    assert {KEYS[event] for event in events} >= {*EDITS, "Enter", *"abcdefghijklmnopqrstuvwxyz"}
    assert NOOP in events and len(events) == 6000
