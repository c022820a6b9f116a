"""The real desktop: programs, windows, pointer, and screens that do not depend on the host."""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from nc_gym.machines import desktop
from nc_gym.machines.desktop import XDesktop
from nc_gym.machines.desktop_box import ServerLost
from nc_gym.machines.desktop_events import BUTTONS, HEIGHT, KEYS, SIZES, WIDTH, Event, event, position
from nc_gym.reader import brighter_pixels, match_templates

ONE = np.ones(1, np.bool_)
ZERO = np.zeros(1, np.int64)
TERMINAL, CALCULATOR, EDITOR, MENU = (56, 230), (80, 230), (104, 230), (20, 230)  # on the panel
DESKTOP = (310, 4)  # never covered by a fresh window


@pytest.fixture(scope="module")
def shared() -> Iterator[XDesktop]:
    with XDesktop() as machine:
        yield machine


@pytest.fixture
def machine(shared: XDesktop) -> XDesktop:
    """A fresh desktop."""
    shared.reset(ONE, ZERO, ZERO)
    return shared


def do(machine: XDesktop, place: tuple[int, int], button: str = "none", key: str = "noop") -> NDArray[np.uint8]:
    machine.step(np.array([event(*place, button, key)]), ONE)
    return machine.bare_screens()[0]


def type_text(machine: XDesktop, place: tuple[int, int], text: str) -> None:
    for char in text:
        do(machine, place, key="Enter" if char == "\n" else char)


def titles(machine: XDesktop) -> list[str]:
    return [window.title for window in machine.windows(0)]


def read(screen: NDArray[np.uint8], x: int, y: int, length: int) -> str:
    """Reads ``length`` characters from pixel (x, y) on, with the reader that the terminal's environments use."""
    cells = screen[y : y + 16, x : x + 8 * length].reshape(16, length, 8, 3).swapaxes(0, 1)
    return "".join(chr(32 + index % 96) for index in match_templates(brighter_pixels(cells)))


def test_programs_open_from_the_panel_and_from_both_menus(machine: XDesktop) -> None:
    for place, title in ((TERMINAL, "Term"), (CALCULATOR, "Calc"), (EDITOR, "Edit")):
        do(machine, place, "left click")
        assert titles(machine)[-1] == title
    do(machine, MENU, "left click")
    do(machine, (20, 156), "left click")  # its first entry
    assert titles(machine) == ["Term", "Calc", "Edit", "Term"]
    do(machine, DESKTOP, "right click")
    do(machine, (300, 40), "left click")  # its second entry
    assert titles(machine)[-1] == "Calc"


def test_menu_closes_without_a_trace_when_it_is_cancelled(machine: XDesktop) -> None:
    before = machine.bare_screens()[0]
    opened = do(machine, MENU, "left click")
    assert (opened != before).any(2).mean() > 0.05
    do(machine, (20, 180))
    do(machine, DESKTOP, "left click")
    assert np.array_equal(do(machine, MENU), before) and titles(machine) == []


def test_text_in_terminal_and_editor_is_read_by_the_terminals_reader(machine: XDesktop) -> None:
    do(machine, TERMINAL, "left click")
    type_text(machine, TERMINAL, "echo 'Hi, {there}!'\n")
    screen = machine.bare_screens()[0]
    assert [read(screen, 8, 24 + 16 * row, 24).rstrip() for row in range(2)] == [
        "~$ echo 'Hi, {there}!'",
        "Hi, {there}!",
    ]
    do(machine, EDITOR, "left click")
    type_text(machine, EDITOR, "Two\nlines")
    screen = machine.bare_screens()[0]
    assert [read(screen, 52, 84 + 16 * row, 5).rstrip() for row in range(2)] == ["Two", "lines"]


def test_calculator_computes_from_clicks_and_keys(machine: XDesktop) -> None:
    do(machine, CALCULATOR, "left click")
    for place in ((184, 96), (184, 96), (256, 180), (148, 152), (292, 180)):  # 8, 8, +, 1, =
        do(machine, place, "left click")
    assert read(machine.bare_screens()[0], 272, 56, 4).strip() == "89"
    type_text(machine, (200, 60), "*2\n")
    assert read(machine.bare_screens()[0], 272, 56, 4).strip() == "178"


def test_window_moves_with_its_title_and_resizes_with_its_border(machine: XDesktop) -> None:
    do(machine, TERMINAL, "left click")
    for place, button in (
        ((60, 18), "left press"),
        ((80, 30), "none"),
        ((120, 62), "none"),
        ((120, 62), "left release"),
    ):
        do(machine, place, button)
    window = machine.windows(0)[0]
    assert (window.x, window.y, window.width, window.height) == (8 + 60, 24 + 44, 192, 128)
    for place, button in (((262, 197), "left press"), ((222, 149), "none"), ((222, 149), "left release")):
        do(machine, place, button)
    window = machine.windows(0)[0]
    assert (window.x, window.y, window.width, window.height) == (68, 68, 152, 80)


