"""What ``nc-gym agent transfer`` publishes: ``transfer.json``, ``transfer.md``, two plots, and videos of exploits."""

from __future__ import annotations

import platform
from dataclasses import asdict
from pathlib import Path
from typing import Any

import nc_gym
from nc_gym.agent_file import sha256
from nc_gym.agent_train import checkpoint_at
from nc_gym.docs_pages import table
from nc_gym.fidelity_report import dumps
from nc_gym.recording import film_episode, load_agent, open_sides
from nc_gym.transfer import Job, Study, folder
from nc_gym.transfer_numbers import SOLVED, exploits, summary, task_numbers
from nc_gym.video import VideoWriter

JSON, PAGE, CURVES, SCATTER = "transfer.json", "transfer.md", "transfer_curves.png", "transfer_scatter.png"


def publish(study: Study, docs: Path, command: str) -> dict[str, Any]:
    """Writes everything into the folder ``docs`` and returns the content of the JSON file.

    Args:
        study: a study of which every job is done.
        docs: folder; videos of exploits go into ``docs/exploits``.
        command: the command line that made the study.
    """
    tasks = [task_numbers(study, index) for index in range(len(study.settings))]
    found = exploits(tasks)
    for exploit in found:
        exploit["video"] = _film(study, exploit, docs)
    weights = study.settings[0].weights_file
    result = {
        "command": command, "nc_gym": nc_gym.__version__, "package_sha256": sha256(Path(nc_gym.__file__).parent),
        "weights_sha256": sha256(weights) if weights else None, "host": platform.processor() or platform.machine(),
        "study": {name: value for name, value in asdict(study).items() if name not in ("settings", "out")},
        "summary": summary(tasks), "exploits": found, "tasks": tasks,
    }  # fmt: skip
    docs.mkdir(parents=True, exist_ok=True)
    (docs / JSON).write_text(dumps(result), encoding="utf-8")
    _plot_curves(result, docs / CURVES)
    _plot_scatter(result, docs / SCATTER)
    (docs / PAGE).write_text(page(result), encoding="utf-8")
    return result


def _film(study: Study, exploit: dict[str, Any], docs: Path) -> str:
    """Films an exploited episode on both machines and returns the video's path below ``docs``."""
    setting = next(setting for setting in study.settings if setting.env == exploit["env"])
    job = Job(setting, "neural", exploit["seed"])
    agent = load_agent(str(checkpoint_at(folder(study, job), exploit["steps"])), trust=True)
    name = f"exploits/{job.task}-seed{job.seed}-{exploit['steps']}steps-episode{exploit['episode']}.mp4"
    sides = open_sides(setting.env, "both", agent.obs, setting.weights, setting.actions, "test")
    try:
        with VideoWriter(docs / name, sides[0].env.metadata["render_fps"]) as video:
            film_episode(sides, agent.start, exploit["episode"], video)
    finally:
        for side in sides:
            side.env.close()
    return name


def page(result: dict[str, Any]) -> str:
    """Returns the text of ``transfer.md``."""
    study = result["study"]
    parts = [
        "# Transfer: trained in the neural computer, judged on the real one",
        f"`{result['command']}` wrote this page and [{JSON}]({JSON}). {_protocol(study)}",
        f"## Results\n\n{headline(result)}\n\n{tasks_table(result)}",
        f"## The same recipe on the real machine\n\n{_real_table(result)}",
        f"## Other ways to train in the neural computer\n\n{_variants_table(result)}",
        f"## Success against environment steps\n\n![curves]({CURVES})\n\n"
        f"## Neural against real score, every checkpoint\n\n![scatter]({SCATTER})",
        f"## Exploits\n\n{_exploits_text(result)}",
    ]
    return "\n\n".join(parts) + "\n"


def _protocol(study: dict[str, Any]) -> str:
    return (
        f"{study['algorithm']}, {study['num_envs']} computers in a batch, {study['steps']:,} environment steps, "
        f"{study['seeds']} training seeds; every test plays the same {study['episodes']} episodes (seeds from "
        f"{study['test_seed']}, test parameters) on both machines. Intervals are 95 % bootstraps over training seeds; "
        "retention is the gain over random actions on the real machine divided by that on the neural one; audited "
        "counts the real episodes whose success the machine's files confirm."
        + (" With one training seed the intervals have no width and say nothing." if study["seeds"] == 1 else "")
    )


def headline(result: dict[str, Any]) -> str:
    """Returns the summary in one sentence per mode."""
    sentences = []
    for mode, numbers in result["summary"].items():
        correlation = numbers["rank_correlation"]
        sentences.append(
            f"{mode.capitalize()} policies: mean retention {_plain(numbers['mean_retention'])} over the "
            f"{numbers['tasks_learned']} of {numbers['tasks']} tasks that were learned at all; rank correlation of "
            f"neural and real return {_plain(correlation['spearman'])} over {correlation['checkpoints']} checkpoints."
        )
    return " ".join(sentences)


