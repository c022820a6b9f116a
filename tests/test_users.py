"""Synthetic users: reproducible, varied, and strictly separated between training and evaluation."""

from __future__ import annotations

import re
from collections import Counter
from itertools import islice
from random import Random

import numpy as np
import pytest

from nc_gym.machines.keys import KEY_INDEX, KEYS, NOOP, encode
from nc_gym.machines.terminal import BashTerminal
from nc_gym.traces.command_weights import (
    ARCHIVE_WEIGHTS,
    DRILL_WEIGHTS,
    FOLDER_WEIGHTS,
    GOAL_WEIGHTS,
    MENDER_WEIGHTS,
    RECALL_WEIGHTS,
)
from nc_gym.traces.commands import CommandChooser
from nc_gym.traces.goal_user import _AMBIGUOUS, _UNIQUE, GOAL_HABITS, GoalUser
from nc_gym.traces.home import FAMILIES, Home
from nc_gym.traces.users import DRILL_HABITS, FOLDER_HABITS, MENDER_HABITS, USERS, session_events, session_user
from nc_gym.traces.words import (
    SPLITS,
    is_system_command,
    misspelt_command,
    random_sum,
    random_word,
    split_of,
    unknown_command,
)

SESSIONS = 120


def sessions(user, split, count=SESSIONS):
    return [session_events(user, 3, index, split, 200) for index in range(count)]


def typed_lines(events):
    """Lines as entered by users that only type, rub out and enter (arrows, recall and cancelled lines are dropped)."""
    lines, text, sound = [], "", True
    for event, _ in events:
        key = KEYS[event]
        if key == "Enter":
            if sound:
                lines.append(text)
            text, sound = "", True
        elif key == "Backspace":
            text = text[:-1]
        elif len(key) == 1:
            text += key
        elif key not in ("noop", "Ctrl-L"):
            sound = False
    return lines


def words_of(lines):
    return {word for line in lines for word in re.findall(r"[a-z0-9]{2,}", line)}


@pytest.mark.parametrize("user", USERS)
def test_same_seed_gives_the_same_session_and_another_index_another_one(user):
    first = session_events(user, 5, 0, "train", 200)
    assert session_events(user, 5, 0, "train", 200) == first
    assert session_events(user, 5, 1, "train", 200) != first
    assert session_events(user, 5, 0, "eval", 200) != first


def test_sessions_have_the_length_asked_for_and_short_ones_40_to_64_events():
    assert {len(events) for events in sessions("goal", "train", 20)} == {200}
    lengths = {len(events) for events in sessions("short", "train", 60)}
    assert min(lengths) >= 40 and max(lengths) <= 64 and len(lengths) > 10


def test_every_word_belongs_to_one_split_and_one_in_ten_to_evaluation():
    rng = Random(0)
    words = ["".join(rng.choices("abcdefghij", k=4)) for _ in range(5000)]
    assert 0.08 < sum(split_of(word) == "eval" for word in words) / len(words) < 0.12
    for split in ("train", "eval"):
        for make in (random_word, random_sum, unknown_command):
            assert {split_of(make(rng, split)) for _ in range(300)} == {split}
        assert {split_of(misspelt_command(rng, "touch", split)) for _ in range(100)} == {split}


def test_no_evaluation_word_name_or_sum_is_entered_in_training():
    shell_words = {*GOAL_WEIGHTS, "true", "false"}
    words, sums, texts = {}, {}, {}
    for split in ("train", "eval"):
        lines = entered_lines(split)
        sums[split] = {text for line in lines for text in re.findall(r"\(\((\d+[+-]\d+)\)\)", line)}
        plain = [line for line in lines if "((" not in line]
        words[split] = words_of(plain) - shell_words
        texts[split] = {line for line in plain if words_of([line]) - shell_words}
    for kind in (words, sums, texts):
        assert len(kind["train"]) > 200 and len(kind["eval"]) > 200
        assert not kind["train"] & kind["eval"]
    for split in ("train", "eval"):
        assert {split_of(text) for text in words[split] | sums[split]} == {split}