def test_minimized_window_comes_back_with_its_content(machine: XDesktop) -> None:
    do(machine, TERMINAL, "left click")
    type_text(machine, TERMINAL, "echo kept\n")
    before = machine.bare_screens()[0]
    do(machine, (164, 18), "left click")
    assert machine.windows(0)[0].minimized
    do(machine, (150, 230), "left click")
    assert not machine.windows(0)[0].minimized
    assert np.array_equal(do(machine, TERMINAL), before)


def test_windows_are_listed_from_the_lowest_to_the_one_in_front(machine: XDesktop) -> None:
    do(machine, TERMINAL, "left click")
    do(machine, CALCULATOR, "left click")
    assert [(window.title, window.active) for window in machine.windows(0)] == [("Term", False), ("Calc", True)]
    do(machine, (20, 100), "left click")
    assert [(window.title, window.active) for window in machine.windows(0)] == [("Calc", False), ("Term", True)]
    do(machine, (20, 100), key="Alt-Tab")
    assert titles(machine)[-1] == "Calc"
    do(machine, (20, 100), key="Alt-F4")
    assert titles(machine) == ["Term"]


def test_two_clicks_make_a_double_click_only_as_one_event(machine: XDesktop) -> None:
    do(machine, TERMINAL, "left click")
    for _ in range(3):
        do(machine, (60, 18), "left click")
    assert machine.windows(0)[0].width == 192
    do(machine, (60, 18), "double click")
    assert machine.windows(0)[0].width == 312


def test_a_maximised_window_remembers_the_box_that_it_goes_back_to_when_it_is_dragged(machine: XDesktop) -> None:
    do(machine, TERMINAL, "left click")
    (before,) = machine.windows(0)
    box = (before.x, before.y, before.width, before.height)
    assert before.normal == box
    do(machine, (60, 18), "double click")
    (large,) = machine.windows(0)
    assert large.width == 312 and large.normal == box
    do(machine, (100, 8), "left press")
    do(machine, (120, 12))
    (dragged,) = machine.windows(0)
    assert (dragged.x, dragged.y, dragged.width, dragged.height) == dragged.normal == box


