"""What a neural desktop's model card says: its numbers come from ``fidelity_desktop.json``."""

from __future__ import annotations

from typing import Any

from nc_gym.computer.config import NeuralComputerConfig
from nc_gym.desktop_fidelity_measures import CURVES
from nc_gym.desktop_fidelity_report import aims, class_mean, lpips_sentence, target_numbers
from nc_gym.model_card_parts import aims_table, measured, missed_aims, number

TASK = "closed-loop simulation of an X11 desktop"
COMMANDS = """nc-gym collect desktop --sessions 2000 --steps 200 --seed 0 --out traces/desktop
nc-gym train desktop --traces traces/desktop --minutes 120 --out runs/desktop
nc-gym evaluate desktop --weights runs/desktop/weights --out docs --card"""
_WORST_CLASS_EVENTS = 5  # a class with fewer events is not named among the worst


def metrics(result: dict[str, Any]) -> dict[str, float]:
    """Returns the numbers that model hubs show, by name."""
    return {name: each["mean"] for name, (each, _) in target_numbers(result).items() if each is not None}


def intended_use(config: NeuralComputerConfig) -> str:
    """Returns the headline, what it is, and what it is for."""
    size = f"{config.screen_width}×{config.screen_height}"
    return f"""# A neural desktop

A network that is a running computer: it takes one event (pointer position, button, key), keeps a runtime state, and
denoises the next screen, {size} pixels. It learned from recordings of a real X11 desktop (jwm, xterm, xcalc, xedit),
from screens, the pointer's images and place (which an X server hands out apart from the screen), events, and the window
lists that the recordings hold. No X server, window manager or program runs inside: which windows there are it says
itself, event after event, and the pointer is pasted where it says that it is.

```python
import gymnasium as gym
import nc_gym

env = gym.make("nc_gym/Desktop-v0")
```

## Intended use

Research on world models and reinforcement learning: agents act inside the network, many at a time, and are then judged
on the real desktop (`machine="real"`), which has the same spaces. It is no desktop: what its windows show is a
prediction.
"""


def parts(config: NeuralComputerConfig) -> dict[str, str]:
    """Says what each part of the network does."""
    c = config
    patch = f"{c.patch * c.tile_width}×{c.patch * c.tile_height}"
    return {
        "codec": f"{c.num_codes} codes of {c.tile_width}×{c.tile_height} pixels, latents of {c.latent_dim}; a table",
        "encoder": f"reads patches of {patch} pixels",
        "changes": "tells the event log what an event changed on the screen",
        "log": f"event log: causal transformer, {c.num_layers} layers, width {c.width}, {c.num_heads} heads, "
        f"{c.num_kv_heads} key/value heads, ring of {c.memory_tokens} tokens; reads where the pointer is "
        "and the tiles around it",
        "outlook": "names the pointer's place and image, the motion, and whether anything changes",
        "foresight": "tells the log what event comes, so that it may say what that one draws; used in training only",
        "table": f"names the {c.windows} topmost windows after an event: state, title, place in the task list, box, "
        "and the box it goes back to when it is no longer maximised; the log reads them before the next",
        "told": "tells scout, painter and denoiser which windows there are after the event",
        "image": "names the pointer's image, with the outlook, over the windows that there are after the event",
        "scout": f"sees the pointer as heat maps and names the damaged patches, {c.scout_layers} layers, "
        f"width {c.scout_width}",
        "echo": "names how far from where it stands a part of the screen is shown once more",
        "painter": f"chooses for each damaged patch what it shows, up to {c.versions} earlier states of it, what "
        "its window showed there when it was last seen and the echo included, "
        f"{c.painter_layers} layers",
        "look": "tells a tile that is drawn what stands around it, where the pointer is, and what the log says",
        "denoiser": f"names the odds of all codes for a drawn tile, width {c.renderer_width}; Bayes' rule makes of "
        f"them the clean latent that the flow goes to, {c.denoise_steps} denoising step(s); a single one sees no noise",
    }


