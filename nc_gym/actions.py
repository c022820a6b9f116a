"""Action presets: what one action of an agent sends.

With "keys" (terminal) or "pointer" (desktop) an action is one event. With "words" it is a word of the card's small
vocabulary, sent as a whole: a text, a named key, a click at a place, or a *slot*: a word that the agent sees, whatever
it is. ``instruction:K`` types the K-th word of the banner, ``screen:K`` (terminal) the K-th word of the last line above
the cursor, as the reader read it from the pixels of either machine. A slot with no word behind it, or with one longer
than ``LONGEST`` (a batch waits for whoever types most), is masked, and types nothing. Every event that an action sends
is judged, and the rewards add up.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from nc_gym.inputs import Event, Inputs
from nc_gym.scripts import script_events

PRESETS = {"terminal": ("keys", "words"), "desktop": ("pointer", "words")}
"""The presets of each kind of computer; the first is the one in which an action is an event."""
INSTRUCTION_SLOTS = 8
SCREEN_SLOTS = 4
LONGEST = 12  # letters of a word that a slot types
_WORD = re.compile("[A-Za-z0-9]+")


class EventActions:
    """One event per action.

    Args:
        inputs: of the machine.

    Attributes:
        names: of the keys.
        space: of the actions.
    """

    def __init__(self, inputs: Inputs) -> None:
        self._inputs = inputs
        self.names = inputs.keys
        self.space: spaces.Discrete | spaces.MultiDiscrete = inputs.space

    def events(self, action: Any, seen: Sequence[str], after: Event) -> list[Event]:
        """Returns the event that an action, an index or four of them, is; nothing else matters."""
        return [tuple(action.tolist()) if np.ndim(action) else int(action)]

    def action(self, event: Event) -> Any:
        """Returns the action that sends an event."""
        return event if isinstance(event, int) else np.array(event, np.int64)

    def point(self, button: str, place: str) -> Any:
        """Returns the action that points at a place, with a button event by name."""
        return self.action(self._inputs.point(button, place))

    def name(self, action: Any) -> str:
        """Returns what people call an action."""
        return self._inputs.name(self.events(action, (), self._inputs.first)[0])

    def idle(self, after: Event) -> Any:
        """Returns the action that does nothing."""
        return self.action(self._inputs.idle(after))

    def mask(self, seen: Sequence[str]) -> NDArray[np.bool_]:
        """Returns which actions are allowed, bool (sum of the space's sizes,): all, always."""
        sizes = self.space.n if isinstance(self.space, spaces.Discrete) else self.space.nvec.sum()
        return np.ones(int(sizes), np.bool_)

    def encode(self, text: str, seen: Sequence[str], after: Event) -> list[Any]:
        """Returns the actions that type ``text``."""
        return [self.action(event) for event in self._inputs.type(text, after)]


class WordActions:
    """One word per action; action 0 sends the event that does nothing.

    Args:
        vocabulary: scripts (``nc_gym.scripts``) without parameters, such as ``"echo "`` or ``"<Enter>"``.
        inputs: of the machine.

    Attributes:
        names: of the actions: "noop", the vocabulary, the slots.
        space: of the actions.
    """

    def __init__(self, vocabulary: Sequence[str], inputs: Inputs) -> None:
        self._inputs = inputs
        self._scripts = [script for word in vocabulary for script in inputs.expand(word)]
        slots = [f"instruction:{k}" for k in range(INSTRUCTION_SLOTS)]
        slots += [f"screen:{k}" for k in range(SCREEN_SLOTS)] if inputs.sees_cursor else []
        self._slots = len(slots)
        self.names = ("noop", *self._scripts, *slots)
        self.space = spaces.Discrete(len(self.names))

    def events(self, action: Any, seen: Sequence[str], after: Event) -> list[Event]:
        """Returns the events that an action sends.

        Args:
            action: index into ``names``.
            seen: the word behind each slot, as ``slot_words`` returns them.
            after: the event before.
        """
        index = int(action)
        if index == 0:
            return [self._inputs.idle(after)]
        if index <= len(self._scripts):
            return script_events(self._scripts[index - 1], {}, self._inputs, after)
        return self._inputs.type(seen[index - 1 - len(self._scripts)], after) or [self._inputs.idle(after)]

    def index(self, name: str) -> int:
        """Returns the action of this name; for a click at a place, if there is none, that on the square around it.

        Raises:
            ValueError: the name is neither one of the words nor a slot.
        """
        return self.names.index(name if name in self.names else self._inputs.square(name))

    def point(self, button: str, place: str) -> int:
        """Returns the action that does a button event at a place, or in the middle of the square around it.

        Raises:
            ValueError: there is no such place or button event, or no word for it.
        """
        event = self._inputs.point(button, place)
        with suppress(ValueError):
            return self.index(f"<{button} {place}>")
        raise ValueError(
            f'no word does {self._inputs.name(event)!r}; make the environment with actions="{self._inputs.preset}"'
        )

    def name(self, action: Any) -> str:
        """Returns what people call an action."""
        return self.names[int(action)]

    def idle(self, after: Event) -> int:
        """Returns the action that does nothing."""
        return 0

    def mask(self, seen: Sequence[str]) -> NDArray[np.bool_]:
        """Returns which actions are allowed, bool (actions,): all but the slots that have no word."""
        return np.array([True] * (1 + len(self._scripts)) + [bool(word) for word in seen[: self._slots]], np.bool_)

    def encode(self, text: str, seen: Sequence[str], after: Event) -> list[int]:
        """Returns the actions that type ``text``, at every place the longest that fits.

        Raises:
            ValueError: the vocabulary and the words in the slots do not make up the text.
        """
        wanted, actions = self._inputs.type(text, after), []
        sent = [self.events(action, seen, after) for action in range(len(self.names))]
        while wanted:
            fits = [action for action, events in enumerate(sent[1:], 1) if events == wanted[: len(events)]]
            if not fits:
                keys = [event if isinstance(event, int) else event[3] for event in wanted]
                names = [self._inputs.keys[key] for key in keys]
                rest = "".join(name if len(name) == 1 else f"<{name}>" for name in names)
                raise ValueError(f'no word types {rest!r}; make the environment with actions="{self._inputs.preset}"')
            actions.append(max(fits, key=lambda action: len(sent[action])))
            wanted = wanted[len(sent[actions[-1]]) :]
        return actions


Actions = EventActions | WordActions


def slot_words(instruction: str, chars: NDArray[np.uint8], cursor_row: int) -> list[str]:
    """Returns the word behind each slot, "" where there is none.

    Args:
        instruction: the text of the banner.
        chars: character codes, uint8 (rows, columns).
        cursor_row: -1 if the screen shows no cursor; then nothing lies above it.
    """
    above = [row.tobytes().decode("ascii") for row in chars[: max(cursor_row, 0)]]
    line = next((text for text in reversed(above) if text.strip()), "")
    return _padded(instruction, INSTRUCTION_SLOTS) + _padded(line, SCREEN_SLOTS)


def _padded(text: str, count: int) -> list[str]:
    words = [word if len(word) <= LONGEST else "" for word in _WORD.findall(text)[:count]]
    return words + [""] * (count - len(words))
