"""Events of the desktop: named, checked, and turned into strokes."""

from __future__ import annotations

import pytest

from nc_gym.machines.desktop_events import BUTTONS, KEYS, event, position, strokes


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((320, 0), r"pointer \(320, 0\) is outside the screen"),
        ((0, -1), r"pointer \(0, -1\) is outside the screen"),
        ((0, 0, "middle click"), "unknown button event 'middle click'; choose one of none, left press"),
        ((0, 0, "none", "F13"), "unknown key 'F13'; choose printable ASCII or one of noop, Enter"),
    ],
)
def test_event_with_an_unknown_name_is_refused(arguments: tuple[int, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        event(*arguments)


def test_every_key_and_button_has_strokes() -> None:
    for button in range(len(BUTTONS)):
        for key in range(len(KEYS)):
            assert bool(strokes((0, 0, button, key), position(0, 0))[0]) == bool(button or key)
