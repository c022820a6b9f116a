"""The transfer study: its statistics against values worked out by hand, and the whole command on a tiny budget."""

from __future__ import annotations

import json
import zipfile
from dataclasses import asdict, replace
from math import inf
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from nc_gym import readme_tables, recording
from nc_gym.agent_env import EnvSetting
from nc_gym.agent_file import MEMO, AgentError, load_agent, sha256, write_json
from nc_gym.agent_train import Point
from nc_gym.bench import host
from nc_gym.cli import app
from nc_gym.registration import card_sha256
from nc_gym.transfer import (
    WHOLE_ARMS,
    Job,
    Study,
    arm_setting,
    baselines,
    check_job,
    check_weights,
    common_number,
    curve,
    finished,
    jobs,
    not_run,
    plan_of,
    run_job,
    seeds_done,
    with_options,
)
from nc_gym.transfer_agents import film_exploit, read_notes
from nc_gym.transfer_numbers import (
    at_clock,
    at_steps,
    exploits,
    median_minutes,
    minutes_to_solve,
    paired_minutes,
    ranks,
    retention,
    seeds_number,
    spearman,
    steps_to_solve,
    summary,
)
from nc_gym.transfer_report import headline, page, tasks_table

ROOT = Path(__file__).parents[1]
ECHO, ADD, FLAG = "nc_gym/TerminalEcho-v0", "nc_gym/TerminalAdd-v0", "nc_gym/TerminalReadFlag-v0"
POINTS = [Point(100, 60.0, 0.0, 0.0), Point(200, 120.0, 0.0, 0.0), Point(300, 180.0, 0.0, 0.0)]


def test_ranks_share_the_mean_of_ties() -> None:
    assert ranks([10, 30, 20, 30]).tolist() == [1, 3.5, 2, 3.5]


@pytest.mark.parametrize(
    "left, right, expected",
    [
        ([1, 2, 3, 4], [10, 20, 30, 40], 1.0),
        ([1, 2, 3, 4], [4, 3, 2, 1], -1.0),
        ([1, 2, 3, 4, 5], [5, 6, 7, 8, 7], 0.8207826816681233),  # the textbook example with one tie
        ([1, 2, 3], [1, 3, 2], 0.5),  # 1 - 6 * 2 / (3 * 8)
    ],
)
def test_rank_correlation(left: list[float], right: list[float], expected: float) -> None:
    assert spearman(left, right) == pytest.approx(expected)


def test_rank_correlation_of_a_constant_is_undefined() -> None:
    assert spearman([1, 1, 1], [1, 2, 3]) is None and spearman([1, 2], [0, 0]) is None


def test_retention_is_the_ratio_of_mean_gains() -> None:
    found = retention(np.array([0.8, 0.4]), np.array([0.6, 0.3]))
    assert found is not None
    assert found == pytest.approx({"ratio": 0.75, "low": 0.75, "high": 0.75})  # both seeds keep three quarters
    found = retention(np.array([1.0, 1.0]), np.array([1.0, 0.5]))
    # a resample of two seeds has the ratio 0.5, 0.75 or 1 with probability 1/4, 1/2, 1/4
    assert found == pytest.approx({"ratio": 0.75, "low": 0.5, "high": 1.0})


def test_retention_of_what_was_not_learned_is_undefined() -> None:
    assert retention(np.array([0.0, 0.0]), np.array([0.1, 0.0])) is None
    assert retention(np.array([-0.1, 0.05]), np.array([0.1, 0.0])) is None
    assert retention(np.array([0.01]), np.array([0.02])) is None  # too little for a ratio
    assert retention(np.array([0.1]), np.array([0.1])) == {"ratio": 1.0}


def test_resamples_in_which_too_little_was_learned_do_not_widen_the_interval() -> None:
    """Resamples of the first seed alone would have the ratio 10."""
    found = retention(np.array([0.02, 0.5]), np.array([0.2, 0.5]))
    assert found is not None and found["high"] == pytest.approx(0.7 / 0.52)


def test_numbers_from_one_seed_have_no_interval() -> None:
    assert retention(np.array([0.5]), np.array([0.4])) == {"ratio": 0.8}
    assert seeds_number(np.array([0.5])) == {"mean": 0.5}
    assert seeds_number(np.array([0.5, 0.5])) == {"mean": 0.5, "low": 0.5, "high": 0.5}


