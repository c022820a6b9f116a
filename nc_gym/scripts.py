r"""Scripts: what is typed, as a text with parameters and named keys, turned into events.

``"echo {word}\n<Left>"`` types the value of ``word``, Enter (``\n``) and the left arrow. ``<Left*3>`` presses a key
three times, ``<Left*tail>`` once for each letter of the parameter ``tail``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from nc_gym.machines.keys import KEY_INDEX, KEYS, encode

_KEY = re.compile("<(" + "|".join(re.escape(key) for key in KEYS if len(key) > 1) + r")(?:\*(\w+))?>")


def script_events(script: str, values: Mapping[str, str]) -> list[int]:
    """Returns the events that a script types.

    Args:
        script: the text.
        values: of its parameters, by name.

    Raises:
        KeyError: the script names a parameter that is not in ``values``.
        ValueError: a character has no key.
    """
    events, position = [], 0
    for match in _KEY.finditer(script):
        events += encode(script[position : match.start()].format(**values))
        events += [KEY_INDEX[match[1]]] * _times(match[2], values)
        position = match.end()
    return events + encode(script[position:].format(**values))


def repeated(word: str, values: Mapping[str, str]) -> list[str]:
    """Returns ``["<Left>", "<Left>"]`` for ``"<Left*2>"``, and any other word as it is."""
    match = _KEY.fullmatch(word)
    return [f"<{match[1]}>"] * _times(match[2], values) if match else [word]


def has_keys(script: str) -> bool:
    """Tells whether a script presses named keys such as ``<Left>``."""
    return _KEY.search(script) is not None


def _times(count: str | None, values: Mapping[str, str]) -> int:
    if count is None:
        return 1
    return int(count) if count.isdecimal() else len(values[count])
