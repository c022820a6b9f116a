"""The GUI trace files of the Neural Computers authors' data engine: per-frame action CSV and actions JSON.

Alignment. As everywhere here, event k leads from frame k to frame k + 1. Row k of a CSV is event k, so a video with N
rows has N + 1 frames: frame 0 is the screen before anything was done. Their recorders leave as many rows as frames,
because they take frame k *after* what row k says was done: there row k + 1 is event k, and row 0 is dropped. In a JSON

* ``frame_index`` k is row k;
* otherwise the action at ``timestamp`` t is event round(t * fps - 1), as in their loader: an agent's actions bear the
  number of frames taken before, a synthetic one's its row, both over fps, so frame t * fps is the first to show it. fps
  is the JSON's own or, where it has none, the video's. What was done before frame 0 is event 0.

An event holds one button event and one key, the button first. What a frame has beyond that (a typed word, wheel
notches, a drag's release) goes to the following frames, one each; what no frame shows any more is left out. Their agent
takes a third of a second to move the pointer to a click, which its JSON does not say: here it jumps.

CSV columns: Timestamp, Timestamp_formated (their spelling; nobody reads it), X, Y, Left Click, Right Click, Key Events
(or Keys). Row k bears (k + 1) / fps. A key event is ('keydown' or 'keyup', key). Left Click and Right Click only say
that a click began in that row. What the columns cannot say is written as further key events: ('mouse', button event)
for a press, a release or a double click, ('scroll', 'up:1') for the wheel, as their converter does.
"""

from __future__ import annotations

import ast
import csv
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nc_gym.machines.desktop_events import BUTTONS, HEIGHT, KEYS, WIDTH, Event, event, position
from nc_gym.traces.desktop_actions import (
    ACTIONS,
    Place,
    Stroke,
    Timeline,
    bin_at,
    combination,
    event_index,
    happened,
    is_modifier,
    key_of,
    scroll,
    strokes,
)
from nc_gym.traces.desktop_trace import TraceError

COLUMNS = ("Timestamp", "Timestamp_formated", "X", "Y", "Left Click", "Right Click", "Key Events")


@dataclass(frozen=True)
class Video:
    """The video that actions belong to.

    Attributes:
        size: width and height of the screen, in pixels.
        fps: frames per second, if known.
        frames: how many there are, if known.
    """

    size: tuple[int, int] = (WIDTH, HEIGHT)
    fps: float | None = None
    frames: int | None = None


UNKNOWN = Video()


