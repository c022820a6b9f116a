"""The bench measures real bash and a tiny neural computer; its report shows what it measured."""

import json

import imageio.v2 as imageio
import numpy as np
import pytest
import torch
from rich.console import Console

from nc_gym import bench_report, readme_tables
from nc_gym.bench import bench_terminal, matrix_rate
from nc_gym.machines.keys import KEYS
from nc_gym.machines.terminal import BashTerminal
from nc_gym.stopwatch import SESSION_STEPS, measure, measure_calls, measure_machine, user_events
from nc_gym.traces.users import session_events


@pytest.fixture(scope="module")
def result(tiny_weights):
    return bench_terminal(str(tiny_weights), "cpu", seconds=0.02, batches=(1, 2), episode_steps=100)


def test_events_are_what_held_out_users_type():
    events = user_events(rows=3, steps=2 * SESSION_STEPS)
    assert events.shape == (2 * SESSION_STEPS, 3) and events.dtype == np.int64
    assert events.min() >= 0 and events.max() < len(KEYS)
    assert not np.array_equal(events[:, 0], events[:, 1])
    assert np.array_equal(events, user_events(rows=3, steps=2 * SESSION_STEPS))


class Clock:
    """Stands in for the clock, so that arithmetic on times can be exact on a busy host."""

    def __init__(self, monkeypatch):
        self.now = 0.0
        monkeypatch.setattr("nc_gym.stopwatch.time.perf_counter", lambda: self.now)


def test_measure_counts_rows_and_time_after_the_warmup(monkeypatch):
    clock = Clock(monkeypatch)
    durations = iter([9.0] * 5 + [0.002] * 30 + [0.02] * 20)

    def step(events):
        assert events.shape == (4,)
        clock.now += next(durations)
        return 0.25

    speed = measure(step, rows=4, seconds=0.45)
    assert speed.steps == 50  # 30 of 2 ms, 20 of 20 ms
    assert speed.ms_per_step == pytest.approx(2.0)
    assert speed.steps_per_second == pytest.approx(4 * 50 / 0.46)
    assert speed.damage == 0.25


def test_calls_are_timed_in_milliseconds_without_the_first(monkeypatch):
    clock = Clock(monkeypatch)
    durations = iter([5.0, 0.003, 0.001, 0.002])

    def call():
        clock.now += next(durations)

    assert measure_calls(call, repeats=3) == pytest.approx(2.0)


def test_matrix_rate_is_a_plausible_number_of_gflops():
    assert 0.1 < matrix_rate(torch.float32, size=256) < 1e6


def test_real_bash_is_measured():
    with BashTerminal(1) as machine:
        speed = measure_machine(machine, seconds=0.1)
    assert speed.rows == 1 and speed.damage is None
    assert speed.steps_per_second > 1  # the floor of the project is 1,000 on an idle core, but tests share theirs


def test_bench_covers_everything_the_issue_asks_for(result):
    assert [speed["rows"] for speed in result["neural"]] == [1, 2]
    for speed in (*result["neural"], *result["neural_environment"], result["real"], result["real_environment"]):
        assert speed["steps"] >= 10 and speed["ms_per_step"] > 0 and speed["steps_per_second"] > 0
    assert all(0 < speed["damage"] < 1 for speed in result["neural"])
    assert set(result["real_processes"]) == {"1", "2"}
    assert set(result["calls_ms"]) == {
        "neural_reset_1", "neural_reset_32", "neural_fork_32", "neural_step_32", "real_reset_1",
    }  # fmt: skip
    assert all(rate > 0 for rate in result["arithmetic"]["matrix_product_gflops"].values())
    assert len(result["episode_ms"]) == 100
    assert result["host"]["cpu"] and result["host"]["torch_threads"] == torch.get_num_threads()
    assert result["host"]["versions"]["torch"] == torch.__version__


def test_flops_are_counted_per_row_and_divided_by_the_time_of_the_same_step(result):
    arithmetic = result["arithmetic"]
    for speed in result["neural"]:
        rows = str(speed["rows"])
        flop = arithmetic["step_mflop_per_row"][rows] * speed["rows"] * 1e6
        assert flop > 1e4
        assert arithmetic["step_gflops"][rows] == pytest.approx(flop / (speed["ms_per_step"] * 1e-3) / 1e9)


def test_bench_report_shows_and_writes_what_was_measured(result, tmp_path):
    console = Console(width=160, record=True, quiet=False, file=open("/dev/null", "w"))
    with console.file:
        console.print(bench_report.tables(result))
    text = console.export_text()
    assert f"{result['neural'][1]['ms_per_step']:.2f}" in text and "real bash, 2 processes" in text
    bench_report.write(result, tmp_path / "docs" / "bench_terminal.json")
    assert json.loads((tmp_path / "docs" / "bench_terminal.json").read_text()) == result
    assert len((tmp_path / "docs" / "bench_terminal.json").read_text().splitlines()) < 120
    assert imageio.imread(tmp_path / "docs" / "bench_flat.png").std() > 1
    table = readme_tables.speed(tmp_path)
    assert f"| {result['real']['ms_per_step']:.2f} |" in table and result["host"]["cpu"] in table


def test_flatness_compares_the_ends_of_an_episode():
    first, last = bench_report.flatness([1.0] * 50 + [3.0] * 50).values()
    assert (first, last) == (1.0, 3.0)


def test_users_of_the_bench_are_not_those_of_training():
    held_out = user_events(rows=1, steps=50)[:, 0].tolist()
    training = [event for event, _ in session_events("goal", 20_000, 0, "train", 50)]
    assert held_out != training
