"""The model card of a weights folder: its README.md, made of config.json and of what ``nc-gym evaluate`` measured.

No number stands in the card that is not in one of those two files.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from nc_gym.computer import weights
from nc_gym.computer.config import NeuralComputerConfig
from nc_gym.computer.network import Network

CARD = "README.md"
_CURVES = {"characters": "characters right", "exact": "exact screens", "cursor": "cursor right"}
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
        fidelity_json: the fidelity_terminal.json that ``nc-gym evaluate`` wrote for these weights.

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
    parts = [
        front_matter(result),
        _intended_use(network.config),
        architecture(network),
        recipe(network.config),
        fidelity(result),
        _limits(result),
        _files(folder, sums),
        f"## Citation\n\nThe formal idea is that of *Neural Computers*:\n\n```bibtex\n{_CITATION}\n```\n",
    ]
    card = folder / CARD
    card.write_text("\n".join(parts), encoding="utf-8")
    return card


def front_matter(result: dict[str, Any]) -> str:
    """Returns the YAML block that model hubs read."""
    metrics = {
        f"{label} at event {step}": numbers[name]["mean"]
        for step, numbers in result["at_steps"].items()
        for name, label in _CURVES.items()
    }
    protocol = result["paper"]
    metrics["character accuracy (protocol of arXiv 2604.06425)"] = protocol["characters"]["mean"]
    metrics["exact-line accuracy (protocol of arXiv 2604.06425)"] = protocol["lines"]["mean"]
    lines = [
        "---", "license: mit", "library_name: nc_gym", "pipeline_tag: reinforcement-learning", "tags:",
        *(f"- {tag}" for tag in ("reinforcement-learning", "gymnasium", "world-model", "diffusion", "neural-computer")),
        "model-index:", "- name: nc_gym terminal", "  results:", "  - task:", "      type: reinforcement-learning",
        "      name: closed-loop simulation of a bash terminal", "    dataset:", "      type: synthetic-users",
        f"      name: {result['sessions']} held-out sessions of {result['steps']} events, seed {result['seed']}",
        "    metrics:",
    ]  # fmt: skip
    for name, value in metrics.items():
        lines += ["    - type: accuracy", f"      name: {name}", f"      value: {value}"]
    return "\n".join([*lines, "---", ""])


def _intended_use(config: NeuralComputerConfig) -> str:
    size = f"{config.screen_width}×{config.screen_height}"
    return f"""# A neural terminal

A network that is a running computer: it takes one of {config.num_events} events (keys), keeps a runtime state, and
denoises the next screen, {size} pixels. It learned from recordings of real bash, from pixels and events alone; no shell
runs inside.

```python
import gymnasium as gym
import nc_gym

env = gym.make("nc_gym/Terminal-v0")
```

## Intended use

