"""Tasks: rewards from the characters on the screen alone, and no way to earn more than there is."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nc_gym.machines.keys import KEYS
from nc_gym.registration import load_card
from nc_gym.tasks import Episode, Goal, shows_line

TASK = load_card("terminal").environments["nc_gym/TerminalEcho-v0"].task


def screen(*lines: str) -> np.ndarray:
    grid = np.full((12, 40), ord(" "), np.uint8)
    for row, line in enumerate(lines):
        grid[row, : len(line)] = np.frombuffer(line.encode(), np.uint8)
    return grid


def episode() -> Episode:
    return Episode(Goal(0, "Print abc on a line of its own", "abc", "echo abc"))


def judge(present: Episode, *lines: str, cursor: tuple[int, int] | None = None) -> float:
    """Judges a screen whose last line is being typed on."""
    cursor = cursor or (len(lines) - 1, len(lines[-1]))
    return TASK.judge(present, screen(*lines), np.array(cursor))


def test_words_follow_the_card_and_the_seed() -> None:
    goals = [TASK.sample(seed) for seed in range(300)]
    assert {len(goal.line) for goal in goals} == {2, 3, 4}
    assert set("".join(goal.line for goal in goals)) == set("abcdefghijklmnopqrstuvwxyz")
    assert goals == [TASK.sample(seed) for seed in range(300)]
    assert all(goal.instruction == f"Print {goal.line} on a line of its own" for goal in goals)


def test_oracle_types_the_command_and_waits_one_step() -> None:
    keys = [KEYS[event] for event in TASK.oracle(episode().goal)]
    assert keys == [*"echo abc", "Enter", "noop"]


def test_success_must_hold_on_two_screens() -> None:
    present = episode()
    assert judge(present, "~$ echo abc", "abc", "~$ ") == 0 and not present.success
    assert judge(present, "~$ echo abc", "abc", "~$ ") == 1 and present.success
    assert judge(present, "~$ echo abc", "abc", "~$ ") == 0


def test_one_flickering_screen_is_no_success() -> None:
    present = episode()
    for _ in range(5):
        judge(present, "abc", "~$ ")
        judge(present, "abd", "~$ ")
    assert not present.success


@pytest.mark.parametrize(
    "lines", [("~$ abc",), ("abcd", "~$ "), (" abc", "~$ "), ("xabc", "~$ "), ("~$ echo abc",), ("ab", "c", "~$ ")]
)
def test_anything_but_the_word_alone_on_a_line_is_no_success(lines: tuple[str, ...]) -> None:
    present = episode()
    for _ in range(3):
        judge(present, *lines)
    assert not present.success


def test_typed_line_that_wraps_is_no_success() -> None:
    assert not shows_line(episode().goal, screen("~$ " + "x" * 37, "abc"), cursor_row=1)
    assert not shows_line(episode().goal, screen("~$ " + "x" * 37, "abc"), cursor_row=0)  # cursor moved back up


def test_every_further_correct_key_earns_its_share_once() -> None:
    present = episode()
    assert judge(present, "~$ ") == 0
    for end in range(1, 9):
        assert judge(present, "~$ " + "echo abc"[:end]) == pytest.approx(0.5 / 8)
        assert judge(present, "~$ " + "echo abc"[:end]) == 0  # waiting
    assert judge(present, "~$ ec") == 0 and judge(present, "~$ echo") == 0  # erasing and typing again
    assert judge(present, "~$ echo abc", "abc", "~$ ") == 0
    assert judge(present, "~$ echo abc", "abc", "~$ ") == pytest.approx(0.5)


def test_wrong_key_earns_nothing_more_until_it_is_erased() -> None:
    present = episode()
    assert judge(present, "~$ ex") == pytest.approx(0.5 / 8)
    assert judge(present, "~$ exho") == 0
    assert judge(present, "~$ ech") == pytest.approx(2 * 0.5 / 8)


def test_text_right_of_the_cursor_is_not_typed_yet() -> None:
    present = episode()
    assert judge(present, "~$ echo abc", cursor=(0, 5)) == pytest.approx(2 * 0.5 / 8)


@pytest.mark.parametrize("line", ["> echo abc", "echo abc", "$echo abc"])
def test_only_a_prompt_line_counts_as_typing(line: str) -> None:
    assert judge(episode(), line) == 0


def test_prompt_in_a_folder_counts_too() -> None:
    assert judge(episode(), "dir$ echo") == pytest.approx(4 * 0.5 / 8)


def test_screen_without_cursor_earns_nothing_and_breaks_the_run() -> None:
    present = episode()
    judge(present, "abc", "~$ ")
    assert judge(present, "abc", "~$ echo", cursor=(-1, -1)) == 0
    assert judge(present, "abc", "~$ ") == 0 and not present.success


LINES = st.sampled_from(["~$ ", "~$ e", "~$ echo", "~$ echo abc", "abc", "abd", "~$ echo abcd", "", "> abc"])


@given(
    st.lists(st.tuples(st.lists(LINES, min_size=1, max_size=4), st.integers(-1, 11), st.integers(0, 39)), max_size=30)
)
def test_rewards_sum_to_a_number_in_the_unit_interval(screens: list[tuple[list[str], int, int]]) -> None:
    present = episode()
    rewards = [judge(present, *lines, cursor=(row, column)) for lines, row, column in screens]
    assert all(reward >= 0 for reward in rewards)
    assert sum(rewards) == pytest.approx(1) if present.success else sum(rewards) <= 0.5 + 1e-9
