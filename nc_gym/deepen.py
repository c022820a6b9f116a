"""Inserts layers into the event log of a trained network; they do nothing until they are trained.

    python -m nc_gym.deepen weights/terminal --after 1 --after 3 --out runs/deeper

In: a weights folder. Out: one whose log has a further layer after each of the numbered ones (the first is 0) and whose
screens are the same: what a new layer adds begins at zero (function-preserving growth, Chen et al. 2016, Net2Net).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import torch
import typer

from nc_gym.computer import weights

_BLOCKS = "log.blocks."


def deepen(folder: Path, after: Sequence[int], out: Path, seed: int = 0) -> None:
    """Writes a deeper network that computes the same.

    Args:
        folder: weights folder to begin from.
        after: numbers of the layers that a new one follows; a number given twice is followed by two.
        out: the folder to write.
        seed: of what the new layers' inner weights begin with.

    Raises:
        ValueError: there is no such layer.
        WeightsError: the folder cannot be read or the new one not written.
    """
    network, bank = weights.load(folder)
    config = network.config
    if wrong := [layer for layer in after if not 0 <= layer < config.num_layers]:
        raise ValueError(f"there is no layer {wrong[0]} in {folder}; choose from 0 to {config.num_layers - 1}")
    place = {old: old + sum(layer < old for layer in after) for old in range(config.num_layers)}
    training = config.training | {"deepened": f"a new layer after each of {sorted(after)} of {config.num_layers}"}
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        deeper = weights.build(
            dataclasses.replace(
                config,
                num_layers=config.num_layers + len(after),
                gaze_layers=tuple(place[layer] for layer in config.gaze_layers),
                training=training,
            )
        )
    state = deeper.state_dict()
    for name, tensor in network.state_dict().items():
        if name.startswith(_BLOCKS):
            layer, _, rest = name.removeprefix(_BLOCKS).partition(".")
            name = f"{_BLOCKS}{place[int(layer)]}.{rest}"
        state[name] = tensor
    deeper.load_state_dict(state)
    weights.save(out, deeper, bank)


def main(
    folder: Annotated[Path, typer.Argument(help="Weights folder to begin from.")],
    after: Annotated[list[int], typer.Option(help="Layer that a new one follows; give it several times.")],
    out: Annotated[Path, typer.Option(help="Weights folder to write.")],
    seed: Annotated[int, typer.Option(help="Seed of the new layers.")] = 0,
) -> None:
    """Insert layers that do nothing yet into a trained network's event log."""
    deepen(folder, after, out, seed)
    typer.echo(f"wrote {out}")


if __name__ == "__main__":
    typer.run(main)
