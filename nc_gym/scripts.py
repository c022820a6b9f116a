r"""Scripts: what is typed and clicked, as a text with parameters, named keys and places, turned into events.

``"echo {word}\n<Left>"`` types the value of ``word``, Enter (``\n``) and the left arrow. ``<Left*3>`` presses a key
three times, ``<Left*tail>`` once for each letter of the parameter ``tail``. On a machine with a pointer
``<left click panel {program}>`` points at the card's place of that name and clicks, ``<point {x} {y}>`` only points.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache

from nc_gym.inputs import Event, Inputs


@cache
def _pattern(keys: tuple[str, ...], buttons: tuple[str, ...]) -> re.Pattern[str]:
    names = "|".join(re.escape(key) for key in keys if len(key) > 1)
    pointing = "|".join(map(re.escape, buttons)) or r"(?!)"  # matches nothing
    return re.compile(rf"<(?:({names})(?:\*(\w+))?|({pointing}) ([^<>]+))>")


def script_events(script: str, values: Mapping[str, str], inputs: Inputs, after: Event | None = None) -> list[Event]:
    """Returns the events that a script sends.

    Args:
        script: the text.
        values: of its parameters, by name.
        inputs: of the machine.
        after: the event before the first one; by default that of a fresh computer.

    Raises:
        KeyError: the script names a parameter that is not in ``values``.
        ValueError: a character has no key, or a place is unknown.
    """
    events: list[Event] = [inputs.first if after is None else after]
    position = 0
    for match in _pattern(inputs.keys, inputs.buttons).finditer(script):
        events += inputs.type(script[position : match.start()].format(**values), events[-1])
        if match[1]:
            events += [inputs.press(match[1], events[-1])] * _times(match[2], values)
        else:
            events.append(inputs.point(match[3], match[4].format(**values)))
        position = match.end()
    return [*events, *inputs.type(script[position:].format(**values), events[-1])][1:]


def repeated(word: str, values: Mapping[str, str], inputs: Inputs) -> list[str]:
    """Returns ``["<Left>", "<Left>"]`` for ``"<Left*2>"``, and any other word with its parameters filled in."""
    match = _pattern(inputs.keys, inputs.buttons).fullmatch(word)
    if match and match[3]:
        return [word.format(**values)]
    return [f"<{match[1]}>"] * _times(match[2], values) if match else [word.format(**values)]


def has_keys(script: str, inputs: Inputs) -> bool:
    """Tells whether a script presses named keys such as ``<Left>``, or points."""
    return _pattern(inputs.keys, inputs.buttons).search(script) is not None


def _times(count: str | None, values: Mapping[str, str]) -> int:
    if count is None:
        return 1
    return int(count) if count.isdecimal() else len(values[count])
