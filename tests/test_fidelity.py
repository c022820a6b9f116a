"""Fidelity: the numbers on screens made by hand, then whole evaluations of a wrong, a learned and a real terminal."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from hypothesis import given
from hypothesis import strategies as st
from tiny import tiny_config
from typer.testing import CliRunner

from nc_gym import desktop_fidelity_report, fidelity, fidelity_report, fidelity_scores, model_card
from nc_gym.cli import app
from nc_gym.computer.batches import TokenData, count_tiles
from nc_gym.computer.codec import fit_codec
from nc_gym.computer.computer import NeuralComputer
from nc_gym.computer.machine import NeuralMachine
from nc_gym.computer.network import Network
from nc_gym.computer.objective import losses
from nc_gym.computer.weights import WeightsError
from nc_gym.fidelity_commands import command_line, families, kinds, named_keys, recall
from nc_gym.fidelity_forced import Forced, record, teacher_forced
from nc_gym.fidelity_run import (
    Divergence,
    Run,
    Sessions,
    changed_cells,
    closed_loop,
    held_out_sessions,
    idle_changes,
    join,
    replay,
)
from nc_gym.machines.keys import NOOP, encode
from nc_gym.machines.terminal import BashTerminal
from nc_gym.paths import data_root
from nc_gym.reader import read_screens
from nc_gym.traces.home import FAMILIES, FAMILY_INDEX, Home
from nc_gym.traces.words import split_of
from nc_gym.train import TerminalSubject


def grid(*lines: str) -> np.ndarray:
    return np.stack([np.frombuffer(line.ljust(40).encode(), np.uint8) for line in lines + ("",) * (12 - len(lines))])


def typed(*texts: str) -> Sessions:
    """Sessions that type these texts of equal length, with the families that a user's books give."""
    events = np.array([encode(text) for text in texts])
    labels = np.zeros(events.shape, np.uint8)
    for n, text in enumerate(texts):
        home = Home()
        ends = [i for i, char in enumerate(text) if char == "\n"]
        for line, end in zip(text.split("\n"), ends, strict=False):
            labels[n, end] = FAMILY_INDEX[home.run(line)]
    return Sessions(("goal",) * len(texts), events, labels, np.arange(len(texts)))


def real_twins(sessions: Sessions) -> Run:
    """Real bash in the place of the neural terminal."""
    count = len(sessions.users)
    with BashTerminal(count) as one, BashTerminal(count) as other:
        return closed_loop(one, other, sessions)


@pytest.fixture(scope="module")
def twins() -> Run:
    return real_twins(typed("echo hi > f\ncat f\n\n\n\n", "echo $((7+8))\npwd\nxy\n"))


def altered(run: Run, row: int, step: int, cells: int) -> Run:
    """The run with the first ``cells`` characters of one neural screen changed."""
    chars = run.neural.chars.copy()
    chars[row, step].reshape(-1)[:cells] = ord("#")
    return Run(
        run.sessions, type(run.neural)(chars, run.neural.cursors), run.real, run.pixels, run.divergences, run.outputs,
        run.broken,
    )  # fmt: skip


def test_three_wrong_cells_of_ten_are_seven_tenths_right():
    real = grid("abcdefgh", "ij")
    neural = real.copy()
    neural[0, :2] = ord("x")
    neural[1, 1] = ord(" ")  # missing
    assert fidelity_scores.character_accuracy(neural, real) == pytest.approx(0.7)
    neural[5, 5] = ord("y")  # invented: one more cell that is non-blank in either
    assert fidelity_scores.character_accuracy(neural, real) == pytest.approx(7 / 11)
    assert fidelity_scores.character_accuracy(real, real) == 1.0
    blank = grid()
    assert fidelity_scores.character_accuracy(np.stack([blank, neural]), np.stack([blank, blank])).tolist() == [
        1.0,
        0.0,
    ]


