"""Parameters: what a card can draw, and the split between training and testing."""

from __future__ import annotations

import numpy as np
import pytest

from nc_gym.parameters import Choice, Number, Sum, Word, draw_values, parameter_from_table, split_of

RNG = np.random.default_rng


def test_kinds_of_parameters_are_told_by_their_fields() -> None:
    assert parameter_from_table("x", {"letters": "ab", "length": [1, 2]}, {}) == Word("ab", (1, 2))
    assert parameter_from_table("x", {"range": [3, 40]}, {}) == Number(3, 40)
    assert parameter_from_table("x", {"choices": ["a", "b"]}, {}) == Choice(("a", "b"))
    numbers = {"a": Number(0, 9), "b": Number(0, 99)}
    assert parameter_from_table("x", {"sum": ["a", "b"]}, numbers) == Sum(("a", "b"), 108)


@pytest.mark.parametrize(
    "fields",
    [
        {}, {"letters": "ab"}, {"letters": "", "length": [1, 2]}, {"letters": "a", "length": [0, 2]},
        {"letters": "a", "length": [1.5, 2]}, {"letters": "a", "length": 3}, {"range": [5, 3]}, {"range": [-1, 3]},
        {"choices": []}, {"sum": []}, {"sum": ["word"]}, {"sum": ["missing"]}, {"range": [1, 2], "choices": ["a"]},
    ],
)  # fmt: skip
def test_faulty_tables_are_named_with_what_is_possible(fields: dict) -> None:
    with pytest.raises(ValueError, match=r"parameter 'x' is .*letters and length.*range.*choices.*sum"):
        parameter_from_table("x", fields, {"word": Word("ab", (1, 2))})


def test_drawn_values_lie_where_they_should() -> None:
    parameters = {"w": Word("ab", (1, 3)), "n": Number(3, 5), "m": Number(0, 1), "c": Choice(("x", "y"))}
    parameters["s"] = Sum(("n", "m"), 6)
    for split in ("train", "test"):
        drawn = [draw_values(parameters, RNG(seed), split) for seed in range(200)]
        assert {len(values["w"]) for values in drawn} == {1, 2, 3}
        assert {values["n"] for values in drawn} == {"3", "4", "5"} and {values["c"] for values in drawn} == {"x", "y"}
        assert all(int(values["s"]) == int(values["n"]) + int(values["m"]) for values in drawn)
        assert all(split_of(values) == split for values in drawn)


def test_about_one_draw_in_five_is_for_testing() -> None:
    splits = [split_of({"word": f"w{i}"}) for i in range(2000)]
    assert 0.17 < splits.count("test") / len(splits) < 0.23


def test_words_of_one_episode_differ_and_numbers_may_not() -> None:
    words = {"a": Word("ab", (1, 1)), "b": Word("abc", (1, 1)), "c": Choice(("a", "b", "c")), "n": Number(1, 1)}
    words["m"] = Number(1, 1)
    for seed in range(50):
        values = draw_values(words, RNG(seed), "train")
        assert len({values["a"], values["b"], values["c"]}) == 3


def test_parameters_without_room_for_a_split_are_refused() -> None:
    with pytest.raises(ValueError, match="no values for split"):
        draw_values({"a": Choice(("x",)), "b": Choice(("x",))}, RNG(0), "train")


def test_without_parameters_there_is_nothing_to_split() -> None:
    assert draw_values({}, RNG(0), "train") == draw_values({}, RNG(0), "test") == {}
