"""Recordings of the desktop: lossless, complete or refused, the same when replayed; and the paper's trace files."""

from __future__ import annotations

import errno
import json
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest
from small_disk import grow, small_disk

from nc_gym.machines.desktop import XDesktop
from nc_gym.machines.desktop_events import BUTTONS, KEYS, Event
from nc_gym.machines.window import Window
from nc_gym.traces import desktop_paper
from nc_gym.traces.collecting import RecordingError
from nc_gym.traces.desktop_dataset import build_desktop_shards
from nc_gym.traces.desktop_export import export_session
from nc_gym.traces.desktop_import import import_session
from nc_gym.traces.desktop_mix import USERS, make_user
from nc_gym.traces.desktop_recorder import collect_desktop, trace_path
from nc_gym.traces.desktop_trace import DesktopTrace, ScreenWriter, TraceError, read_screens, read_trace, write_trace
from nc_gym.traces.words import split_of

ONE, ZERO = np.ones(1, np.bool_), np.zeros(1, np.int64)


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two sessions of each kind of user, recorded on real desktops."""
    out = tmp_path_factory.mktemp("traces")
    assert collect_desktop(4, 40, 5, out, workers=1, users={"goal": 0.6, "fast": 0.4}, progress=False) == 4
    return out


def test_recording_says_who_made_it_and_how(recording: Path) -> None:
    trace = read_trace(trace_path(recording, 0))
    assert {key: trace.info[key] for key in ("machine", "seed", "session", "split")} == {
        "machine": "desktop", "seed": 5, "session": 0, "split": "train",
    }  # fmt: skip
    assert trace.info["user"] in USERS and {"jwm", "xvfb", "xterm"} <= trace.info["packages"].keys()
    assert len(trace.events) == len(trace.purposes) == len(trace.pointers) - 1 == 40


def test_replay_of_a_trace_shows_the_recorded_screens(recording: Path) -> None:
    """The video is lossless, the pointer drawn from the line is the machine's, and the desktop is deterministic."""
    changed = 0
    with XDesktop() as machine:
        for index in range(4):
            path = trace_path(recording, index)
            machine.reset(ONE, ZERO, ZERO)
            last = None
            for number, (screen, bare, act) in enumerate(
                zip(
                    read_screens(path), read_screens(path, pointer=False), [None, *read_trace(path).events], strict=True
                )
            ):
                if act is not None:
                    machine.step(np.array([act]), ONE)
                assert np.array_equal(screen, machine.screens()[0]), (index, number, act)
                assert np.array_equal(bare, machine.bare_screens()[0])
                changed += last is not None and not np.array_equal(last, bare)
                last = bare
    assert changed > 40  # the users did something


def test_a_recording_lists_the_windows_that_a_plan_is_made_for_however_little_changed(recording: Path) -> None:
    slight = 0
    for index in range(4):
        path = trace_path(recording, index)
        windows, screens = read_trace(path).windows, list(read_screens(path, pointer=False))
        slight += sum((screens[k] != screens[k + 1]).any(2).mean() < 0.02 for k in windows)
    assert slight > 5


def test_a_recording_lists_the_windows_after_every_event_that_changes_the_screen(recording: Path) -> None:
    for index in range(4):
        path = trace_path(recording, index)
        windows, screens = read_trace(path).windows, list(read_screens(path, pointer=False))
        changed = {k for k in range(len(screens) - 1) if (screens[k] != screens[k + 1]).any()}
        assert changed and changed <= set(windows)


