"""The benches measure the real computers and tiny neural ones; their reports show what they measured."""

import json
import threading

import imageio.v2 as imageio
import numpy as np
import pytest
import torch
from rich.console import Console

from nc_gym import bench, bench_report, desktop_bench, readme_tables, stopwatch
from nc_gym.bench import bench_terminal, matrix_rate
from nc_gym.computer.machine import NeuralMachine
from nc_gym.computer.weights import MODEL, WeightsError, sha256
from nc_gym.desktop_bench import bench_desktop
from nc_gym.fidelity import load_computer
from nc_gym.machines.keys import KEY_INDEX, KEYS
from nc_gym.machines.terminal import BashTerminal
from nc_gym.stopwatch import SESSION_STEPS, measure, measure_calls, measure_machine, user_events
from nc_gym.traces.users import session_events


@pytest.fixture(scope="module")
def result(tiny_weights):
    return bench_terminal(str(tiny_weights), "cpu", seconds=0.02, batches=(1, 2), episode_steps=100)


@pytest.fixture(scope="module")
def desktop_result(tiny_desktop_weights):
    with pytest.MonkeyPatch.context() as patch:  # 32 rows take long
        for module, name in ((bench, "FORK_ROWS"), (desktop_bench, "FORK_ROWS"), (desktop_bench, "ROWS")):
            patch.setattr(module, name, 2)
        return bench_desktop(str(tiny_desktop_weights), "cpu", steps=12, batches=(1, 2), flat_events=60)


def shown(*parts):
    """What a wide terminal shows."""
    console = Console(width=160, record=True, quiet=False, file=open("/dev/null", "w"))
    with console.file:
        console.print(*parts)
    return console.export_text()


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
    assert 0.1 < matrix_rate(torch.float32, torch.device("cpu"), size=256) < 1e6


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
        "neural_reset_1", "neural_reset_32", "neural_fork_32", "neural_fork_and_step_32", "neural_step_32",
        "real_reset_1",
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
        mean_seconds = speed["rows"] / speed["steps_per_second"]
        assert arithmetic["step_gflops"][rows] == pytest.approx(flop / mean_seconds / 1e9)


def test_bench_report_shows_and_writes_what_was_measured(result, tmp_path):
    text = shown(bench_report.tables(result))
    assert f"{result['neural'][1]['ms_per_step']:.2f}" in text and "real bash, 2 processes" in text
    bench_report.write(result, tmp_path / "docs" / "bench_terminal.json")
    assert json.loads((tmp_path / "docs" / "bench_terminal.json").read_text()) == result
    assert len((tmp_path / "docs" / "bench_terminal.json").read_text().splitlines()) < 120
    assert imageio.imread(tmp_path / "docs" / "bench_flat.png").std() > 1
    half = result["neural_environment_bfloat16"]
    assert half["rows"] == 32 and half["steps_per_second"] > 0 and "neural, bfloat16" in text
    table = readme_tables.speed(tmp_path)
    assert f"| {result['real']['ms_per_step']:.2f} |" in table and result["host"]["cpu"] in table
    assert f'32 in a batch, `dtype="bfloat16"` |  |  | {half["steps_per_second"]:,.0f} |' in table
    assert f"{result['calls_ms']['neural_fork_and_step_32']:.1f} ms" in table


def test_flatness_compares_the_ends_of_an_episode():
    first, last = bench_report.flatness([1.0] * 50 + [3.0] * 50).values()
    assert (first, last) == (1.0, 3.0)
    assert list(bench_report.flatness([1.0] * 20, "echoed key")) == [
        "echoed key, first 2 of an episode", "echoed key, last 2 of an episode",
    ]  # fmt: skip
    assert bench_report.flatness([1.0] * 9) == {}


def test_echoes_are_printable_keys_that_draw_a_character_and_the_cursor():
    keys = np.array([KEY_INDEX[name] for name in ("a", "b", " ", "Enter", "noop", "Left")])
    assert bench.echoes(keys, np.array([2, 6, 2, 2, 2, 2])).tolist() == [True, False, True, False, False, False]


