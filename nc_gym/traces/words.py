"""Words and operand pairs that synthetic users type, split into training and evaluation ones by construction.

A keyed hash of the word (or of the sum ``a op b``) decides its split: one in ten belongs to evaluation. A user of one
split draws again until it gets a word of its own split, so no evaluation name, text or sum can appear in training.
"""

from __future__ import annotations

import functools
import re
import shutil
from collections.abc import Sequence
from hashlib import blake2b
from random import Random
from typing import Literal, TypeVar

Split = Literal["train", "eval"]
SPLITS: tuple[Split, ...] = ("train", "eval")
_HASH_KEY = b"nc_gym split 1"
_EVAL_ONE_IN = 10
_LETTERS = "abcdefghijklmnopqrstuvwxyz"
_LENGTHS = (2, 3, 4, 5, 6, 7)
_LENGTH_WEIGHTS = (10, 26, 28, 18, 11, 7)
_SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/usr/local/games:/usr/games"
_SHELL_WORDS = frozenset(
    "if then else elif fi for while until do done case esac in select function time coproc alias bg bind break builtin "
    "caller cd command compgen complete compopt continue declare dirs disown echo enable eval exec exit export false "
    "fc fg getopts hash help history jobs kill let local logout mapfile popd printf pushd pwd read readarray readonly "
    "return set shift shopt source suspend test times trap true type typeset ulimit umask unalias unset wait "
    "vi ed ex dd sl ps df du id ar as bc cc cp cu dc at jq ld ln ls mv nc nl nm od pr rm sh ss su tr ul wc xz yes top "
    "man less more mail cat sed awk sort head tail tee date last who w".split()
)
WORD = re.compile("[A-Za-z0-9]{2,}")  # in a line: what must belong to its user's split
T = TypeVar("T")


@functools.lru_cache(maxsize=200_000)
def split_of(text: str) -> Split:
    """Returns the split that ``text`` (a word, or a sum such as ``"12+30"``) belongs to."""
    digest = blake2b(text.encode(), digest_size=4, key=_HASH_KEY).digest()
    return "eval" if int.from_bytes(digest, "big") % _EVAL_ONE_IN == 0 else "train"


@functools.lru_cache(maxsize=200_000)
def is_system_command(word: str) -> bool:
    """Says whether bash would find a command, builtin or keyword called ``word``."""
    return word in _SHELL_WORDS or shutil.which(word, path=_SYSTEM_PATH) is not None


def weighted(rng: Random, items: Sequence[T], weights: Sequence[float]) -> T:
    """Returns one of ``items``, drawn with ``weights``."""
    return rng.choices(items, weights)[0]


def random_word(rng: Random, split: Split, longest: int = 7) -> str:
    """Returns a word of 2 to ``longest`` random letters (one in eight ends in one or two digits) of ``split``."""
    while True:
        word = "".join(rng.choices(_LETTERS, k=weighted(rng, _LENGTHS, _LENGTH_WEIGHTS)))
        if rng.random() < 0.125:
            word = word[:5] + "".join(rng.choices("0123456789", k=rng.choice((1, 1, 2))))
        if len(word) <= longest and split_of(word) == split:
            return word


def unknown_command(rng: Random, split: Split) -> str:
    """Returns a word of ``split`` that bash answers with "command not found"."""
    while True:
        word = random_word(rng, split)
        if not is_system_command(word):
            return word


def misspelt_command(rng: Random, name: str, split: Split) -> str:
    """Returns ``name`` with a letter doubled, dropped, swapped or replaced; an unknown word if none is in ``split``."""
    forms = []
    for i in range(len(name)):
        head, letter, tail = name[:i], name[i], name[i + 1 :]
        forms += [head + letter + name[i:], head + tail, head + rng.choice(_LETTERS) + tail]
        forms.append(head + tail[:1] + letter + tail[1:])
    forms = [form for form in forms if len(form) > 1 and split_of(form) == split and not is_system_command(form)]
    return rng.choice(forms) if forms else unknown_command(rng, split)


def random_sum(rng: Random, split: Split, below: int = 100) -> str:
    """Returns ``a+b`` or ``a-b`` that belongs to ``split``, with a and b of at least 0 and less than ``below``."""
    while True:
        text = f"{rng.randrange(below)}{rng.choice('+-')}{rng.randrange(below)}"
        if split_of(text) == split:
            return text