def test_recording_goes_on_where_it_stopped(recording: Path) -> None:
    path = trace_path(recording, 1)
    before = trace_path(recording, 2).stat().st_mtime_ns
    first = path.read_text()
    path.unlink()
    assert collect_desktop(4, 40, 5, recording, workers=1, users={"goal": 0.6, "fast": 0.4}, progress=False) == 1
    assert path.read_text() == first and trace_path(recording, 2).stat().st_mtime_ns == before
    with pytest.raises(ValueError, match=r"seed, split, steps and users \(5, 'train', 40, .*\), not \(6,"):
        collect_desktop(4, 40, 6, recording, progress=False)


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A session of two events on made-up screens."""
    path = tmp_path / "000000.jsonl"
    video = ScreenWriter(path.with_suffix(".mkv"))
    rng = np.random.default_rng(0)
    for _ in range(3):
        video.write(rng.integers(0, 256, (240, 320, 3), np.uint8))
    video.close()
    trace = DesktopTrace({"seed": 0, "split": "train"}, [(0, 3, 0)], [(1, 2, 3, 0), (1, 2, 0, 5)], ["a", "b"])
    trace.pointers += [(4, 11, 0), (4, 11, 0)]
    trace.windows[1] = [Window("Term", 4, 16, 312, 192, False, True, 0, (8, 24, 192, 128))]
    from nc_gym.machines.pointer import Sprite

    trace.sprites = [Sprite(rng.integers(0, 256, (5, 4, 4), np.uint8), (1, 2))]
    write_trace(path, trace, video.checksum)
    return path


def test_video_is_lossless_even_for_noise(small: Path) -> None:
    rng = np.random.default_rng(0)
    for screen in read_screens(small, pointer=False):
        assert np.array_equal(screen, rng.integers(0, 256, (240, 320, 3), np.uint8))


def test_lines_are_read_as_they_were_written(small: Path) -> None:
    trace = read_trace(small)
    assert trace.events == [(1, 2, 3, 0), (1, 2, 0, 5)] and trace.purposes == ["a", "b"]
    assert trace.windows == {1: [Window("Term", 4, 16, 312, 192, False, True, 0, (8, 24, 192, 128))]}
    assert trace.sprites[0].hot == (1, 2) and trace.sprites[0].pixels.shape == (5, 4, 4)


@pytest.mark.parametrize("keep", [0, 40, -200, -5])
def test_truncated_lines_are_refused(small: Path, keep: int) -> None:
    small.write_bytes(small.read_bytes()[:keep])
    with pytest.raises(TraceError, match=r"is not a complete recording: .* delete this file and run the same"):
        read_trace(small)


@pytest.mark.parametrize("share", [0.0, 0.5, 0.9])
def test_truncated_video_is_refused(small: Path, share: float) -> None:
    video = small.with_suffix(".mkv")
    video.write_bytes(video.read_bytes()[: int(video.stat().st_size * share)])
    with pytest.raises(TraceError, match=r"its video holds [0-3] of 3 screens"):
        list(read_screens(small))


def test_trace_of_another_screen_size_is_refused(small: Path) -> None:
    small.write_text(small.read_text().replace('"width": 320, "height": 240', '"width": 640, "height": 480'))
    with pytest.raises(TraceError, match="was recorded on screens of 640x480 pixels, this desktop has 320x240"):
        read_trace(small)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, 1, 0, "x"), "sessions is 0; expected at least 1"),
        ((1, 1, 0, "x", "both"), "split is 'both'; expected one of train, eval"),
        ((1, 1, 0, "x", "train", 1, {"monkey": 1.0}), r"users are \['monkey'\]; expected some of goal, slow, fast"),
    ],
)
def test_bad_arguments_of_a_recording_are_refused(arguments: tuple[int, int, int, str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        collect_desktop(*arguments)


def test_users_are_seeded_and_differ() -> None:
    windows = [Window("Term", 8, 24, 192, 128, False, True, 0), Window("Calc", 128, 48, 184, 144, False, False, 1)]

    def plans(name: str, seed: int) -> list[list[tuple[Event, str]]]:
        user = make_user(name, seed, 0, "train")
        return [user.plan(windows) for _ in range(30)]

    assert plans("goal", 1) == plans("goal", 1) != plans("goal", 2)
    assert len({str(plans(name, 1)) for name in USERS}) == len(USERS)
    with pytest.raises(ValueError, match="unknown user 'monkey'"):
        make_user("monkey", 0, 0, "train")


def test_a_user_on_an_errand_throws_windows_in_one_jump_opens_at_once_and_waits() -> None:
    windows = [Window("Term", 8, 24, 192, 128, False, True, 0)]
    user = make_user("errand", 0, 0, "train")
    acts = [act for _ in range(300) for act in user.plan(windows)]
    buttons = [BUTTONS[act.event[2]] for act in acts]
    thrown = [i for i in range(len(acts) - 2) if buttons[i : i + 3] == ["left press", "none", "left release"]]
    assert sum(acts[i + 3].purpose.startswith("open ") for i in thrown[:-1]) > 20
    idle = "".join("i" if act.purpose == "idle" else " " for act in acts)
    assert max(map(len, idle.split())) > 20


def test_a_waiting_user_does_nothing_for_hundreds_of_events_and_then_goes_on() -> None:
    user = make_user("waiting", 0, 0, "train")
    plans = [user.plan([Window("Term", 8, 24, 192, 128, False, True, 0)]) for _ in range(100)]
    waits = [len(plan) for plan in plans if len(plan) > 30 and {act.purpose for act in plan} == {"idle"}]
    assert len(waits) > 3 and max(waits) > 200
    assert len({act.purpose for plan in plans for act in plan}) > 5


def test_a_clerk_reads_the_files_it_wrote_and_computes_wherever_the_pointer_is() -> None:
    user = make_user("clerk", 0, 0, "train")
    windows = [Window("Term", 8, 24, 192, 128, False, True, 0), Window("Calc", 128, 48, 184, 148, False, False, 1)]
    written, read, sums = set(), set(), []
    for _ in range(200):
        line = ""
        for act in user.plan(windows):
            key = KEYS[act.event[3]]
            if key == "Enter":
                words = line.split()
                written |= {words[3]} if line.startswith("echo") else set()
                read |= {words[1]} if line.startswith("cat") else set()
                sums += [line] if line[:1].isdigit() else []
                line = ""
            elif key != "noop":
                line = line[:-1] if key == "Backspace" else line + key
    assert len(read) > 30 and read <= written
    small = [line for line in sums if len(line) == 3]
    assert len(sums) > 50 and 0.3 * len(sums) < len(small) < 0.7 * len(sums)  # of single digits
    lengths = [len(word) for word in written]  # of a task's words every third has two letters
    assert lengths.count(2) > 0.2 * len(lengths) and max(lengths) > 5


def test_an_accountant_opens_the_calculator_and_computes_by_keys_and_by_clicks() -> None:
    user = make_user("accountant", 0, 0, "train")
    desk = Window("Calc", 128, 48, 184, 148, False, True, 1)
    opened = [plan[0].purpose for plan in (user.plan([]) for _ in range(100))]
    assert opened.count("open Calc") > 80
    acts = [act for _ in range(200) for act in user.plan([desk])]
    assert sum(act.purpose == "compute" for act in acts) > 0.8 * len(acts)
    clicked = [act.event for act in acts if act.purpose == "compute" and BUTTONS[act.event[2]] == "left click"]
    typed = [act.event for act in acts if act.purpose == "compute" and KEYS[act.event[3]] == "Enter"]
    assert len(clicked) > 100 and len(typed) > 100
    assert all(32 <= column < 78 and 12 <= row < 49 for column, row, *_ in clicked)  # in the window, by tiles of 4


def test_a_typist_mostly_types_what_bash_complains_about_into_terminals_of_many_sizes() -> None:
    user = make_user("typist", 0, 0, "train")
    terminal = Window("Term", 8, 24, 192, 128, False, True, 0)
    opened = [plan[0].purpose for plan in (user.plan([]) for _ in range(20))]
    assert set(opened) == {"open Term"}
    acts = [act for _ in range(200) for act in user.plan([terminal])]
    typed = "".join(KEYS[act.event[3]] if len(KEYS[act.event[3]]) == 1 else "\n" for act in acts if act.event[3])
    lines = typed.split("\n")
    assert sum(line.startswith(("cat ", "rm ")) for line in lines) > 60
    kinds = {act.purpose for act in acts}
    assert {"move Term", "resize Term", "maximize Term", "type in Term"} <= kinds


def test_a_tidy_user_raises_a_window_from_the_task_list_and_closes_it() -> None:
    user = make_user("tidy", 0, 0, "train")
    windows = [
        Window("Edit", 48, 56, 232, 156, False, False, 0), Window("Calc", 128, 48, 184, 148, False, False, 1),
        Window("Term", 8, 24, 192, 128, False, True, 2), Window("Edit", 48, 56, 232, 156, False, False, 3),
    ]  # fmt: skip
    closed = 0
    for _ in range(100):
        acts = user.plan(windows)
        if KEYS[acts[-1].event[3]] == "Alt-F4":
            column = 4 * acts[0].event[0]
            assert BUTTONS[acts[0].event[2]] == "left click" and not 245 < column < 309  # not the active window's entry
            closed += 1
    assert closed > 40


def test_an_arranger_sizes_and_maximises_windows_and_drops_them_in_one_jump() -> None:
    user = make_user("arranger", 0, 0, "train")
    windows = [Window("Edit", 48, 56, 232, 140, False, False, 0), Window("Term", 8, 24, 192, 128, False, True, 1)]
    plans = [user.plan(windows) for _ in range(200)]
    purposes = [plan[-1].purpose.split()[0] for plan in plans if plan]
    assert all(purposes.count(name) > 3 for name in ("resize", "move", "maximize", "minimize", "task"))
    for plan in plans:
        buttons = [BUTTONS[act.event[2]] for act in plan]
        if plan and plan[-1].purpose == "move Term" and len(plan) == 2:
            assert buttons == ["left press", "left release"] and plan[0].event[:2] != plan[1].event[:2]
            break
    else:
        raise AssertionError("no window was dropped")


def test_an_arranger_holds_what_it_pulls_for_long_before_it_lets_go() -> None:
    user = make_user("arranger", 0, 0, "train")
    windows = [Window("Term", 1, 17, 312, 192, False, True, 0, (8, 24, 192, 128))]  # maximised
    pulls = [plan for plan in (user.plan(windows) for _ in range(2000)) if plan and plan[-1].purpose == "pull Term"]
    assert len({pull[0].event[:2] for pull in pulls}) > 5  # the corner and places on the title
    assert {len(pull) for pull in pulls} == {3, 5, 11, 35, 67}
    for pull in pulls:
        buttons = [BUTTONS[act.event[2]] for act in pull]
        assert buttons == ["left press", *["none"] * (len(pull) - 2), "left release"]
        assert len({act.event[:2] for act in pull[1:]}) == 1


@pytest.mark.parametrize("name", ["errand", "tidy", "accountant"])
def test_users_in_a_hurry_click_anywhere_on_an_entry_of_the_task_list(name: str) -> None:
    windows = [Window("Edit", 48, 56, 232, 140, False, False, 0), Window("Calc", 128, 48, 184, 148, False, False, 1)]
    user = make_user(name, 0, 0, "train")
    rows = {act.event[1] for _ in range(400) for act in user.plan(windows) if act.purpose.startswith(("raise", "task"))}
    assert {55, 56, 57, 58, 59} <= rows  # of 4 pixels; the panel has rows 54 to 59


def test_buttons_of_titles_are_hit_in_many_places_by_users_in_a_hurry_and_in_the_middle_by_others() -> None:
    windows = [Window("Term", 8, 24, 192, 128, False, True, 0)]

    def places(name: str) -> set[tuple[int, int]]:
        user = make_user(name, 0, 0, "train")
        acts = [act for _ in range(3000) for act in user.plan(windows)]
        clicks = [act for act in acts if act.purpose == "minimize Term" and BUTTONS[act.event[2]] == "left click"]
        return {act.event[:2] for act in clicks}

    middle = (8 + 192 - 40) // 4, (24 - 8) // 4
    assert {place for place in places("goal") if place[1] < 50} == {middle}
    spread = {place for place in places("arranger") if place[1] < 50}
    assert len(spread) > 4 and all(abs(x - middle[0]) <= 2 and abs(y - middle[1]) <= 2 for x, y in spread)


def test_a_waiting_user_at_times_holds_a_window_for_hundreds_of_events() -> None:
    user = make_user("waiting", 0, 0, "train")
    plans = [user.plan([Window("Term", 8, 24, 192, 128, False, True, 0)]) for _ in range(300)]
    held = [plan for plan in plans if plan and plan[0].purpose == "hold Term"]
    assert len(held) > 3 and max(map(len, held)) > 200
    for plan in held:
        assert BUTTONS[plan[0].event[2]] == "left press" and BUTTONS[plan[-1].event[2]] == "left release"


def test_an_accountant_clicks_sums_of_single_digits_too_and_mixes_keys_and_clicks() -> None:
    user = make_user("accountant", 0, 0, "train")
    desk = Window("Calc", 128, 48, 184, 148, False, True, 0)
    kinds, lengths = set(), []
    for _ in range(400):
        acts = user.plan([desk])
        clicked = [act for act in acts if BUTTONS[act.event[2]] == "left click" and act.purpose == "compute"]
        keys = [KEYS[act.event[3]] for act in acts if act.purpose == "compute"]
        kinds.add((bool(clicked), "Enter" in keys))
        if len(clicked) == len(acts) and len({act.purpose for act in acts}) == 1:
            lengths.append(len(acts))
    assert kinds >= {(True, True), (True, False), (False, True)}
    assert lengths.count(4) > 0.25 * len(lengths)  # a + b =


def test_a_typist_types_where_the_left_edge_cuts_the_window_and_into_narrow_ones() -> None:
    user = make_user("typist", 0, 0, "train")
    terminal = Window("Term", 60, 40, 192, 128, False, True, 0)
    cut = narrow = 0
    for _ in range(600):
        acts = user.plan([terminal])
        places = [(4 * act.event[0] + 2, BUTTONS[act.event[2]]) for act in acts]
        if acts[-1].purpose == "move Term":
            cut += places[-1][0] - places[0][0] < -60  # the window stood at 60
        if acts[-1].purpose == "resize Term":
            narrow += places[-1][0] - terminal.x < 172
    assert cut > 20 and narrow > 10


def test_a_writer_wraps_lines_moves_the_caret_and_opens_again_what_it_saved() -> None:
    user = make_user("writer", 0, 0, "train")
    windows = [Window("Edit", 48, 56, 232, 140, False, True, 0)]
    plans = [user.plan(windows) for _ in range(300)]
    purposes = [[act.purpose for act in plan] for plan in plans]
    assert sum(names.count("type in Edit") for names in purposes) > 1500
    assert sum(names == ["save in Edit", "close Edit", "open Edit"] for names in purposes) > 4
    kinds = {name for names in purposes for name in names}
    assert {"edit in Edit", "point in Edit", "resize Edit", "move Edit", "maximize Edit"} <= kinds


def test_a_user_of_menus_right_clicks_on_everything_that_has_one() -> None:
    user = make_user("menu", 0, 0, "train")
    windows = [Window("Calc", 128, 48, 184, 148, False, True, 0)]
    acts = [act for _ in range(400) for act in user.plan(windows)]
    at = [act.event[:2] for act in acts if BUTTONS[act.event[2]] == "right click" and act.purpose == "open menu"]
    titles = sum(32 <= x < 78 and 9 <= y <= 11 for x, y in at)
    contents = sum(32 <= x < 78 and 12 <= y < 49 for x, y in at)
    entries = sum(y >= 54 for _, y in at)
    assert min(titles, contents, entries, len(at) - titles - contents - entries) > 15
    assert {"choose in menu", "cancel menu", "look at menu"} <= {act.purpose for act in acts}


def test_a_fumbler_does_other_things_while_it_holds_the_button() -> None:
    user = make_user("fumbler", 0, 0, "train")
    windows = [Window("Term", 8, 24, 192, 128, False, True, 0)]
    held = [plan for plan in (user.plan(windows) for _ in range(400)) if plan and plan[0].purpose == "fumble"]
    assert len(held) > 100
    between = [act for plan in held for act in plan[1:-1]]
    assert all(BUTTONS[plan[0].event[2]] == "left press" for plan in held)
    assert sum(act.event[3] > 0 for act in between) > 50  # keys
    assert {"left click", "right click", "none"} <= {BUTTONS[act.event[2]] for act in between}


def test_an_arranger_buries_a_window_that_the_screen_cuts_and_raises_it_again() -> None:
    user = make_user("arranger", 0, 0, "train")
    windows = [Window("Edit", 48, 56, 232, 140, False, False, 0), Window("Term", 60, 24, 192, 128, False, True, 1)]
    names = [[act.purpose for act in user.plan(windows)] for _ in range(400)]
    buried = ["move Term"] * 3 + ["raise Edit", "maximize Edit", "raise Term"]
    assert names.count(buried) > 5


@pytest.mark.parametrize("split", ["train", "eval"])
def test_users_type_only_words_of_their_split(split: str) -> None:
    user = make_user("goal", 0, 0, split)
    windows = [Window("Edit", 48, 56, 232, 156, False, True, 0)]
    typed = ""
    for _ in range(400):
        for act in user.plan(windows):
            key = KEYS[act.event[3]]
            if act.purpose == "type in Edit":
                typed = typed[:-1] if key == "Backspace" else typed + (key if len(key) == 1 else "\n")
    words = typed.replace(".", " ").replace(",", " ").split()
    assert len(words) > 100 and {split_of(word) for word in words} == {split}


def test_row_k_of_the_csv_leads_to_frame_k_plus_one(small: Path, tmp_path: Path) -> None:
    """As here: the screen before anything was done is frame 0, and there is one row less than frames."""
    desktop_paper.write_csv(tmp_path / "a.csv", read_trace(small).events, 15)
    rows = (tmp_path / "a.csv").read_text().splitlines()
    assert len(rows) - 1 == len(list(read_screens(small))) - 1
    assert rows[0] == "Timestamp,Timestamp_formated,X,Y,Left Click,Right Click,Key Events"
    assert rows[1].startswith("0.067,00:00.067,4,11,True,False") and rows[2].startswith("0.133,")
    desktop_paper.write_json(tmp_path / "a.json", read_trace(small).events, 15)
    content = json.loads((tmp_path / "a.json").read_text())
    assert content["metadata"]["frame_count"] == 3 and content["metadata"]["action_frame_applies_to_next_frame"]
    assert [action["frame_index"] for action in content["actions"]] == [0, 1]


def papers_session(folder: Path, trace_file: Path, kind: str, scale: int) -> tuple[Path, Path]:
    """Writes a session as the authors' engine leaves it: a video with the pointer in it, and its actions."""
    trace, video, actions = read_trace(trace_file), folder / "theirs.mkv", folder / f"theirs.{kind}"
    frames = [np.kron(screen, np.ones((scale, scale, 1), np.uint8)) for screen in read_screens(trace_file)]
    iio.imwrite(video, frames, plugin="FFMPEG", fps=15, codec="libx264rgb", pixelformat="rgb24", quality=None,
                output_params=["-qp", "0"], macro_block_size=1)  # fmt: skip
    getattr(desktop_paper, f"write_{kind}")(actions, trace.events, 15)
    return video, actions


