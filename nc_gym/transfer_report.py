"""What ``nc-gym agent transfer`` publishes: ``transfer.json``, ``transfer.md``, two plots, and videos of exploits."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from math import inf
from pathlib import Path
from typing import Any

import nc_gym
from nc_gym.agent_file import PACKAGE_SHA256, sha256
from nc_gym.agent_train import MASTERED, VALIDATION_EPISODES
from nc_gym.bench import host
from nc_gym.docs_pages import table
from nc_gym.fidelity_report import dumps
from nc_gym.transfer import Study, finished, not_run
from nc_gym.transfer_agents import NOTES, film_exploit, read_notes
from nc_gym.transfer_numbers import (
    CORRELATION,
    EXPLOIT,
    LEARNED,
    LEAST,
    RETENTION,
    SOLVED,
    exploits,
    median_minutes,
    paired_minutes,
    summary,
    task_numbers,
)

FEW_POINTS = 5  # distinct ones, below which a rank correlation says nothing
JSON, PAGE, CURVES, SCATTER = "transfer.json", "transfer.md", "transfer_curves.png", "transfer_scatter.png"


def publish(study: Study, docs: Path, command: str) -> dict[str, Any]:
    """Writes everything into the folder ``docs`` and returns the content of the JSON file.

    Args:
        study: what is not done of it is told as not run.
        docs: folder; videos of exploits go into ``docs/exploits``, whose notes explain them.
        command: the command line that made the study.
    """
    tasks = [task_numbers(study, setting) for setting in finished(study).settings]
    file = study.settings[0].weights_file
    weights = sha256(file) if file else None
    found, notes = exploits(tasks), read_notes(docs, weights or "")
    for exploit in found:
        exploit |= {"explanation": notes.get(_name(exploit["env"]))} | film_exploit(study, exploit, docs)
    result = {
        "command": command, "nc_gym": nc_gym.__version__, "package_sha256": PACKAGE_SHA256,
        "weights_sha256": weights, "host": host(),
        "study": {name: value for name, value in asdict(study).items() if name not in ("settings", "out")},
        "summary": summary(tasks), "not_run": not_run(study, command), "exploits": found, "tasks": tasks,
    }  # fmt: skip
    docs.mkdir(parents=True, exist_ok=True)
    text = dumps(result)
    (docs / JSON).write_text(text, encoding="utf-8")
    result = json.loads(text)  # the page says what the file holds, which is rounded
    _plot_curves(result, docs / CURVES)
    _plot_scatter(result, docs / SCATTER)
    (docs / PAGE).write_text(page(result), encoding="utf-8")
    return result


def page(result: dict[str, Any]) -> str:
    """Returns the text of ``transfer.md``."""
    parts = [
        "# Transfer: trained in the neural computer, judged on the real one",
        f"`{result['command']}` wrote this page and [{JSON}]({JSON}). {_protocol(result)}",
        f"## Results\n\n{headline(result)}\n\n{tasks_table(result)}",
        f"## Targets\n\n{_targets_table(result)}",
        f"## The same recipe on the real machine\n\n{_real_table(result)}",
        f"## Other ways to train in the neural computer\n\n{_variants_table(result)}",
        f"## Success against environment steps (argmax)\n\n![curves]({CURVES})\n\n"
        f"## Neural against real return, every checkpoint (argmax)\n\n![scatter]({SCATTER})",
        f"## Exploits\n\n{_exploits_text(result)}",
        f"## What was run, and what was not\n\n{_not_run_text(result)}",
    ]
    return "\n\n".join(parts) + "\n"


def _protocol(result: dict[str, Any]) -> str:
    study = result["study"]
    several = max(_neural_seeds(result)) > 1
    intervals = "Intervals are 95 % bootstraps over training seeds, of resamples that learned. " if several else ""
    weights = result["weights_sha256"]
    return (
        f"{study['algorithm']}, {study['num_envs']} computers in a batch, {study['steps']:,} environment steps"
        f"{_fewer(result)}, {_seeds(result)} of the neural arm per task; every test plays the same "
        f"{study['episodes']} episodes (seeds from {study['test_seed']}, test parameters) on both machines. "
        f"{intervals}Retention is the gain over random actions on the real machine divided by that on the neural one, "
        f"of tasks whose gain there is at least {LEARNED}; audited counts the real episodes whose success the "
        f"machine's files confirm. Minutes to {SOLVED:.0%} are compared by their median over the training seeds that "
        "both arms have, where "
        f"never counts as infinitely long.{_recipes_sentence(study['hyperparameters'])}"
        + (f" The neural computer had the weights {weights[:8]}." if weights else "")
    )


def _fewer(result: dict[str, Any]) -> str:
    """Says why some policies had fewer steps, if any had."""
    seeds = [seed for task in result["tasks"] for of_arm in task["seeds"].values() for seed in of_arm]
    if all(seed["points"][-1]["steps"] >= result["study"]["steps"] for seed in seeds):
        return ""
    return (
        f" or fewer (a training ends once its policy solved {MASTERED:.0%} of its last hundred episodes and, by "
        f"argmax, of {VALIDATION_EPISODES} more with training parameters; if it then solves less than {SOLVED:.0%} of "
        "the test on real, that counts as never)"
    )


def _neural_seeds(result: dict[str, Any]) -> list[int]:
    """Returns how many training seeds of the neural arm there are, by task."""
    return [len(task["seeds"]["neural"]) for task in result["tasks"]]


def _seeds(result: dict[str, Any]) -> str:
    least, most = min(_neural_seeds(result)), max(_neural_seeds(result))
    return f"{least} to {most} training seeds" if least < most else f"{most} training seed{'s' if most > 1 else ''}"


def _recipes_sentence(hyperparameters: dict[str, dict[str, Any]]) -> str:
    """Names the recipe, or if the tasks have their own what they differ in."""
    recipes = list(hyperparameters.values())
    names = sorted({name for recipe in recipes for name in recipe})
    own = [name for name in names if any(recipe.get(name) != recipes[0].get(name) for recipe in recipes)]
    if own:
        return f" The tasks have recipes of their own, which differ in {', '.join(own)} ([{JSON}]({JSON}))."
    return f" The recipe: {', '.join(f'{name} {value}' for name, value in recipes[0].items())}."


def headline(result: dict[str, Any]) -> str:
    """Returns the summary: how many training seeds, then one sentence per mode."""
    alone = max(_neural_seeds(result)) == 1
    caveat = "; intervals over seeds would say nothing, so there are none" if alone else ""
    sentences = [f"{_seeds(result)} per task{caveat}."]
    for mode, numbers in result["summary"].items():
        sentences.append(
            f"{mode.capitalize()} policies: mean retention {_plain(numbers['mean_retention'])}, "
            f"{_plain(numbers['capped_retention'])} if no task counts as more than 1, over the "
            f"{numbers['tasks_learned']} of {numbers['tasks']} tasks that were learned at all{_lowest(numbers)}; "
            f"pooled over all tasks {_plain(numbers['pooled_retention'])}; rank correlation of neural and real return "
            f"{_correlation(numbers)}."
        )
    return " ".join(sentences)


def _lowest(numbers: dict[str, Any]) -> str:
    ratios = {env: ratio for env, ratio in numbers["retention"].items() if ratio is not None}
    if not ratios:
        return ""
    env = min(ratios, key=ratios.__getitem__)
    return f", lowest {ratios[env]:.3f} ({_name(env)})"


def _own_correlation(found: dict[str, Any]) -> str:
    return "too few points" if found["distinct"] < FEW_POINTS else _plain(found["spearman"])


def _correlation(numbers: dict[str, Any]) -> str:
    found = numbers["rank_correlation"]
    return f"{_plain(found['spearman'])} over {found['checkpoints']} checkpoints ({found['distinct']} distinct points)"


def _targets_table(result: dict[str, Any]) -> str:
    rows = []
    for mode, numbers in result["summary"].items():
        for target, measured, verdict in (*_targets(numbers), *_minutes_targets(result["tasks"], mode)):
            rows.append((target, mode, measured, verdict))
    return table(("target", "actions", "measured", "met or missed"), rows)


def _targets(numbers: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Yields what was aimed at over all tasks: target, measured, and whether it was met."""
    mean, learned = numbers["capped_retention"], f"{numbers['tasks_learned']} of {numbers['tasks']} tasks learned"
    yield f"mean retention, each at most 1, ≥ {RETENTION}", f"{_plain(mean)} over {learned}", _verdict(mean, RETENTION)
    correlation = numbers["rank_correlation"]["spearman"]
    few = numbers["rank_correlation"]["distinct"] < FEW_POINTS
    verdict = f"undecided: fewer than {FEW_POINTS} distinct points" if few else _verdict(correlation, CORRELATION)
    yield f"rank correlation ≥ {CORRELATION}", _correlation(numbers), verdict
    ratios = {env: ratio for env, ratio in numbers["retention"].items() if ratio is not None}
    below = ", ".join(f"{_name(env)} {ratio:.3f}" for env, ratio in ratios.items() if ratio < LEAST)
    lowest = min(ratios.values(), default=None)
    yield f"no task below {LEAST}", f"below: {below or 'none'}, {learned}", _verdict(lowest, LEAST)


