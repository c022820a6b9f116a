"""The model card of a weights folder: its README.md, made of config.json and of what ``nc-gym evaluate`` measured.

No number stands in the card that is not in one of those two files.
"""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType
from typing import Any

from nc_gym import model_card_desktop, model_card_terminal
from nc_gym.computer import weights
from nc_gym.computer.config import NeuralComputerConfig
from nc_gym.computer.weights import AnyNetwork

CARD = "README.md"
_CITATION = """@misc{neuralcomputers2026,
  author = {Zhuge and others},
  title = {Neural Computers},
  year = {2026},
  eprint = {2604.06425},
  archivePrefix = {arXiv}
}"""


def write_card(folder: str | Path, fidelity_json: str | Path) -> Path:
    """Writes README.md into a weights folder.

    Args:
        folder: the weights folder.
        fidelity_json: the JSON file that ``nc-gym evaluate`` wrote for these weights.

    Returns:
        The card's path.

    Raises:
        WeightsError: the folder is no weights folder, or the JSON file was measured with other weights.
    """
    folder = Path(folder)
    network, _ = weights.load(folder)
    result = json.loads(Path(fidelity_json).read_text(encoding="utf-8"))
    sums = {name: weights.sha256(folder / name) for name in (weights.CONFIG, weights.MODEL, weights.BOOTS)}
    if result["weights"]["sha256"] != sums:
        raise weights.WeightsError(
            f"{fidelity_json} was measured with other weights than {folder}; run `{result['command']}` with these first"
        )
    config = network.config
    page = _page(config)
    parts = [
        front_matter(result, config),
        page.intended_use(config),
        architecture(network),
        recipe(config),
        page.fidelity(result),
        page.limits(result),
        _files(folder, sums, config),
        f"## Citation\n\nThe formal idea is that of *Neural Computers*:\n\n```bibtex\n{_CITATION}\n```\n",
    ]
    card = folder / CARD
    card.write_text("\n".join(parts), encoding="utf-8")
    return card


def _page(config: NeuralComputerConfig) -> ModuleType:
    """Returns the module that knows what to say about this kind of computer."""
    return {"terminal": model_card_terminal, "desktop": model_card_desktop}[config.machine]


def front_matter(result: dict[str, Any], config: NeuralComputerConfig) -> str:
    """Returns the YAML block that model hubs read."""
    page = _page(config)
    lines = [
        "---", "license: mit", "library_name: nc_gym", "pipeline_tag: reinforcement-learning", "tags:",
        *(f"- {tag}" for tag in ("reinforcement-learning", "gymnasium", "world-model", "diffusion", "neural-computer")),
        "model-index:", f"- name: nc_gym {config.machine}", "  results:", "  - task:",
        "      type: reinforcement-learning", f"      name: {page.TASK}", "    dataset:", "      type: synthetic-users",
        f"      name: {result['sessions']} held-out sessions of {result['steps']} events, seed {result['seed']}",
        "    metrics:",
    ]  # fmt: skip
    for name, value in page.metrics(result).items():
        lines += ["    - type: accuracy", f"      name: {name}", f"      value: {value}"]
    return "\n".join([*lines, "---", ""])


def architecture(network: AnyNetwork) -> str:
    """Returns the section on sizes, from the configuration and the tensors themselves."""
    what = _page(network.config).parts(network.config)
    counts = {name: sum(p.numel() for p in module.parameters()) for name, module in network.named_children()}
    lines = [f"| {name} | {what[name]} | {count:,} |" for name, count in counts.items()]
    head = "| part | what | trained parameters |\n| --- | --- | --- |"
    total = f"{sum(counts.values()):,} trained parameters, stored as bf16."
    return f"## Architecture\n\n{total}\n\n{head}\n" + "\n".join(lines) + "\n"


def recipe(config: NeuralComputerConfig) -> str:
    """Returns the section on how the weights were made: all that config.json says of it."""
    head = "## Training\n\nFrom `config.json`:\n\n| what | value |\n| --- | --- |"
    rows = [f"| {name.replace('_', ' ')} | {_cell(value)} |" for name, value in config.training.items()]
    if not rows:
        return "## Training\n\n`config.json` does not say how these weights were made.\n"
    return head + "\n" + "\n".join(rows) + "\n"


def _cell(value: object) -> str:
    return str(value).replace("|", "\\|").replace("\n", " ")


def _files(folder: Path, sums: dict[str, str], config: NeuralComputerConfig) -> str:
    kind = config.machine
    rows = [f"| `{name}` | {(folder / name).stat().st_size:,} | `{sum_}` |" for name, sum_ in sums.items()]
    head = "| file | bytes | sha256 |\n| --- | --- | --- |"
    return f"""## Files and how to reproduce

{head}
{chr(10).join(rows)}

```sh
{_page(config).COMMANDS}
```

These commands train a {kind} of this kind; what these very weights were trained on, and for how long, is in the table
under Training.
"""