def test_pointer_is_drawn_where_it_points_and_follows_the_shape(machine: XDesktop) -> None:
    do(machine, TERMINAL, "left click")
    shapes = set()
    for place in (DESKTOP, (100, 100), (6, 100)):  # desktop, text, border
        do(machine, place)
        x, y, shape = machine.pointers()[0]
        assert (x, y) == position(place[0] // 4, place[1] // 4)
        shapes.add(int(shape))
        bare, drawn = machine.bare_screens()[0], machine.screens()[0]
        rows, columns = np.nonzero((bare != drawn).any(2))
        hot, size = machine.sprites[shape].hot, machine.sprites[shape].pixels.shape
        assert y - hot[1] <= rows.min() and rows.max() < y - hot[1] + size[0]
        assert x - hot[0] <= columns.min() and columns.max() < x - hot[0] + size[1]
    assert len(shapes) == 3
    for sprite in machine.sprites:  # the server's own pointers, whatever themes the host has
        assert set(np.unique(sprite.pixels[:, :, 3]).tolist()) == {0, 255}


def test_everything_stays_on_the_grid_of_four_pixels(machine: XDesktop) -> None:
    """Panel, frames and contents: a change anywhere begins and ends between tiles of 4x4 pixels."""
    blank = machine.bare_screens()[0]
    for place in (TERMINAL, CALCULATOR, EDITOR):
        screen = do(machine, place, "left click")
        window = machine.windows(0)[-1]
        assert (window.x % 4, window.y % 4, window.width % 4, window.height % 4) == (0, 0, 0, 0)
        frame = (screen != blank).any(2)[: HEIGHT - 24]
        rows, columns = np.flatnonzero(frame.any(1)), np.flatnonzero(frame.any(0))
        assert (rows[0] % 4, columns[0] % 4, (rows[-1] + 1) % 4, (columns[-1] + 1) % 4) == (0, 0, 0, 0)


def random_events(seed: int, count: int) -> list[Event]:
    """Returns two programs' openings, then events of every kind, most of them where they do something.

    But for what is known not to be deterministic (docs/desktop.md): double clicks on the panel.
    """
    rng = Random(seed)
    places = [TERMINAL, CALCULATOR, EDITOR, MENU, (150, 230), (214, 230), (60, 18), (200, 40), (250, 150), (20, 156)]
    events = [event(*TERMINAL, "left click"), event(*CALCULATOR, "left click")]
    place = (160, 120)
    for _ in range(count):
        if rng.random() < 0.6:
            place = rng.choice(places) if rng.random() < 0.6 else (rng.randrange(WIDTH), rng.randrange(HEIGHT))
        button = rng.choice(BUTTONS) if rng.random() < 0.4 else "none"
        if place[1] >= 216 and button == "double click":
            button = "left click"
        key = rng.choice(KEYS) if button == "none" and rng.random() < 0.5 else "noop"
        events.append(event(*place, button, key))
    return events


def play(machine: XDesktop, events: list[list[Event]]) -> list[NDArray[np.uint8]]:
    """Plays one list of events per row, side by side; returns the screens after each event, (N, H, W, 3)."""
    everyone, zeros = np.ones(machine.num_rows, np.bool_), np.zeros(machine.num_rows, np.int64)
    machine.reset(everyone, zeros, zeros)
    screens = [machine.screens()]
    for batch in zip(*events, strict=True):
        machine.step(np.array(batch), everyone)
        assert not machine.restarted().any()
        screens.append(machine.screens())
    return screens


@pytest.mark.slow
def test_same_events_give_the_same_screens_alone_and_side_by_side() -> None:
    traces = [random_events(seed, 60) for seed in range(4)]
    with XDesktop(num_rows=4) as four:
        together = play(four, traces)
    with XDesktop() as one:
        for row, trace in enumerate(traces):
            alone = play(one, [trace])
            for number, (screen, batch) in enumerate(zip(alone, together, strict=True)):
                assert np.array_equal(screen[0], batch[row]), (row, number, trace[:number][-3:])
            assert sum((a != b).sum() > 500 for a, b in pairwise(screen[0] for screen in alone)) >= 15  # much happens


def test_two_clicks_with_one_on_the_panel_between_make_no_double_click(machine: XDesktop) -> None:
    """The window manager forgets clicks on its panel: the first and the third came within its 200 ms."""
    do(machine, EDITOR, "left click")
    (window,) = machine.windows(0)
    title = (window.x + 20, window.y - 8)
    do(machine, title, "left click")
    do(machine, (300, 230), "left click")  # the panel's empty end
    do(machine, title, "left click")
    (after,) = machine.windows(0)
    assert (after.width, after.height) == (window.width, window.height)


def test_a_window_that_goes_while_it_is_looked_at_is_no_lost_server(machine: XDesktop) -> None:
    do(machine, TERMINAL, "left click")
    server = machine._servers[0]
    ask, looks = server._ask_about, []

    def gone_at_first(window: int, state: int) -> Any:
        looks.append(window)
        return ask(window if len(looks) > 1 else 0x7FFFFF, state)

    server._ask_about = gone_at_first
    assert titles(machine) == ["Term"] and len(looks) == 2
    server._ask_about = lambda window, state: ask(0x7FFFFF, state)
    with pytest.raises(ServerLost, match="came and went"):
        machine.windows(0)


def test_boot_is_replayed_and_rows_are_apart() -> None:
    boots = [[], [event(*TERMINAL, "left click"), event(*TERMINAL, key="x")]]
    with XDesktop(num_rows=2, boots=boots) as machine:
        both = np.ones(2, np.bool_)
        machine.reset(both, np.zeros(2, np.int64), np.array([0, 1]))
        assert [len(machine.windows(row)) for row in range(2)] == [0, 1]
        assert read(machine.bare_screens()[1], 8, 24, 5) == "~$ x "
        machine.step(np.array([event(*CALCULATOR, "left click")] * 2), np.array([True, False]))
        assert [len(machine.windows(row)) for row in range(2)] == [1, 1]


@pytest.mark.parametrize(
    "kill, reason",
    [
        ("kill -9 $(pidof jwm)", "jwm ended with 137"),
        ("kill -9 $(pidof Xvfb)", "Xvfb ended with 137"),
        ("kill -9 $(pidof xcalc)", "xcalc ended with 137"),
        ("kill -11 $(pidof xterm)", "xterm ended with 139"),
        ("kill $(pidof xterm)", "xterm ended with 15"),  # a signal that it catches
        ("pkill -f title", "xcalc ended with 143"),  # what runs it has the same arguments
    ],
)
def test_desktop_that_loses_a_program_or_its_server_is_restarted_and_says_why(
    machine: XDesktop, kill: str, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    do(machine, CALCULATOR, "left click")
    do(machine, TERMINAL, "left click")
    type_text(machine, TERMINAL, kill)
    assert not machine.restarted()[0]
    for _ in range(20):  # the sandbox goes down in its own time
        do(machine, TERMINAL, key="Enter")
        if machine.restarted()[0]:
            break
    assert machine.restarted()[0] and titles(machine) == []
    (record,) = (each for each in caplog.records if each.name == "nc_gym.machines.desktop")
    assert record.getMessage().startswith("the desktop of row 0 was restarted: ") and reason in record.getMessage()
    do(machine, TERMINAL, "left click")
    assert titles(machine) == ["Term"] and not machine.restarted()[0]


def test_program_that_is_closed_or_ends_by_itself_only_closes_its_window(machine: XDesktop) -> None:
    """The calculator by Alt-F4, the editor and a terminal by their buttons, another one by leaving its shell."""
    for program in (CALCULATOR, EDITOR, TERMINAL):
        do(machine, program, "left click")
        if program is CALCULATOR:
            do(machine, program, key="Alt-F4")
        else:
            (window,) = machine.windows(0)
            do(machine, (window.x + window.width - 8, window.y - 8), "left click")
        assert titles(machine) == [] and not machine.restarted()[0]
    do(machine, TERMINAL, "left click")
    type_text(machine, TERMINAL, "false\nexit 137\n")
    assert titles(machine) == [] and not machine.restarted()[0]


def test_program_that_runs_on_is_shown_and_can_be_interrupted(machine: XDesktop) -> None:
    do(machine, TERMINAL, "left click")
    type_text(machine, TERMINAL, "yes on\n")
    assert not machine.restarted()[0]
    assert read(machine.bare_screens()[0], 8, 24, 2) == "on"
    for _ in range(5):
        do(machine, TERMINAL, key="Ctrl-C")
    type_text(machine, TERMINAL, "clear; echo ok\n")
    assert read(machine.bare_screens()[0], 8, 24, 2) == "ok" and not machine.restarted()[0]


def test_screen_of_a_program_that_runs_on_stands_still_until_the_next_step(machine: XDesktop) -> None:
    do(machine, TERMINAL, "left click")
    type_text(machine, TERMINAL, "seq 99999999\n")
    before = machine.bare_screens()[0]
    for _ in range(5):
        shown = do(machine, TERMINAL)
        assert (shown != before).any()
        time.sleep(0.05)
        np.testing.assert_array_equal(machine.bare_screens()[0], shown)
        before = shown


def test_a_desktop_that_hangs_is_restarted_and_reported_once(
    machine: XDesktop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(desktop, "HANG_CAP", 0.8)
    do(machine, TERMINAL, "left click")
    type_text(machine, TERMINAL, "yes on\n")
    reports = []
    for _ in range(12):
        do(machine, TERMINAL)
        reports.append(bool(machine.restarted()[0]))
    assert reports.count(True) == 1 and titles(machine) == []


def test_shell_on_the_desktop_reaches_no_network_no_host_file_and_no_display(machine: XDesktop, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("x")
    do(machine, TERMINAL, "left click")
    type_text(machine, TERMINAL, f"(cat {tmp_path}/secret; ls /root; tail -n +3 /proc/net/dev; env) >a 2>&1\n")
    seen = machine.read_file(0, "a").decode()
    assert f"cat: {tmp_path}/secret: No such file" in seen and "cannot access '/root'" in seen
    assert seen.count(":") and [line.split(":")[0].strip() for line in seen.splitlines() if " 0 " in line] == ["lo"]
    assert "HOME=/home/user" in seen and "DISPLAY" not in seen and "XAUTHORITY" not in seen


def test_a_display_in_use_on_the_host_is_no_obstacle(machine: XDesktop) -> None:
    """Every desktop is display :0 of its own sandbox; here two are, and a third server could be the host's."""
    with XDesktop() as other:
        other.reset(ONE, ZERO, ZERO)
        do(other, TERMINAL, "left click")
        assert (titles(other), titles(machine)) == (["Term"], [])


def test_bad_events_are_refused_with_the_value_and_the_range(machine: XDesktop) -> None:
    for part, size in enumerate(SIZES):
        for value in (-1, size):
            bad = [0, 0, 0, 0]
            bad[part] = value
            with pytest.raises(ValueError, match=rf"{value} in row 0 is out of range; expected 0 to {size - 1}"):
                machine.step(np.array([bad]), ONE)
    with pytest.raises(ValueError, match=r"shape \(1, 3\); expected \(1, 4\)"):
        machine.step(np.zeros((1, 3), np.int64), ONE)
    with pytest.raises(ValueError, match="boot 7 of row 0 does not exist"):
        machine.reset(ONE, ZERO, ZERO + 7)
    with pytest.raises(RuntimeError, match="call reset for it first"):
        XDesktop().step(np.zeros((1, 4), np.int64), ONE)