Research on world models and reinforcement learning: agents act inside the network, many at a time, and are then judged
on real bash (`machine="real"`), which has the same spaces. It is no shell: what it prints is a prediction.
"""


def architecture(network: Network) -> str:
    """Returns the section on sizes, from the configuration and the tensors themselves."""
    c = network.config
    what = {
        "codec": f"{c.num_codes} codes of {c.tile_width}×{c.tile_height} pixels, latents of {c.latent_dim}; a table",
        "log": f"event log: causal transformer, {c.num_layers} layers, width {c.width}, {c.num_heads} heads, "
        f"{c.num_kv_heads} key/value heads, ring of {c.memory_tokens} tokens",
        "scout": "names the motion and the damaged tiles",
        "renderer": f"flow-matching denoiser, {c.renderer_layers} layers, width {c.renderer_width}, {c.group} tiles "
        f"per token, {c.denoise_steps} denoising step(s)",
        "foresight": "names the tiles of the next tokens: a training target, and drafts that the log then verifies",
    }
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


def _number(number: dict[str, float], key: str = "mean") -> str:
    return f"{number[key]:.4f} [{number['low']:.4f}, {number['high']:.4f}]"


def fidelity(result: dict[str, Any]) -> str:
    """Returns the section on what was measured."""
    steps = result["at_steps"]
    head = f"| closed loop | {' | '.join(f'event {step}' for step in steps)} |\n|{' --- |' * (len(steps) + 1)}"
    rows = [
        f"| {label} | {' | '.join(_number(numbers[name]) for numbers in steps.values())} |"
        for name, label in _CURVES.items()
    ]
    forced, closed = (result["events"][regime] for regime in ("teacher_forced", "closed_loop"))
    events = [
        f"| {label} | {forced[group][name]['events']} | {_number(forced[group][name], 'share')} | "
        f"{_number(closed[group][name], 'share') if name in closed[group] else 'none counted'} |"
        for group, names in {"kinds": forced["kinds"], "families": forced["families"]}.items()
        for name, label in {name: _label(group, name) for name in names}.items()
    ]
    recall = [
        f"| {name} | {number['events']} | {_number(number, 'share')} |"
        for name, number in result["recall"]["teacher_forced"].items()
    ]
    idle, protocol, host = result["idle"], result["paper"], result["host"]
    machine = f"{host['cpu']}, {host['torch_threads']} threads, torch {host['versions']['torch']}"
    size = f"{result['sessions']} sessions of held-out users, {result['steps']} events each"
    return f"""## Fidelity

`{result["command"]}`, {result["minutes"]} minutes on {machine}: {size}, {result["denoise_steps"]} denoising step(s).
The same events go into the network and into real bash; the network sees only its own screens. Brackets: 95 % bootstrap
interval over sessions.

{head}
{chr(10).join(rows)}

Protocol of *Neural Computers* (its own model, open loop, by OCR: characters 0.54, exact lines 0.31), here in closed
loop by an exact reader: characters {_number(protocol["characters"])}, exact lines {_number(protocol["lines"])}.

Left alone for {idle["noops"]} no-ops in {idle["sessions"]} sessions, it changed {idle["cells_changed"]} cells.

Share of events whose next screen is right: given the true past (teacher-forced), and in closed loop where the screens
agreed before.

| events | number | teacher-forced | closed loop |
| --- | --- | --- | --- |
{chr(10).join(events)}

`cat` of a file by how many commands ago it was written, teacher-forced:

| commands ago | number | right |
| --- | --- | --- |
{chr(10).join(recall)}
"""


def _label(group: str, name: str) -> str:
    kinds = {"key": "all keys but Enter", "enter": "all Enter", "noop": "no-op"}
    return kinds[name] if group == "kinds" else f"Enter: {name}"


def _limits(result: dict[str, Any]) -> str:
    families = result["events"]["teacher_forced"]["families"]
    worst = sorted(families, key=lambda name: families[name]["share"])[:3]
    named = ", ".join(f"{name} {families[name]['share']:.2f}" for name in worst)
    return f"""## Limits

- It was trained on synthetic users of a fixed set of commands, in a home that starts empty; other programs, languages
  and sizes of the screen are unknown to it.
- The commands it gets right least often, given the true past: {named or "none was entered"}.
- What it prints wrongly stays on the screen until it scrolls away.
- Its memory is a ring: what lies further back than the ring is forgotten.
- Floating-point rounding differs between devices and batch sizes; so may screens where it is unsure.
"""


def _files(folder: Path, sums: dict[str, str]) -> str:
    rows = [f"| `{name}` | {(folder / name).stat().st_size:,} | `{sum_}` |" for name, sum_ in sums.items()]
    head = "| file | bytes | sha256 |\n| --- | --- | --- |"
    return f"""## Files and how to reproduce

{head}
{chr(10).join(rows)}

```sh
nc-gym collect terminal --sessions 4000 --steps 192 --seed 0 --out traces/terminal
nc-gym train terminal --traces traces/terminal --minutes 120 --out runs/terminal
nc-gym evaluate terminal --weights runs/terminal/weights --out docs --card
```

These commands train a terminal of this kind; what these very weights were trained on, and for how long, is in the table
under Training.
"""