def _verdict(value: float | None, aim: float) -> str:
    return "met" if value is not None and value >= aim else "missed"


def _minutes_targets(tasks: list[dict[str, Any]], mode: str) -> Iterator[tuple[str, str, str]]:
    """Yields the same of the time to learn each task, by the median over the training seeds that both arms have."""
    for task in tasks:
        minutes = paired_minutes(task, mode) if "real" in task["seeds"] else {}
        if minutes.get("real"):
            neural, real = (median_minutes(minutes[arm]) for arm in ("neural", "real"))
            verdict = "neither" if neural == real == inf else "met" if neural <= real else "missed"
            measured = "; ".join(f"{arm} {_minutes(minutes[arm])}" for arm in ("neural", "real"))
            target = f"minutes to {SOLVED:.0%} on real, trained in neural ≤ on real: {_name(task['env'])}"
            yield target, measured, verdict


def tasks_table(result: dict[str, Any]) -> str:
    """Returns the main table: per task and mode, success on both machines and retention."""
    rows = []
    for task in result["tasks"]:
        for mode, numbers in task["neural"].items():
            random = " / ".join(f"{task['random'][m]['success_rate']:.0%}" for m in ("neural", "real"))
            oracle = " / ".join(f"{task['oracle'][m]['success_rate']:.0%}" for m in ("neural", "real"))
            rows.append((
                f"`{task['env']}`", mode, _share(numbers["neural_success"]), _share(numbers["real_success"]),
                _share(numbers["real_audited"]), _ratio(numbers["retention"]),
                _own_correlation(task["rank_correlation"][mode]), random, oracle,
            ))  # fmt: skip
    heads = ("task", "actions", "neural", "real", "real, audited", "retention", "rank correlation",
             "random: neural / real", "oracle")  # fmt: skip
    return table(heads, rows)


