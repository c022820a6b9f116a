"""The GUI trace files of the Neural Computers authors' data engine: per-frame action CSV and actions JSON.

Alignment, which their own files leave open (see the tests): row k of the CSV is the action *before* frame k + 1, so a
video with N rows has N + 1 frames, as here: frame 0 is the screen before anything was done. A row's timestamp is
k / fps. The JSON holds the same actions with names; ``frame_index`` k says that frame k + 1 is the first to show them.

Columns: Timestamp, Timestamp_formated (their spelling; ``Timestamp_formatted`` is read, too), X, Y, Left Click,
Right Click, Key Events. A key event is ('keydown' or 'keyup', key). Left Click and Right Click only say that a click
began in that row. What the columns cannot say is written as further key events: ('mouse', button event) for a press, a
release or a double click, ('scroll', 'up:1') for the wheel, as their converter does.
"""

from __future__ import annotations

import ast
import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nc_gym.machines.desktop_events import BUTTONS, HEIGHT, KEY_INDEX, KEYS, WIDTH, Event, event, position
from nc_gym.traces.desktop_trace import TraceError

COLUMNS = ("Timestamp", "Timestamp_formated", "X", "Y", "Left Click", "Right Click", "Key Events")
_NAMES = {
    "Enter": "enter", "Backspace": "backspace", "Tab": "tab", "Up": "up", "Down": "down", "Left": "left",
    "Right": "right", "Home": "home", "End": "end", " ": "space", "F4": "f4", "Alt": "alt", "Ctrl": "ctrl",
}  # fmt: skip
_KEY_OF_NAME = {theirs: ours for ours, theirs in _NAMES.items()} | {"return": "Enter"}
_ACTIONS = {
    "left click": "left_click", "right click": "right_click", "double click": "double_click",
    "left press": "left_mouse_down", "left release": "left_mouse_up", "wheel up": "scroll", "wheel down": "scroll",
}  # fmt: skip
_BUTTON_OF_ACTION = {name: button for button, name in _ACTIONS.items() if name != "scroll"}
_SCROLLS = {"up": "wheel up", "down": "wheel down"}


def write_csv(path: Path, events: Sequence[Event], fps: float) -> None:
    """Writes one row per event."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for index, (column, row, button, key) in enumerate(events):
            name, (x, y) = BUTTONS[button], position(column, row)
            clicks = (name == "left click", name == "right click")
            others = [] if name == "none" or any(clicks) else [_mouse(name)]
            time = index / fps
            writer.writerow([f"{time:.3f}", _clock(time), x, y, *clicks, str(others + _strokes(KEYS[key]))])


def read_csv(path: Path, size: tuple[int, int] = (WIDTH, HEIGHT)) -> list[Event]:
    """Reads the events of a per-frame CSV; keys that this desktop does not have are an error.

    Args:
        path: the file.
        size: width and height, in pixels, of the screen that its pointer was on.

    Raises:
        TraceError: a column or a value is missing or unknown, or the pointer is outside the screen.
    """
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return [_event_of_row(path, number, row, size) for number, row in enumerate(rows, 2)]


def write_json(path: Path, events: Sequence[Event], fps: float) -> None:
    """Writes the actions of all events with names; events that only move are ``mouse_move``, idle ones ``wait``."""
    actions: list[dict[str, Any]] = []
    last: tuple[int, int] | None = None
    for index, (column, row, button, key) in enumerate(events):
        place = {"coordinate": list(position(column, row)), "timestamp": index / fps, "frame_index": index}
        name, stroke = BUTTONS[button], KEYS[key]
        moved, last = (column, row) != last, (column, row)
        if name == "none" and (moved or stroke == "noop"):
            actions.append({"action": "mouse_move" if moved else "wait", **place})
        elif name != "none":
            direction = {"direction": name.removeprefix("wheel ")} if name.startswith("wheel") else {}
            actions.append({"action": _ACTIONS[name], **direction, **place})
        if stroke != "noop":
            actions.append({"action": "type" if len(stroke) == 1 else "key", "text": _combination(stroke), **place})
    metadata = {
        "source": "nc_gym", "fps": fps, "total_actions": len(actions), "frame_count": len(events) + 1,
        "action_frame_applies_to_next_frame": True,
    }  # fmt: skip
    path.write_text(json.dumps({"metadata": metadata, "actions": actions}, indent=1) + "\n", encoding="utf-8")


def read_json(path: Path, size: tuple[int, int] = (WIDTH, HEIGHT)) -> list[Event]:
    """Reads the events of an actions JSON; actions of one ``frame_index`` are one event, a frame without any is idle.

    Args:
        path: the file.
        size: width and height, in pixels, of the screen that its pointer was on.

    Raises:
        TraceError: it is no such file, or an action or a key is unknown, or the pointer is outside the screen.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        actions = content["actions"]
        frames: dict[int, list[dict[str, Any]]] = {}
        for number, action in enumerate(actions):
            frames.setdefault(action.get("frame_index", number), []).append(action)
        count = max(max(frames, default=-1) + 1, content.get("metadata", {}).get("frame_count", 1) - 1)
        x, y = 0, 0
        events = []
        for index in range(count):
            button, key = "none", "noop"
            for action in frames.get(index, []):
                x, y = (int(value) for value in action.get("coordinate", (x, y)))
                kind = action["action"]
                if kind == "scroll":
                    button = _SCROLLS[action["direction"]]
                elif kind in ("type", "key"):
                    key = _key(action["text"])
                elif kind not in ("mouse_move", "wait", "screenshot", "cursor_position"):
                    button = _BUTTON_OF_ACTION[kind]
            events.append(event(*_scaled(x, y, size), button, key))
        return events
    except (ValueError, LookupError, TypeError) as error:
        raise TraceError(f"{path} is no actions file that this desktop can play: {error}") from error


