"""Action presets and scripts: what an action types, and which actions make sense now."""

from __future__ import annotations

import numpy as np
import pytest

from nc_gym.actions import KeyActions, WordActions, slot_words
from nc_gym.machines.keys import KEYS
from nc_gym.scripts import has_keys, repeated, script_events

WORDS = WordActions(["<Enter>", "echo ", "ls", "l", "<Left>"])
SEEN = ["Print", "abc", "", "", "", "", "", "", "xy", "", "", ""]


def keys(events: list[int]) -> list[str]:
    return [KEYS[event] for event in events]


def index(name: str) -> int:
    return WORDS.names.index(name)


def test_a_script_types_text_parameters_and_named_keys() -> None:
    assert keys(script_events("ab{x}\n<Left><Left*2>y<Ctrl-C>", {"x": "cd"})) == [
        *"abcd", "Enter", "Left", "Left", "Left", "y", "Ctrl-C"
    ]  # fmt: skip
    assert keys(script_events("<Left*x>", {"x": "abc"})) == ["Left"] * 3
    assert keys(script_events("a > b <x>", {})) == list("a > b <x>")
    assert has_keys("a<Left>") and has_keys("<Up*3>") and not has_keys("a < b > c\n")


@pytest.mark.parametrize("script", ["{missing}", "<Left*missing>"])
def test_a_script_with_an_unknown_parameter_is_refused(script: str) -> None:
    with pytest.raises(KeyError, match="missing"):
        script_events(script, {"x": "a"})


def test_a_repeated_word_becomes_several() -> None:
    assert repeated("<Left*x>", {"x": "ab"}) == ["<Left>", "<Left>"] and repeated("<Left>", {}) == ["<Left>"]
    assert repeated("echo ", {}) == ["echo "]


def test_a_key_is_one_action() -> None:
    assert KeyActions().events(5, []) == [5] and KeyActions().mask([]).shape == (106,) and KeyActions().mask([]).all()
    assert keys(KeyActions().encode("ls\n", [])) == ["l", "s", "Enter"]


def test_a_word_is_typed_as_a_whole() -> None:
    assert WORDS.events(0, SEEN) == [0]
    assert keys(WORDS.events(index("echo "), SEEN)) == list("echo ")
    assert keys(WORDS.events(index("<Enter>"), SEEN)) == ["Enter"]
    assert keys(WORDS.events(index("instruction:1"), SEEN)) == list("abc")
    assert keys(WORDS.events(index("screen:0"), SEEN)) == list("xy")


def test_a_slot_without_a_word_is_masked_and_types_nothing() -> None:
    mask = WORDS.mask(SEEN)
    assert mask.dtype == np.bool_ and mask.shape == (len(WORDS.names),) and mask[:6].all()
    empty = [name for name, allowed in zip(WORDS.names, mask, strict=True) if not allowed]
    assert empty == [f"instruction:{k}" for k in range(2, 8)] + ["screen:1", "screen:2", "screen:3"]
    assert WORDS.events(index("screen:2"), SEEN) == [0]


def test_a_text_becomes_the_longest_words() -> None:
    assert [WORDS.names[a] for a in WORDS.encode("lsl\n", SEEN)] == ["ls", "l", "<Enter>"]
    assert [WORDS.names[a] for a in WORDS.encode("echo abcxy", SEEN)] == ["echo ", "instruction:1", "screen:0"]
    with pytest.raises(ValueError, match=r"no word types 'q<Enter>'.*actions=\"keys\""):
        WORDS.encode("echo q\n", SEEN)


def test_slots_are_the_words_of_the_banner_and_of_the_line_above_the_cursor() -> None:
    chars = np.full((12, 40), ord(" "), np.uint8)
    for row, text in enumerate(("~$ ls", "ab-1  cd  e  f  g", "", "~$ cat")):
        chars[row, : len(text)] = np.frombuffer(text.encode(), np.uint8)
    assert slot_words("Go to ab, then x", chars, 3) == [
        "Go", "to", "ab", "then", "x", "", "", "", "ab", "1", "cd", "e"
    ]  # fmt: skip
    assert slot_words("", chars, 1) == [""] * 8 + ["ls", "", "", ""]
    assert slot_words("", chars, 0) == slot_words("", chars, -1) == [""] * 12