def entered_lines(split):
    """All lines that goal-directed users ran, recalled and edited ones included."""
    lines = []
    for index in range(SESSIONS):
        user = GoalUser(Random(index), split, (GOAL_WEIGHTS, RECALL_WEIGHTS)[index % 2])
        list(islice(user.events(), 400))
        lines += user.home.history
    return lines


def test_typists_enter_only_tokens_of_their_split():
    for split in ("train", "eval"):
        commands = [line.split()[0] for events in sessions("typist", split, 60) for line in typed_lines(events) if line]
        unknown = {command for command in commands if command != "echo"}
        assert len(unknown) > 50
        assert {split_of(command) for command in unknown} == {split}


def test_a_user_of_pieces_asks_for_names_that_are_almost_a_files_and_runs_commands_together():
    almost = joined = 0
    for events in sessions("pieces", "train"):
        lines, files = typed_lines(events), set()
        for line in lines:
            if match := re.fullmatch(r"(?:touch|echo \w+ >) (\w+)", line):
                files.add(match[1])
            if (match := re.fullmatch(r"(?:cat|rm) (\w+)", line)) and match[1] not in files:
                almost += any(match[1].startswith(name) or name.startswith(match[1]) for name in files)
            joined += bool(line.strip()) and line.split()[0] not in GOAL_WEIGHTS
    assert almost > SESSIONS and joined > SESSIONS


def test_every_key_of_the_keyboard_is_used():
    used = {event for user in USERS for events in sessions(user, "train", 60) for event, _ in events}
    assert used == set(range(len(KEYS)))


def test_a_goal_directed_session_holds_many_commands_of_every_family():
    pairs = [pair for events in sessions("goal", "train", 300) for pair in events]
    entered = [FAMILIES[family] for event, family in pairs if KEYS[event] == "Enter"]
    share = {family: count / len(entered) for family, count in Counter(entered).items()}
    assert set(share) == set(FAMILIES) - {"none", "typist"}
    assert 14 < len(entered) / 300 < 18
    for family in ("echo", "redirect", "cat", "ls", "arithmetic"):
        assert 0.07 < share[family] < 0.16
    assert all(family == 0 for event, family in pairs if KEYS[event] != "Enter")


def test_users_make_mistakes_idle_and_use_the_editing_keys():
    pairs = [pair for events in sessions("goal", "train", 300) for pair in events]
    share = {key: sum(KEYS[event] == key for event, _ in pairs) / len(pairs) for key in ("Backspace", "Up", "Left")}
    assert 0.02 < share["Backspace"] < 0.06 and share["Up"] > 0.004 and share["Left"] > 0.004
    assert 0.02 < sum(event == NOOP for event, _ in pairs) / len(pairs) < 0.04


def test_what_is_written_is_mostly_read_within_a_few_commands():
    written = read = 0
    for events in sessions("recall", "train"):
        lines = typed_lines(events)
        for i, line in enumerate(lines[:-6]):
            if match := re.search(r"> ?(\w+)$", line):
                written += 1
                read += any(later.startswith("cat ") and match[1] in later for later in lines[i + 1 : i + 7])
    assert written > 100 and read / written > 0.5


def test_a_user_of_an_archive_reads_what_it_copied_renamed_or_overwrote_and_what_is_old():
    passed_on = overwritten = old = 0
    for events in sessions("archive", "train"):
        made: dict[str, tuple[int, str]] = {}  # which line made each file last, and how
        for i, line in enumerate(typed_lines(events)):
            if match := re.fullmatch(r"echo .*> ?(\w+)", line):
                made[match[1]] = i, "again" if match[1] in made else "new"
            elif match := re.fullmatch(r"(?:cp|mv) \w+ (\w+)", line):
                made[match[1]] = i, "passed on"
            elif (match := re.fullmatch(r"cat (\w+)", line)) and match[1] in made:
                when, how = made[match[1]]
                passed_on += how == "passed on"
                overwritten += how == "again"
                old += i - when > 6
    assert passed_on > 0.5 * SESSIONS and overwritten > 0.25 * SESSIONS and old > 0.05 * SESSIONS


