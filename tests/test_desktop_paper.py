"""Action files of the Neural Computers authors' data engine: every shape of theirs, by hand, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random

import numpy as np
import pytest

from nc_gym.machines.desktop_events import BUTTONS, KEYS, SIZES, Event, event
from nc_gym.traces import desktop_paper
from nc_gym.traces.desktop_import import import_session
from nc_gym.traces.desktop_trace import ScreenWriter, TraceError, read_trace


def random_events() -> list[Event]:
    rng = Random(0)
    every = [(rng.randrange(80), rng.randrange(60), button, 0) for button in range(len(BUTTONS))]
    every += [(rng.randrange(80), rng.randrange(60), 0, key) for key in range(len(KEYS))]
    return every + [tuple(map(rng.randrange, SIZES)) for _ in range(200)]


@pytest.mark.parametrize("kind", ["csv", "json"])
def test_papers_files_come_back_event_by_event(tmp_path: Path, kind: str) -> None:
    path, events = tmp_path / f"actions.{kind}", random_events()
    getattr(desktop_paper, f"write_{kind}")(path, events, 15)
    assert getattr(desktop_paper, f"read_{kind}")(path) == events


def test_frames_without_an_action_in_the_json_are_idle(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    action = {"action": "left_click", "coordinate": [8, 8], "frame_index": 1}
    path.write_text(json.dumps({"metadata": {"frame_count": 5}, "actions": [action]}))
    click = event(8, 8, "left click")
    assert desktop_paper.read_json(path) == [event(0, 0), click, event(8, 8), event(8, 8)]


AGENT = {  # actions/NAME.json of the agent's recorder: no fps, times in frames taken before, results of every action
    "metadata": {"session_id": "s", "start_time": 1.7e9, "duration": 40.2, "total_actions": 18,
                 "recording_type": "tool_execution", "video_sync": True},
    "actions": [
        {"timestamp": t / 10, "time_formatted": "0:0", "tool_name": "computer", "action": action, "x": None, "y": None,
         "text": None, "key": None, "scroll_direction": None, "scroll_amount": None, "duration": None,
         "success": True, "error": None} | rest
        for t, action, rest in [
            (1, "screenshot", {}),
            (1, "screenshot_success", {}),
            (2, "left_click", {"x": 40, "y": 20}),
            (3, "left_click_success", {}),
            (4, "type", {"text": "Hi \n"}),
            (9, "type_success", {}),
            (9, "key", {"text": "ctrl+c"}),
            (9, "key_success", {}),
            (10, "scroll", {"x": 80, "y": 60, "scroll_direction": "down", "scroll_amount": 2}),
            (12, "scroll_success", {}),
            (12, "left_click_drag", {"x": 120, "y": 100}),
            (14, "left_click_drag_success", {}),
            (14, "middle_click", {"x": 0, "y": 0}),
            (14, "middle_click_failed", {"success": False, "error": "no such button"}),
            (15, "triple_click", {"x": 8, "y": 8}),
            (17, "wait", {"duration": 0.5}),
            (18, "hold_key", {"text": "Down", "duration": 1.0}),
            (19, "right_click", {}),
        ]
    ],
}  # fmt: skip
AGENT_EVENTS = [
    event(0, 0), event(40, 20, "left click"), event(40, 20), event(40, 20, key="H"), event(40, 20, key="i"),
    event(40, 20, key=" "), event(40, 20, key="Enter"), event(40, 20), event(40, 20, key="Ctrl-C"),
    event(80, 60, "wheel down"), event(80, 60, "wheel down"), event(80, 60, "left press"),
    event(120, 100, "left release"), event(120, 100), event(8, 8, "double click"), event(8, 8, "left click"),
    event(8, 8), event(8, 8, key="Down"), event(8, 8, "right click"), event(8, 8),
]  # fmt: skip

SYNTHETIC = {  # actions_N.json of the random generator: time is row / fps, one character or X key per action
    "metadata": {"trajectory_id": 3, "source": "synthetic_trajectory", "fps": 15, "total_actions": 8},
    "actions": [
        {"action": "mouse_move", "coordinate": [40, 20], "timestamp": 1 * (1 / 15)},
        {"action": "type", "text": "a", "timestamp": 1 * (1 / 15)},
        {"action": "left_click", "coordinate": [44, 24], "timestamp": 3 * (1 / 15)},
        {"action": "mouse_move", "coordinate": [80, 60], "timestamp": 5 * (1 / 15)},
        {"action": "double_click", "coordinate": [80, 60], "timestamp": 5 * (1 / 15)},
        {"action": "key", "text": "BackSpace", "timestamp": 5 * (1 / 15)},
        {"action": "type", "text": "B", "timestamp": 5 * (1 / 15)},
        {"action": "key", "text": "Control_L", "timestamp": 7 * (1 / 15)},
    ],
}
SYNTHETIC_EVENTS = [
    event(40, 20, key="a"), event(40, 20), event(44, 24, "left click"), event(44, 24),
    event(80, 60, "double click", "Backspace"), event(80, 60, key="B"), event(80, 60),
]  # fmt: skip

META = {  # of their converter: rows with the pointer, chords and double clicks named beside what they are made of
    "metadata": {"source": "csv_record", "fps": 14.7, "frame_count": 6, "action_frame_applies_to_next_frame": True,
                 "double_click_window_s": 0.3},
    "frames": [
        {"index": k, "timestamp": k / 14.7, "x": 4 * k, "y": 8, "left_click": k in (1, 2, 3), "keys": []}
        for k in range(6)
    ],
    "actions": [
        {"action": action, "timestamp": k / 14.7, "frame_index": k} | rest
        for k, action, rest in [
            (1, "left_click", {"coordinate": [4, 8]}),
            (2, "left_click", {"coordinate": [8, 8]}),
            (2, "double_click", {"coordinate": [8, 8]}),
            (3, "left_click", {"coordinate": [12, 8]}),
            (3, "triple_click", {"coordinate": [12, 8]}),
            (3, "right_click", {"coordinate": [12, 8]}),
            (5, "type", {"text": "c"}),
            (5, "key_chord", {"combo": "ctrl+c"}),
        ]
    ],
}  # fmt: skip
META_EVENTS = [
    event(0, 8), event(4, 8, "left click"), event(8, 8, "double click"), event(12, 8, "left click"),
    event(12, 8, "right click"), event(20, 8, key="Ctrl-C"),
]  # fmt: skip

CONVERTED = {  # a CSV of theirs in the agent's form: the chord is a key, results have the action's own time
    "metadata": {"source": "csv_record", "fps": 10.0, "recording_type": "tool_execution", "video_sync": True},
    "actions": [
        {"timestamp": t, "tool_name": "computer", "action": action, "x": None, "y": None, "text": None, "key": None,
         "success": True, "error": None, "thinking": None} | rest
        for t, action, rest in [
            (0.2, "left_click", {"x": 16, "y": 16}),
            (0.2, "left_click_success", {}),
            (0.2, "double_click", {"x": 16, "y": 16}),
            (0.2, "double_click_success", {}),
            (0.4, "type", {"text": "1"}),
            (0.4, "type_success", {}),
            (0.4, "key", {"key": "shift+1"}),
            (0.4, "key_success", {}),
        ]
    ],
}  # fmt: skip
CONVERTED_EVENTS = [event(0, 0), event(16, 16, "double click"), event(16, 16), event(16, 16, key="!")]
SHAPES = {
    "agent": (AGENT, AGENT_EVENTS, desktop_paper.Video(fps=10, frames=21)),
    "synthetic": (SYNTHETIC, SYNTHETIC_EVENTS, desktop_paper.Video(frames=8)),
    "meta": (META, META_EVENTS, desktop_paper.Video()),
    "converted": (CONVERTED, CONVERTED_EVENTS, desktop_paper.Video()),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_of_the_papers_json_is_read(tmp_path: Path, shape: str) -> None:
    content, expected, video = SHAPES[shape]
    path = tmp_path / "actions.json"
    path.write_text(json.dumps(content))
    assert desktop_paper.read_json(path, video) == expected


def test_an_exported_json_says_the_same_by_time_as_by_frame_index(tmp_path: Path) -> None:
    path, events = tmp_path / "a.json", random_events()
    desktop_paper.write_json(path, events, 12.5)
    content = json.loads(path.read_text())
    for action in content["actions"]:
        del action["frame_index"]
    path.write_text(json.dumps(content))
    assert desktop_paper.read_json(path) == events


def test_what_waits_for_a_free_frame_happens_where_it_was_meant(tmp_path: Path) -> None:
    """Two clicks in one frame: the second comes a frame late, at its own place, and the pointer goes on from there."""
    path = tmp_path / "a.json"
    clicks = [{"action": f"{side}_click", "coordinate": [8, 8], "frame_index": 0} for side in ("left", "right")]
    moves = [{"action": "mouse_move", "coordinate": [40 * k, 80], "frame_index": k} for k in (1, 2)]
    path.write_text(json.dumps({"actions": [*clicks, *moves]}))
    expected = [event(8, 8, "left click"), event(8, 8, "right click"), event(80, 80)]
    assert desktop_paper.read_json(path) == expected


@pytest.mark.parametrize(
    ("action", "message"),
    [
        (
            {"action": "left_click", "x": 4, "y": 4},
            r"action 0 \(left_click\): it has neither frame_index nor timestamp",
        ),
        ({"action": "wait", "timestamp": 1.0}, "action 0 .*: expected metadata.fps, or a video's"),
        ({"action": "wait", "frame_index": 9}, "it comes after frame 9, but there are 3"),
        ({"action": "left_click", "x": 400, "y": 4, "frame_index": 0}, r"pointer \(400, 4\) is outside the screen"),
        ({"action": "key", "text": "Escape", "frame_index": 0}, "unknown key 'Escape'"),
        ({"action": "key", "key": "ctrl+shift+c", "frame_index": 0}, r"unknown key 'ctrl\+shift\+c'"),
        ({"action": "type", "text": None, "frame_index": 0}, r"action 0 \(type\)"),
        ({"action": "mouse_move", "frame_index": 0}, r"action 0 \(mouse_move\) has no coordinate"),
        ({"action": "middle_click", "frame_index": 0}, r"\(middle_click\): unknown action; this desktop's buttons do"),
        ({"action": "left_click", "key": "ctrl", "frame_index": 0}, "the key 'ctrl' is held"),
        ({"action": "scroll", "scroll_direction": "left", "frame_index": 0}, "it scrolls 'left'"),
    ],
)
def test_papers_actions_that_cannot_be_played_are_named(tmp_path: Path, action: dict, message: str) -> None:
    path = tmp_path / "a.json"
    path.write_text(json.dumps({"metadata": {"frame_count": 3}, "actions": [action]}))
    with pytest.raises(TraceError, match=message):
        desktop_paper.read_json(path)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"actions": [{}]}', '{"actions": [], "frames": [{"x": 1}]}'])
def test_a_json_of_another_kind_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "a.json"
    path.write_text(text)
    with pytest.raises(TraceError, match=r"a\.json is no actions JSON"):
        desktop_paper.read_json(path)


def test_an_agents_json_is_imported_in_the_frames_of_its_video(tmp_path: Path) -> None:
    video, actions = tmp_path / "agent.mkv", tmp_path / "agent.json"
    write_video(video, 21)
    actions.write_text(json.dumps(AGENT))
    assert read_trace(import_session(video, actions, tmp_path / "out", "goal")).events == AGENT_EVENTS


@pytest.mark.parametrize("kind", ["csv", "json"])
def test_as_many_rows_as_frames_are_read_as_their_recorders_take_them(tmp_path: Path, kind: str) -> None:
    """They take frame k after row k, so row 0 led to the first frame."""
    video, actions = tmp_path / "theirs.mkv", tmp_path / f"theirs.{kind}"
    write_video(video, 6)
    if kind == "csv":
        desktop_paper.write_csv(actions, META_EVENTS, 15)
    else:
        actions.write_text(json.dumps(META))
    assert read_trace(import_session(video, actions, tmp_path / "out", "fast")).events == META_EVENTS[1:]


def write_video(path: Path, frames: int) -> None:
    """Writes a video of 10 frames per second."""
    video = ScreenWriter(path)
    for shade in range(frames):
        video.write(np.full((240, 320, 3), shade, np.uint8))
    video.close()


def test_papers_recordings_are_read_with_their_spelling_and_their_gaps(tmp_path: Path) -> None:
    path = tmp_path / "record_0.csv"
    path.write_text(
        "Timestamp,Timestamp_formatted,X,Y,Left Click,Right Click,Key Events\n"
        "1700000000.1,x,100.0,50,False,False,[]\n"
        "1700000000.2,x,100.0,50,True,False,[]\n"
        "1700000000.3,x,100.0,50,False,False,\"[('keydown', 'ctrl'), ('keydown', 'c'), ('keyup', 'c')]\"\n"
        "1700000000.4,x,100.0,50,False,False,\"[('scroll', 'down:3'), ('keydown', 'a')]\"\n"
    )
    expected = [event(100, 50), event(100, 50, "left click"), event(100, 50, "none", "Ctrl-C")]
    assert desktop_paper.read_csv(path) == [*expected, event(100, 50, "wheel down")]


def test_what_a_row_of_the_csv_holds_beyond_one_button_and_one_key_goes_to_the_next_rows(tmp_path: Path) -> None:
    path = tmp_path / "screen_agent.csv"
    path.write_text(
        "Timestamp,Time,X,Y,Left Click,Right Click,Keys\n"
        "0.1,x,100,50,True,True,\"[('keydown', 'Alt_L'), ('keyup', 'Alt_L'), ('keydown', 'h'), ('keydown', 'i')]\"\n"
        "0.2,x,8,8,False,False,[]\n"
        "0.3,x,12,8,False,False,[]\n"
    )
    expected = [event(100, 50, "left click"), event(100, 50, "right click", "h"), event(100, 50, "none", "i")]
    assert desktop_paper.read_csv(path) == expected


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("0,x,400,50,False,False,[]", r"line 2: pointer \(400, 50\) is outside the screen"),
        ("0,x,10,50,False,False,\"[('keydown', 'f13')]\"", "line 2: unknown key 'f13'"),
        ("0,x,10", "line 2: .*; expected the columns Timestamp, Timestamp_formated"),
    ],
)
def test_papers_rows_that_cannot_be_played_are_named(tmp_path: Path, row: str, message: str) -> None:
    path = tmp_path / "a.csv"
    path.write_text("Timestamp,Timestamp_formated,X,Y,Left Click,Right Click,Key Events\n" + row + "\n")
    with pytest.raises(TraceError, match=message):
        desktop_paper.read_csv(path)