@pytest.mark.parametrize("kind", ["csv", "json"])
def test_an_imported_session_holds_the_events_and_the_screens_with_their_pointer(
    recording: Path, tmp_path: Path, kind: str
) -> None:
    source = trace_path(recording, 0)
    path = import_session(*papers_session(tmp_path, source, kind, 1), tmp_path / "out", "goal")
    assert read_trace(path).events == read_trace(source).events
    assert all(np.array_equal(a, b) for a, b in zip(read_screens(path), read_screens(source), strict=True))
    (shard,) = build_desktop_shards(tmp_path / "out", tmp_path / "shards", workers=1, progress=False)
    with np.load(shard) as arrays:
        assert arrays["events"].tolist() == [list(event) for event in read_trace(source).events]


@pytest.mark.parametrize("kind", ["csv", "json"])
def test_an_exported_session_is_imported_with_the_same_events(recording: Path, tmp_path: Path, kind: str) -> None:
    session = trace_path(recording, 1)
    video, actions = export_session(session, tmp_path / "theirs", kind)
    assert sorted((tmp_path / "theirs").iterdir()) == sorted([video, actions])
    back = import_session(video, actions, tmp_path / "mine", "goal")
    assert read_trace(back).events == read_trace(session).events
    for shown, was in zip(read_screens(back), read_screens(session), strict=True):
        assert np.abs(shown.astype(int) - was).mean() < 4  # compressed, the pointer on it
    with pytest.raises(TraceError, match=r"is there already and would be overwritten; choose another folder"):
        export_session(session, tmp_path / "theirs", kind)


