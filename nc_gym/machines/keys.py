"""The terminal's event vocabulary: key names, the bytes they send, and text encoding.

An event is one integer in [0, len(KEYS)). Both the real terminal and the neural one take it; index 0 is the no-op.
"""

from __future__ import annotations

NOOP = 0
_NAMED = ("Enter", "Backspace", "Tab", "Up", "Down", "Left", "Right", "Ctrl-C", "Ctrl-L", "Ctrl-U")
_NAMED_BYTES = (b"\r", b"\x7f", b"\t", b"\x1b[A", b"\x1b[B", b"\x1b[D", b"\x1b[C", b"\x03", b"\x0c", b"\x15")

KEYS: tuple[str, ...] = ("noop", *(chr(c) for c in range(32, 127)), *_NAMED)
KEY_BYTES: tuple[bytes, ...] = (b"", *(bytes([c]) for c in range(32, 127)), *_NAMED_BYTES)
KEY_INDEX: dict[str, int] = {name: i for i, name in enumerate(KEYS)}
_TEXT_ALIASES = {"\n": "Enter", "\r": "Enter", "\b": "Backspace", "\x7f": "Backspace", "\t": "Tab"}


def encode(text: str) -> list[int]:
    r"""Returns the events that type ``text``; ``"\n"`` is Enter, ``"\t"`` Tab, ``"\b"`` Backspace.

    Raises:
        ValueError: a character has no key.
    """
    events = []
    for char in text:
        name = _TEXT_ALIASES.get(char, char)
        if name not in KEY_INDEX:
            raise ValueError(f"no key types {char!r}; the keyboard has printable ASCII, Enter, Tab and Backspace")
        events.append(KEY_INDEX[name])
    return events
