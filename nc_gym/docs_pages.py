"""Writes the documentation page of every environment, from its card and the class docstrings.

    python -m nc_gym.docs_pages        # writes docs/envs/*.md

A test compares the pages in ``docs/envs`` with what this module makes.
"""

from __future__ import annotations

import ast
import inspect
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nc_gym import env as env_module
from nc_gym.env import ComputerEnv, ComputerInfo
from nc_gym.paths import data_root
from nc_gym.registration import Card, EnvironmentCard, card_names, load_card
from nc_gym.tasks import HOLD
from nc_gym.vector_env import ComputerVectorEnv

NOTE = "<!-- Written by `python -m nc_gym.docs_pages` from the card and the class docstrings; edit those. -->\n"
ORACLE_AIM = 0.95  # of the oracle's episodes in the neural computer


def pages() -> dict[str, str]:
    """Returns the text of every page by file name."""
    texts = {}
    for name in card_names():
        card = load_card(name)
        for environment in card.environments.values():
            texts[file_name(environment.id)] = page(card, environment)
    return texts


def file_name(env_id: str) -> str:
    """Returns the file of an environment's page: ``nc_gym/Terminal-v0`` has ``Terminal-v0.md``."""
    return env_id.split("/")[-1] + ".md"


def page(card: Card, environment: EnvironmentCard) -> str:
    """Returns one environment's page as Markdown."""
    parts = [
        f"# {environment.id}",
        NOTE,
        environment.summary,
        usage(environment.id),
        "## Task",
        task_table(environment),
        *measured(card, environment),
    ]
    for title, text in sections(inspect.getdoc(ComputerEnv) or "").items():
        if title == "Arguments":
            text = f"Of `gym.make({environment.id!r}, ...)`:\n\n" + arguments_table(text)
        if title == "Info":
            text = "The keys are the same after every reset and step.\n\n" + info_table()
        parts += [f"## {title}", text]
    parts += ["## Vectorized environment", vector_text(environment.id)]
    parts += ["## Registered configurations", configurations(card)]
    if card.places:
        rows = [(f"`{name}`", f"{x}, {y}") for name, (x, y) in card.places.items()]
        parts += ["## Places", "Pixels that have names in the card.", table(("place", "x, y"), rows)]
    parts += ["## Version history", "* v0: first version"]
    return "\n\n".join(part.strip() for part in parts) + "\n"


def usage(env_id: str) -> str:
    """Returns the lines that make the environment on either machine."""
    return "\n".join(
        [
            "```python",
            "import gymnasium as gym",
            "import nc_gym",
            "",
            "gym.register_envs(nc_gym)",
            f'env = gym.make("{env_id}")  # the neural computer',
            f'twin = gym.make("{env_id}", machine="real")  # the real one, with the same spaces',
            "```",
        ]
    )


def task_table(environment: EnvironmentCard) -> str:
    """Returns what the card says about the task."""
    task = environment.task
    rows = [("Instruction", code(task.instruction) if task.instruction else "none")]
    if task.success:
        goals = "; then ".join(predicate.describe() for predicate in task.success)
        rows += [("Success", f"{goals}, on {HOLD} screens in a row")]
        typing = f"{task.typing_share:g} for typing the oracle's lines, the rest for success"
        rows += [("Reward", typing if task.typing_share else "1 for success")]
        rows += [("Oracle", code(task.oracle))]
    if task.oracle_words:
        rows += [("Oracle in words", ", ".join(map(code, task.oracle_words)))]
    if task.setup:
        rows += [("Setup", f"{code(task.setup)}, {task.setups} different ones per split")]
    if task.audit:
        rows += [("Audit on the real machine", code(task.audit))]
    rows += [(f"Parameter `{name}`", parameter.describe()) for name, parameter in task.parameters.items()]
    rows += [("Actions", f"`{environment.actions}`, unless `actions=` says otherwise")]
    rows += [("Episode length", f"at most {environment.max_episode_steps} steps")]
    if environment.reward_threshold is not None:
        rows += [("Counts as solved", f"mean return {environment.reward_threshold:g}")]
    return table(("", ""), [*rows, ("Boots", ", ".join(map(str, task.boots)))])


def measured(card: Card, environment: EnvironmentCard) -> list[str]:
    """Returns what ``nc-gym tasks`` measured of the environment, and its film; nothing if it was not measured."""
    docs = data_root() / "docs"
    parts = []
    scores = docs / f"tasks_{card.name}.json"
    if scores.is_file():
        result = json.loads(scores.read_text(encoding="utf-8"))
        rows = []
        found = [score for score in result["scores"] if score["env"] == environment.id]
        for score in found:
            audited = "" if score["audited_rate"] is None else f"{score['audited_rate']:.0%}"
            numbers = (f"{score['success_rate']:.0%}", f"{score['mean_return']:.3f}", audited)
            rows.append((f"`{score['actions']}`", score["player"], score["machine"], *numbers))
        if rows:
            conditions = f"{result['episodes']} episodes each, split `{result['split']}`, from seed {result['seed']}"
            header = ("actions", "player", "machine", "solved", "mean return", "confirmed by the true state")
            parts += ["## Measured", f"By `nc-gym tasks {card.name}`: {conditions}.", table(header, rows)]
            parts += fidelity_bugs(found)
    film = file_name(environment.id).replace(".md", ".gif")
    if (docs / "envs" / film).is_file():
        parts += [f"![The oracle]({film})"]
    if card.machine == "desktop" and not environment.task.success:
        parts += predicates(docs / "predicates_desktop.json")
    return parts