class Drawing:
    """Stands in for a machine whose rows draw as many of 100 tiles as their events say."""

    num_rows = 1

    class computer:
        class config:
            num_tiles = 100

    def reset(self, rows, seeds, boots):
        self.drawn = np.zeros(1)

    def step(self, events, rows):
        self.drawn = events % 5 / 100

    def screens(self):
        return np.zeros((1, 2, 2, 3), np.uint8)

    def damage(self):
        return self.drawn


def test_an_episode_times_its_echoes_apart():
    """Keys 37, 42, ... draw two tiles; 7, 12 and so on, too, but those above 95 are not printable."""
    result = bench.episode(Drawing(), np.arange(106)[:, None])
    assert len(result["episode_ms"]) == 106
    assert len(result["episode_echo_ms"]) == len([key for key in range(1, 96) if key % 5 == 2])
    assert all(ms >= 0 for ms in result["episode_echo_ms"])


def test_users_of_the_bench_are_not_those_of_training():
    held_out = user_events(rows=1, steps=50)[:, 0].tolist()
    training = [event for event, _ in session_events("goal", 20_000, 0, "train", 50)]
    assert held_out != training


def test_the_desktops_bench_covers_what_the_terminals_does(desktop_result, result, tiny_desktop_weights):
    assert {"host", "weights", "calls_ms", "arithmetic", "episode_ms"} <= desktop_result.keys()
    assert desktop_result["weights"] == {
        "folder": tiny_desktop_weights.name, "denoise_steps": 1, "sha256": sha256(tiny_desktop_weights / MODEL),
    }  # fmt: skip
    assert desktop_result["weights"].keys() == result["weights"].keys()
    assert set(desktop_result["calls_ms"]) == {
        "neural_reset_1", "neural_reset_2", "neural_fork_2", "neural_fork_and_step_2", "neural_step_2", "real_reset_1",
    }  # fmt: skip
    one, two = desktop_result["neural_batches"]
    assert (one["rows"], two["rows"]) == (1, 2) and one["steps"] == desktop_bench.SESSIONS * 12 and two["steps"] == 12
    assert one == desktop_result["neural"] and two == desktop_result["neural_batch"]
    assert all(0 < each["damage"] <= 1 and each["ms_per_step"] > 0 for each in (one, two))
    assert one["move_ms"] > 0 and two["move_ms"] is None
    assert desktop_result["arithmetic"].keys() == result["arithmetic"].keys()
    flops, rates = (desktop_result["arithmetic"][name] for name in ("step_mflop_per_row", "step_gflops"))
    for each in (one, two):
        rows = str(each["rows"])
        assert rates[rows] == pytest.approx(flops[rows] * each["steps_per_second"] / 1e3)
    assert len(desktop_result["episode_ms"]) == 60
    assert 60 > len(desktop_result["episode_still_ms"]) > 0


def test_the_desktops_report_shows_and_writes_what_was_measured(desktop_result, tmp_path):
    text = shown(*desktop_bench.tables(desktop_result))
    for needle in ("neural fork 2", "matrix product float32", "tiles denoised"):
        assert needle in text
    assert "of those that change nothing: " in " ".join(text.split())  # below the table, in lines as wide as it
    assert f"{desktop_result['neural_batch']['damage']:.2%}" in text
    desktop_bench.write(desktop_result, tmp_path / "docs" / "bench_desktop.json")
    file = tmp_path / "docs" / "bench_desktop.json"
    assert json.loads(file.read_text()) == desktop_result and len(file.read_text().splitlines()) < 150
    assert "| neural batch | 2 |" in readme_tables.desktop_speed(tmp_path)
    older = f"Measured in older weights {desktop_result['weights']['sha256'][:8]}"  # tiny ones, which do not ship
    assert older in readme_tables.desktop_speed(tmp_path)


