"""Writes the tables of README.md from the cards and from the JSON files that the commands wrote.

    python -m nc_gym.readme_tables

A table stands between ``<!-- table:NAME -->`` and ``<!-- /table:NAME -->``. A test compares README.md with what this
module makes, so no number in a table can come from anywhere but its file.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

from nc_gym.bench_report import flatness
from nc_gym.docs_pages import file_name, table
from nc_gym.paths import data_root
from nc_gym.registration import card_names, load_card

Table = Callable[[Path], str]


def _measured(file: str, command: str) -> Callable[[Callable[[dict[str, Any]], str]], Table]:
    """Makes a table of the repository's ``docs/<file>`` from a table of its content, or says what writes that file."""

    def of_content(make: Callable[[dict[str, Any]], str]) -> Table:
        @wraps(make)
        def of_root(root: Path) -> str:
            path = root / "docs" / file
            return make(json.loads(path.read_text())) if path.is_file() else f"Not measured yet: `{command}`."

        return of_root

    return of_content


def environments(root: Path) -> str:
    """Returns the table of all registered environments, and how often the network grants the oracle its success."""
    rows = []
    for name in card_names():
        path = root / "docs" / f"tasks_{name}.json"
        scores = json.loads(path.read_text(encoding="utf-8"))["scores"] if path.is_file() else []
        for entry in load_card(name).environments.values():
            page = f"docs/envs/{file_name(entry.id)}"
            solved = " / ".join(
                f"{score['success_rate']:.0%}" for score in scores
                if (score["env"], score["player"], score["machine"]) == (entry.id, "oracle", "neural")
            )  # fmt: skip
            rows.append((f"[`{entry.id}`]({page})", entry.summary, str(entry.max_episode_steps), solved))
    return table(("id", "task", "steps at most", "oracle in the network: events / words"), rows)


@_measured("bench_terminal.json", "nc-gym bench terminal --json docs/bench_terminal.json")
def speed(result: dict[str, Any]) -> str:
    """Returns the table of ``docs/bench_terminal.json``."""
    rows = []
    for machine, environment in zip(result["neural"], result["neural_environment"], strict=True):
        rows.append((f"neural, {machine['rows']} in a batch", *_speed_cells(machine, environment)))
    half = result["neural_environment_bfloat16"]
    name = f'neural, {half["rows"]} in a batch, `dtype="bfloat16"`'
    rows.append((name, "", "", f"{half['steps_per_second']:,.0f}", ""))
    rows.append(("real bash", *_speed_cells(result["real"], result["real_environment"])))
    for processes, rate in result["real_processes"].items():
        if processes != "1":
            rows.append((f"real bash, {processes} processes", "", f"{rate:,.0f}", "", ""))
    speeds = table(("machine", "ms per step, median", "steps/s", "environment steps/s", "tiles denoised"), rows)
    when = _when(result["weights"]["sha256"], "nc_gym/Terminal-v0")
    return f"{_host_sentence(result)}\n\n{speeds}\n\n{_calls_sentence(result)}{when}"


def _speed_cells(machine: dict[str, Any], environment: dict[str, Any]) -> tuple[str, ...]:
    damage = "" if machine["damage"] is None else f"{machine['damage']:.2%}"
    rates = (f"{machine['steps_per_second']:,.0f}", f"{environment['steps_per_second']:,.0f}")
    return (f"{machine['ms_per_step']:.2f}", *rates, damage)


def _host_sentence(result: dict[str, Any]) -> str:
    host, rates = result["host"], result["arithmetic"]["matrix_product_gflops"]
    of_rows = result["arithmetic"]["step_gflops"]
    return (
        f"{host['cpu']}, torch {host['versions']['torch']} (threads: {host['torch_threads']}); its matrix products "
        f"reach {rates['float32']:.0f} GFLOP/s in float32 and {rates['bfloat16']:.0f} in bfloat16, the steps of "
        f"{', '.join(of_rows)} rows {', '.join(f'{rate:.1f}' for rate in of_rows.values())} GFLOP/s."
    )


