"""Tasks: rewards from the characters on the screen alone, and no way to earn more than there is."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nc_gym.kinds import TerminalKind
from nc_gym.machines.keys import KEYS
from nc_gym.predicates import text_view
from nc_gym.registration import load_card
from nc_gym.tasks import Episode, task_from_table

CARD = load_card("terminal").environments
TASK = CARD["nc_gym/TerminalEcho-v0"].task
TWO = task_from_table(
    {
        "instruction": "Print ab, then list cd",
        "success": [{"line": "ab"}, {"after": "~$ ls", "has": ["cd"], "lacks": ["ef"]}],
        "oracle": "echo ab\nls\n",
        "typing_share": 0.4,
    },
    1,
    TerminalKind(),
)


def screen(*lines: str) -> np.ndarray:
    grid = np.full((12, 40), ord(" "), np.uint8)
    for row, line in enumerate(lines):
        grid[row, : len(line)] = np.frombuffer(line.encode(), np.uint8)
    return grid


def episode() -> Episode:
    goal = TASK._goal(0, {"word": "abc"})
    return TASK.begin(goal, text_view(screen("~$ "), np.array([0, 3])))


def judge(present: Episode, *lines: str, cursor: tuple[int, int] | None = None, task=TASK) -> float:
    """Judges a screen whose last line is being typed on."""
    cursor = cursor or (len(lines) - 1, len(lines[-1]))
    return task.judge(present, text_view(screen(*lines), np.array(cursor)))


def test_words_follow_the_card_and_the_seed() -> None:
    goals = [TASK.sample(seed) for seed in range(300)]
    words = [goal.success[0].line for goal in goals]
    assert {len(word) for word in words} == {2, 3, 4}
    assert set("".join(words)) == set("abcdefghijklmnopqrstuvwxyz")
    assert goals == [TASK.sample(seed) for seed in range(300)]
    assert all(g.instruction == f"Print {word} on a line of its own" for g, word in zip(goals, words, strict=True))


@pytest.mark.parametrize("env_id", [id for id, card in CARD.items() if card.task.parameters])
def test_no_test_episode_can_occur_in_training(env_id: str) -> None:
    task = CARD[env_id].task
    drawn = {split: [task.sample(seed, split) for seed in range(1000)] for split in ("train", "test")}
    train, test = ({(goal.instruction, goal.script, goal.success) for goal in drawn[split]} for split in drawn)
    assert len(train) >= 100 and len(test) >= 100
    assert train.isdisjoint(test)


def test_oracle_types_the_command_and_waits_one_step() -> None:
    keys = [KEYS[event] for event in episode().goal.script]
    assert keys == [*"echo abc", "Enter", "noop"]


def test_success_must_hold_on_two_screens() -> None:
    present = episode()
    lines = ("~$ echo abd", "abc", "~$ ")
    assert judge(present, *lines) == 0 and not present.success
    assert judge(present, *lines) == 1 and present.success
    assert judge(present, *lines) == 0


def test_one_flickering_screen_is_no_success() -> None:
    present = episode()
    for _ in range(5):
        judge(present, "abc", "~$ ")
        judge(present, "abd", "~$ ")
    assert not present.success


@pytest.mark.parametrize(
    "lines",
    [
        ("~$ abc",), ("abcd", "~$ "), (" abc", "~$ "), ("xabc", "~$ "), ("~$ echo abc",), ("ab", "c", "~$ "),
        ("~$ " + "x" * 37, "abc"), ("~$ " + "x" * 37, "abc", "~$ "),
    ],
)  # fmt: skip
def test_anything_but_the_word_alone_on_a_line_is_no_success(lines: tuple[str, ...]) -> None:
    present = episode()
    for _ in range(3):
        judge(present, *lines)
    assert not present.success


def test_every_further_correct_key_earns_its_share_once() -> None:
    present = episode()
    assert judge(present, "~$ ") == 0
    for end in range(1, 9):
        assert judge(present, "~$ " + "echo abc"[:end]) == pytest.approx(0.5 / 9)
        assert judge(present, "~$ " + "echo abc"[:end]) == 0  # waiting
    assert judge(present, "~$ ec") == 0 and judge(present, "~$ echo") == 0  # erasing and typing again
    assert judge(present, "~$ echo abc", "abc", "~$ ") == pytest.approx(0.5 / 9)  # the Enter
    assert judge(present, "~$ echo abc", "abc", "~$ ") == pytest.approx(0.5)


def test_wrong_key_earns_nothing_more_until_it_is_erased() -> None:
    present = episode()
    assert judge(present, "~$ ex") == pytest.approx(0.5 / 9)
    assert judge(present, "~$ exho") == 0
    assert judge(present, "~$ ech") == pytest.approx(2 * 0.5 / 9)


def test_text_right_of_the_cursor_is_not_typed_yet() -> None:
    present = episode()
    assert judge(present, "~$ echo abc", cursor=(0, 5)) == pytest.approx(2 * 0.5 / 9)


@pytest.mark.parametrize("line", ["> echo abc", "echo abc", "$echo abc"])
def test_only_a_prompt_line_counts_as_typing(line: str) -> None:
    assert judge(episode(), line) == 0


def test_prompt_in_a_folder_counts_too() -> None:
    assert judge(episode(), "dir$ echo") == pytest.approx(4 * 0.5 / 9)


def test_what_stands_there_at_the_start_earns_nothing() -> None:
    present = TASK.begin(TASK._goal(0, {"word": "abc"}), text_view(screen("~$ echo a"), np.array([0, 9])))
    assert judge(present, "~$ echo a") == 0
    assert judge(present, "~$ echo ab") == pytest.approx(0.5 / 9)


def test_screen_without_cursor_earns_nothing_and_breaks_the_run() -> None:
    present = episode()
    judge(present, "abc", "~$ ")
    assert judge(present, "abc", "~$ echo", cursor=(-1, -1)) == 0
    assert judge(present, "abc", "~$ ") == 0 and not present.success


def test_goals_are_met_in_their_order() -> None:
    present = Episode(TWO.sample(0))
    for _ in range(3):  # the second goal alone counts for nothing
        judge(present, "~$ ls", "cd", "~$ ", task=TWO)
    assert present.met == 0
    for _ in range(5):  # an older listing is no answer to the second goal
        judge(present, "~$ ls", "cd", "~$ echo ab", "ab", "~$ ", task=TWO)
    assert present.met == 1 and not present.success
    for _ in range(2):
        judge(present, "~$ echo ab", "ab", "~$ ls", "cd  gh", "~$ ", task=TWO)
    assert present.success


def test_two_commands_share_the_typing_reward() -> None:
    present = Episode(TWO.sample(0))
    assert judge(present, "~$ echo ab", task=TWO) == pytest.approx(0.2 * 7 / 8)
    assert judge(present, "~$ echo ab", "ab", "~$ l", task=TWO) == pytest.approx(0.2 / 8 + 0.2 / 3)
    assert judge(present, "~$ echo ab", "ab", "~$ ls", task=TWO) == pytest.approx(0.2 / 3)
    assert judge(present, "~$ echo ab", "ab", "~$ ls", "cd", "~$ ", task=TWO) == pytest.approx(0.2 / 3)
    assert judge(present, "~$ echo ab", "ab", "~$ ls", "cd", "~$ ", task=TWO) == pytest.approx(0.6)


def test_enter_earns_its_share_or_agents_would_type_a_line_and_stop() -> None:
    """Policies stood still at 0.25 in tasks of two lines: typing the first earned it, entering it nothing."""
    present = Episode(TWO.sample(0))
    judge(present, "~$ echo ab", task=TWO)
    assert judge(present, "~$ echo ab", "ab", "~$ ", task=TWO) == pytest.approx(0.2 / 8)


LINES = st.sampled_from(["~$ ", "~$ e", "~$ echo", "~$ echo abc", "abc", "abd", "~$ echo abcd", "", "> abc"])
OTHER_LINES = st.sampled_from(["~$ ", "~$ echo ab", "ab", "~$ ls", "~$ l", "cd", "ef", "cd  ef", "x$ ls", ""])


def play(task, present: Episode, screens: list[tuple[list[str], int, int]]) -> None:
    rewards = [judge(present, *lines, cursor=(row, column), task=task) for lines, row, column in screens]
    assert all(reward >= 0 for reward in rewards)
    limit = task.typing_share + 1e-9
    assert sum(rewards) == pytest.approx(1) if present.success else sum(rewards) <= limit


def screens(lines: st.SearchStrategy) -> st.SearchStrategy:
    one = st.tuples(st.lists(lines, min_size=1, max_size=6), st.integers(-1, 11), st.integers(0, 39))
    return st.lists(one, max_size=30)


@given(screens(LINES))
def test_rewards_sum_to_a_number_in_the_unit_interval(shown: list[tuple[list[str], int, int]]) -> None:
    play(TASK, episode(), shown)


@given(screens(OTHER_LINES))
def test_rewards_of_two_goals_sum_to_a_number_in_the_unit_interval(shown: list[tuple[list[str], int, int]]) -> None:
    play(TWO, Episode(TWO.sample(0)), shown)