def fidelity(result: dict[str, Any]) -> str:
    """Returns the section on what was measured."""
    steps = result["at_steps"]
    curves = [
        f"| {label} | {' | '.join(number(numbers[name]) for numbers in steps.values())} |"
        for name, label in CURVES.items()
    ]
    idle, transitions = result["idle"], result["transitions"]
    groups = [
        f"| {group[:-1]}: {name} | {each['events']:,} | {number(each, 'share')} | {_exact(result, group, name)} |"
        for group in ("users", "programs", "purposes")
        for name, each in result["events"][group]["pixels"].items()
    ]
    classes = [
        f"| {name} | {each['events']} | {number(each, 'share')} |" for name, each in transitions["table"].items()
    ]
    return f"""## Fidelity

{measured(result)}
The same events go into the network and into the real desktop; the network sees only its own screens. Brackets: 95 %
bootstrap interval over sessions. What each number means stands in `fidelity_desktop.json`.

{aims_table(aims(result))}

| closed loop | {" | ".join(f"event {step}" for step in steps)} |
|{" --- |" * (len(steps) + 1)}
{chr(10).join(curves)}

{_other(result)}

Left alone for {idle["noops"]} no-ops in {idle["sessions"]} sessions, it changed {idle["pixels_changed"]:,} pixels.

Of the pixels that an event changed, the share that is right; and of the events before which the whole screen was right,
the share after which it still was:

| events | number | pixels right | screen still right (of so many) |
| --- | --- | --- | --- |
{chr(10).join(groups)}

Transition accuracy by class ({transitions["classes"]} classes):

| class | events | accuracy |
| --- | --- | --- |
{chr(10).join(classes)}
"""


def _exact(result: dict[str, Any], group: str, name: str) -> str:
    """Returns how often the whole screen stayed right, in a cell of a table."""
    each = result["events"][group]["exact"].get(name)
    return "" if each is None else f"{number(each, 'share')} ({each['events']:,})"


def _other(result: dict[str, Any]) -> str:
    """Returns what stands beside the aims: happened, doing nothing, PSNR and text shown."""
    sentences = []
    transitions, similarity, shown = result["transitions"], result["similarity"], result["text"]["shown"]
    if transitions["table"]:
        sentences.append(
            f"Transition accuracy, mean over classes: {class_mean(transitions['table']):.3f}. "
            "If the screen must also be nearer to what should follow than to what was before: "
            f"{number(transitions['and_happened'], 'share')}; of a computer that ignores every event: "
            f"{number(transitions['if_nothing_happened'], 'share')}."
        )
    if similarity is not None:
        decibels = similarity["psnr"]["mean"]
        sentences.append(f"PSNR over the same screens as SSIM: {'∞' if decibels is None else f'{decibels:.2f} dB'}.")
    sentences.append(f"{lpips_sentence(similarity)} FVD is not measured: it needs the weights of another network.")
    if shown is not None:
        sentences.append(f"All characters in xterm after a key typed into it: {number(shown, 'share')}.")
    return "\n".join(sentences)


def limits(result: dict[str, Any]) -> str:
    """Returns what it cannot do."""
    table = result["transitions"]["table"]
    often = [name for name in table if table[name]["events"] >= _WORST_CLASS_EVENTS]
    named = (f"{name} ({table[name]['share']:.2f})" for name in sorted(often, key=lambda n: table[n]["share"])[:3])
    return f"""## Limits

- It was trained on synthetic users of three programs and one window manager; other programs, languages and sizes of the
  screen are unknown to it.
- {missed_aims(aims(result))}
- The transitions it gets right least often: {", ".join(named) or "none was counted"}.
- Its memory is a ring: what lies further back than the ring is forgotten.
- Floating-point rounding differs between devices and batch sizes, in bfloat16 more than in float32; so may screens
  where it is unsure.
"""
