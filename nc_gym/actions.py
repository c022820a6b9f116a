"""Action presets: what one action of an agent types.

With "keys" an action is one key. With "words" it is a word of the card's small vocabulary, typed as a whole, or a
*slot*: a word that the agent sees, whatever it is. ``instruction:K`` types the K-th word of the banner, ``screen:K``
the K-th word of the last line above the cursor, as the reader read it from the pixels of either machine. A slot with no
word behind it is masked, and types nothing. Every event that an action sends is judged, and the rewards add up.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from nc_gym.machines.keys import KEYS, NOOP, encode
from nc_gym.scripts import script_events

PRESETS = ("keys", "words")
INSTRUCTION_SLOTS = 8
SCREEN_SLOTS = 4
_WORD = re.compile("[A-Za-z0-9]+")


class KeyActions:
    """One key per action.

    Attributes:
        names: of the actions.
    """

    names: tuple[str, ...] = KEYS

    def events(self, action: int, seen: Sequence[str]) -> list[int]:
        """Returns the events that an action sends; what is ``seen`` does not matter."""
        return [action]

    def mask(self, seen: Sequence[str]) -> NDArray[np.bool_]:
        """Returns which actions are allowed, bool (106,): every key can always be pressed."""
        return np.ones(len(self.names), np.bool_)

    def encode(self, text: str, seen: Sequence[str]) -> list[int]:
        """Returns the actions that type ``text``."""
        return encode(text)


class WordActions:
    """One word per action; action 0 sends the no-op.

    Args:
        vocabulary: scripts (``nc_gym.scripts``) without parameters, such as ``"echo "`` or ``"<Enter>"``.

    Attributes:
        names: of the actions: "noop", the vocabulary, the slots.
    """

    def __init__(self, vocabulary: Sequence[str]) -> None:
        slots = [f"instruction:{k}" for k in range(INSTRUCTION_SLOTS)] + [f"screen:{k}" for k in range(SCREEN_SLOTS)]
        self.names = ("noop", *vocabulary, *slots)
        self._typed = [[NOOP], *(script_events(word, {}) for word in vocabulary)]

    def events(self, action: int, seen: Sequence[str]) -> list[int]:
        """Returns the events that an action sends.

        Args:
            action: index into ``names``.
            seen: the word behind each slot, as ``slot_words`` returns them.
        """
        if action < len(self._typed):
            return self._typed[action]
        return encode(seen[action - len(self._typed)]) or [NOOP]

    def mask(self, seen: Sequence[str]) -> NDArray[np.bool_]:
        """Returns which actions are allowed, bool (actions,): all but the slots that have no word."""
        return np.array([True] * len(self._typed) + [bool(word) for word in seen], np.bool_)

    def encode(self, text: str, seen: Sequence[str]) -> list[int]:
        """Returns the actions that type ``text``, at every place the longest that fits.

        Raises:
            ValueError: the vocabulary and the words in the slots do not make up the text.
        """
        wanted, actions = encode(text), []
        while wanted:
            fits = [a for a in range(1, len(self.names)) if self.events(a, seen) == wanted[: len(self.events(a, seen))]]
            if not fits:
                rest = "".join(KEYS[event] if len(KEYS[event]) == 1 else f"<{KEYS[event]}>" for event in wanted)
                raise ValueError(f'no word types {rest!r}; make the environment with actions="keys"')
            actions.append(max(fits, key=lambda action: len(self.events(action, seen))))
            wanted = wanted[len(self.events(actions[-1], seen)) :]
        return actions


Actions = KeyActions | WordActions


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
    words = _WORD.findall(text)[:count]
    return words + [""] * (count - len(words))
