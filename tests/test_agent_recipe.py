"""Recipes: the shipped ones, wrong ones, and RL-Zoo itself with ours."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

from nc_gym.agent_file import AgentError
from nc_gym.agent_recipe import POLICIES, read_recipe

ECHO = "nc_gym/TerminalEcho-v0"
ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("algorithm", ["ppo", "maskable_ppo", "recurrent_ppo"])
def test_shipped_recipes_are_read(algorithm: str) -> None:
    recipe = read_recipe(ROOT / "agents" / f"{algorithm}.yml", ECHO)
    assert recipe["n_envs"] == 32 and recipe["learning_rate"] == 0.001
    assert not {"policy", "policy_kwargs", "env_wrapper"} & set(recipe)
    assert {mode for name, mode in POLICIES if name == algorithm} == {"screen", "chars", "latent"}


@pytest.mark.parametrize(
    "text, words",
    [
        ("nc_gym/Other-v0: {n_envs: 1, n_timesteps: 1}", "no entry 'nc_gym/TerminalEcho-v0'"),
        ("default: {n_envs: 1}", "n_timesteps is missing"),
        ("default: {n_envs: 1, n_timesteps: 1, normalize: true}", "normalize=True is something that only"),
        ("default: {n_envs: 1, n_timesteps: 1, learning_rate: lin_0.001}", "learning_rate='lin_0.001'"),
        ("default: [", "is no yml file"),
        ("just text", "has no entry"),
    ],
)
def test_a_recipe_that_cannot_be_followed_is_refused(text: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "a.yml").write_text(text)
    with pytest.raises(AgentError, match=words):
        read_recipe(tmp_path / "a.yml", ECHO)


def test_an_entry_of_the_environment_wins_over_the_default(tmp_path: Path) -> None:
    (tmp_path / "a.yml").write_text(f"default: {{n_envs: 1, n_timesteps: 1}}\n{ECHO}: {{n_envs: 2, n_timesteps: 1}}\n")
    assert read_recipe(tmp_path / "a.yml", ECHO)["n_envs"] == 2


@pytest.mark.slow
@pytest.mark.parametrize("algorithm, recipe", [("ppo", "ppo.yml"), ("ppo_lstm", "recurrent_ppo.yml")])
def test_the_zoo_trains_with_the_shipped_recipes(algorithm: str, recipe: str, tmp_path: Path) -> None:
    """The documented command, on real bash and cut short; its evaluation environment sees characters, too."""
    if importlib.util.find_spec("rl_zoo3") is None:  # an import would patch TimeLimit
        pytest.skip("needs the zoo extra")
    command = [
        sys.executable, "-m", "rl_zoo3.train", "--algo", algorithm, "--env", ECHO, "--gym-packages", "nc_gym",
        "--conf-file", f"agents/{recipe}", "--env-kwargs", "machine:'real'", "-n", "64", "--eval-freq", "32",
        "--eval-episodes", "1", "-params", "n_envs:2", "n_steps:16", "batch_size:16", "-f", str(tmp_path),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=600)
    assert done.returncode == 0, done.stderr[-2000:]
    (folder,) = (tmp_path / algorithm).iterdir()
    assert {"TerminalEcho-v0.zip", "evaluations.npz"} & {path.name for path in folder.rglob("*")}
    assert list(folder.rglob("*TerminalEcho-v0.zip"))


@pytest.mark.slow
def test_the_zoo_trains_in_the_neural_terminal_as_the_readme_says(tmp_path: Path) -> None:
    """README's command as it stands, cut to its first rollout."""
    if importlib.util.find_spec("rl_zoo3") is None:
        pytest.skip("needs the zoo extra")
    (line,) = re.findall(r"^python -m rl_zoo3\.train .*$", (ROOT / "README.md").read_text(), re.M)
    command = [sys.executable, *line.split()[1:], "-n", "4096", "-f", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=600)
    assert done.returncode == 0, done.stderr[-2000:]
    assert list(tmp_path.rglob("*TerminalEcho-v0.zip"))
