"""What a computer with a pointer may have wrong before an event: training shows it such, and asks for what is true.

In: recorded sessions. Out: the same as a computer in its closed loop may see and believe them. Without it one mistake
would last for as long as nothing else changes there.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nc_gym.computer.patches import PatchFile

STALE_EVENTS = 0.3  # of the painted events, which show a few patches as they were before their last change,
MOST_STALE = 6  # up to so many of those that
RECENT = 4  # so many events before drew: what a wrong scout or painter leaves behind is where things happen
MISSED = 0.03  # of the changes of the window table, which up to RECENT later events have not seen
UNSURE = 0.1  # of the events begin with another image of the pointer than the true one
MISSEEN = 0.12  # of the events see some tiles under the pointer that are not there now: half of these events see those
FADED = 8  # of up to so many events before, the other half those of any event


def stale_patches(
    file: PatchFile, shown: NDArray, at: NDArray, changing: NDArray, rng: np.random.Generator
) -> NDArray[np.bool_]:
    """Chooses the patches that painted events see as they were before their last change.

    Args:
        file: the shard.
        shown: the entry that each patch truly shows before each of A events, (A, patches).
        at: numbers of the events in their session, (A,).
        changing: which of them change anything, (A,); no other paints.
        rng: source of choices.

    Returns:
        (A, patches).
    """
    when = file.when[shown]
    recent = (when >= 0) & (when >= at[:, None] - RECENT)
    lot = np.where(recent, rng.random(shown.shape), 2.0)
    number = rng.integers(1, MOST_STALE + 1, len(at)) * (changing & (rng.random(len(at)) < STALE_EVENTS))
    return recent & (lot.argsort(1).argsort(1) < number[:, None])


def known_sprites(sprites: NDArray, rng: np.random.Generator | None) -> NDArray:
    """Returns the pointer's images before each event of a session (T,), given the true ones.

    With ``rng``, some are what it showed at another time; or one wrong image would last for as long as it may.
    """
    if rng is None:
        return sprites
    return np.where(rng.random(len(sprites)) < UNSURE, rng.permutation(sprites), sprites)


def known_tables(said: NDArray[np.uint8], rng: np.random.Generator | None) -> NDArray[np.uint8]:
    """Returns the tables before each event of a session (T, K, FIELDS), given those said after each.

    With ``rng``, some as a computer would have them that has missed a change, for up to RECENT events; it is to notice.
    """
    known = np.concatenate([np.zeros_like(said[:1]), said[:-1]])
    if rng is not None:
        changing = np.flatnonzero((said != known).any((1, 2)))
        true = known.copy()
        for t in changing[rng.random(len(changing)) < MISSED]:
            known[t + 1 : t + 1 + rng.integers(1, RECENT + 1)] = true[t]
    return known


def known_tiles(near: NDArray, earlier: NDArray, rng: np.random.Generator) -> NDArray:
    """Returns the tiles under the pointer before each event of a session (T, n), given the true ones.

    Some events see some or all as they were ``earlier`` (T, n), or as another event sees them. A network that only ever
    saw true ones would take its own mistakes there for true (docs/design-notes.md).
    """
    T = len(near)
    wrong = np.where(rng.random((T, 1)) < 0.5, earlier, rng.permutation(near))
    missed = (rng.random((T, 1)) < MISSEEN) & (rng.random(near.shape) < rng.random((T, 1)))
    return np.where(missed, wrong, near)
