"""Action presets and scripts: what an action types, and which actions make sense now."""

from __future__ import annotations

import numpy as np
import pytest

from nc_gym.actions import EventActions, WordActions, slot_words
from nc_gym.inputs import DesktopInputs, TerminalInputs
from nc_gym.machines.keys import KEYS
from nc_gym.scripts import has_keys, repeated, script_events

KEYBOARD = TerminalInputs()
WORDS = WordActions(["<Enter>", "echo ", "ls", "l", "<Left>"], KEYBOARD)
DESK = DesktopInputs({"panel Calc": (80, 230)})
SEEN = ["Print", "abc", "", "", "", "", "", "", "xy", "", "", ""]


def keys(events: list[int]) -> list[str]:
    return [KEYS[event] for event in events]


def index(name: str) -> int:
    return WORDS.names.index(name)


def test_a_script_types_text_parameters_and_named_keys() -> None:
    assert keys(script_events("ab{x}\n<Left><Left*2>y<Ctrl-C>", {"x": "cd"}, KEYBOARD)) == [
        *"abcd", "Enter", "Left", "Left", "Left", "y", "Ctrl-C"
    ]  # fmt: skip
    assert keys(script_events("<Left*x>", {"x": "abc"}, KEYBOARD)) == ["Left"] * 3
    assert keys(script_events("a > b <x>", {}, KEYBOARD)) == list("a > b <x>")
    assert has_keys("a<Left>", KEYBOARD) and has_keys("<Up*3>", KEYBOARD)
    assert not has_keys("a < b > c\n", KEYBOARD)


@pytest.mark.parametrize("script", ["{missing}", "<Left*missing>"])
def test_a_script_with_an_unknown_parameter_is_refused(script: str) -> None:
    with pytest.raises(KeyError, match="missing"):
        script_events(script, {"x": "a"}, KEYBOARD)


def test_a_repeated_word_becomes_several() -> None:
    assert repeated("<Left*x>", {"x": "ab"}, KEYBOARD) == ["<Left>", "<Left>"]
    assert repeated("<Left>", {}, KEYBOARD) == ["<Left>"]
    assert repeated("echo ", {}, KEYBOARD) == ["echo "]
    assert repeated("{verb} ", {"verb": "touch"}, KEYBOARD) == ["touch "]


def test_a_key_is_one_action() -> None:
    actions = EventActions(KEYBOARD)
    assert actions.events(5, [], 0) == [5] and actions.mask([]).shape == (106,) and actions.mask([]).all()
    assert keys(actions.encode("ls\n", [], 0)) == ["l", "s", "Enter"]


def test_a_word_is_typed_as_a_whole() -> None:
    assert WORDS.events(0, SEEN, 0) == [0]
    assert keys(WORDS.events(index("echo "), SEEN, 0)) == list("echo ")
    assert keys(WORDS.events(index("<Enter>"), SEEN, 0)) == ["Enter"]
    assert keys(WORDS.events(index("instruction:1"), SEEN, 0)) == list("abc")
    assert keys(WORDS.events(index("screen:0"), SEEN, 0)) == list("xy")


def test_a_slot_without_a_word_is_masked_and_types_nothing() -> None:
    mask = WORDS.mask(SEEN)
    assert mask.dtype == np.bool_ and mask.shape == (len(WORDS.names),) and mask[:6].all()
    empty = [name for name, allowed in zip(WORDS.names, mask, strict=True) if not allowed]
    assert empty == [f"instruction:{k}" for k in range(2, 8)] + ["screen:1", "screen:2", "screen:3"]
    assert WORDS.events(index("screen:2"), SEEN, 0) == [0]


def test_a_text_becomes_the_longest_words() -> None:
    assert [WORDS.names[a] for a in WORDS.encode("lsl\n", SEEN, 0)] == ["ls", "l", "<Enter>"]
    assert [WORDS.names[a] for a in WORDS.encode("echo abcxy", SEEN, 0)] == ["echo ", "instruction:1", "screen:0"]
    with pytest.raises(ValueError, match=r"no word types 'q<Enter>'.*actions=\"keys\""):
        WORDS.encode("echo q\n", SEEN, 0)