def fidelity_bugs(scores: list[dict[str, Any]]) -> list[str]:
    """Names the presets in which the neural computer denies the oracle its success too often."""
    denied = [
        f"{score['success_rate']:.0%} with `{score['actions']}`" for score in scores
        if (score["player"], score["machine"]) == ("oracle", "neural") and score["success_rate"] < ORACLE_AIM
    ]  # fmt: skip
    if not denied:
        return []
    return [
        "**A bug of fidelity:** what the oracle does solves this task in the neural computer only in "
        f"{' and '.join(denied)} of the episodes; the aim is {ORACLE_AIM:.0%}."
    ]


def predicates(path: Path) -> list[str]:
    """Returns how far the desktop's predicates agree with the window manager, if that was measured."""
    if not path.is_file():
        return []
    result = json.loads(path.read_text(encoding="utf-8"))
    cells = ("holds, seen", "holds, not seen", "does not hold, seen", "does not hold, not seen")
    windows, texts = [], []
    for kind, counts in result["kinds"].items():
        if kind.startswith("text"):
            texts.append((kind, *(f"{counts.get(name, 0):,}" for name in ("same", "unreadable", "other"))))
        else:
            windows.append((kind, *(f"{counts.get(name, 0):,}" for name in cells)))
    text = (
        f"Counted by `nc-gym tasks desktop` over {result['sessions']} sessions of {result['events']} events by "
        "held-out users on the real desktop: what the pixels say against the window manager's list, and texts with the "
        "pointer drawn against the same without it."
    )
    return [
        "## What the predicates see", text, table(("predicate", *cells), windows),
        table(("text", "the same", "unreadable", "another"), texts),
    ]  # fmt: skip


def code(script: str) -> str:
    """Returns a script in Markdown, with its newlines visible."""
    return "`" + script.replace("\n", "\\n") + "`"


def sections(docstring: str) -> dict[str, str]:
    """Splits a docstring at its ``## Title`` lines."""
    pieces = re.split(r"^## (.*)$", docstring, flags=re.M)
    return dict(zip(pieces[1::2], (tidy(piece) for piece in pieces[2::2]), strict=True))


def tidy(text: str) -> str:
    """Turns reStructuredText literals and roles into Markdown."""
    text = re.sub(r":\w+:`(?:~?[\w.]*\.)?(\w+)`", r"`\1`", text)
    return text.replace("``", "`").strip("\n").rstrip()


def arguments_table(text: str) -> str:
    """Turns a Google-style ``Args:`` block into a table."""
    entries = re.findall(r"^ {4}(\w+): (.*(?:\n {8,}.*)*)", text, flags=re.M)
    return table(("argument", "meaning"), [(f"`{name}`", re.sub(r"\s+", " ", meaning)) for name, meaning in entries])


def info_table() -> str:
    """Returns the keys of ``info`` from the fields of ``ComputerInfo`` and the texts below them."""
    source = ast.parse(inspect.getsource(env_module))
    body = next(n.body for n in source.body if isinstance(n, ast.ClassDef) and n.name == ComputerInfo.__name__)
    rows = []
    for field, text in zip(body[1::2], body[2::2], strict=True):
        assert isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)
        assert isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant)
        rows.append((f"`{field.target.id}`", re.sub(r"\s+", " ", tidy(str(text.value.value)))))
    return table(("key", "value"), rows)


def vector_text(env_id: str) -> str:
    """Returns the vector environment's docstring with an example above and its arguments as a table."""
    prose, _, arguments = (inspect.getdoc(ComputerVectorEnv) or "").partition("Args:")
    example = f'```python\nenvs = gym.make_vec("{env_id}", num_envs=8)\n```'
    return f"{example}\n\n{tidy(prose)}\n\n{arguments_table(tidy(arguments))}"


def configurations(card: Card) -> str:
    """Returns the environments of the card."""
    entries = card.environments.values()
    rows = [(f"[`{e.id}`]({file_name(e.id)})", e.summary, str(e.max_episode_steps)) for e in entries]
    return table(("id", "task", "steps"), rows)


def table(header: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    """Returns a Markdown table."""
    lines = [header, ("---",) * len(header), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def main() -> None:
    """Writes all pages and removes those of environments that are gone."""
    folder = data_root() / "docs" / "envs"
    folder.mkdir(parents=True, exist_ok=True)
    texts = pages()
    for old in set(folder.glob("*.md")) - {folder / name for name in texts}:
        old.unlink()
    for name, text in texts.items():
        Path(folder / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