def test_the_interval_of_a_mean_covers_it_and_shrinks_with_sessions():
    rng = np.random.default_rng(5)
    few, many = rng.random(10), rng.random(1000)
    number, narrow = fidelity_scores.mean_number(few), fidelity_scores.mean_number(many)
    assert number["low"] < number["mean"] < number["high"]
    error = 1.96 * many.std() / len(many) ** 0.5  # of the normal approximation
    assert narrow["high"] - narrow["low"] == pytest.approx(2 * error, rel=0.1)
    assert fidelity_scores.mean_number(np.ones(5)) == {"mean": 1.0, "low": 1.0, "high": 1.0}


def test_a_share_counts_events_not_sessions():
    right = np.array([[True, True, True, False], [False, True, True, True]])
    counted = np.array([[True, True, True, True], [True, False, False, False]])
    number = fidelity_scores.share_number(right, counted)
    assert (number["share"], number["events"]) == (0.6, 5)
    assert (number["low"], number["high"]) == (0.0, 0.75)  # either session alone
    groups = {"all": np.ones((2, 4), bool), "none": np.zeros((2, 4), bool)}
    assert list(fidelity_scores.share_numbers(right, counted, groups)) == ["all"]


def slow_edit_distance(left: str, right: str) -> int:
    if not left or not right:
        return len(left) + len(right)
    last = slow_edit_distance(left[:-1], right[:-1]) + (left[-1] != right[-1])
    return min(last, slow_edit_distance(left[:-1], right) + 1, slow_edit_distance(left, right[:-1]) + 1)


@given(st.text("ab\n", max_size=5), st.text("ab\n", max_size=5))
def test_edit_distance_is_the_textbook_recursion(left, right):
    assert fidelity_scores.edit_distance(left, right) == slow_edit_distance(left, right)


def test_the_papers_metrics_follow_its_protocol():
    real = fidelity_scores.text_lines(grid("~$ echo  a", "", " a", "~$"))
    assert real == ["~$ echo a", "a", "~$"]
    neural = ["~$ echo a", "b", "c", "~$"]
    assert fidelity_scores.paper_lines(neural, real) == pytest.approx(1 / 3)  # by place: the prompt has moved
    assert fidelity_scores.paper_characters(neural, real) == pytest.approx(1 - 3 / 14)  # a -> b, and "c" + line end
    assert fidelity_scores.paper_characters(real, real) == fidelity_scores.paper_lines(real, real) == 1.0
    assert fidelity_scores.paper_characters(["x" * 99], ["y"]) == 0.0
    assert fidelity_scores.paper_lines([], []) == 1.0 and fidelity_scores.paper_lines(["x"], []) == 0.0


def test_changed_cells_count_each_cell_once():
    before = np.zeros((2, 32, 24, 3), np.uint8)
    after = before.copy()
    after[1, 3:5, 7:9] = 9  # four pixels in two cells
    assert changed_cells(before, after).tolist() == [0, 2]


def test_held_out_sessions_are_reproducible_and_type_held_out_words():
    sessions = held_out_sessions(12, 150, 70001)
    again, other = held_out_sessions(12, 150, 70001), held_out_sessions(12, 150, 9002)
    assert sessions.events.shape == (12, 150) and sessions.users == again.users
    assert np.array_equal(sessions.events, again.events) and not np.array_equal(sessions.events, other.events)
    masks = kinds(sessions)
    assert (sum(mask.astype(int) for mask in masks.values()) == 1).all()
    assert np.array_equal(sessions.families > 0, masks["enter"])
    assert sum(mask.sum() for mask in named_keys(sessions).values()) == masks["key"].sum()
    assert sum(mask.sum() for mask in families(sessions).values()) == masks["enter"].sum()