def test_time_to_solve_is_that_of_the_first_good_checkpoint() -> None:
    assert minutes_to_solve(POINTS, [0.1, 0.9, 0.5]) == 2.0 and steps_to_solve(POINTS, [0.1, 0.9, 0.5]) == 200
    assert minutes_to_solve(POINTS, [0.1, 0.89, 0.5]) is None and steps_to_solve(POINTS, [0.1, 0.89, 0.5]) is None


def test_a_seed_that_never_solves_counts_as_the_slowest() -> None:
    assert median_minutes([3.0, None, 1.0]) == 3.0 and median_minutes([1.0, None, None]) == inf


def test_baselines_are_compared_at_equal_steps_and_at_equal_time() -> None:
    assert at_steps(POINTS, 200) is POINTS[1] and at_steps(POINTS, 101) is POINTS[1]
    assert (
        at_steps(POINTS, 999) is POINTS[2]  # mastered in fewer
        and at_clock(POINTS, 1.0) is POINTS[0]
        and at_clock(POINTS, 149.0) is POINTS[1]
        and at_clock(POINTS, 999) is POINTS[2]
    )


def scored(neural: float, real: float) -> dict[str, Any]:
    rates = (("neural", neural), ("real", real))
    return {machine: {"success_rate": rate, "mean_return": rate, "audited_rate": rate} for machine, rate in rates}


def task_with(
    mode: str, neural: float, real: float, failed_neural: list[int], failed_real: list[int]
) -> dict[str, Any]:
    """A task of which one checkpoint is as given in one mode; all else is solved on both machines."""
    modes = {"argmax": scored(1, 1), "stochastic": scored(1, 1)}
    failed: dict[str, Any] = {name: {"neural": [], "real": []} for name in modes}
    odd = {"steps": 80, **modes, mode: scored(neural, real)}
    odd["failed"] = failed | {mode: {"neural": failed_neural, "real": failed_real}}
    return {"env": ECHO, "seeds": {"neural": [{"seed": 3, "points": [odd, {"steps": 90, **modes, "failed": failed}]}]}}


@pytest.mark.parametrize("mode", ["argmax", "stochastic"])
def test_an_exploit_of_either_mode_is_named_with_an_episode_that_only_the_neural_machine_counts(mode: str) -> None:
    found = {"env": ECHO, "mode": mode, "seed": 3, "steps": 80, "neural": 0.8, "real": 0.4, "episode": 6}
    assert exploits([task_with(mode, 0.8, 0.4, [5], [5, 6, 7])]) == [found]
    assert exploits([task_with(mode, 0.8, 0.71, [5], [5, 6])]) == []
    assert exploits([task_with(mode, 0.4, 0.8, [5, 6], [5])]) == []


HOST = {"steps": 1000, "load": 1.5, "threads": 1}


def in_both(value: Any) -> dict[str, Any]:
    return {"argmax": value, "stochastic": value}


def judged(env: str, neural: float, real: float, minutes: dict[str, list[float | None]]) -> dict[str, Any]:
    """What is reported of a task: one seed, one checkpoint, the same in both modes."""
    numbers = {
        "neural_success": {"mean": neural}, "real_success": {"mean": real}, "real_audited": {"mean": real},
        "gain": {"neural": neural, "real": real}, "retention": retention(np.array([neural]), np.array([real])),
    }  # fmt: skip
    trained_on_real = {"real_equal_steps": in_both({"mean": 0.5}), "real_equal_clock": in_both({"mean": 0.75})}
    return {
        "env": env, "random": scored(0, 0), "oracle": scored(1, 1), "neural": in_both(numbers),
        "minutes_to_solve": in_both(minutes), "steps_to_solve": in_both({"neural": [7000]}),
        "variants": {"neural": in_both({"mean": real})}, "rank_correlation": in_both({"spearman": 1.0, "distinct": 4}),
        "seeds": {arm: [
            {"seed": k, "minutes_to_solve": in_both(each), "points": [in_both(scored(neural, real)) | HOST]}
            for k, each in enumerate(of_seeds)
        ] for arm, of_seeds in minutes.items()},
    } | (trained_on_real if "real" in minutes else {})  # fmt: skip