def _real_table(result: dict[str, Any]) -> str:
    tasks = [task for task in result["tasks"] if "real_equal_steps" in task]
    if not tasks:
        return "Not run: no job of the arm `real` is done."
    rows = [
        (
            f"`{task['env']}`", mode, _share(numbers["real_success"]), _share(task["real_equal_steps"][mode]),
            _share(task["real_equal_clock"][mode]),
            *(_minutes(task["minutes_to_solve"][mode][arm]) for arm in ("neural", "real")),
        )
        for task in tasks for mode, numbers in task["neural"].items()
    ]  # fmt: skip
    solved = f"minutes to {SOLVED:.0%} on real, per seed"
    heads = ("task, success on real", "actions", "trained in neural", "on real, equal steps",
             "on real, equal wall-clock", f"{solved}: neural", f"{solved}: real")  # fmt: skip
    return f"{table(heads, rows)}\n\n{_costs_sentence(tasks)}"


def _costs_sentence(tasks: list[dict[str, Any]]) -> str:
    """Says what the minutes hold, and on how busy a host they passed."""
    seeds = [seed for task in tasks for arm in ("neural", "real") for seed in task["seeds"][arm]]
    points = [point for seed in seeds for point in seed["points"] if point.get("load") is not None]  # older: not noted
    text = (
        "Minutes are of collecting steps and learning from them, without opening computers, saving and judging. Once a "
        "policy solves its task, most of the real machine's are fresh shells, one for each episode."
    )
    if points:
        loads, threads = [point["load"] for point in points], sorted({point["threads"] for point in points})
        text += (
            f" Meanwhile {min(loads):.1f} to {max(loads):.1f} processes of the host ran or waited for one of its "
            f"processors; torch had {' or '.join(map(str, threads))} thread{'s' if threads != [1] else ''}."
        )
    return text