def test_a_user_of_a_ledger_looks_at_its_files_twice_as_often_as_others_and_types_short_words():
    def looks(user: str) -> int:
        lines = [line for events in sessions(user, "train") for line in typed_lines(events)]
        return sum(bool(re.fullmatch(r"ls|cat \w+", line)) for line in lines)

    lines = [line for events in sessions("ledger", "train") for line in typed_lines(events)]
    assert looks("ledger") > 2 * looks("goal")
    assert all(len(word) <= 4 for line in lines if line.startswith("touch ") for word in line.split()[1:])
    assert sum(line.startswith(("mv ", "cp ")) for line in lines) > 2 * SESSIONS


def test_a_user_of_a_ledger_asks_for_files_that_it_removed_or_renamed():
    asked = 0
    for events in sessions("ledger", "train"):
        home = Home()
        for line in typed_lines(events):
            words = line.split()
            gone = {*home.gone} - {*home.here}
            asked += bool(words) and words[0] in ("rm", "cat", "ls") and not gone.isdisjoint(words[1:])
            home.run(line)
    assert asked > SESSIONS


def test_a_rambler_types_lines_of_several_rows():
    lines = [line for events in sessions("rambler", "train", 40) for line in typed_lines(events)]
    assert sum(len(line) > 38 for line in lines) > 15 and max(map(len, lines)) > 2 * 40


def test_a_mender_repairs_most_lines_in_the_middle_and_enters_half_of_them_from_there():
    entered = repaired = in_the_middle = 0
    for events in sessions("mender", "train"):
        for line in " ".join(KEYS[event] for event, _ in events).split("Enter")[:-1]:
            left, right = line.count("Left"), line.count("Right")
            entered += 1
            repaired += left > 0
            in_the_middle += left > right
    assert repaired > 0.55 * entered and 0.35 * repaired < in_the_middle < 0.65 * repaired


def test_a_mender_rubs_out_letters_that_one_or_two_stand_behind():
    near = 0
    for events in sessions("mender", "train"):
        for line in " ".join(KEYS[event] for event, _ in events if event != NOOP).split("Enter")[:-1]:
            near += bool(re.search(r"[a-z] (Left ){1,2}Backspace $", line))
    assert near > 1.5 * SESSIONS


def test_some_lines_of_a_mender_end_near_the_right_edge_of_the_screen():
    chooser = CommandChooser(Random(1), "train", {"wide": 1.0})
    lengths = [len(chooser.choose(Home())) for _ in range(SESSIONS)]
    assert min(lengths) >= 31 and max(lengths) < 44 + 8 and sum(36 <= n <= 40 for n in lengths) > 0.2 * SESSIONS
    assert MENDER_WEIGHTS["wide"] > 0.05 * sum(MENDER_WEIGHTS.values())


def test_a_lister_lists_folders_of_many_files_whose_names_it_mistyped_at_times():
    many = mistyped = 0
    for events in sessions("lister", "train"):
        home = Home()
        mistyped += sum(KEYS[event] in ("Backspace", "Left") for event, _ in events)
        for line in typed_lines(events):
            many += line == "ls" and len(home.here) >= 4
            home.run(line)
    assert many > 2 * SESSIONS and mistyped > 8 * SESSIONS


def test_a_user_of_folders_lists_them_full_and_empty_and_moves_things_into_them():
    full = empty = moved = 0
    for events in sessions("folders", "train"):
        home = Home()
        for line in typed_lines(events):
            command, _, rest = line.partition(" ")
            if command == "ls" and rest in home.folders():
                full += bool(home.here[rest])
                empty += not home.here[rest]
            moved += command in ("mv", "cp") and len(rest.split()) == 2 and rest.split()[1] in home.folders()
            home.run(line)
    assert full > 0.7 * SESSIONS and empty > 0.2 * SESSIONS and moved > 0.8 * SESSIONS


