"""Transition accuracy: does the neural desktop go to the right one of all the screens that such an event leads to?"""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nc_gym import desktop_fidelity_scores as pixels
from nc_gym import fidelity_scores as scores
from nc_gym.desktop_fidelity_run import DesktopSessions, Film
from nc_gym.machines.desktop_events import BUTTON_INDEX, BUTTONS, KEY_INDEX, KEYS
from nc_gym.machines.window import Window

MUCH = 0.02  # share of pixels, beyond the pointer's, that a transition changes
_BORDER, _TITLE = 4, 20  # pixels around a window's content: left, right and below; above


def transitions(real: DesktopSessions, film: Film) -> dict[str, Any]:
    """Returns the transition accuracy, over all classes and of each."""
    classes = transition_classes(real)
    shape = real.beyond.shape
    counted, right, happened, idle = np.zeros((4, *shape), np.bool_)
    table: dict[str, scores.Number] = {}
    for name, places in classes.items():
        after = [real.film.screen(n, t + 1) for n, t in places]
        before = [real.film.screen(n, t) for n, t in places]
        shown = [film.screen(n, t + 1) for n, t in places]
        own, none = pixels.nearest_to_own(shown, after), pixels.nearest_to_own(before, after)
        of_class = np.zeros(shape, np.bool_)
        for i, place in enumerate(places):
            if own[i] is not None:
                of_class[place] = True
                right[place], idle[place] = own[i], none[i]
                to_after, to_before = pixels.distance(np.stack([after[i], before[i]]), shown[i])
                happened[place] = own[i] and to_after < to_before
        if of_class.any():
            table[name] = scores.share_number(right, of_class)
        counted |= of_class
    if not table:
        return {"classes": 0, "events": sum(map(len, classes.values())), "table": {}}
    return {
        "classes": len(table),
        "accuracy": scores.share_number(right, counted),
        "and_happened": scores.share_number(happened, counted),
        "if_nothing_happened": scores.share_number(idle, counted),
        "not_counted": sum(map(len, classes.values())) - int(counted.sum()),
        "table": table,
    }


def transition_classes(real: DesktopSessions) -> dict[str, list[tuple[int, int]]]:
    """Returns the session and event numbers of the transitions of each class, classes by name."""
    classes: dict[str, list[tuple[int, int]]] = defaultdict(list)
    for n, t in np.argwhere(real.beyond > MUCH).tolist():
        purpose = real.purposes[n][t]
        done = f"random {event_name(real.events[n, t])}" if purpose == "random" else purpose
        classes[f"{done}, {'overlapping' if overlap(real.windows[n][t + 1]) else 'apart'}"].append((n, t))
    return dict(sorted(classes.items()))


def event_name(event: NDArray[np.int64]) -> str:
    """Names what an event (4,) does: its key, else its button event, else that it moves."""
    if event[3] != KEY_INDEX["noop"]:
        return f"key {KEYS[event[3]]}" if len(KEYS[event[3]]) > 1 else "key"
    return "move" if event[2] == BUTTON_INDEX["none"] else BUTTONS[event[2]]


def overlap(windows: list[Window]) -> bool:
    """Tells whether any two windows that are shown overlap, frames included."""
    shown = [window for window in windows if not window.minimized]
    return any(_meet(a, b) for i, a in enumerate(shown) for b in shown[:i])


def _meet(a: Window, b: Window) -> bool:
    def apart(start: int, length: int, other: int, other_length: int, before: int) -> bool:
        return start + length + _BORDER <= other - before or other + other_length + _BORDER <= start - before

    return not (apart(a.x, a.width, b.x, b.width, _BORDER) or apart(a.y, a.height, b.y, b.height, _TITLE))