def _variants_table(result: dict[str, Any]) -> str:
    rows = [
        (
            f"`{task['env']}`", arm, mode, _number(number),
            ", ".join(f"{seed['points'][-1]['steps']:,}" for seed in task["seeds"][arm]),
            ", ".join("never" if steps is None else f"{steps:,}" for steps in task["steps_to_solve"][mode][arm]),
            _minutes(task["minutes_to_solve"][mode][arm]),
        )
        for task in result["tasks"] for arm, numbers in task["variants"].items() for mode, number in numbers.items()
    ]  # fmt: skip
    heads = ("task", "trained with", "actions", "real return", "steps trained, per seed",
             f"steps to {SOLVED:.0%} on real, per seed", "minutes to that, per seed")  # fmt: skip
    return table(heads, rows)


def _exploits_text(result: dict[str, Any]) -> str:
    found = result["exploits"]
    if not found:
        return f"No policy, argmax or stochastic, did more than {EXPLOIT} better in the neural computer than on real."
    parts = [
        f"Policies that do more than {EXPLOIT} better in the neural computer than on the real one. In a film both get "
        "the actions that were chosen from the neural screens; stochastic ones are drawn anew, so that it may end "
        "otherwise than the test did."
    ]
    for env in dict.fromkeys(exploit["env"] for exploit in found):
        its = [exploit for exploit in found if exploit["env"] == env]
        explanation = its[0]["explanation"] or f"Not explained yet; the explanation belongs in `{NOTES}`."
        parts += [f"### `{env}`", "\n".join(map(_exploit_line, its)), explanation]
    return "\n\n".join(parts)


def _exploit_line(exploit: dict[str, Any]) -> str:
    filmed = ", ".join(f"{machine} {'solved' if yes else 'not'}" for machine, yes in exploit["filmed"].items())
    return (
        f"* {exploit['mode']}, training seed {exploit['seed']}, {exploit['steps']:,} steps: {exploit['neural']:.0%} "
        f"neural, {exploit['real']:.0%} real; [film of episode {exploit['episode']}]({exploit['video']}): {filmed}"
    )


def _not_run_text(result: dict[str, Any]) -> str:
    run = result["not_run"]
    arms, tasks = list(run["grid"]), list(next(iter(run["grid"].values())))
    rows = [(f"`{task}`", *(str(run["grid"][arm][task]) for arm in arms)) for task in tasks]
    text = f"Training seeds that were run, of {run['seeds']}:\n\n{table(('task', *arms), rows)}\n\n"
    if run["command"]:
        text += (
            f"The rest, where the folder of `--out`, these weights and the recipe above are, without doing again what "
            f"there is; elsewhere all of it:\n\n```sh\n{run['command']}\n```\n\n"
        )
    return (
        text + "Networks trained with and without context corruption (wrong tiles put into their past, and sessions "
        "that they played by themselves) were not compared: there are no second weights."
    )


def _name(env: str) -> str:
    return env.rpartition("/")[2]


def _plain(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.3f}"


def _share(number: dict[str, float] | None) -> str:
    return "not audited" if number is None else f"{number['mean']:.1%}{_interval(number, '.0%')}"


def _number(number: dict[str, float]) -> str:
    return f"{number['mean']:.3f}{_interval(number, '.3f')}"


def _ratio(number: dict[str, float] | None) -> str:
    return "not learned" if number is None else f"{number['ratio']:.3f}{_interval(number, '.3f')}"


def _interval(number: dict[str, float], form: str) -> str:
    """Returns the interval in brackets; a number from one training seed has none."""
    return f" ({number['low']:{form}}–{number['high']:{form}})" if "low" in number else ""


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
        axes.set(title=_name(task["env"]), xlabel="environment steps", ylabel="solved", ylim=(-0.02, 1.02))
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
        axes.scatter(neural, real, s=14, alpha=0.7, label=_name(task["env"]))
    axes.plot([0, 1], [0, 1], color="grey", linewidth=0.8)
    axes.set(xlabel="mean return, neural", ylabel="mean return, real", xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    axes.legend(fontsize=8)
    figure.savefig(path, dpi=110)
