"""What a synthetic user of the terminal yields: a stream of (event, family) pairs."""

from __future__ import annotations

from collections.abc import Iterator

from nc_gym.machines.keys import KEY_INDEX, encode

Events = Iterator[tuple[int, int]]
"""Key indices, each with the index of the command family that it runs: 0 except for Enter."""


def press(*names: str) -> Events:
    """Yields the keys with these names."""
    for name in names:
        yield KEY_INDEX[name], 0


def type_text(text: str) -> Events:
    """Yields the keys that type ``text``."""
    return ((event, 0) for event in encode(text))