def write_csv(path: Path, events: Sequence[Event], fps: float) -> None:
    """Writes one row per event."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for index, (column, row, button, key) in enumerate(events):
            name, (x, y) = BUTTONS[button], position(column, row)
            clicks = (name == "left click", name == "right click")
            others = [] if name == "none" or any(clicks) else [_mouse(name)]
            time = (index + 1) / fps
            writer.writerow([f"{time:.3f}", _clock(time), x, y, *clicks, str(others + _key_events(KEYS[key]))])


def read_csv(path: Path, video: Video = UNKNOWN) -> list[Event]:
    """Reads the events of a per-frame CSV; keys that this desktop does not have are an error.

    Args:
        path: the file.
        video: what it belongs to.

    Raises:
        TraceError: a column or a value is missing or unknown, or the pointer is outside the screen.
    """
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    timeline = Timeline({})
    for index, row in enumerate(rows):
        try:
            place = bin_at(float(row["X"]), float(row["Y"]), video.size)
            timeline.add(index, [(place, "none", "noop"), *_row_strokes(row, place)])
        except (ValueError, LookupError, TypeError, SyntaxError) as error:
            raise TraceError(f"{path}, line {index + 2}: {error}; expected the columns {', '.join(COLUMNS)}") from error
    return _after_frame_0(timeline.events(len(rows)), len(rows), video)


def write_json(path: Path, events: Sequence[Event], fps: float) -> None:
    """Writes the actions of all events with names; events that only move are ``mouse_move``, idle ones ``wait``."""
    actions: list[dict[str, Any]] = []
    last: tuple[int, int] | None = None
    for index, (column, row, button, key) in enumerate(events):
        place = {"coordinate": list(position(column, row)), "timestamp": (index + 1) / fps, "frame_index": index}
        name, stroke = BUTTONS[button], KEYS[key]
        moved, last = (column, row) != last, (column, row)
        if name == "none" and (moved or stroke == "noop"):
            actions.append({"action": "mouse_move" if moved else "wait", **place})
        elif name != "none":
            direction = {"direction": name.removeprefix("wheel ")} if name.startswith("wheel") else {}
            actions.append({"action": ACTIONS[name], **direction, **place})
        if stroke != "noop":
            typed = ("type", stroke) if len(stroke) == 1 else ("key", combination(stroke))
            actions.append({"action": typed[0], "text": typed[1], **place})
    metadata = {
        "source": "nc_gym", "fps": fps, "total_actions": len(actions), "frame_count": len(events) + 1,
        "action_frame_applies_to_next_frame": True,
    }  # fmt: skip
    path.write_text(json.dumps({"metadata": metadata, "actions": actions}, indent=1) + "\n", encoding="utf-8")


def read_json(path: Path, video: Video = UNKNOWN) -> list[Event]:
    """Reads the events of an actions JSON, whichever of their programs wrote it; a frame without an action is idle.

    Args:
        path: the file.
        video: what it belongs to.

    Raises:
        TraceError: it is no such file; an action or a key is unknown, or belongs to no frame; the pointer is outside
            the screen.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        actions, metadata, rows = happened(content["actions"]), content.get("metadata") or {}, content.get("frames")
        timeline = Timeline({k: bin_at(row["x"], row["y"], video.size) for k, row in enumerate(rows or [])})
        count = len(rows) if rows else _count(metadata, video)
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise TraceError(f"{path} is no actions JSON ({error!r}); expected metadata and a list of actions") from error
    for number, action in actions:
        try:
            index = event_index(action, metadata.get("fps") or video.fps)
            if count is not None and index > count:
                raise ValueError(f"it comes after frame {index}, but there are {count + 1}; is this another video's?")
            timeline.add(index, strokes(action, video.size))
        except KeyError as error:
            raise TraceError(f"{path}, action {number} ({action['action']}) has no {error.args[0]}") from error
        except (ValueError, TypeError) as error:
            raise TraceError(f"{path}, action {number} ({action['action']}): {error}") from error
    return _after_frame_0(timeline.events(count), len(rows or ()), video)


def _count(metadata: dict[str, Any], video: Video) -> int | None:
    """Returns the number of events of a JSON that has no rows, None if nothing says."""
    frames = metadata.get("frame_count") or video.frames
    return None if frames is None else int(frames) - 1


def _after_frame_0(events: list[Event], rows: int, video: Video) -> list[Event]:
    """Returns the events of a file of so many rows without row 0 if that led to frame 0."""
    return events[1:] if rows and rows == video.frames else events


def _row_strokes(row: dict[str, str], place: Place) -> list[Stroke]:
    """Returns what a row of a CSV does: buttons first, then keys, each with the modifiers that the row holds."""
    clicks = {"left click": row["Left Click"], "right click": row["Right Click"]}
    buttons: list[Stroke] = [(place, button, "noop") for button, clicked in clicks.items() if clicked == "True"]
    keys: list[Stroke] = []
    held: list[str] = []
    for kind, name in ast.literal_eval((row["Keys"] if "Keys" in row else row["Key Events"]) or "[]"):
        if kind == "mouse":
            event(0, 0, name)  # there is such a button event
            buttons.append((place, name, "noop"))
        elif kind == "scroll":
            direction, _, amount = name.partition(":")
            buttons += scroll(direction, amount or None, place)
        elif kind == "keydown" and is_modifier(name):
            held.append(name)
        elif kind == "keydown":
            keys.append((place, "none", key_of("+".join([*held, name]))))
        elif kind == "keyup" and name in held:
            held.remove(name)
    return buttons + keys


def _mouse(name: str) -> tuple[str, str]:
    return ("scroll", f"{name.removeprefix('wheel ')}:1") if name.startswith("wheel") else ("mouse", name)


def _key_events(key: str) -> list[tuple[str, str]]:
    """Returns the key-down and key-up events of a key."""
    if key == "noop":
        return []
    pressed = combination(key)
    names = [pressed] if len(pressed) == 1 else pressed.split("+")
    return [("keydown", name) for name in names] + [("keyup", name) for name in reversed(names)]


def _clock(seconds: float) -> str:
    return f"{int(seconds // 60):02d}:{seconds % 60:06.3f}"