def _event_of_row(path: Path, line: int, row: dict[str, str], size: tuple[int, int]) -> Event:
    try:
        button, keys = "none", []
        for kind, name in ast.literal_eval(row["Key Events"] or "[]"):
            if kind == "mouse":
                button = name
            elif kind == "scroll":
                button = _SCROLLS[name.split(":")[0]]
            elif kind == "keydown":
                keys.append(name)
        if row["Left Click"] == "True":
            button = "left click"
        elif row["Right Click"] == "True":
            button = "right click"
        key = _key("+".join(keys)) if keys else "noop"
        return event(*_scaled(float(row["X"]), float(row["Y"]), size), button, key)
    except (ValueError, LookupError, TypeError, SyntaxError) as error:
        raise TraceError(f"{path}, line {line}: {error}; expected the columns {', '.join(COLUMNS)}") from error


def _scaled(x: float, y: float, size: tuple[int, int]) -> tuple[int, int]:
    """Returns the pixel of this desktop's screen at the same place as pixel (x, y) of a screen of another size."""
    return int(x * WIDTH / size[0]), int(y * HEIGHT / size[1])


def _mouse(name: str) -> tuple[str, str]:
    return ("scroll", f"{name.removeprefix('wheel ')}:1") if name.startswith("wheel") else ("mouse", name)


def _combination(key: str) -> str:
    """Returns their name of a key: "a", "enter", "ctrl+c"."""
    if len(key) == 1:
        return _NAMES.get(key, key)
    modifier, _, last = key.rpartition("-")
    last = _NAMES.get(last, last.lower() if modifier else last)
    return f"{_NAMES[modifier]}+{last}" if modifier else last


def _strokes(key: str) -> list[tuple[str, str]]:
    """Returns the key-down and key-up events of a key."""
    if key == "noop":
        return []
    combination = _combination(key)
    names = [combination] if len(combination) == 1 else combination.split("+")
    return [("keydown", name) for name in names] + [("keyup", name) for name in reversed(names)]


def _key(combination: str) -> str:
    """Returns the key of this desktop that ``combination`` names; Shift is part of the character.

    Raises:
        ValueError: there is none.
    """
    names = [combination] if len(combination) == 1 else [name for name in combination.split("+") if name != "shift"]
    parts = [_KEY_OF_NAME.get(name, name) for name in names]
    if len(parts) > 1 and len(parts[-1]) == 1:
        parts[-1] = parts[-1].upper()
    key = "-".join(parts)
    if key not in KEY_INDEX:
        raise ValueError(f"unknown key {combination!r}; this desktop has printable ASCII and {', '.join(KEYS[96:])}")
    return key


def _clock(seconds: float) -> str:
    return f"{int(seconds // 60):02d}:{seconds % 60:06.3f}"