def test_a_user_of_a_shelf_reads_any_of_several_files_and_gives_some_of_them_names_that_begin_alike():
    several = alike = 0
    for events in sessions("shelf", "train"):
        home = Home()
        for line in typed_lines(events):
            command, _, name = line.partition(" ")
            several += command == "cat" and name in home.files() and len(home.files()) >= 4
            home.run(line)
        names = home.files()
        alike += any(a[0] == b[0] for a in names for b in names if a != b)
    assert several > 0.8 * SESSIONS and alike > 0.5 * SESSIONS


@pytest.mark.parametrize("split", SPLITS)
def test_new_names_begin_as_others_do_as_often_as_the_habit_says(split):
    """Of the words of evaluation nine in ten are drawn again, which must not undo the choice to be alike."""

    def share(alike: float) -> float:
        chooser = CommandChooser(Random(7), split, GOAL_WEIGHTS, alike=alike)
        home = Home()
        for name in ("ab", "cd", "ef", "gh"):
            home.run(f"touch {name}")
        names = [chooser._new_name(home) for _ in range(400)]
        assert {split_of(name) for name in names} == {split} and not {*names} & {*home.here}
        return sum(name[0] in "aceg" for name in names) / len(names)

    assert share(0.0) < 0.25 and 0.35 < share(0.3) < 0.6


@pytest.mark.parametrize("line", ["true x", "cd ab", "ls xy", "echo abc", "touch ab cd", "echo $((12+34))"])
def test_a_mended_line_is_the_one_that_was_meant(line):
    """At the start of the line there is no Left too far, and nothing to come back from."""
    for seed in range(3000):
        user = GoalUser(Random(seed), "train", MENDER_WEIGHTS, MENDER_HABITS)
        text, at = "", 0
        for event, _ in user._fix_in_the_middle(line):
            key = KEYS[event]
            if key == "Left":
                at = max(at - 1, 0)
            elif key == "Right":
                at = min(at + 1, len(text))
            elif key == "Backspace":
                text, at = text[: max(at - 1, 0)] + text[at:], max(at - 1, 0)
            elif len(key) == 1:
                text, at = text[:at] + key + text[at:], at + 1
        assert text == line


def test_a_drill_user_goes_far_up_in_the_history():
    far = sum(
        " ".join(KEYS[event] for event, _ in events if event != NOOP).count("Up Up Up Up")
        for events in sessions("drill", "train")
    )
    assert far > 0.25 * SESSIONS


def test_a_journal_user_reads_files_of_several_lines_far_more_often_than_others():
    def read(user: str) -> int:
        found = 0
        for events in sessions(user, "train", 60):
            home = Home()
            for line in typed_lines(events):
                command, _, name = line.partition(" ")
                found += command == "cat" and name in home.files() and int(str(home.here[name])) >= 2
                home.run(line)
        return found

    assert read("journal") > 4 * read("goal")


def test_random_typing_never_enters_what_could_hang_or_touch_anything():
    for events in sessions("typist", "train", 100):
        for line in typed_lines(events):
            outside_quotes = re.sub(r"'[^']*'", "", line)
            assert not re.search(r"[$`~!&|;<>*?(){}\[\]\\#]", outside_quotes), line
            assert not line or line.startswith("echo ") or not is_system_command(line.split()[0])


def test_the_mix_of_users_follows_its_shares():
    drawn = Counter(session_user(1, index, "train", {"goal": 0.7, "typist": 0.3}) for index in range(2000))
    assert 0.65 < drawn["goal"] / 2000 < 0.75 and drawn["typist"] + drawn["goal"] == 2000


def test_an_unknown_user_is_refused_with_the_choices():
    with pytest.raises(ValueError, match=r"'nobody'.*goal, recall, typist, short"):
        session_events("nobody", 0, 0, "train", 10)