def test_held_out_sums_belong_to_evaluation():
    run = real_twins(held_out_sessions(4, 120, 70001))
    sums = run.sessions.families == FAMILY_INDEX["arithmetic"]
    lines = [command_line(run.real.chars[n, t], run.real.cursors[n, t, 0]) for n, t in np.argwhere(sums)]
    assert lines and all(split_of(line.removeprefix("echo $((").removesuffix("))")) == "eval" for line in lines)


def test_a_command_line_is_read_from_the_prompt_on_over_several_rows():
    long = "echo " + "abcdefg " * 8
    assert command_line(grid("~$ ls", "f", *(("~$ " + long)[i : i + 40] for i in (0, 40))), 3) == long.rstrip()
    assert command_line(grid("~$ ls", "dir$ cat x"), 1) == "cat x"
    assert command_line(grid("~$ "), 0) == "" and command_line(grid("no prompt"), 3) == ""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("echo a > f\ncat f\n", {"cat f": "1"}),
        ("echo a > f\nls\n\npwd\ncat f\n", {"cat f": "3-4"}),  # an empty line is no command
        ("echo a > f\npwd\necho b >> f\ncat f\n", {"cat f": "1"}),
        ("echo a > f\nmkdir d\ncd d\ncat f\necho b >f\ncat f\n", {"cat f": "1"}),  # d/f, written one before
        ("echo a > f\nrm f\ntouch f\ncat f\n", {}),
        ("echo a > f\ntouch g\nmv g f\ncat f\n", {}),
        ("echo a > f\ncp f g\ncat g\ncat f\n", {"cat f": "3-4"}),
        ("cat f\n", {}),
    ],
)
def test_recall_distance_is_that_of_the_last_write(text, expected):
    run = real_twins(typed(text))
    found = {
        command_line(run.real.chars[n, t], run.real.cursors[n, t, 0]): name
        for name, mask in recall(run.sessions, run.real).items()
        for n, t in np.argwhere(mask)
    }
    assert found == expected


def test_real_bash_against_itself_scores_exactly_one(twins):
    result = fidelity.measure(twins, Forced(np.ones(twins.sessions.events.shape, bool), 1.0))
    for name in ("characters", "exact", "cursor", "pixels"):
        assert result["closed_loop"][name] == [1.0] * 21
        assert result["over_all_steps"][name] == {"mean": 1.0, "low": 1.0, "high": 1.0}
    shares = result["events"]["closed_loop"]
    assert {number["share"] for group in shares.values() for number in group.values()} == {1.0}
    assert shares["kinds"]["enter"]["events"] == 8 and shares["kinds"]["key"]["events"] == 34
    assert result["paper"]["characters"]["mean"] == result["paper"]["lines"]["mean"] == 1.0
    assert result["first_errors"] == {"never": 2}
    assert result["recall"]["closed_loop"] == {"1": {"share": 1.0, "low": 1.0, "high": 1.0, "events": 1}}
    assert "agree" in readable(fidelity_report.gallery(twins))