@_measured("bench_desktop.json", "nc-gym bench desktop --json docs/bench_desktop.json")
def desktop_speed(result: dict[str, Any]) -> str:
    """Returns the table of ``docs/bench_desktop.json``."""
    from nc_gym.desktop_bench import cells, flatness

    names = ("neural", "neural_batch", "neural_environment", "real", "real_environment")
    rows = [cells(name, result[name]) for name in names if result.get(name) is not None]
    speeds = table(("desktop", "rows", "steps/s", "pointer move", "window opening"), rows)
    when = _when(result["weights"]["sha256"], "nc_gym/Desktop-v0")
    return f"{_host_sentence(result)}\n\n{speeds}\n\n{flatness(result)}.{when}"


def _calls_sentence(result: dict[str, Any]) -> str:
    calls = result["calls_ms"]
    first, last = flatness(result["episode_ms"]).values()
    early, late = flatness(result["episode_echo_ms"]).values()
    sentences = (
        "Steps/s count all of the time, commands that redraw the screen, too, which the median does not show.",
        f"After a session, a step of 32 rows takes {calls['neural_step_32']:.1f} ms, a fork of one of them into 32",
        f"{calls['neural_fork_32']:.1f} ms, with its first step, which copies what they remember,",
        f"{calls['neural_fork_and_step_32']:.1f} ms;",
        f"reset of 32 rows {calls['neural_reset_32']:.2f} ms, of one real shell {calls['real_reset_1']:.1f} ms.",
        f"Along an episode of {len(result['episode_ms']):,} steps a step takes {first:.2f} ms at the start and",
        f"{last:.2f} ms at the end ([plot](docs/bench_flat.png)); a key that only echoes its",
        f"character takes {early:.2f} and {late:.2f} ms.",
    )
    return " ".join(sentences)


@_measured("fidelity_terminal.json", "nc-gym evaluate terminal --out docs")
def fidelity(result: dict[str, Any]) -> str:
    """Returns the tables of ``docs/fidelity_terminal.json``: closed loop by step, and events by kind and family."""
    head = f"{result['sessions']} held-out sessions of {result['steps']} keys; mean and 95 % interval over sessions."
    steps = result["at_steps"]
    rows = [(name, *(_interval(steps[step][key], "mean") for step in steps)) for name, key in FIDELITY_ROWS.items()]
    loop = table(("closed loop", *(f"step {step}" for step in steps)), rows)
    last = _other_sentence(result) + _when(result["weights"]["sha256"]["model.safetensors"], "nc_gym/Terminal-v0")
    return "\n\n".join((head, loop, _events_table(result["events"]), last))


@_measured("fidelity_desktop.json", "nc-gym evaluate desktop --out docs")
def desktop_fidelity(result: dict[str, Any]) -> str:
    """Returns the tables of ``docs/fidelity_desktop.json``: what was aimed at, and closed loop by step."""
    from nc_gym.desktop_fidelity_report import CURVES, aims, class_mean, lpips_sentence

    head = f"{result['sessions']} held-out sessions of {result['steps']} events; mean and 95 % interval over sessions."
    aimed = []
    for aim in aims(result):
        if isinstance(aim.measured, int):
            cells = f"{aim.measured:,}", f"{aim.wanted}"
        else:
            cells = _interval(aim.measured, "mean") if aim.measured else "not measured", f"≥ {aim.wanted}"
        aimed.append((aim.name, *cells, aim.verdict))
    steps = result["at_steps"]
    rows = [(name, *(_interval(steps[step][key], "mean") for step in steps)) for key, name in CURVES.items()]
    loop = table(("closed loop", *(f"step {step}" for step in steps)), rows)
    last = (
        f"{result['transitions']['classes']} classes of transitions, of which the mean accuracy is "
        f"{class_mean(result['transitions']['table']):.3f}. {lpips_sentence(result['similarity'])} "
        "[Every number and its definition](docs/fidelity_desktop.json), "
        "[plot](docs/fidelity_desktop.png), [worst failures](docs/failures_desktop.png)."
        + _when(result["weights"]["sha256"]["model.safetensors"], "nc_gym/Desktop-v0")
    )
    return "\n\n".join((head, table(("closed loop", "measured", "aim", ""), aimed), loop, last))


