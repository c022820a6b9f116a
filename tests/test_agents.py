"""Agents: batched evaluation counts every seed once, training survives being killed, strange policies are refused."""

from __future__ import annotations

import dataclasses
import json
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from nc_gym import agent_train, readme_tables, recording
from nc_gym.agent_env import EnvSetting
from nc_gym.agent_evaluate import OraclePlayer, PolicyPlayer, RandomPlayer, evaluate, play
from nc_gym.agent_file import MEMO, AgentError, Score, TrainedAgent, check_fits, load_agent, names_sha256, read_memo
from nc_gym.agent_train import Plan, checkpoints, episode_seed, mastered, train
from nc_gym.cli import app
from nc_gym.machines.keys import encode
from nc_gym.recording import record_episodes
from nc_gym.registration import load_card
from nc_gym.vector_env import ComputerVectorEnv

ECHO, MAKE = "nc_gym/TerminalEcho-v0", "nc_gym/TerminalMakeFile-v0"
ROOT = Path(__file__).parents[1]
NC_GYM = Path(sys.executable).with_name("nc-gym")
SMALL = {"n_steps": 8, "batch_size": 16, "n_epochs": 1}


def plan(algorithm: str = "ppo", obs: str = "chars", machine: str = "real", seed: int = 0, **setting: Any) -> Plan:
    return Plan(EnvSetting(ECHO, machine, obs, **setting), algorithm, seed, 2, SMALL)


@pytest.fixture(autouse=True)
def short_validation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agent_train, "VALIDATION_EPISODES", 2)


@pytest.fixture(scope="module")
def agent(tmp_path_factory: pytest.TempPathFactory, tiny_weights: Path) -> Path:
    """A finished run folder: a few steps on real bash, tested on both machines."""
    out = tmp_path_factory.mktemp("agent") / "small"
    one = plan(weights=str(tiny_weights))
    agent_train.finish(one, out, train(one, out, 32, 16, validate=False), episodes=2, seed=12345)
    return out


