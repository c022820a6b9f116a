"""What a neural terminal's model card says: its numbers come from ``fidelity_terminal.json``."""

from __future__ import annotations

from typing import Any

from nc_gym.computer.config import NeuralComputerConfig
from nc_gym.fidelity_report import aims
from nc_gym.model_card_parts import aims_table, measured, missed_aims, number

_CURVES = {"characters": "characters right", "exact": "exact screens", "cursor": "cursor right"}
TASK = "closed-loop simulation of a bash terminal"
COMMANDS = """nc-gym collect terminal --sessions 4000 --steps 192 --seed 0 --out traces/terminal
nc-gym train terminal --traces traces/terminal --minutes 120 --out runs/terminal
nc-gym evaluate terminal --weights runs/terminal/weights --out docs --card"""


def metrics(result: dict[str, Any]) -> dict[str, float]:
    """Returns the numbers that model hubs show, by name."""
    found = {
        f"{label} at event {step}": numbers[name]["mean"]
        for step, numbers in result["at_steps"].items()
        for name, label in _CURVES.items()
    }
    protocol = result["paper"]
    found["character accuracy (protocol of arXiv 2604.06425)"] = protocol["characters"]["mean"]
    found["exact-line accuracy (protocol of arXiv 2604.06425)"] = protocol["lines"]["mean"]
    return found


def intended_use(config: NeuralComputerConfig) -> str:
    """Returns the headline, what it is, and what it is for."""
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


def parts(config: NeuralComputerConfig) -> dict[str, str]:
    """Says what each part of the network does."""
    c = config
    return {
        "codec": f"{c.num_codes} codes of {c.tile_width}×{c.tile_height} pixels, latents of {c.latent_dim}; a table",
        "log": f"event log: causal transformer, {c.num_layers} layers, width {c.width}, {c.num_heads} heads, "
        f"{c.num_kv_heads} key/value heads, ring of {c.memory_tokens} tokens",
        "scout": "names the motion and the damaged tiles",
        "renderer": f"flow-matching denoiser, {c.renderer_layers} layers, width {c.renderer_width}, {c.group} tiles "
        f"per token, {c.denoise_steps} denoising step(s)",
        "foresight": "names the tiles of the next tokens: a training target, and drafts that the log then verifies",
    }


def fidelity(result: dict[str, Any]) -> str:
    """Returns the section on what was measured."""
    steps = result["at_steps"]
    head = f"| closed loop | {' | '.join(f'event {step}' for step in steps)} |\n|{' --- |' * (len(steps) + 1)}"
    rows = [
        f"| {label} | {' | '.join(number(numbers[name]) for numbers in steps.values())} |"
        for name, label in _CURVES.items()
    ]
    forced, closed = (result["events"][regime] for regime in ("teacher_forced", "closed_loop"))
    events = [
        f"| {label} | {forced[group][name]['events']} | {number(forced[group][name], 'share')} | "
        f"{number(closed[group][name], 'share') if name in closed[group] else 'none counted'} |"
        for group, names in {"kinds": forced["kinds"], "families": forced["families"]}.items()
        for name, label in {name: _label(group, name) for name in names}.items()
    ]
    recall = [
        f"| {name} | {each['events']} | {number(each, 'share')} |"
        for name, each in result["recall"]["teacher_forced"].items()
    ]
    idle, protocol = result["idle"], result["paper"]
    return f"""## Fidelity

{measured(result)}
The same events go into the network and into real bash; the network sees only its own screens. Brackets: 95 % bootstrap
interval over sessions.

{aims_table(aims(result))}

{head}
{chr(10).join(rows)}

Protocol of *Neural Computers* (its own model, open loop, by OCR: characters 0.54, exact lines 0.31), here in closed
loop by an exact reader: characters {number(protocol["characters"])}, exact lines {number(protocol["lines"])}.

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


def limits(result: dict[str, Any]) -> str:
    """Returns what it cannot do."""
    families = result["events"]["teacher_forced"]["families"]
    worst = sorted(families, key=lambda name: families[name]["share"])[:3]
    named = ", ".join(f"{name} {families[name]['share']:.2f}" for name in worst)
    return f"""## Limits

- It was trained on synthetic users of a fixed set of commands, in a home that starts empty; other programs, languages
  and sizes of the screen are unknown to it.
- {missed_aims(aims(result))}
- The commands it gets right least often, given the true past: {named or "none was entered"}.
- What it prints wrongly stays on the screen until it scrolls away.
- Its memory is a ring: what lies further back than the ring is forgotten.
- Floating-point rounding differs between devices and batch sizes; so may screens where it is unsure.
"""