def test_the_desktops_report_leaves_out_kinds_of_events_that_did_not_happen(desktop_result):
    told = desktop_bench.flatness(desktop_result | {"episode_still_ms": []})
    assert told.endswith("of those that change nothing: there were none")


def test_a_desktops_flatness_is_told_by_tenths():
    told = desktop_bench.flatness({"episode_ms": [float(k // 2) for k in range(20)], "episode_still_ms": [1.0, 2.0]})
    assert told.startswith("20 events in one row, medians of their tenths in ms: 0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, ")
    assert told.endswith("of those that change nothing: 1.0, 2.0")


@pytest.fixture
def nothing_runs(monkeypatch):
    """Fails as soon as anything is measured."""

    def fail(*args, **kwargs):
        raise AssertionError("measured")

    for module, name in ((desktop_bench, "record"), (bench, "measure_machine"), (bench, "BashTerminal")):
        monkeypatch.setattr(module, name, fail)


def test_the_weights_of_a_desktop_are_refused_before_a_terminal_is_measured(tiny_desktop_weights, nothing_runs):
    with pytest.raises(WeightsError, match=r"have machine 'desktop' but the card says 'terminal'; use weights"):
        bench_terminal(str(tiny_desktop_weights), "cpu")


def test_the_weights_of_a_terminal_are_refused_before_a_desktop_is_measured(tiny_weights, nothing_runs):
    with pytest.raises(WeightsError, match="are those of a terminal; expected a desktop's"):
        bench_desktop(str(tiny_weights), "cpu")


@pytest.mark.parametrize("measure_all", [bench_terminal, bench_desktop])
def test_a_missing_weights_folder_is_refused_before_anything_is_measured(measure_all, tmp_path, nothing_runs):
    with pytest.raises(WeightsError, match=r"no weights at .*nowhere"):
        measure_all(str(tmp_path / "nowhere"), "cpu")


def test_a_fork_is_timed_of_a_row_that_remembers(tiny_weights, monkeypatch):
    """To fork a row that has seen nothing copies next to nothing."""
    lengths = []
    fork = NeuralMachine.fork

    def noted(self, row, n):
        lengths.append(int(self.state.memory.length.min()))
        return fork(self, row, n)

    monkeypatch.setattr(NeuralMachine, "fork", noted)
    monkeypatch.setattr(bench, "FORK_ROWS", 2)
    with BashTerminal(1) as real:
        times = bench.calls(load_computer(str(tiny_weights), "cpu", None), real, user_events(2, 40))
    assert set(times) == {
        "neural_reset_1", "neural_reset_2", "neural_fork_2", "neural_fork_and_step_2", "neural_step_2", "real_reset_1",
    }  # fmt: skip
    assert lengths and min(lengths) >= 20  # an event is a token or more


class Attending(Drawing):
    """Stands in for a machine whose step is one attention of two heads."""

    def step(self, events, rows):
        q = torch.ones(1, 2, 3, 8)
        torch.nn.functional.scaled_dot_product_attention(q, torch.ones(1, 2, 5, 8), torch.ones(1, 2, 5, 8))
        self.drawn = np.zeros(1)


def test_flops_of_attention_are_counted():
    machine = Attending()
    machine.reset(None, None, None)
    assert bench.step_flops(machine, np.zeros((4, 1), np.int64)) == 2 * 2 * (2 * 3 * 5 * 8)  # QK and PV, two heads


def test_a_real_process_that_fails_lets_the_others_go(monkeypatch):
    barrier = threading.Barrier(2)
    monkeypatch.setattr(stopwatch, "_start", barrier)

    def fail(machine):
        raise RuntimeError("no boot")

    monkeypatch.setattr(stopwatch, "boot", fail)
    with pytest.raises(RuntimeError, match="no boot"):
        stopwatch._real_process(0.01)
    assert barrier.broken
