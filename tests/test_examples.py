"""Every example runs as a user would run it, with small arguments and a tiny neural computer."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples"
SMALL = {
    "random_video": ("--steps 5 --out a.mp4", "wrote a.mp4: 6 frames"),
    "train_ppo": ("--steps 32 --envs 2 --rollout 8 --episodes 1 --out p.zip", "real: solved 0 of 1"),
    "ppo_torch": ("--steps 64 --envs 2 --rollout 16", "64 steps on cpu"),
    "maskable_ppo": ("--steps 32 --envs 2 --rollout 8", "32 steps: mean return"),
    "fork_search": ("--plans 4 --rounds 2", "real bash: "),
    "own_traces": ("--sessions 2 --steps 10 --minutes 0.01 --out run", "the terminal that was trained"),
}


def run(name: str, arguments: str, folder: Path) -> str:
    command = [sys.executable, str(EXAMPLES / f"{name}.py"), *arguments.split()]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder, env=environment, timeout=900)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def test_every_example_is_run_here() -> None:
    assert {path.stem for path in EXAMPLES.glob("*.py")} == set(SMALL)


@pytest.mark.slow
@pytest.mark.parametrize("name", SMALL)
def test_example_runs_and_says_what_came_out(name: str, tmp_path: Path, tiny_weights: Path) -> None:
    arguments, printed = SMALL[name]
    option = "--start" if name == "own_traces" else "--weights"
    out = run(name, f"{arguments} {option} {tiny_weights}", tmp_path)
    assert out.startswith("Expect ") and printed in out


@pytest.mark.slow
def test_search_with_forks_solves_a_task_in_the_shipped_terminal_and_on_real_bash(tmp_path: Path) -> None:
    out = run("fork_search", "", tmp_path)
    assert "neural: solved" in out and "real bash: solved" in out


@pytest.mark.parametrize("name", SMALL)
def test_example_says_how_to_run_it_and_what_to_expect(name: str) -> None:
    docstring = (EXAMPLES / f"{name}.py").read_text().split('"""')[1]
    assert f"python examples/{name}.py" in docstring and "Expect" in docstring