@pytest.mark.parametrize("frames", [1, 60])
def test_screens_that_do_not_fit_on_the_disk_are_an_error_of_the_disk(tmp_path: Path, frames: int) -> None:
    """ffmpeg ends while it is written to, or, with few screens, only when it is closed, and says nothing then."""
    rng = np.random.default_rng(0)
    with small_disk(tmp_path / "disk", kilobytes=100) as disk:
        writer = ScreenWriter(disk / "a.mkv")
        with pytest.raises(OSError, match="No space left") as raised:
            for _ in range(frames):
                writer.write(rng.integers(0, 256, (240, 320, 3), np.uint8))
            writer.close()
        assert raised.value.errno == errno.ENOSPC and len(str(raised.value).splitlines()) == 1
        writer.discard()
        assert not list(disk.iterdir())


def test_a_full_disk_stops_a_recording_in_one_sentence_and_it_goes_on_later(tmp_path: Path) -> None:
    def collect(out: Path) -> int:
        return collect_desktop(6, 40, 5, out, workers=1, users={"fast": 1.0}, progress=False)

    with small_disk(tmp_path / "disk", kilobytes=240) as disk:
        out = disk / "out"
        with pytest.raises(RecordingError) as raised:
            collect(out)
        kept = sorted(out.rglob("*.jsonl"))
        assert str(raised.value) == (
            f"no space left on the disk of {out} after {len(kept)} new sessions; all of them are kept: "
            "free some space and run the same command again to go on"
        )
        assert not list(out.rglob("*.part.mkv"))
        grow(disk, kilobytes=64 * 1024)
        assert collect(out) == 6 - len(kept)
        for path in out.rglob("*.jsonl"):
            assert sum(1 for _ in read_screens(path)) == 41  # whole, by its checksum


