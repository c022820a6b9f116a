"""What was recorded for evaluation never occurs in what was recorded for training.

The proof looks at recordings alone: it plays their output back and reads each entered line off the screen, so tab
completion, recalled and edited lines count as what they became.
"""

from __future__ import annotations

import re

import pytest

from nc_gym.machines.keys import KEYS
from nc_gym.machines.terminal import Display
from nc_gym.traces.cast import read_cast
from nc_gym.traces.command_weights import GOAL_WEIGHTS
from nc_gym.traces.recorder import collect_terminal
from nc_gym.traces.users import USERS
from nc_gym.traces.words import SPLITS, split_of

SESSIONS, STEPS, SEED = 60, 150, 5
SHELL_WORDS = {*GOAL_WEIGHTS, "true", "false"}
FILE_COMMANDS = {"touch", "mkdir", "cat", "rm", "rmdir", "mv", "cp"}
PROMPT = re.compile(r"^(~|\w+)\$ |^> ")
SUM = re.compile(r"\(\((\d+[+-]\d+)\)\)")
WORD = re.compile(r"[A-Za-z0-9]{2,}")


def entered_lines(cast):
    """Lines as they stand on the screen when Enter is pressed, without their prompt."""
    display, lines = Display({}), []
    display.feed(cast.outputs[0].encode())
    for event, output in zip(cast.events, cast.outputs[1:], strict=True):
        if KEYS[event] == "Enter":
            rows, row = display.screen.display, display.screen.cursor.y
            while row > 0 and not PROMPT.match(rows[row]):
                row -= 1
            text = rows[row]
            while rows[row][-1] != " " and row + 1 < len(rows):  # the line wraps
                row += 1
                text += rows[row]
            lines.append(PROMPT.sub("", text.rstrip()))
        display.feed(output.encode())
    return lines


def words_of(line):
    """Numbers are no words: a recalled sum whose beginning was not there leaves some on a line of their own."""
    found = WORD.findall(SUM.sub("", line))
    return tuple(word for word in found if word not in SHELL_WORDS and not word.isdigit())


def file_names(line):
    command, *arguments = line.split() or [""]
    names = arguments if command in FILE_COMMANDS else re.findall(r">\s*(\S+)$", line) if command == "echo" else []
    return {part for name in names for part in name.split("/") if WORD.fullmatch(part)} & {*words_of(line)}


class Recorded:
    """Everything that was entered in one split."""

    def __init__(self, casts):
        lines = [line for cast in casts for line in entered_lines(cast)]
        self.enters = sum(KEYS[event] == "Enter" for cast in casts for event in cast.events)
        self.lines = lines
        self.sessions = {tuple(cast.events) for cast in casts}
        self.words = {word for line in lines for word in words_of(line)}
        self.sums = {text for line in lines for text in SUM.findall(line)}
        self.names = {name for line in lines if "'" not in line for name in file_names(line)}
        self.combinations = {words for line in lines if len(words := words_of(line)) > 1}


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    result = {}
    for split in SPLITS:
        out = tmp_path_factory.mktemp(split)
        users = dict.fromkeys(USERS, 1.0)
        collect_terminal(SESSIONS, STEPS, SEED, out, split, workers=1, users=users, progress=False)
        result[split] = Recorded([read_cast(path) for path in sorted(out.rglob("*.cast"))])
    return result


@pytest.mark.parametrize(
    "kind, least", [("sessions", SESSIONS), ("words", 200), ("names", 50), ("sums", 15), ("combinations", 50)]
)
def test_nothing_recorded_for_evaluation_occurs_in_training(recorded, kind, least):
    train, evaluation = getattr(recorded["train"], kind), getattr(recorded["eval"], kind)
    assert len(train) >= least and len(evaluation) >= least
    assert not train & evaluation


@pytest.mark.parametrize("split", SPLITS)
def test_every_recorded_word_and_sum_belongs_to_its_split(recorded, split):
    """So what holds for these recordings holds for recordings of any length and seed."""
    wrong = {text for text in recorded[split].words | recorded[split].sums if split_of(text) != split}
    assert not wrong


@pytest.mark.parametrize("split", SPLITS)
def test_lines_are_read_off_the_screen_as_they_were_entered(recorded, split):
    """Guards the proof itself: known commands are found in numbers, and few lines are anything else."""
    lines = recorded[split].lines
    assert len(lines) == recorded[split].enters > 100
    assert sum(line.split(" ")[0] in SHELL_WORDS for line in lines) > 0.6 * len(lines)
