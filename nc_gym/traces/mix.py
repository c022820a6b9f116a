"""A mix of users: which of them plays a session."""

from __future__ import annotations

from collections.abc import Mapping
from random import Random

from nc_gym.traces.words import Split, weighted


def draw_user(stream: str, seed: int, index: int, split: Split, users: Mapping[str, float]) -> str:
    """Returns which of ``users`` (name to share) plays session ``index`` of the recording ``seed``.

    Args:
        stream: name of the random stream; each computer has its own.
        seed: seed of the recording.
        index: number of the session in it.
        split: which words may be typed.
        users: share of each kind of user.
    """
    return weighted(Random(f"{stream}/{seed}/{split}/{index}"), tuple(users), tuple(users.values()))


def check_user(name: str, known: tuple[str, ...]) -> None:
    """Refuses a user that is not among ``known``.

    Raises:
        ValueError: there is no such user.
    """
    if name not in known:
        raise ValueError(f"unknown user {name!r}; there are {', '.join(known)}: choose one of them")