def reported(*tasks: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """The content of a ``transfer.json``."""
    common = {
        "algorithm": "ppo", "num_envs": 8, "steps": 1000, "seeds": 1, "episodes": 10, "test_seed": 5,
        "hyperparameters": {task["env"]: {"gamma": 0.9} for task in tasks},
    }  # fmt: skip
    nothing = {"grid": {"neural": {task["env"]: 1 for task in tasks}}, "seeds": 1, "command": ""}
    return {
        "command": "nc-gym agent transfer", "weights_sha256": "827ad039" * 8, "study": common,
        "summary": summary(tasks), "not_run": nothing, "exploits": [], "tasks": list(tasks),
    } | changes  # fmt: skip


THREE = (
    judged(ECHO, 0.5, 1.0, {"neural": [2.0], "real": [3.0]}),
    judged(FLAG, 1.0, 0.1, {"neural": [None], "real": [4.0]}),
    judged(ADD, 0.0, 0.0, {"neural": [None], "real": [None]}),
)


def test_the_summary_weighs_tasks_alike_in_the_mean_and_by_what_was_learned_when_pooled() -> None:
    found = summary(THREE)["stochastic"]
    assert found["retention"] == {ECHO: 2.0, FLAG: 0.1, ADD: None}
    assert found["mean_retention"] == pytest.approx(1.05) and found["capped_retention"] == pytest.approx(0.55)
    assert found["pooled_retention"] == pytest.approx(1.1 / 1.5)
    assert (found["tasks_learned"], found["tasks"]) == (2, 3)
    again = summary((*THREE, THREE[2]))["argmax"]["rank_correlation"]
    assert (again["checkpoints"], again["distinct"]) == (4, 3)
    assert summary(THREE[2:])["argmax"]["pooled_retention"] is None


def test_the_headline_does_not_hide_the_worst_task_or_that_there_is_one_seed() -> None:
    text = headline(reported(*THREE))
    assert text.startswith("1 training seed per task; intervals over seeds would say nothing, so there are none. ")
    assert (
        "Stochastic policies: mean retention 1.050, 0.550 if no task counts as more than 1, over the 2 of 3 tasks that "
        "were learned at all, "
        "lowest 0.100 (TerminalReadFlag-v0); pooled over all tasks 0.733; "
    ) in text
    nothing = headline(reported(THREE[2]))
    assert (
        "undefined if no task counts as more than 1, over the 0 of 1 tasks that were learned at all; pooled" in nothing
    )


def test_tables_show_intervals_of_several_seeds_only() -> None:
    one = reported(THREE[0])
    assert "| 50.0% | 100.0% | 100.0% | 2.000 | too few points |" in tasks_table(one) and "(" not in tasks_table(one)
    wide = {"low": 0.25, "high": 0.75}
    several = judged(ECHO, 0.5, 1.0, {"neural": [2.0, 2.0]})
    several["neural"]["argmax"]["neural_success"] |= wide
    assert "| 50.0% (25%–75%) | 100.0% | 100.0% |" in tasks_table(reported(several))
    several["neural"]["argmax"]["real_audited"] = None
    assert "| 50.0% (25%–75%) | 100.0% | not audited |" in tasks_table(reported(several))


def test_the_page_names_the_weights_that_the_study_ran_in():
    assert "The neural computer had the weights 827ad039." in page(reported(*THREE))


def test_the_page_says_why_policies_that_mastered_their_task_had_fewer_steps() -> None:
    whole = judged(ECHO, 0.5, 1.0, {"neural": [2.0]})
    assert "1,000 environment steps, 1 training seed of" in page(reported(whole))
    whole["seeds"]["neural"][0]["points"][-1]["steps"] = 999
    assert "1,000 environment steps or fewer (a training ends once its policy solved 95% of" in page(reported(whole))


def test_the_targets_say_what_was_met_and_what_was_missed() -> None:
    lines = page(reported(*THREE)).splitlines()
    faster = "minutes to 90% on real, trained in neural ≤ on real: Terminal"
    for line in (
        "| mean retention, each at most 1, ≥ 0.95 | argmax | 0.550 over 2 of 3 tasks learned | missed |",
        "| rank correlation ≥ 0.9 | stochastic | 0.500 over 3 checkpoints (3 distinct points) | undecided: fewer than "
        "5 distinct points |",
        "| no task below 0.8 | argmax | below: TerminalReadFlag-v0 0.100, 2 of 3 tasks learned | missed |",
        f"| {faster}Echo-v0 | stochastic | neural 2.0; real 3.0 | met |",
        f"| {faster}ReadFlag-v0 | argmax | neural never; real 4.0 | missed |",
        f"| {faster}Add-v0 | argmax | neural never; real never | neither |",
    ):
        assert line in lines
    more = [judged(ADD, rate, rate, {"neural": [None]}) for rate in (0.2, 0.3)]
    assert (
        "| rank correlation ≥ 0.9 | argmax | 0.400 over 5 checkpoints (5 distinct points) | missed |"
        in page(reported(*THREE, *more)).splitlines()
    )
    nothing = page(reported(judged(ADD, 0.0, 0.0, {"neural": [None]})))
    assert (
        "| mean retention, each at most 1, ≥ 0.95 | argmax | undefined over 0 of 1 tasks learned | missed |" in nothing
    )
    assert "| no task below 0.8 | argmax | below: none, 0 of 1 tasks learned | missed |" in nothing
    assert faster not in nothing  # there is no real arm


def test_minutes_are_compared_of_the_seeds_that_both_arms_have() -> None:
    task = judged(ECHO, 0.5, 1.0, {"neural": [2.0, 9.0, 9.0], "real": [3.0]})
    assert paired_minutes(task, "argmax") == {"neural": [2.0], "real": [3.0]}
    assert "Echo-v0 | argmax | neural 2.0; real 3.0 | met |" in page(reported(task))


def test_the_page_says_how_busy_the_host_was() -> None:
    text = page(reported(*THREE))
    assert "Meanwhile 1.5 to 1.5 processes of the host ran" in text and "torch had 1 thread." in text
    assert "Meanwhile" not in page(reported(judged(ADD, 0.0, 0.0, {"neural": [None]})))


def test_the_page_says_why_a_task_is_exploited_or_that_nobody_knows() -> None:
    exploit = {
        "env": FLAG, "mode": "stochastic", "seed": 0, "steps": 4096, "neural": 1.0, "real": 0.09, "episode": 7,
        "video": "exploits/a.mp4", "filmed": {"neural": True, "real": False}, "explanation": "It found a way.",
    }  # fmt: skip
    text = page(reported(*THREE, exploits=[exploit, exploit | {"env": ADD, "mode": "argmax", "explanation": None}]))
    line = "training seed 0, 4,096 steps: 100% neural, 9% real; [film of episode 7](exploits/a.mp4): "
    assert f"### `{FLAG}`\n\n* stochastic, {line}neural solved, real not\n\nIt found a way.\n" in text
    assert f"### `{ADD}`\n\n* argmax, {line}neural solved, real not\n\nNot explained yet" in text
    assert "No policy, argmax or stochastic, did more than 0.1 better" in page(reported(*THREE))


def test_notes_explain_by_task_and_faulty_ones_are_refused(tmp_path: Path) -> None:
    note = read_notes(ROOT / "docs", "ff30a49b" + 56 * "0")["TerminalReadFlag-v0"]
    assert "the file whose name begins so" in note
    assert read_notes(ROOT / "docs", 64 * "0") == {}  # about other weights
    assert read_notes(tmp_path, "") == {}
    (tmp_path / "exploits").mkdir()
    for text in ("[A-v0]\nwhy = 'so'\n", "[A-v0]\ntext = 'so'\n", "A-v0 = 'so'\n", "[A-v0\n"):
        (tmp_path / "exploits" / "notes.toml").write_text(text)
        with pytest.raises(ValueError, match=r"notes\.toml is faulty .* give each task a table"):
            read_notes(tmp_path, "")


def study(out: Path, **changes: Any) -> Study:
    settings = tuple(EnvSetting(env, "neural") for env in (ECHO, "nc_gym/Terminal-v0"))
    values: dict[str, Any] = {
        "settings": settings, "arms": ("neural", "real"), "seeds": 2, "algorithm": "ppo", "num_envs": 2,
        "hyperparameters": {}, "steps": 16, "every": 16, "episodes": 1, "test_seed": 0, "out": out,
    }  # fmt: skip
    return Study(**(values | changes))


def test_a_part_of_the_grid_holds_every_task_and_arm_with_the_first_seeds(tmp_path: Path) -> None:
    order = [(job.seed, job.task, job.arm) for job in jobs(study(tmp_path))]
    first = [(0, task, arm) for task in ("TerminalEcho-v0", "Terminal-v0") for arm in ("neural", "real")]
    assert order == first + [(1, task, arm) for _, task, arm in first]


def test_arms_change_only_where_a_policy_learns(tmp_path: Path) -> None:
    setting = EnvSetting(ECHO, "neural")
    assert arm_setting(setting, "real").machine == "real" and arm_setting(setting, "neural") == setting
    assert arm_setting(setting, "denoise_steps=4").denoise_steps == 4
    assert arm_setting(setting, "horizon=20").max_episode_steps == 20
    assert arm_setting(setting, "obs=latent").obs == "latent"
    for arm in ("obs=smell", "horizon", "horizon=0", "horizon=x", "banana=3"):
        with pytest.raises(ValueError, match=rf"arm '{arm}' is unknown; choose neural, real"):
            arm_setting(setting, arm)
    with pytest.raises(ValueError, match="begin with neural"):
        study(tmp_path, arms=("real", "neural"))


def test_tasks_of_two_cards_are_refused(tmp_path: Path) -> None:
    settings = (EnvSetting(ECHO), EnvSetting("nc_gym/Desktop-v0"))
    with pytest.raises(ValueError, match=r"the cards desktop, terminal; expected tasks of one card.*of each card"):
        study(tmp_path, settings=settings)


def test_recipes_that_differ_in_a_number_that_a_study_has_once_are_refused_unless_it_is_given() -> None:
    def recipes() -> dict[str, dict[str, Any]]:
        return {ECHO: {"n_envs": 8, "gamma": 0.9}, ADD: {"n_envs": 4, "gamma": 0.5}}

    with pytest.raises(ValueError, match=rf"n_envs 8 \({ECHO}\), 4 \({ADD}\); expected one .*pass --num-envs, or"):
        common_number(recipes(), "n_envs", "--num-envs", None)
    left = recipes()
    assert common_number(left, "n_envs", "--num-envs", 16) == 16
    assert left == {ECHO: {"gamma": 0.9}, ADD: {"gamma": 0.5}}
    assert common_number({ECHO: {"n_envs": 8}, ADD: {"n_envs": 8}}, "n_envs", "--num-envs", None) == 8
    text = page(reported(*THREE[:2], study=reported(*THREE[:2])["study"] | {"hyperparameters": left}))
    assert "The tasks have recipes of their own, which differ in gamma" in text


class Begun(Exception):
    """Carries the study that would run."""


def test_tasks_and_arms_may_be_listed_with_spaces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def begin(study: Study) -> None:
        raise Begun(study)

    monkeypatch.setattr("nc_gym.transfer.run", begin)
    arguments = ["agent", "transfer", "--tasks", f"{ECHO}, {ADD}", "--arms", "neural, real", "--out", str(tmp_path)]
    begun = CliRunner().invoke(app, arguments).exception
    assert isinstance(begun, Begun)
    (found,) = begun.args
    assert [setting.env for setting in found.settings] == [ECHO, ADD] and found.arms == ("neural", "real")
    assert set(found.hyperparameters) == {ECHO, ADD} and "n_envs" not in found.hyperparameters[ADD]


def make_job(
    study: Study, env: str, arm: str, seed: int, judged: bool = True, solved: float = 0.0, seconds: float = 1.0
) -> None:
    """Leaves what a job leaves that trained 16 steps: a checkpoint, and its scores if they are done."""
    if arm == "real" and not (study.out / env.rpartition("/")[2] / "neural" / f"seed-{seed}").exists():
        make_job(study, env, "neural", seed)  # a real arm trains as long as its neural one did
    run = study.out / env.rpartition("/")[2] / arm / f"seed-{seed}"
    for folder in ("checkpoints", *(["scores"] if judged else [])):
        (run / folder).mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(run / "checkpoints" / "0000000016.zip", "w") as archive:
        job = Job(EnvSetting(env), arm, seed)
        plan = plan_of(study, job).describe() if env in study.hyperparameters else {}
        point = Point(16, seconds, solved, solved, solved, solved)
        archive.writestr(MEMO, json.dumps({"plan": plan, "points": [asdict(point)]}))
    if judged:
        kept = {"episodes": study.episodes, "test_seed": study.test_seed, "card_sha256": card_sha256("terminal")}
        write_json(run / "scores" / "0000000016.json", kept | {"scores": []})


def test_what_was_not_run_is_told_with_a_command_that_runs_it(tmp_path: Path) -> None:
    settings = (EnvSetting(ADD, obs="screen"), EnvSetting(ECHO, obs="screen"))
    command = f"nc-gym agent transfer --tasks {ADD},{ECHO} --seeds=2 --algo ppo --finished --out runs/a"
    part = study(tmp_path, settings=settings, arms=("neural", "horizon=20"))
    for arm, seed in (("neural", 0), ("neural", 3), ("horizon=20", 0)):
        make_job(part, ADD, arm, seed)
    make_job(part, ECHO, "neural", 0, judged=False)
    found = not_run(part, command)
    arms = ["neural", "horizon=20", "real", "denoise_steps=2", "denoise_steps=4", "obs=latent"]
    assert list(found["grid"]) == arms  # the screen is what it sees
    done = found["grid"]["neural"]
    assert FLAG in done and "nc_gym/Terminal-v0" not in done  # free use is no task
    assert (done[ADD], done[ECHO], done[FLAG], found["grid"]["horizon=20"][ADD], found["seeds"]) == (2, 0, 0, 1, 5)
    assert found["command"] == (
        f"nc-gym agent transfer --algo ppo --out runs/a --tasks {','.join(done)} --arms {','.join(arms)} --seeds 5"
    )
    text = page(reported(*THREE, not_run=found))
    assert "| task | neural | horizon=20 | real |" in text and f"| `{ADD}` | 2 | 1 | 0 |" in text
    assert f"```sh\n{found['command']}\n```" in text and "context corruption" in text


def test_a_study_that_is_whole_asks_for_nothing_more(tmp_path: Path) -> None:
    whole = page(reported(*THREE))
    assert "```sh" not in whole and "context corruption" in whole
    every = study(tmp_path, arms=("neural", *WHOLE_ARMS), seeds=7)
    some = not_run(every, "nc-gym agent transfer")
    assert some["seeds"] == 7 and some["command"].endswith("--seeds 7")
    for arm, tasks in some["grid"].items():
        for env in tasks:
            for seed in range(7):
                make_job(every, env, arm, seed)
    assert not_run(every, "nc-gym agent transfer")["command"] == ""


def test_only_what_is_done_is_published_and_nothing_done_is_said(tmp_path: Path) -> None:
    whole = study(tmp_path)
    make_job(whole, ECHO, "neural", 1)
    make_job(whole, ECHO, "real", 1, judged=False)
    assert seeds_done(whole, whole.settings[0], "neural") == [1] and seeds_done(whole, whole.settings[0], "real") == []
    assert [setting.env for setting in finished(whole).settings] == [ECHO]
    with pytest.raises(ValueError, match=r"no finished job of the neural arm with 17 steps; run the same command"):
        finished(study(tmp_path, steps=17))


def test_a_job_that_mastered_its_task_is_done_however_few_steps_it_took(tmp_path: Path) -> None:
    longer = study(tmp_path, steps=999)
    for seed, solved in enumerate((0.5, 1.0)):
        make_job(longer, ECHO, "neural", seed, solved=solved)
    assert seeds_done(longer, longer.settings[0], "neural") == [1]


def test_a_real_arm_is_done_when_it_took_as_long_as_the_neural_one(tmp_path: Path) -> None:
    part = study(tmp_path)
    for seed, seconds in enumerate((1.0, 9.0)):
        make_job(part, ECHO, "neural", seed, seconds=2.0)
        make_job(part, ECHO, "real", seed, seconds=seconds)
    assert seeds_done(part, part.settings[0], "real") == [1]


def test_jobs_of_another_recipe_or_judged_otherwise_are_not_taken_for_the_studys(tmp_path: Path) -> None:
    part = study(tmp_path, hyperparameters={ECHO: {"n_epochs": 8}})
    make_job(part, ECHO, "neural", 0)
    job = Job(part.settings[0], "neural", 0)
    check_job(part, job)
    with pytest.raises(AgentError, match=r"was started with hyperparameters=\{'n_epochs': 8\}, not \{'n_epochs': 4\}"):
        check_job(replace(part, hyperparameters={ECHO: {"n_epochs": 4}}), job)
    with pytest.raises(ValueError, match=r"made with 1 episodes from seed 0, not 2 from 0"):
        check_job(replace(part, episodes=2), job)


def test_a_job_that_is_done_trains_and_opens_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    part = study(tmp_path, hyperparameters={ECHO: {}})
    make_job(part, ECHO, "neural", 0)
    monkeypatch.setattr("nc_gym.transfer.train", lambda *_, **__: pytest.fail("it trained"))
    assert [point.steps for point in run_job(part, Job(part.settings[0], "neural", 0))] == [16]


def test_scores_of_other_weights_than_those_named_are_not_published() -> None:
    setting = EnvSetting(ECHO)
    now = sha256(setting.weights_file)
    check_weights(setting, [{"machine": "real", "weights_sha256": None}, {"machine": "neural", "weights_sha256": now}])
    with pytest.raises(ValueError, match=r"Echo-v0 were made in the weights 01234567, not in those of .*weights"):
        check_weights(setting, [{"machine": "neural", "weights_sha256": "0123456789"}])


def test_scores_of_other_tasks_or_weights_are_refused_before_anything_is_played(tmp_path: Path) -> None:
    part, setting = study(tmp_path), EnvSetting(ECHO)
    score = {"machine": "neural", "weights_sha256": "0123456789"}
    kept = {"episodes": 1, "test_seed": 0, "card_sha256": card_sha256("terminal"), "scores": [score]}
    write_json(tmp_path / "TerminalEcho-v0" / "baselines.json", kept)
    with pytest.raises(ValueError, match=r"were made in the weights 01234567"):
        baselines(part, setting)
    write_json(tmp_path / "TerminalEcho-v0" / "baselines.json", kept | {"card_sha256": "0", "scores": []})
    with pytest.raises(ValueError, match=r"made with other tasks than the card terminal has now; choose another --out"):
        baselines(part, setting)


def test_a_run_that_went_further_than_the_study_is_told_up_to_its_steps(tmp_path: Path) -> None:
    points = [asdict(point) for point in POINTS]
    for arm, expected in (("neural", [100, 200]), ("horizon=5", [100, 200]), ("real", [100, 200, 300])):
        part = study(tmp_path, steps=150)
        run = tmp_path / "TerminalEcho-v0" / arm / "seed-0" / "checkpoints"
        run.mkdir(parents=True)
        with zipfile.ZipFile(run / "0000000300.zip", "w") as archive:
            archive.writestr(MEMO, json.dumps({"points": points}))
        assert [point.steps for point in curve(part, Job(part.settings[0], arm, 0))] == expected


def test_a_command_line_gets_other_values_and_keeps_the_rest() -> None:
    changed = with_options("nc-gym x --a 1 --b='2 3' --c", {"--a": "9", "--b": "8 7", "--d": "6"})
    assert changed == "nc-gym x --c --a 9 --b '8 7' --d 6"


@pytest.mark.slow
def test_the_whole_study_runs_resumes_and_publishes(
    tmp_path: Path, tiny_weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two seeds, four arms, a few dozen steps, real bash; then again, after a job lost its end."""
    (tmp_path / "tiny.yml").write_text(
        "default: {n_envs: 2, n_timesteps: 32, n_steps: 8, batch_size: 16, n_epochs: 1, learning_rate: 0.001}\n"
    )
    out, docs = tmp_path / "out", tmp_path / "docs"
    arguments = [
        "agent", "transfer", "--tasks", ECHO, "--arms", "neural,real,horizon=5,obs=latent", "--seeds", "2",
        "--every", "16", "--episodes", "2", "--conf", tmp_path / "tiny.yml",
        "--weights", tiny_weights, "--out", out, "--docs", docs,
    ]  # fmt: skip

    def transfer(*changes: str) -> Any:
        return CliRunner().invoke(app, [*map(str, arguments), *changes], catch_exceptions=False)

    assert transfer().exit_code == 0
    made = {path.name for path in docs.iterdir()} - {"exploits"}
    assert made == {"transfer.json", "transfer.md", "transfer_curves.png", "transfer_scatter.png"}
    result = json.loads((docs / "transfer.json").read_text())
    (task,) = result["tasks"]
    assert task["neural"]["argmax"]["real_audited"] is None  # an echo leaves no file
    assert task["env"] == ECHO and task["oracle"]["real"] == {"success_rate": 1, "mean_return": 1, "audited_rate": None}
    assert task["random"]["neural"]["success_rate"] < 1
    assert [seed["seed"] for seed in task["seeds"]["neural"]] == [0, 1]
    for arm in ("neural", "real", "horizon=5", "obs=latent"):
        for seed in task["seeds"][arm]:
            assert [point["steps"] for point in seed["points"]][:2] == [16, 32]
            assert seed["marks"]["equal_steps"]["steps"] == 32
    for neural, real in zip(task["seeds"]["neural"], task["seeds"]["real"], strict=True):
        assert real["points"][-1]["minutes"] >= neural["points"][-1]["minutes"]
    assert set(task["seeds"]["horizon=5"][0]["points"][0]["argmax"]) == {"real"}  # nothing else is told of it
    assert {point["threads"] for point in task["seeds"]["real"][0]["points"]} == {torch.get_num_threads()}
    for mode in ("argmax", "stochastic"):
        assert [len(task["minutes_to_solve"][mode][arm]) for arm in ("neural", "real")] == [2, 2]
        assert set(task["seeds"]["neural"][0]["points"][0]["failed"][mode]) == {"neural", "real"}
    assert result["host"] == host()
    run = result["not_run"]
    assert (run["grid"]["neural"][ECHO], run["grid"]["obs=screen"][ECHO], run["seeds"]) == (2, 0, 5)
    correlation = result["summary"]["argmax"]["rank_correlation"]
    assert correlation["checkpoints"] == 4 and task["rank_correlation"]["argmax"] == correlation
    text = (docs / "transfer.md").read_text()
    assert text.count(f"`{ECHO}`") >= 2 + 2 + 6 and "2 training seeds" in text
    assert ECHO in readme_tables.transfer(tmp_path)

    assert transfer("--agents", str(tmp_path / "agents")).exit_code == 0
    agent = tmp_path / "agents" / "terminal_echo_ppo"
    results = json.loads((agent / "results.json").read_text())
    assert (results["machine"], results["argmax"], results["episodes"]) == ("real", True, 2)
    assert {test["player"] for test in results["tests"]} == {"ppo", "random", "oracle"} and len(results["tests"]) == 8
    assert load_agent(agent).training is not None  # the hash is the shipped policy's
    assert (agent / "replay.mp4").stat().st_size > 0

    settings = (EnvSetting(ECHO, weights=str(tiny_weights)),)
    exploit = {"env": ECHO, "mode": "stochastic", "seed": 1, "steps": 32, "episode": 12345}
    modes = []

    def load(name: str, trust: bool, argmax: bool) -> recording.Agent:
        modes.append(argmax)
        return recording.load_agent(name, trust, argmax)

    monkeypatch.setattr("nc_gym.transfer_agents.load_agent", load)
    shown = film_exploit(study(out, settings=settings), exploit, tmp_path)
    assert shown["video"] == "exploits/TerminalEcho-v0-seed1-32steps-stochastic-episode12345.mp4"
    assert (tmp_path / shown["video"]).stat().st_size > 0 and set(shown["filmed"]) == {"neural", "real"}
    assert modes == [False]  # drawn, as when it was exploited

    (lost,) = out.glob("*/neural/seed-1/scores/0000000032.json")
    lost.unlink()
    kept = {
        path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file() and "tensorboard" not in str(path)
    }
    assert transfer("--finished").exit_code == 0 and not lost.exists()
    (part,) = json.loads((docs / "transfer.json").read_text())["tasks"]
    assert [len(part["seeds"][arm]) for arm in ("neural", "real", "horizon=5")] == [1, 2, 2]
    assert transfer().exit_code == 0 and lost.exists()
    assert all(path.stat().st_mtime_ns == time for path, time in kept.items())
    again = json.loads((docs / "transfer.json").read_text())
    assert again["tasks"] == result["tasks"]
    with pytest.raises(ValueError, match="was made with 2 episodes from seed 12345, not 3"):
        transfer("--episodes", "3")