def tasks_table(result: dict[str, Any]) -> str:
    """Returns the main table: per task and mode, success on both machines and retention."""
    rows = []
    for task in result["tasks"]:
        for mode, numbers in task["neural"].items():
            random = " / ".join(f"{task['random'][m]['success_rate']:.0%}" for m in ("neural", "real"))
            oracle = " / ".join(f"{task['oracle'][m]['success_rate']:.0%}" for m in ("neural", "real"))
            rows.append((
                f"`{task['env']}`", mode, _share(numbers["neural_success"]), _share(numbers["real_success"]),
                _share(numbers["real_audited"]), _ratio(numbers["retention"]), random, oracle,
            ))  # fmt: skip
    heads = ("task", "actions", "neural", "real", "real, audited", "retention", "random: neural / real", "oracle")
    return table(heads, rows)


def _real_table(result: dict[str, Any]) -> str:
    if "real_equal_steps" not in result["tasks"][0]:
        return "Not run: the arm `real` was left out."
    rows = []
    for task in result["tasks"]:
        minutes = (_minutes(task["minutes_to_solve"][arm]) for arm in ("neural", "real"))
        rows.append((
            f"`{task['env']}`", _share(task["neural"]["argmax"]["real_success"]),
            _share(task["real_equal_steps"]["argmax"]), _share(task["real_equal_clock"]["argmax"]), *minutes,
        ))  # fmt: skip
    solved = f"minutes to {SOLVED:.0%} on real, per seed"
    heads = ("task, success on real (argmax)", "trained in neural", "on real, equal steps", "on real, equal wall-clock",
             f"{solved}: neural", f"{solved}: real")  # fmt: skip
    return table(heads, rows)


def _variants_table(result: dict[str, Any]) -> str:
    rows = [
        (
            f"`{task['env']}`", arm, *(_number(numbers[mode]) for mode in ("argmax", "stochastic")),
            ", ".join("never" if steps is None else f"{steps:,}" for steps in task["steps_to_solve"][arm]),
            _minutes(task["minutes_to_solve"][arm]),
        )
        for task in result["tasks"] for arm, numbers in task["variants"].items()
    ]  # fmt: skip
    heads = ("task", "trained with", "real return, argmax", "real return, stochastic",
             f"steps to {SOLVED:.0%} on real (argmax), per seed", "minutes")  # fmt: skip
    return table(heads, rows)


def _exploits_text(result: dict[str, Any]) -> str:
    if not result["exploits"]:
        return "No policy did more than 0.1 better (argmax) in the neural computer than on the real one."
    lines = [
        f"* `{e['env']}`, training seed {e['seed']}, {e['steps']:,} steps: {e['neural']:.0%} neural, "
        f"{e['real']:.0%} real; [episode {e['episode']} on both]({e['video']})"
        for e in result["exploits"]
    ]
    return "Policies that do more than 0.1 better in the neural computer than on the real one:\n\n" + "\n".join(lines)


def _plain(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.3f}"


def _share(number: dict[str, float]) -> str:
    return f"{number['mean']:.1%} ({number['low']:.0%}–{number['high']:.0%})"


def _number(number: dict[str, float]) -> str:
    return f"{number['mean']:.3f} ({number['low']:.3f}–{number['high']:.3f})"


def _ratio(number: dict[str, float] | None) -> str:
    return "not learned" if number is None else f"{number['ratio']:.3f} ({number['low']:.3f}–{number['high']:.3f})"


def _minutes(values: list[float | None]) -> str:
    return ", ".join("never" if value is None else f"{value:.1f}" for value in values)


def _plot_curves(result: dict[str, Any], path: Path) -> None:
    """Draws success on both machines against environment steps, a panel per task, a line per training seed."""
    from matplotlib.figure import Figure

    tasks = result["tasks"]
    figure = Figure(figsize=(4 * min(3, len(tasks)), 3 * -(-len(tasks) // 3)), layout="constrained")
    grid = figure.subplots(-(-len(tasks) // 3), min(3, len(tasks)), squeeze=False).ravel()
    for axes, task in zip(grid, tasks, strict=False):
        for machine, color in (("neural", "tab:blue"), ("real", "tab:red")):
            for k, seed in enumerate(task["seeds"]["neural"]):
                steps = [point["steps"] for point in seed["points"]]
                success = [point["argmax"][machine]["success_rate"] for point in seed["points"]]
                axes.plot(steps, success, color=color, alpha=0.7, marker=".", label=machine if k == 0 else None)
        axes.set(title=task["env"].rpartition("/")[2], xlabel="environment steps", ylabel="solved", ylim=(-0.02, 1.02))
        axes.legend()
    for axes in grid[len(tasks) :]:
        axes.set_axis_off()
    figure.savefig(path, dpi=110)


def _plot_scatter(result: dict[str, Any], path: Path) -> None:
    """Draws the mean return on the real machine against that on the neural one, a dot per checkpoint."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5, 5), layout="constrained")
    axes = figure.subplots()
    for task in result["tasks"]:
        points = [point["argmax"] for seed in task["seeds"]["neural"] for point in seed["points"]]
        pairs = [(point["neural"]["mean_return"], point["real"]["mean_return"]) for point in points]
        neural, real = zip(*pairs, strict=True)
        axes.scatter(neural, real, s=14, alpha=0.7, label=task["env"].rpartition("/")[2])
    axes.plot([0, 1], [0, 1], color="grey", linewidth=0.8)
    axes.set(xlabel="mean return, neural", ylabel="mean return, real", xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    axes.legend(fontsize=8)
    figure.savefig(path, dpi=110)