def readable(picture: np.ndarray) -> str:
    padded = np.zeros((-(-picture.shape[0] // 16) * 16, picture.shape[1], 3), np.uint8)
    padded[: len(picture)] = picture
    chars, _ = read_screens(padded[None])
    return "\n".join(line.tobytes().decode("latin-1").rstrip() for line in chars[0])


def test_the_reader_finds_what_bash_shows(twins):
    """Against pyte's own grid, so that both sides are read rightly."""
    with BashTerminal(2) as terminal:
        terminal.reset(np.ones(2, bool), np.zeros(2, np.int64), np.zeros(2, np.int64))
        for t in range(21):
            terminal.step(twins.sessions.events[:, t], np.ones(2, bool))
            assert np.array_equal(twins.real.chars[:, t + 1], terminal.chars())
            assert np.array_equal(twins.real.cursors[:, t + 1], terminal.cursors())


def test_one_wrong_screen_is_one_wrong_event_and_the_next_is_not_counted(twins):
    """Row 0's screen after event 12 (Enter of the redirection) is wrong in three characters and right again after."""
    result = fidelity.measure(altered(twins, 0, 12, 3), Forced(np.ones((2, 21), bool), 1.0))
    assert result["closed_loop"]["exact"] == [1.0] * 11 + [0.5] + [1.0] * 9
    assert result["closed_loop"]["cursor"] == [1.0] * 21
    assert result["closed_loop"]["characters"][11] < 1.0
    shares = result["events"]["closed_loop"]
    assert shares["families"]["redirect"] == {"share": 0.0, "low": 0.0, "high": 0.0, "events": 1}
    assert shares["kinds"]["enter"]["share"] == pytest.approx(7 / 8)
    assert shares["kinds"]["key"] == {"share": 1.0, "low": 1.0, "high": 1.0, "events": 33}  # "c" of cat came too late
    assert result["events"]["teacher_forced"]["kinds"]["key"]["events"] == 34


def test_sessions_of_broken_shells_are_left_out(twins):
    twins = twins.take(np.array([0, 1]))
    twins.broken[0] = True
    left = join([twins, twins])
    assert len(left.pixels) == 2 and np.array_equal(left.sessions.events, twins.sessions.events[[1, 1]])
    with pytest.raises(RuntimeError, match="all 1 sessions"):
        join([twins.take(np.array([0]))])


def test_real_bash_changes_nothing_when_idle():
    with BashTerminal(1) as machine:
        replay(machine, typed("echo hi\nls"))
        assert idle_changes(machine, np.array([NOOP]), 20, changed_cells).tolist() == [0]


class Blinking(BashTerminal):
    """A terminal that repaints three cells of its last row at each step."""

    steps = 0

    def step(self, events, rows):
        super().step(events, rows)
        self.steps += 1

    def screens(self):
        screens = super().screens()
        screens[:, -16:, : 3 * 8] = self.steps % 256
        return screens


def test_a_terminal_that_blinks_fails_the_idle_test():
    with Blinking(1) as machine:
        replay(machine, typed("ls"))
        assert idle_changes(machine, np.array([NOOP]), 20, changed_cells).tolist() == [60]


def learn(run: Run, folder: Path, steps: int = 250) -> NeuralComputer:
    """A tiny computer that knows the sessions of ``run`` by heart, and nothing else."""
    shard = record(run, folder)
    torch.manual_seed(0)
    network = Network(tiny_config(width=64, renderer_width=64, latent_dim=16))
    fit_codec(network.codec, *count_tiles([shard]), seed=0)
    data = TokenData([shard], network.codec, max_tokens=1000, workers=1)
    batch = data.batch(list(range(len(data.sessions))))
    optimizer = torch.optim.AdamW(network.parameters(), 6e-3)
    generator = torch.Generator().manual_seed(0)
    for i in range(steps):
        optimizer.param_groups[0]["lr"] = 6e-3 * min(1.0, 2 * (1 - i / steps))
        optimizer.zero_grad()
        losses(network, batch, generator, render_share=1.0)["total"].backward()
        optimizer.step()
    return NeuralComputer(network, TerminalSubject().record_boots(network, network.config), device="cpu")


@pytest.fixture(scope="module")
def lesson() -> Run:
    return real_twins(typed("echo hi\n", "pwd\nxy\n\n"))


@pytest.fixture(scope="module")
def learned(lesson, tmp_path_factory) -> NeuralComputer:
    return learn(lesson, tmp_path_factory.mktemp("lesson"))


def beside_bash(computer: NeuralComputer, sessions: Sessions) -> Run:
    with BashTerminal(len(sessions.users)) as real:
        return closed_loop(NeuralMachine(computer, len(sessions.users)), real, sessions)


def test_a_computer_that_knows_the_sessions_by_heart_is_exact_in_both_regimes(learned, lesson):
    run = beside_bash(learned, lesson.sessions)
    assert run.exact.all() and run.pixels.all() and run.divergences == [None, None]
    forced = teacher_forced(learned, run)
    assert forced.right.all() and forced.tiles_in_codebook == 1.0


def test_teacher_forcing_agrees_with_the_closed_loop_up_to_the_first_mistake(learned):
    """Two ways to the same screen: one pass over the recording, and step by step on its own output."""
    run = beside_bash(learned, typed("echo hix\n", "pwd\nhi\n\n\n", "echo h\bh\n", "pwd\nxy\n\n\n"))
    forced = teacher_forced(learned, run)
    closed = np.logical_and.accumulate(run.pixels[:, 1:], 1)
    assert np.array_equal(np.logical_and.accumulate(forced.right, 1), closed)
    assert closed.any() and not closed.all()
    assert not teacher_forced(learned, run.take(np.array([0]))).right.all()


def test_a_tile_outside_the_codebook_is_an_error_and_is_reported(learned):
    run = real_twins(typed("echo hi@", "pwd\nxy\n\n"))
    forced = teacher_forced(learned, run)
    assert forced.tiles_in_codebook < 1.0 and not forced.right[0, 7]


@pytest.fixture(scope="module")
def evaluated(tiny_weights, tmp_path_factory):
    out = tmp_path_factory.mktemp("docs") / "new"
    result = fidelity.evaluate(tiny_weights, out, sessions=3, steps=30, device="cpu", batch=2, progress=False)
    return result, out


def test_random_weights_score_low_and_everything_is_written(evaluated, tiny_weights):
    result, out = evaluated
    assert json.loads((out / fidelity_report.JSON).read_text())["closed_loop"].keys() == result["closed_loop"].keys()
    assert (result["sessions"], result["steps"], result["seed"], result["denoise_steps"]) == (3, 30, 70001, 1)
    assert len(result["closed_loop"]["exact"]) == 30 and list(result["at_steps"]) == ["10", "25"]
    assert result["at_steps"]["25"]["exact"]["mean"] == 0.0
    assert result["at_steps"]["25"]["characters"]["mean"] < 0.5
    assert result["events"]["teacher_forced"]["kinds"]["key"]["share"] < 0.2
    assert result["idle"]["noops"] == 1000 and result["idle"]["cells_changed"] > 0
    assert "never" not in result["first_errors"] and sum(result["first_errors"].values()) == 3
    assert result["command"].endswith(f"--weights {tiny_weights} --sessions 3 --steps 30 --seed 70001 --device cpu")
    for name in (fidelity_report.PLOT, fidelity_report.GALLERY):
        assert (out / name).read_bytes().startswith(b"\x89PNG")


def test_the_gallery_names_session_step_and_command(learned):
    run = beside_bash(learned, typed("echo no\n", "pwd\nxy\n\n"))
    text = readable(fidelity_report.gallery(run)[:48])
    assert run.divergences[1] is None
    assert f"session 0, step {run.divergences[0].step}, " in text and "cells differ" in text


def test_the_gallery_shows_every_kind_of_mistake_before_a_second_of_one(twins):
    screen = np.zeros((192, 320, 3), np.uint8)
    other = screen + np.uint8(255)
    cases = [Divergence(12, screen, other), Divergence(14, screen, other)]  # a redirection, then an Enter of arithmetic
    run = twins.take(np.array([0, 0, 1]))
    run.divergences[:] = [cases[0], cases[0], cases[1]]
    text = readable(fidelity_report.gallery(run))
    titles = ["session 0, step 12, Enter after: echo hi > f", "session 2, step 14", "session 1, step 12"]
    places = [text.find(title) for title in titles]
    assert -1 not in places and places == sorted(places)


def test_a_share_must_reach_its_aim_and_a_count_must_not_exceed_it():
    shares = [fidelity_report.Aim("", {"mean": mean, "low": 0, "high": 1}, 0.95).met for mean in (0.94, 0.95, 1.0)]
    assert shares == [False, True, True]
    assert [fidelity_report.Aim("", count, 0).met for count in (0, 1, None)] == [True, False, False]


def test_aims_are_compared_with_what_was_measured(evaluated):
    result, _ = evaluated
    aims = {aim.name: aim for aim in fidelity_report.aims(result)}
    keys = result["events"]["teacher_forced"]["kinds"]["key"]
    assert aims["teacher-forced keys right"].measured["mean"] == keys["share"] > 0
    assert aims["cells changed by 1,000 no-ops"].measured == result["idle"]["cells_changed"]
    assert aims["exact screens at event 50"].measured is None  # 30 events
    assert [aim.wanted for aim in aims.values()] == [0.995, 0.98, 0.95, 0.8, 0.999, 0]
    assert not any(aim.met for aim in aims.values())  # random weights


def test_the_published_evaluations_measure_every_aim():
    for report in (fidelity_report, desktop_fidelity_report):
        result = json.loads((data_root() / "docs" / report.JSON).read_text())
        assert [aim.name for aim in report.aims(result) if aim.measured is None] == []


def test_the_model_card_holds_the_measured_numbers(evaluated, tiny_weights):
    result, out = evaluated
    card = model_card.write_card(tiny_weights, out / fidelity_report.JSON).read_text()
    try:
        front = yaml.safe_load(card.split("---\n")[1])
        assert (front["license"], front["library_name"]) == ("mit", "nc_gym")
        metrics = {metric["name"]: metric["value"] for metric in front["model-index"][0]["results"][0]["metrics"]}
        expected = result["at_steps"]["25"]["characters"]["mean"]
        assert metrics["characters right at event 25"] == pytest.approx(expected, abs=1e-6)
        for needle in (f"{expected:.4f}", result["command"], *result["weights"]["sha256"].values(), "2604.06425"):
            assert needle in card
        changed = f"{result['idle']['cells_changed']:,}"
        assert f"| cells changed by 1,000 no-ops | {changed} | 0 |" in card
        assert "| exact screens at event 200 | not measured | ≥ 0.8 |" in card
        assert "Aims that it misses: characters right at event 50, " in card and "no-ops. What was tried" in card
        assert "(../../docs/design-notes.md)" in card
    finally:
        (tiny_weights / model_card.CARD).unlink()


def test_a_card_is_not_written_with_the_numbers_of_other_weights(evaluated, tmp_path):
    from tiny import save_tiny_computer

    other = save_tiny_computer(tmp_path / "other", latent_dim=4)
    with pytest.raises(WeightsError, match="measured with other weights"):
        model_card.write_card(other, evaluated[1] / fidelity_report.JSON)
    assert not (other / model_card.CARD).exists()


def test_the_command_writes_files_and_card_and_prints_the_table(tiny_weights, tmp_path):
    weights = tmp_path / "weights"
    shutil.copytree(tiny_weights, weights)
    words = ["evaluate", "terminal", "--weights", str(weights), "--out", str(tmp_path), "--card"]
    done = CliRunner().invoke(app, [*words, "--sessions", "1", "--steps", "3", "--denoise-steps", "2"])
    assert done.exit_code == 0, done.output
    assert "characters right" in done.output and (weights / model_card.CARD).exists()
    result = json.loads((tmp_path / fidelity_report.JSON).read_text())
    assert result["denoise_steps"] == 2 and result["command"].endswith("--denoise-steps 2")


@pytest.mark.parametrize("name", ["sessions", "steps", "batch"])
def test_numbers_below_one_are_refused(name, tmp_path):
    with pytest.raises(ValueError, match=f"{name} is 0; expected at least 1"):
        fidelity.evaluate(None, tmp_path, **{name: 0})


def test_missing_weights_are_named(tmp_path):
    with pytest.raises(WeightsError, match="no weights at"):
        fidelity.evaluate(tmp_path / "nowhere", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_every_family_has_a_mask():
    assert list(families(typed("ls\n"))) == list(FAMILIES[1:])
