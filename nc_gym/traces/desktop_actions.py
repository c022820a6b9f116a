"""What the actions of the Neural Computers authors' data engine are on this desktop: names, strokes, and their frames.

Used by ``desktop_paper.py``, which says how actions and frames are aligned.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from nc_gym.machines.desktop_events import BUTTON_INDEX, HEIGHT, KEY_INDEX, KEYS, WIDTH, Event, event

Place = tuple[int, int]
"""Column and row of a pointer bin."""
Stroke = tuple["Place | None", str, str]
"""Where the pointer goes (None: it stays), a button event or "none", a key or "noop"."""

_NAMES = {
    "Enter": "enter", "Backspace": "backspace", "Tab": "tab", "Up": "up", "Down": "down", "Left": "left",
    "Right": "right", "Home": "home", "End": "end", " ": "space", "F4": "f4", "Alt": "alt", "Ctrl": "ctrl",
}  # fmt: skip
_MODIFIERS = {
    "ctrl": "Ctrl", "control": "Ctrl", "control_l": "Ctrl", "control_r": "Ctrl", "alt": "Alt", "alt_l": "Alt",
    "alt_r": "Alt", "shift": "Shift", "shift_l": "Shift", "shift_r": "Shift",
}  # fmt: skip
_KEY_OF_NAME = {theirs: ours for ours, theirs in _NAMES.items()} | {"return": "Enter", "\n": "Enter", "\t": "Tab"}
_SHIFTED = str.maketrans("`1234567890-=[]\\;',./", '~!@#$%^&*()_+{}|:"<>?')
ACTIONS = {
    "left click": "left_click", "right click": "right_click", "double click": "double_click",
    "left press": "left_mouse_down", "left release": "left_mouse_up", "wheel up": "scroll", "wheel down": "scroll",
}  # fmt: skip
_BUTTON_OF_ACTION = {name: button for button, name in ACTIONS.items() if name != "scroll"}
_PRESSES = ("key", "key_chord", "hold_key")
_NOTHING = ("mouse_move", "wait", "screenshot", "cursor_position")
_SCROLLS = {"up": "wheel up", "down": "wheel down"}


class Timeline:
    """Events in the making: one button event and one key each; what is more goes to the following ones.

    Args:
        places: where the pointer is from an event on, as far as it is known.
    """

    def __init__(self, places: Mapping[int, Place]) -> None:
        self._places = dict(places)
        self._acts: dict[int, Stroke] = {}
        self._last = 0  # the last event that has a button event or a key

    def add(self, index: int, strokes: Sequence[Stroke]) -> None:
        """Adds strokes that begin with event ``index``, in the order of time."""
        for place, button, key in strokes:
            slot = index
            if (button, key) != ("none", "noop"):
                slot = self._last = self._free(max(index, self._last), button)
                there, pressed, _ = self._acts.get(slot, (None, "none", "noop"))
                self._acts[slot] = (place or there, pressed if button == "none" else button, key)
            if place is not None and slot == index:
                self._places[slot] = place
            elif place is not None:
                self._places.setdefault(slot, place)  # the pointer may have gone on meanwhile

    def _free(self, index: int, button: str) -> int:
        """Returns ``index``, or the event after it if that has no room for a button event, or for a key if "none"."""
        _, pressed, key = self._acts.get(index, (None, "none", "noop"))
        return index + (key != "noop" or (pressed != "none" and button != "none"))

    def events(self, count: int | None) -> list[Event]:
        """Returns the first ``count`` events, all if None; the pointer begins in the corner, as in their converter."""
        here, events = (0, 0), []
        for index in range(max([-1, *self._places, *self._acts]) + 1 if count is None else count):
            here = self._places.get(index, here)
            place, button, key = self._acts.get(index, (None, "none", "noop"))
            events.append((*(place or here), BUTTON_INDEX[button], KEY_INDEX[key]))
        return events


def happened(actions: Iterable[dict[str, Any]]) -> list[tuple[int, dict[str, Any]]]:
    """Returns number and action of what was done, each once.

    Left out are the rows that say how the action before went (``*_success``, ``*_failed``), actions that failed, and
    what their programs name twice at one time: the click that makes a double or triple click (the third is a single
    one, after the double click), and the key of a chord.
    """
    done: list[tuple[int, dict[str, Any]]] = []
    for number, action in enumerate(actions):
        kind = action["action"]
        last = done[-1][1] if done else {"action": None}
        if kind.endswith("_success"):
            continue
        if kind.endswith("_failed"):
            if last["action"] == kind.removesuffix("_failed"):
                done.pop()
            continue
        if _time(action) == _time(last):
            pair = (last["action"], kind)
            if pair == ("left_click", "triple_click"):
                continue
            chord = kind in _PRESSES and str(_pressed(action)).endswith(f"+{_pressed(last)}")
            if pair == ("left_click", "double_click") or chord:
                done.pop()
        done.append((number, action))
    return done


def event_index(action: dict[str, Any], fps: float | None) -> int:
    """Returns which event an action is; see ``desktop_paper.py``.

    Raises:
        ValueError: it does not say.
    """
    if action.get("frame_index") is not None:
        return max(0, int(action["frame_index"]))
    if action.get("timestamp") is None:
        raise ValueError("it has neither frame_index nor timestamp; expected one, to know which frame shows it")
    if not fps:
        raise ValueError("it has no frame_index, and its timestamp is in no frame: expected metadata.fps, or a video's")
    return max(0, round(float(action["timestamp"]) * float(fps) - 1))


def strokes(action: dict[str, Any], size: tuple[int, int]) -> list[Stroke]:
    """Returns what an action does, an event each.

    Args:
        action: by their names, in any of their forms.
        size: width and height of the screen, in pixels, that it was done on.

    Raises:
        ValueError: this desktop has no such action or key, or the pointer is outside the screen.
        KeyError: what is to be typed, or where the pointer goes, is missing.
    """
    kind, place = action["action"], _place(action, size)
    if kind == "type":
        return [(place, "none", key_of(char)) for char in action["text"]]
    if kind in _PRESSES:
        if _pressed(action) is None:
            raise KeyError("key")
        return [(place, "none", key_of(_pressed(action)))]
    if kind in ("mouse_move", "left_click_drag") and place is None:
        raise KeyError("coordinate")
    if kind in _NOTHING:
        return [(place, "none", "noop")]
    if held := action.get("key") or action.get("text"):
        raise ValueError(f"the key {held!r} is held; expected no key, here buttons and keys come one after the other")
    if kind == "scroll":
        return scroll(action.get("scroll_direction") or action.get("direction"), action.get("scroll_amount"), place)
    if kind == "left_click_drag":
        return [(None, "left press", "noop"), (place, "left release", "noop")]
    if kind == "triple_click":
        return [(place, "double click", "noop"), (place, "left click", "noop")]
    if kind not in _BUTTON_OF_ACTION:
        raise ValueError(f"unknown action; this desktop's buttons do {', '.join(_BUTTON_OF_ACTION)} and scroll")
    return [(place, _BUTTON_OF_ACTION[kind], "noop")]


def scroll(direction: object, amount: str | int | None = None, place: Place | None = None) -> list[Stroke]:
    """Returns the strokes of a scroll, one per notch of the wheel.

    Raises:
        ValueError: the direction is neither "up" nor "down".
    """
    if direction not in _SCROLLS:
        raise ValueError(f"it scrolls {direction!r}; this desktop's wheel turns up and down")
    return [(place, _SCROLLS[str(direction)], "noop")] * (1 if amount is None else int(amount))


def bin_at(x: float, y: float, size: tuple[int, int]) -> Place:
    """Returns the pointer bin at the same place as pixel (x, y) of a screen of another size."""
    column, row, *_ = event(int(x * WIDTH / size[0]), int(y * HEIGHT / size[1]))
    return column, row


def combination(key: str) -> str:
    """Returns their name of a key: "a", "enter", "ctrl+c"."""
    if len(key) == 1:
        return _NAMES.get(key, key)
    modifier, _, last = key.rpartition("-")
    last = _NAMES.get(last, last.lower() if modifier else last)
    return f"{_NAMES[modifier]}+{last}" if modifier else last


def is_modifier(name: str) -> bool:
    """Says whether a key does nothing alone."""
    return name.lower() in _MODIFIERS


def key_of(pressed: object) -> str:
    """Returns the key of this desktop with their name, or X's: "a", "Return", "ctrl+c"; "noop" for a modifier alone.

    Raises:
        ValueError: there is none.
    """
    combined = str(pressed)
    names = combined.split("+") if len(combined) > 1 else [combined]
    if all(map(is_modifier, names)):
        return "noop"
    *modifiers, key = (_MODIFIERS.get(name.lower(), name) for name in names)
    key = key if len(key) == 1 and key.isprintable() and key != " " else _KEY_OF_NAME.get(key.lower(), key)
    if modifiers == ["Shift"] and len(key) == 1:  # it is part of the character
        modifiers, key = [], key.upper().translate(_SHIFTED)
    found = "-".join([*modifiers, key.upper() if modifiers and len(key) == 1 else key])
    if found not in KEY_INDEX:
        raise ValueError(f"unknown key {combined!r}; this desktop has printable ASCII and {', '.join(KEYS[96:])}")
    return found


def _time(action: dict[str, Any]) -> object:
    return action.get("frame_index", action.get("timestamp"))


def _pressed(action: dict[str, Any]) -> Any:
    """Returns the key or keys that an action names."""
    return action.get("combo") or action.get("key") or action.get("text")


def _place(action: dict[str, Any], size: tuple[int, int]) -> Place | None:
    x, y = action.get("coordinate") or (action.get("x"), action.get("y"))
    return None if x is None or y is None else bin_at(float(x), float(y), size)