@_measured("goal_vs_random.json", "python -m nc_gym.desktop_fidelity_study goal-directed=WEIGHTS random=WEIGHTS")
def goal_vs_random(result: dict[str, Any]) -> str:
    """Returns the table of ``docs/goal_vs_random.json``: one column per desktop, whatever it was trained on."""
    from nc_gym.desktop_fidelity_report import TARGETS

    desktops = result["desktops"]
    rows = [
        (name, *(_interval(one[name], "mean") if one[name] else "not measured" for one in desktops.values()))
        for name in TARGETS
    ]
    by_user = [one["pixels that each event changed, by user"] for one in desktops.values()]
    for user, number in by_user[0].items():
        kind = "the goal-directed user" if user == "goal" else f"the random, {user} user"
        label = f"changed pixels right, {number['events']:,} events of {kind}"
        rows.append((label, *(_interval(shares[user], "share") for shares in by_user)))
    rows.append(
        ("pixels changed by no-ops alone", *(f"{one['pixels changed when idle']:,}" for one in desktops.values()))
    )
    facts = [one["training"] for one in desktops.values()]
    labels = {"training sessions": "sessions", "training minutes": "trained_minutes", "optimizer steps": "steps"}
    rows += [(label, *(f"{fact[name]:,}" for fact in facts)) for label, name in labels.items()]
    head = f"{result['sessions']} held-out sessions of {result['steps']} events, the same for all."
    return f"{head}\n\n{table(('trained on', *desktops), rows)}"


FIDELITY_ROWS = {"characters right": "characters", "exact screens": "exact", "cursor right": "cursor"}


def _interval(number: dict[str, float], key: str) -> str:
    return f"{number[key]:.4f} ({number['low']:.3f}–{number['high']:.3f})"


def _events_table(events: dict[str, Any]) -> str:
    """Returns the share of events drawn exactly: keys, Enter, and the commands of each family."""
    rows = []
    for group, names in (("kinds", {"key": "any key but Enter", "enter": "Enter"}), ("families", None)):
        forced, loop = events["teacher_forced"][group], events["closed_loop"][group]
        for name in names or forced:
            if name in forced:
                label = names[name] if names else f"Enter: {name}"
                closed = _interval(loop[name], "share") if name in loop else ""
                rows.append((label, f"{forced[name]['events']:,}", _interval(forced[name], "share"), closed))
    return table(
        ("event, next screen exact", "events", "after the true past", "closed loop, from an exact screen"), rows
    )


def _other_sentence(result: dict[str, Any]) -> str:
    idle, paper = result["idle"], result["paper"]
    sentences = (
        f"Left alone for {idle['noops']:,} no-ops, {idle['sessions']} terminals changed",
        f"{idle['cells_changed']:,} cells.",
        f"By the paper's measure (arXiv 2604.06425): characters {paper['characters']['mean']:.3f}, exact lines",
        f"{paper['lines']['mean']:.3f}; the paper reports 0.54 and 0.31 for open-loop videos.",
        "[Every number](docs/fidelity_terminal.json), [plot](docs/fidelity_terminal.png),",
        "[first failures](docs/failures_terminal.png).",
    )
    return " ".join(sentences)