def rewritten(source: Path, target: Path, memo: dict[str, Any] | None) -> Path:
    """Copies a policy's zip with another memo in it, or with none."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for entry in old.infolist():
            if entry.filename != MEMO:
                new.writestr(entry, old.read(entry))
        if memo is not None:
            new.writestr(MEMO, json.dumps(memo))
    return target


class EvenOracle(OraclePlayer):
    """Solves the episodes with even seeds and does nothing in the others."""

    def begin(self, rows: np.ndarray, seeds: Any, envs: Any) -> None:
        super().begin(rows, seeds, envs)
        for row in np.flatnonzero(rows):
            if seeds[row] is None or seeds[row] % 2:
                self.plans[row] = iter(())


def test_rows_of_two_training_seeds_play_other_episodes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[list[int]] = []
    reset = ComputerVectorEnv.reset

    def note(envs: ComputerVectorEnv, *, seed: Any = None, options: Any = None) -> Any:
        begun.append(seed)
        return reset(envs, seed=seed, options=options)

    monkeypatch.setattr(ComputerVectorEnv, "reset", note)
    for seed in (0, 1):
        train(plan(seed=seed), tmp_path / str(seed), 16, 16, validate=False)
    assert len({number for rows in begun for number in rows}) == 4
    assert episode_seed(0, 0) != episode_seed(0, 16)  # nor does a run that goes on play its first ones again


def test_every_seed_counts_once_however_long_its_episode_is() -> None:
    envs = EnvSetting(ECHO, "real").open(3, "Disabled")
    played = play(envs, EvenOracle(), range(100, 108))
    envs.close()
    assert [episode.seed for episode in played] == list(range(100, 108))
    assert [episode.solved for episode in played] == [True, False] * 4
    assert [episode.total for episode in played] == pytest.approx([1.0, 0.0] * 4)
    assert [episode.audited for episode in played] == [True, False] * 4


class BreakingOracle(OraclePlayer):
    """The oracle, but it ends the shell in the first episode of seed 101 and in every one of seed 102."""

    broken: int = 0

    def begin(self, rows: Any, seeds: Any, envs: Any) -> None:
        super().begin(rows, seeds, envs)
        for row in np.flatnonzero(rows):
            if seeds[row] == 102 or (seeds[row] == 101 and not self.broken):
                self.broken += seeds[row] == 101
                self.plans[row] = iter(encode("exit\n"))


def test_an_episode_whose_computer_died_is_played_once_more() -> None:
    envs = EnvSetting(ECHO, "real").open(2, "Disabled")
    played = play(envs, BreakingOracle(), range(100, 104))
    envs.close()
    assert [(episode.seed, episode.solved) for episode in played] == [
        (100, True), (101, True), (102, False), (103, True)
    ]  # fmt: skip


def test_an_episode_of_the_batch_is_the_single_environment_s_with_its_seed(options: dict[str, Any]) -> None:
    setting = EnvSetting(ECHO, options["machine"], weights=options.get("weights"), split="test")
    envs = setting.open(2, "Disabled")
    played = play(envs, RandomPlayer(), range(40, 45))
    envs.close()
    env = gym.make(ECHO, obs="chars", split="test", **options)
    for episode in played:
        env.reset(seed=episode.seed)
        space, total, done = gym.spaces.Discrete(106, seed=episode.seed), 0.0, False
        while not done:
            _, reward, terminated, truncated, _ = env.step(space.sample(mask=np.ones(106, np.int8)))
            total, done = total + float(reward), terminated or truncated
        assert episode.total == pytest.approx(total)
    env.close()


def test_a_score_names_what_was_tested_and_the_seeds_that_failed(tiny_weights: Path) -> None:
    score = evaluate(EnvSetting(ECHO, "real", split="test"), EvenOracle(), 4, 12345, progress=False)
    assert (score.success_rate, score.mean_return) == (0.5, pytest.approx(0.5))
    assert score.failed_seeds == (12345, 12347)
    assert (score.env, score.split, score.machine, score.player, score.argmax) == (ECHO, "test", "real", "oracle", None)
    assert score.weights_sha256 is None and score.policy_sha256 is None and len(score.package_sha256) == 64
    neural = EnvSetting(ECHO, "neural", weights=str(tiny_weights))
    score = evaluate(neural, RandomPlayer(), 2, 0, progress=False)
    assert len(score.weights_sha256 or "") == 64


def test_only_a_task_with_an_audit_has_an_audited_rate_and_only_on_the_real_machine(tiny_weights: Path) -> None:
    settings = (EnvSetting(MAKE, "real"), EnvSetting(ECHO, "real"), EnvSetting(MAKE, weights=str(tiny_weights)))
    scores = [evaluate(setting, EvenOracle(), 2, 0, progress=False) for setting in settings]
    assert [score.audited_rate for score in scores] == [0.5, None, None]
    assert [score.success_rate for score in scores[:2]] == [0.5, 0.5]


def test_a_stochastic_policy_is_seeded_and_moves_no_other_random_stream(agent: Path) -> None:
    loaded = load_agent(agent)
    setting = EnvSetting(ECHO, "real", split="test")
    torch.manual_seed(5)
    scores = [evaluate(setting, PolicyPlayer(loaded, False, seed), 3, 7, progress=False) for seed in (1, 1)]
    drawn = torch.rand(1)
    torch.manual_seed(5)
    assert torch.equal(drawn, torch.rand(1))
    assert scores[0] == scores[1] and scores[0].argmax is False


# --- training


def test_a_run_goes_on_from_its_newest_checkpoint(tmp_path: Path) -> None:
    first = train(plan(), tmp_path, steps=32, every=16, validate=False)
    assert [point.steps for point in first] == [16, 32]
    saved = checkpoints(tmp_path)[-1]
    (tmp_path / "checkpoints" / "0000000048.part").write_bytes(b"half a checkpoint")
    envs = agent_train.VecMonitor(agent_train.ComputerVecEnv(plan().setting.open(2, "SameStep")))
    model, points = agent_train._resume(plan(), tmp_path, envs)
    envs.close()
    before = agent_train.algorithm_class("ppo").load(saved)
    assert model.num_timesteps == 32 and points == first
    state, expected = (m.policy.optimizer.state_dict()["state"] for m in (model, before))
    assert state and all(torch.equal(state[k]["exp_avg"], expected[k]["exp_avg"]) for k in state)
    again = train(plan(), tmp_path, steps=64, every=16, validate=True)
    assert again[:2] == first and [point.steps for point in again] == [16, 32, 48, 64]
    assert again[1].seconds < again[2].seconds and again[-1].validation_solved is not None
    assert again[1].validation_solved is None
    assert train(plan(), tmp_path, steps=64, every=16) == again  # nothing left to do
    assert list((tmp_path / "tensorboard").iterdir())


def test_a_run_of_a_version_that_wrote_less_goes_on(tmp_path: Path) -> None:
    train(plan(), tmp_path, steps=16, every=16, validate=False)
    (checkpoint,) = checkpoints(tmp_path)
    memo = read_memo(checkpoint)
    del memo["plan"]["actions_sha256"]
    shutil.move(rewritten(checkpoint, tmp_path / "older.zip", memo), checkpoint)
    train(plan(), tmp_path, steps=32, every=16, validate=False)
    assert "actions_sha256" in read_memo(checkpoints(tmp_path)[-1])["plan"]


def test_a_run_with_a_time_limit_goes_on_beyond_its_steps(tmp_path: Path) -> None:
    points = train(plan(), tmp_path, steps=16, every=16, seconds=0.5, validate=False)
    assert points[-1].seconds >= 0.5 and points[-1].steps == 16 * len(points)
    assert all(point.seconds < 0.5 for point in points[:-1])


def test_a_run_may_end_once_its_policy_has_mastered_the_task(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second checkpoint is told to be perfect: the run ends there if asked to, and goes on otherwise."""
    real_point = agent_train._point

    def point(model: Any, *rest: Any) -> agent_train.Point:
        found = real_point(model, *rest)
        return dataclasses.replace(found, solved=1.0, validation_solved=1.0) if found.steps >= 32 else found

    monkeypatch.setattr(agent_train, "_point", point)
    points = train(plan(), tmp_path, steps=64, every=16, until_mastered=True)
    assert [one.steps for one in points] == [16, 32] and [mastered(one) for one in points] == [False, True]
    assert train(plan(), tmp_path, steps=64, every=16, until_mastered=True) == points  # nothing left to do
    assert train(plan(), tmp_path, steps=64, every=16, validate=False)[-1].steps == 64


