"""Predicates: what a screen shows, and what only looks like it."""

from __future__ import annotations

import numpy as np
import pytest

from nc_gym.predicates import Predicate, TextView, predicate_from_table, text_view

LISTED = Predicate(after="~$ ls", has=("ab",), lacks=("cd",))


def holds(predicate: Predicate, *lines: str, typed: str = "~$ ", earlier: Predicate | None = None) -> bool:
    return predicate.holds(TextView(lines, typed, len(typed)), earlier)


@pytest.mark.parametrize("lines", [("~$ ls", "ab"), ("~$ ls", "ab  ef"), ("~$ ls", "cd", "~$ rm cd", "~$ ls", "ab")])
def test_output_of_the_last_such_command_is_looked_at(lines: tuple[str, ...]) -> None:
    assert holds(LISTED, *lines)


@pytest.mark.parametrize(
    "lines",
    [
        ("~$ ls",), ("ab", "~$ ls"), ("~$ ls", "abc"), ("~$ ls", "ab  cd"), ("~$ ls", "ab", "~$ ls", "ef"),
        ("~$ ls", "~$ echo ab", "ab"), ("d$ ls", "ab"), ("~$ ls x", "ab"), ("~$ echo ls", "ab"),
    ],
)  # fmt: skip
def test_other_outputs_do_not_count(lines: tuple[str, ...]) -> None:
    assert not holds(LISTED, *lines)


def test_a_command_that_still_runs_has_shown_nothing_yet() -> None:
    assert not holds(LISTED, "~$ ls", "ab", typed="")


def test_what_is_lacking_must_be_lacking_from_a_finished_output() -> None:
    gone = Predicate(after="~$ ls", lacks=("cd",))
    assert holds(gone, "~$ ls") and not holds(gone) and not holds(gone, typed="~$ ls")


def test_prompt_is_the_folder_of_the_line_with_the_cursor() -> None:
    inside = Predicate(prompt="ab")
    assert holds(inside, typed="ab$ ") and holds(inside, typed="ab$ ls")
    assert not holds(inside, "ab$ ") and not holds(inside, typed="abc$ ") and not holds(inside, typed="cab$ ")


def test_an_earlier_goal_hides_what_stands_above_it() -> None:
    shown = Predicate(line="x")
    assert not holds(LISTED, "~$ ls", "ab", "~$ echo x", "x", earlier=shown)
    assert holds(LISTED, "~$ echo x", "x", "~$ ls", "ab", earlier=shown)
    assert holds(LISTED, "~$ ls", "ab", earlier=shown)  # it has scrolled away


def test_rows_filled_to_the_edge_are_one_line() -> None:
    grid = np.full((4, 10), ord(" "), np.uint8)
    for row, text in enumerate(("~$ echo ab", "cd", "abcd", "~$ ")):
        grid[row, : len(text)] = np.frombuffer(text.encode(), np.uint8)
    assert text_view(grid, np.array([3, 3])) == TextView(["~$ echo abcd", "abcd"], "~$        ", 3)


def test_a_line_that_just_fits_is_not_joined_with_the_prompt_below_it() -> None:
    grid = np.full((4, 10), ord(" "), np.uint8)
    for row, text in enumerate(("0123456789", "ab$ pwd", "/home/a/ab", "ab$ ")):
        grid[row, : len(text)] = np.frombuffer(text.encode(), np.uint8)
    view = text_view(grid, np.array([3, 4]))
    assert view is not None and list(view.lines) == ["0123456789", "ab$ pwd", "/home/a/ab"]
    assert Predicate(after="ab$ pwd", line="/home/a/ab").holds(view)


def test_a_screen_without_a_cursor_says_nothing() -> None:
    assert text_view(np.full((4, 10), ord(" "), np.uint8), np.array([-1, -1])) is None


def test_parameters_are_filled_in_everywhere() -> None:
    predicate = predicate_from_table({"after": "~$ cat {f}", "line": "{w}", "has": ["{w}"], "lacks": ["{f}"]})
    filled = predicate.fill({"f": "ab", "w": "cd"})
    assert filled == Predicate(after="~$ cat ab", line="cd", has=("cd",), lacks=("ab",))


@pytest.mark.parametrize(
    ("table", "text"),
    [
        ({"lien": "ab"}, "success has lien = 'ab'; use the texts after, line, prompt and the lists has, lacks"),
        ({"has": "ab"}, "success has has = 'ab'"),
        ({"line": 3}, "success has line = 3"),
        ({"after": "~$ ls"}, "asks for nothing"),
        ({"lacks": ["ab"]}, "asks for nothing"),
    ],
)
def test_faulty_predicates_are_refused(table: dict, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        predicate_from_table(table)
