"""The real desktop is nearly deterministic: recorded sessions, played again, show the recorded screens."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from nc_gym.machines.desktop import XDesktop
from nc_gym.traces.desktop_recorder import collect_desktop, trace_path
from nc_gym.traces.desktop_trace import read_screens, read_trace

SESSIONS, STEPS, ROWS = 30, 100, 6
# When a window loses the keyboard, the editor's caret (128 pixels) becomes hollow, or seldom does not; once in some
# hundred sessions a piece of a line differed. Everything else must be equal.
OTHER_SHARE, OTHER_PIXELS = 0.05, 1536


@pytest.mark.slow
def test_thirty_traces_of_a_hundred_events_replay_identically_up_to_small_things(tmp_path: Path) -> None:
    assert collect_desktop(SESSIONS, STEPS, 11, tmp_path, workers=1, progress=False) == SESSIONS
    everyone, zeros = np.ones(ROWS, np.bool_), np.zeros(ROWS, np.int64)
    others = 0
    with XDesktop(ROWS) as machine:
        for start in range(0, SESSIONS, ROWS):
            paths = [trace_path(tmp_path, start + row) for row in range(ROWS)]
            events = np.array([read_trace(path).events for path in paths])  # (rows, steps, 4)
            films = [read_screens(path) for path in paths]
            machine.reset(everyone, zeros, zeros)
            for number in range(STEPS + 1):
                if number:
                    machine.step(events[:, number - 1], everyone)
                for row, film in enumerate(films):
                    different = (next(film) != machine.screens()[row]).any(2).sum()
                    assert different <= OTHER_PIXELS, (start + row, number)
                    others += different > 0
    assert others <= OTHER_SHARE * SESSIONS * (STEPS + 1)