@pytest.mark.parametrize("solved, validated", [(1.0, None), (1.0, 0.9), (0.94, 1.0)])
def test_a_task_is_mastered_only_if_drawn_and_likeliest_actions_do(solved: float, validated: float | None) -> None:
    assert not mastered(agent_train.Point(1, 1.0, solved, 1.0, validated))


def test_a_run_folder_belongs_to_one_plan(tmp_path: Path) -> None:
    train(plan(), tmp_path, steps=16, every=16, validate=False)
    for other, words in ((plan(seed=3), "seed=0, not 3"), (plan(algorithm="maskable_ppo"), "algorithm='ppo'")):
        with pytest.raises(AgentError, match=words):
            train(other, tmp_path, steps=32, every=16)
    assert len(checkpoints(tmp_path)) == 1


@pytest.mark.parametrize("obs", ["chars", "latent"])
@pytest.mark.parametrize("algorithm", ["ppo", "maskable_ppo", "recurrent_ppo"])
def test_every_algorithm_learns_from_and_acts_on(algorithm: str, obs: str, tmp_path: Path, tiny_weights: Path) -> None:
    one = plan(algorithm, obs, "neural", weights=str(tiny_weights))
    train(one, tmp_path, steps=16, every=16)
    assert read_memo(checkpoints(tmp_path)[-1])["plan"]["algorithm"] == algorithm


def test_words_are_learned_too(tmp_path: Path) -> None:
    one = plan("maskable_ppo", actions="words")
    points = train(one, tmp_path, steps=16, every=16)
    assert points[-1].steps == 16 and read_memo(checkpoints(tmp_path)[-1])["plan"]["actions"] == "words"


@pytest.mark.slow
def test_a_killed_training_command_is_finished_by_the_same_command(tmp_path: Path, tiny_weights: Path) -> None:
    conf = tmp_path / "tiny.yml"
    conf.write_text("default: {n_envs: 2, n_timesteps: 48, n_steps: 8, batch_size: 16, n_epochs: 1}\n")
    out = tmp_path / "run"
    command = [
        str(NC_GYM), "agent", "train", ECHO, "--conf", str(conf), "--every", "16", "--out", str(out), "--episodes", "1",
        "--machine", "real", "--weights", str(tiny_weights),
    ]  # fmt: skip
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not checkpoints(out) and process.poll() is None:
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    killed = checkpoints(out)
    assert killed
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    assert str(out / "policy.zip") in done.stdout and checkpoints(out)[: len(killed)] == killed
    results = json.loads((out / "results.json").read_text())
    assert results["training"]["steps"] == 48 and results["machine"] == "real" and results["player"] == "ppo"