def test_an_imported_video_of_another_size_is_scaled_and_its_pointer_with_it(recording: Path, tmp_path: Path) -> None:
    source = trace_path(recording, 0)
    video, actions = papers_session(tmp_path, source, "csv", 2)
    header, *rows = actions.read_text().splitlines()
    fields = [row.split(",", 4) for row in rows]
    doubled = [",".join([*row[:2], str(2 * int(row[2])), str(2 * int(row[3])), row[4]]) for row in fields]
    actions.write_text("\n".join([header, *doubled]) + "\n")
    path = import_session(video, actions, tmp_path / "out", "slow")
    assert read_trace(path).events == read_trace(source).events
    for ours, theirs in zip(read_screens(path), read_screens(source), strict=True):
        assert np.abs(ours.astype(int) - theirs).mean() < 8


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # imageio_ffmpeg's pipes when it fails
def test_imports_that_do_not_fit_are_refused_and_leave_nothing(recording: Path, tmp_path: Path) -> None:
    video, actions = papers_session(tmp_path, trace_path(recording, 0), "csv", 1)
    actions.write_text("\n".join(actions.read_text().splitlines()[:-1]) + "\n")
    with pytest.raises(TraceError, match=r"41 frames and .* has 39 actions; expected one frame more than actions, 40"):
        import_session(video, actions, tmp_path / "out", "goal")
    assert not (tmp_path / "out").exists()
    before = video.read_bytes()
    with pytest.raises(
        TraceError, match=r"theirs\.mkv is there already and would be overwritten; choose another folder"
    ):
        import_session(video, actions, tmp_path, "goal")
    assert video.read_bytes() == before
    with pytest.raises(TraceError, match="no video that ffmpeg can read"):
        import_session(actions, actions, tmp_path / "out", "goal")
    with pytest.raises(TraceError, match="unknown user 'me'; choose one of goal, slow, fast"):
        import_session(video, actions, tmp_path / "out", "me")