_TIDY_WEIGHTS = {**GOAL_WEIGHTS, "mkdir": 9, "cd": 9, "mv": 9, "cp": 9, "rm": 9}


@pytest.mark.parametrize(
    ("seed", "weights", "habits"),
    [
        *((s, _TIDY_WEIGHTS, GOAL_HABITS) for s in (1, 2, 3)),
        (4, ARCHIVE_WEIGHTS, GOAL_HABITS),
        *((s, FOLDER_WEIGHTS, FOLDER_HABITS) for s in (5, 6)),
        (7, MENDER_WEIGHTS, MENDER_HABITS),
        (8, DRILL_WEIGHTS, DRILL_HABITS),
    ],
)
def test_a_users_idea_of_its_files_equals_the_real_home(seed, weights, habits):
    user = GoalUser(Random(seed), "train", weights, habits)
    pairs = []
    for pair in user.events():
        pairs.append(pair)
        if len(user.home.history) == 60 and pair[1]:
            break
    one, zero = np.ones(1, np.bool_), np.zeros(1, np.int64)
    with BashTerminal() as terminal:
        terminal.reset(one, zero, zero)
        for event, _ in pairs:
            terminal.step(np.array([event]), one)
        found = terminal.run(0, ["find", ".", "-mindepth", "1", "-printf", "%P %y\n"])
    assert sorted(found.splitlines()) == sorted(tree(user.home.root))


@pytest.mark.parametrize("command", [*_UNIQUE, *_AMBIGUOUS])
def test_tab_after_a_command_does_what_the_user_believes(command):
    """A unique name gets a space, and its last letter if that is missing; of the others nothing comes."""
    one, zero = np.ones(1, np.bool_), np.zeros(1, np.int64)
    shown = []
    with BashTerminal() as terminal:
        for start in (command, command[:-1]):
            terminal.reset(one, zero, zero)
            for event in [*encode(start), KEY_INDEX["Tab"], *encode("x")]:
                terminal.step(np.array([event]), one)
            shown.append(bytes(terminal.chars()[0, 0]).decode().rstrip())
    assert shown[0] == (f"~$ {command} x" if command in _UNIQUE else f"~$ {command}x")
    assert len(command) <= 3 or command not in _UNIQUE or shown[1] == f"~$ {command} x"


def tree(folder, prefix=""):
    for name, entry in folder.items():
        yield f"{prefix}{name} {'f' if isinstance(entry, int) else 'd'}"
        if not isinstance(entry, int):
            yield from tree(entry, f"{prefix}{name}/")


@pytest.mark.parametrize(
    ("line", "family"),
    [
        ("echo ab 'c d'", "echo"), ("echo ab > f", "redirect"), ("echo ab >> f", "append"), ("ls", "ls"),
        ("ls d", "ls"), ("ls no", "missing"), ("cat g", "cat"), ("cat no", "cat-missing"), ("touch h", "touch"),
        ("rm g", "rm"),
        ("rm no", "missing"), ("rm d", "missing"), ("mkdir e", "mkdir"), ("mkdir d", "missing"), ("rmdir d", "rmdir"),
        ("rmdir no", "missing"), ("cd d", "cd"), ("cd no", "missing"), ("cd ..", "cd"), ("pwd", "pwd"),
        ("mv g d", "mv"), ("mv no g", "missing"), ("cp g h", "cp"), ("cp d h", "missing"), ("clear", "clear"),
        ("echo $((3-4))", "arithmetic"), ("X=ab", "variable"), ("echo $X", "variable"), ("true", "status"),
        ("echo $?", "status"), ("nope ab", "unknown"), ("", "edit"), ("echo 'ab", "typist"),
    ],
)  # fmt: skip
def test_each_line_is_labelled_with_its_family(line, family):
    home = Home()
    home.run("touch g")
    home.run("mkdir d")
    assert home.run(line) == family