# --- files


def test_a_policy_is_its_checkpoint_without_the_optimizer_s_moments(agent: Path) -> None:
    checkpoint, policy = checkpoints(agent)[-1], agent / "policy.zip"
    before, after = (agent_train.algorithm_class("ppo").load(path) for path in (checkpoint, policy))
    weights, expected = after.policy.state_dict(), before.policy.state_dict()
    assert weights.keys() == expected.keys() and all(torch.equal(weights[name], expected[name]) for name in weights)
    assert before.policy.optimizer.state_dict()["state"] and not after.policy.optimizer.state_dict()["state"]
    assert policy.stat().st_size < checkpoint.stat().st_size / 2 and read_memo(policy) == read_memo(checkpoint)


def test_a_policy_that_types_words_is_filmed_with_its_own_actions(tmp_path: Path) -> None:
    folder = ROOT / "agents" / "terminal_makedir_maskable_ppo"  # the id's own preset is keys
    (outcome,) = record_episodes("nc_gym/TerminalMakeDir-v0", str(folder), "real", tmp_path / "a.mp4", 0, 1)
    assert outcome.success["real"]


@pytest.mark.parametrize("folder", sorted(path.parent for path in (ROOT / "agents").glob("*/results.json")))
def test_shipped_agents_are_small_and_those_that_were_tested(folder: Path) -> None:
    assert (folder / "policy.zip").stat().st_size < 2**21
    results = json.loads((folder / "results.json").read_text())
    pinned = load_card(folder.name.partition("_")[0]).weights_sha256
    assert {test["weights_sha256"] for test in results["tests"]} == {None, pinned}  # None where no network ran
    loaded = load_agent(folder)
    assert loaded.training is not None and not loaded.model.policy.optimizer.state_dict()["state"]


def test_results_repeat_the_headline_and_hold_every_test(agent: Path) -> None:
    results = json.loads((agent / "results.json").read_text())
    fields = [field.name for field in dataclasses.fields(Score)]
    assert list(results) == [*fields, "training", "tests"]
    assert [results[name] for name in fields] == [results["tests"][0][name] for name in fields]
    kinds = {(test["player"], test["machine"], test["argmax"]) for test in results["tests"]}
    policy = {("ppo", machine, argmax) for machine in ("neural", "real") for argmax in (True, False)}
    assert kinds == policy | {(name, side, None) for name in ("random", "oracle") for side in ("neural", "real")}
    assert results["training"]["steps"] == 32 and len(results["training"]["points"]) == 2
    assert {test["split"] for test in results["tests"]} == {"test"} and results["training"]["split"] == "train"