def test_slots_are_the_words_of_the_banner_and_of_the_line_above_the_cursor() -> None:
    chars = np.full((12, 40), ord(" "), np.uint8)
    for row, text in enumerate(("~$ ls", "ab-1  cd  e  f  g", "", "~$ cat")):
        chars[row, : len(text)] = np.frombuffer(text.encode(), np.uint8)
    assert slot_words("Go to ab, then x", chars, 3) == [
        "Go", "to", "ab", "then", "x", "", "", "", "ab", "1", "cd", "e"
    ]  # fmt: skip
    assert slot_words("", chars, 1) == [""] * 8 + ["ls", "", "", ""]
    assert slot_words("abcdefghijkl abcdefghijklm x", chars, 0)[:4] == ["abcdefghijkl", "", "x", ""]  # one is too long
    assert slot_words("", chars, 0) == slot_words("", chars, -1) == [""] * 12


def test_a_script_of_a_desktop_points_at_names_and_pixels_and_types_where_it_points() -> None:
    events = script_events("<left click panel {p}>a<Alt-F4><point 8 {y}>", {"p": "Calc", "y": "9"}, DESK)
    assert events[0] == (20, 57, 3, 0) and [event[:3] for event in events[1:3]] == [(20, 57, 0)] * 2
    assert [DESK.keys[event[3]] for event in events] == ["noop", "a", "Alt-F4", "noop"]
    assert events[3] == (2, 2, 0, 0) and has_keys("<point 1 2>", DESK)
    assert script_events("a", {}, DESK) == [(40, 30, 0, DESK.keys.index("a"))]  # a fresh desktop's pointer


@pytest.mark.parametrize(
    ("script", "text"),
    [
        ("<left click panel Clock>", "no place 'panel Clock'; name one of panel Calc, or a pixel such as \"120 64\""),
        ("<point 320 5>", r"pointer \(320, 5\) is outside the screen"),
    ],
)
def test_a_place_that_does_not_exist_is_named(script: str, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        script_events(script, {}, DESK)


def test_an_action_of_a_desktop_is_four_numbers() -> None:
    actions = EventActions(DESK)
    assert actions.events(np.array([1, 2, 3, 4]), [], DESK.first) == [(1, 2, 3, 4)]
    assert actions.action((1, 2, 3, 4)).tolist() == [1, 2, 3, 4] and actions.name(np.array([1, 2, 3, 4])) == (
        f"left click 4,11 {DESK.keys[4]}"
    )
    assert actions.idle((7, 8, 3, 4)).tolist() == [7, 8, 0, 0]
    assert actions.mask([]).shape == (80 + 60 + 8 + len(DESK.keys),)


def test_words_of_a_desktop_click_on_squares_and_type_where_the_pointer_is() -> None:
    words = WordActions(["<left click *>", "<Enter>", "<double click panel Calc>"], DESK)
    clicks = [name for name in words.names if name.startswith("<left click ")]
    assert len(clicks) == 20 * 15 and clicks[0] == "<left click 8 8>" and clicks[-1] == "<left click 312 232>"
    assert words.events(words.names.index("<left click 24 8>"), SEEN, DESK.first) == [(6, 2, 3, 0)]
    assert words.events(0, SEEN, (5, 6, 1, 0)) == [(5, 6, 0, 0)]
    assert words.events(words.names.index("instruction:1"), ["", "a"], (5, 6, 1, 0)) == [
        (5, 6, 0, DESK.keys.index("a"))
    ]
    assert not any(name.startswith("screen:") for name in words.names)
    assert words.names[words.point("left click", "30 3")] == "<left click 24 8>"  # the square around it
    for button in ("wheel up", "double click"):
        with pytest.raises(ValueError, match=f"no word does '{button} 28,3'; make the .* with actions=\"pointer\""):
            words.point(button, "30 3")