def agents(root: Path) -> str:
    """Returns the table of ``agents/*/results.json``, which ``nc-gym agent`` wrote."""
    rows = []
    for path in sorted((root / "agents").glob("*/results.json")):
        result = json.loads(path.read_text())
        scores = {(test["player"], test["machine"], test["argmax"]): test for test in result["tests"]}
        name = f"[{path.parent.name}](agents/{path.parent.name})"
        for player in dict.fromkeys(player for player, *_ in scores):
            modes, trained = ((True, False), _trained(result)) if player == result["player"] else ((None,), "")
            cells = (
                " / ".join(_score(scores.get((player, machine, mode))) for mode in modes)
                for machine in ("neural", "real")
            )
            rows.append((name, f"`{result['env']}`", player, *cells, str(result["episodes"]), trained))
    if not rows:
        return "None shipped yet."
    head = "Share of episodes solved, mean return; a policy's by likeliest (argmax), then drawn actions (stochastic)."
    columns = ("neural, argmax / stochastic", "real, argmax / stochastic", "episodes", "trained with")
    return f"{head}\n\n{table(('agent', 'environment', 'player', *columns), rows)}"


def _score(test: dict[str, Any] | None) -> str:
    return "–" if test is None else f"{test['success_rate']:.1%}, {test['mean_return']:.3f}"


def _older(weights_sha256: str | None, env: str) -> str | None:
    """Names the weights, None where no network ran, if they are not those that now ship for the environment."""
    cards = [load_card(name) for name in card_names()]
    shipped = next(card.weights_sha256 for card in cards if env in card.environments)
    return None if weights_sha256 in (shipped, None) else f"older weights {weights_sha256[:8]}"


def _when(weights_sha256: str | None, env: str) -> str:
    """Says so, in a sentence, if a number was measured in other weights than those that now ship."""
    older = _older(weights_sha256, env)
    return f" Measured in {older}, not those that ship now." if older else ""


def _trained(result: dict[str, Any]) -> str:
    """Says what an agent was trained with if that is not the shipped weights and the training episodes."""
    training = result["training"]
    older = _older(training["weights_sha256"], result["env"])
    parts = [older] if older else []
    parts += [f"episodes of {training['split']}"] if training["split"] != "train" else []
    return ", ".join(parts)


@_measured("transfer.json", "nc-gym agent transfer")
def transfer(result: dict[str, Any]) -> str:
    """Returns the summary and the main table of ``docs/transfer.json``, of tasks of the terminal."""
    return _study(result, "docs/transfer.md")


@_measured("transfer_desktop/transfer.json", "nc-gym agent transfer --docs docs/transfer_desktop")
def desktop_transfer(result: dict[str, Any]) -> str:
    """Returns the same of ``docs/transfer_desktop/transfer.json``."""
    return _study(result, "docs/transfer_desktop/transfer.md")


def _study(result: dict[str, Any], page: str) -> str:
    from nc_gym.transfer_report import headline, tasks_table

    when = _when(result["weights_sha256"], result["tasks"][0]["env"])
    return f"{headline(result)}{when} [Everything]({page}).\n\n{tasks_table(result)}"


TABLES: dict[str, Table] = {
    "environments": environments,
    "fidelity": fidelity,
    "desktop_fidelity": desktop_fidelity,
    "speed": speed,
    "desktop_speed": desktop_speed,
    "goal_vs_random": goal_vs_random,
    "agents": agents,
    "transfer": transfer,
    "desktop_transfer": desktop_transfer,
}


def fill(text: str, root: Path) -> str:
    """Returns ``text`` with every table between its markers made anew.

    Raises:
        ValueError: a marker names no table, or a table has no marker.
    """
    found = re.findall(r"<!-- table:(\w+) -->", text)
    if sorted(found) != sorted(TABLES):
        raise ValueError(f"README.md has the table markers {found}; expected each of {sorted(TABLES)} once")
    for name in found:
        start, end = f"<!-- table:{name} -->", f"<!-- /table:{name} -->"
        head, _, rest = text.partition(start)
        text = f"{head}{start}\n{TABLES[name](root)}\n{end}{rest.partition(end)[2]}"
    return text


def main() -> None:
    """Rewrites README.md."""
    readme = data_root() / "README.md"
    readme.write_text(fill(readme.read_text(encoding="utf-8"), data_root()), encoding="utf-8")


if __name__ == "__main__":
    main()