def test_evaluate_writes_the_schema_of_results(agent: Path, tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    arguments = [
        "agent",
        "evaluate",
        str(agent),
        "--machine",
        "real",
        "--episodes",
        "2",
        "--argmax",
        "--json",
        str(file),
    ]
    done = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert done.exit_code == 0 and str(file) in done.output
    written, shipped = json.loads(file.read_text()), json.loads((agent / "results.json").read_text())
    assert list(written) == list(shipped) and written["training"] == shipped["training"]
    assert written["tests"] == shipped["tests"][:1]  # the same episodes again


def test_evaluate_writes_both_modes_and_the_baselines(agent: Path, tmp_path: Path, tiny_weights: Path) -> None:
    file = tmp_path / "a.json"
    common = ["agent", "evaluate", str(agent), "--episodes", "1", "--both-modes"]
    arguments = [*common, "--machine", "both", "--baselines", "--weights", str(tiny_weights), "--json", str(file)]
    done = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert done.exit_code == 0 and "(argmax)" in done.output and "(stochastic)" in done.output
    written, shipped = json.loads(file.read_text()), json.loads((agent / "results.json").read_text())
    kinds = [[(test["player"], test["machine"], test["argmax"]) for test in one["tests"]] for one in (written, shipped)]
    assert kinds[0] == kinds[1] and list(written) == list(shipped)
    with pytest.raises(ValueError, match="--argmax and --both-modes are given; choose one"):
        CliRunner().invoke(app, [*common, "--argmax"], catch_exceptions=False)


def test_the_readme_shows_both_modes_and_what_a_policy_was_trained_with(tmp_path: Path) -> None:
    def score(player: str, machine: str, argmax: bool | None, rate: float) -> dict[str, Any]:
        return {"player": player, "machine": machine, "argmax": argmax, "success_rate": rate, "mean_return": rate / 2}

    tests = [score("ppo", machine, mode, 0.5 + 0.25 * mode) for machine in ("real", "neural") for mode in (True, False)]
    tests += [score("random", "real", None, 0.0)]
    shipped = load_card("terminal").weights_sha256
    for name, kept, weights, split in (("a", tests, shipped, "train"), ("b", tests[:1], "0123456789", "train+test")):
        training = {"weights_sha256": weights, "split": split}
        result = {"env": ECHO, "episodes": 40, **kept[0], "training": training, "tests": kept}
        (tmp_path / "agents" / name).mkdir(parents=True)
        (tmp_path / "agents" / name / "results.json").write_text(json.dumps(result))
    text, env = readme_tables.agents(tmp_path), f"`{ECHO}`"
    both = "75.0%, 0.375 / 50.0%, 0.250"
    assert f"| [a](agents/a) | {env} | ppo | {both} | {both} | 40 |  |" in text
    assert f"| [a](agents/a) | {env} | random | – | 0.0%, 0.000 | 40 |  |" in text
    trained = "older weights 01234567, episodes of train+test"
    assert f"| [b](agents/b) | {env} | ppo | – / – | 75.0%, 0.375 / – | 40 | {trained} |" in text


def test_a_shipped_agent_is_found_from_any_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    arguments = ["agent", "evaluate", "agents/terminal_echo_ppo", "--machine", "real", "--episodes", "1", "--argmax"]
    done = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert done.exit_code == 0 and "100.0%" in done.output
    assert recording.load_agent("agents/terminal_echo_ppo/policy.zip").obs == "chars"
    with pytest.raises(FileNotFoundError, match=rf"no policy at 'agents/nobody' or '{ROOT}/agents/nobody'; pass the"):
        load_agent(Path("agents/nobody"))


def test_a_policy_that_does_not_say_what_it_was_trained_for_is_refused(agent: Path, tmp_path: Path) -> None:
    bare = rewritten(agent / "policy.zip", tmp_path / "bare.zip", None)
    words = r"bare.zip does not say what it was trained for: .*; use a policy that `nc-gym agent train` wrote"
    with pytest.raises(AgentError, match=words):
        load_agent(bare, trust=True)
    with pytest.raises(AgentError, match=words):
        record_episodes(ECHO, str(bare), "real", tmp_path / "a.mp4", 0, 1, trust=True)


def test_a_policy_is_refused_when_its_words_have_another_order(
    agent: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(agent, copy)
    results = json.loads((copy / "results.json").read_text())
    assert results["training"]["actions_sha256"] == names_sha256(EnvSetting(ECHO, actions="keys"))
    results["training"] |= {"actions": "words", "actions_sha256": names_sha256(EnvSetting(ECHO, actions="words"))}
    (copy / "results.json").write_text(json.dumps(results))
    load_agent(copy)
    card = load_card("terminal")
    reordered = dataclasses.replace(card, words=card.words[::-1])
    monkeypatch.setattr("nc_gym.opening.load_card", lambda name: reordered)
    with pytest.raises(AgentError, match=r"trained when the names of actions='words' .* had sha256 .*train it again"):
        load_agent(copy)


def test_a_policy_is_loaded_only_if_its_hash_is_the_one_in_the_results(agent: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(agent, copy)
    assert load_agent(copy).training == load_agent(copy / "policy.zip").training
    with (copy / "policy.zip").open("ab") as file:
        file.write(b" ")
    with pytest.raises(AgentError, match=r"has sha256 .* but results.json says .*--trust"):
        load_agent(copy)
    (copy / "results.json").unlink()
    with pytest.raises(AgentError, match=r"no results.json .*can run any code.*--trust"):
        load_agent(copy)
    trusted = load_agent(copy, trust=True)
    assert trusted.training is not None and trusted.training["env"] == ECHO  # the zip says it itself
    (copy / "results.json").write_text('{"env": 1}')
    with pytest.raises(AgentError, match="no results file"):
        load_agent(copy)
    with pytest.raises(FileNotFoundError, match="pass the folder or the policy"):
        load_agent(tmp_path / "nobody")


def test_a_policy_of_another_task_or_preset_is_refused(agent: Path, tmp_path: Path) -> None:
    loaded = load_agent(agent)
    check_fits(loaded, ECHO, "keys")
    with pytest.raises(AgentError, match=rf"env='{ECHO}', not 'nc_gym/Terminal-v0'"):
        check_fits(loaded, "nc_gym/Terminal-v0", "keys")
    with pytest.raises(AgentError, match="actions='keys', not 'words'"):
        check_fits(loaded, ECHO, "words")
    with pytest.raises(AgentError, match="choose an agent that was trained for it"):
        record_episodes("nc_gym/Terminal-v0", str(agent), "real", tmp_path / "a.mp4", 0, 1)


def test_enjoy_shows_text_and_films(agent: Path, tmp_path: Path) -> None:
    runner = CliRunner()
    common = ["agent", "enjoy", str(agent), "--machine", "real", "--seed", "3"]
    done = runner.invoke(app, [*common, "--fps", "1000"], catch_exceptions=False)
    assert done.exit_code == 0 and "Print " in done.output and "solved" in done.output
    done = runner.invoke(app, [*common, "--video", str(tmp_path / "a.mp4")], catch_exceptions=False)
    assert done.exit_code == 0 and (tmp_path / "a.mp4").stat().st_size > 1000


def test_record_and_enjoy_take_the_likeliest_actions_unless_they_shall_be_drawn(
    agent: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    modes: list[bool | None] = []

    class Spy(PolicyPlayer):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments)
            modes.append(self.argmax)

    monkeypatch.setattr("nc_gym.recording.PolicyPlayer", Spy)
    monkeypatch.setattr("nc_gym.agent_enjoy.PolicyPlayer", Spy)
    film = ["--machine", "real", "--video", str(tmp_path / "a.mp4")]
    for command in (
        ["record", ECHO, "--agent", str(agent), *film],
        ["agent", "enjoy", str(agent), *film],
        ["agent", "enjoy", str(agent), "--machine", "real", "--fps", "1000"],
    ):
        for option in ([], ["--drawn"]):
            assert CliRunner().invoke(app, [*command, *option], catch_exceptions=False).exit_code == 0
    assert modes == [True, False] * 3


def test_drawn_actions_are_seeded(agent: Path) -> None:
    drawn, likeliest = (recording.load_agent(str(agent), argmax=argmax).start for argmax in (False, True))
    with gym.make(ECHO, machine="real", obs="chars", actions="keys") as env:
        obs, _ = env.reset(seed=0)
        policies = (drawn(env, 1), drawn(env, 1), drawn(env, 2), likeliest(env, 1))
        same, again, other, fixed = ([int(policy(obs)) for _ in range(20)] for policy in policies)
    assert same == again != other and len(set(same)) > 1 and len(set(fixed)) == 1


def test_an_unknown_environment_is_refused() -> None:
    with pytest.raises(ValueError, match=r"no environment 'nc_gym/Nothing-v0'; nc_gym has .*nc_gym/TerminalEcho-v0"):
        EnvSetting("nc_gym/Nothing-v0")


class Remembering:
    """Stands in for a model that notes what it is told, and does nothing."""

    def __init__(self) -> None:
        self.told: list[dict[str, Any]] = []

    def predict(self, obs: Any, **options: Any) -> tuple[Any, int]:
        self.told.append(options)
        return np.zeros(len(obs), np.int64), len(self.told)


@pytest.mark.parametrize("algorithm", ["maskable_ppo", "recurrent_ppo"])
def test_a_policy_is_told_its_masks_and_its_own_state(algorithm: str) -> None:
    model = Remembering()
    player = PolicyPlayer(TrainedAgent("a", None, model, {"algorithm": algorithm}), argmax=True, seed=0)
    masks = []
    envs = gym.make_vec(ECHO, num_envs=2, machine="real", actions="words", max_episode_steps=3,
                        autoreset_mode="Disabled")  # fmt: skip
    ask = player.act

    def act(obs: Any, envs: Any) -> Any:
        masks.append(envs.action_masks())
        return ask(obs, envs)

    player.act = act
    play(envs, player, [1, 2, 3, 4])
    envs.close()
    assert len(model.told) == 6  # two rows, two episodes each, of three steps
    for call, told in enumerate(model.told):
        assert told["deterministic"]
        if algorithm == "maskable_ppo":
            assert (told["action_masks"] == masks[call]).all() and not masks[call].all()
        else:
            assert told["state"] == (call or None) and told["episode_start"].tolist() == [call % 3 == 0] * 2
