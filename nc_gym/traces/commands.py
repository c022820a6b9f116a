"""Chooses the next command line of a goal-directed user: one maker per command family.

Weights follow what its home looks like: a file that was written is soon read, a changed folder is soon listed, many
files are cleaned up.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import pairwise
from random import Random

from nc_gym.traces.home import Home
from nc_gym.traces.words import Split, misspelt_command, random_sum, random_word, unknown_command, weighted

GOAL_WEIGHTS: Mapping[str, float] = {
    "echo": 14, "redirect": 10, "append": 4, "cat": 14, "ls": 14, "touch": 5, "rm": 5, "mkdir": 4, "rmdir": 1.5,
    "cd": 5, "pwd": 3, "mv": 3, "cp": 3, "clear": 2, "arithmetic": 10, "variable": 3, "status": 1.5, "unknown": 4,
}  # fmt: skip
RECALL_WEIGHTS: Mapping[str, float] = {
    "echo": 6, "redirect": 18, "append": 7, "cat": 26, "ls": 18, "touch": 5, "rm": 5, "mkdir": 2, "rmdir": 0.5, "cd": 2,
    "pwd": 1, "mv": 4, "cp": 5, "clear": 1, "arithmetic": 10, "variable": 4, "status": 0.5, "unknown": 1,
}  # fmt: skip
DRILL_WEIGHTS: Mapping[str, float] = {
    "cat": 30, "ls": 38, "redirect": 22, "append": 6, "arithmetic": 14, "touch": 7, "rm": 12, "mkdir": 5, "rmdir": 1,
    "cd": 6, "pwd": 4, "cp": 4, "mv": 4, "echo": 4, "unknown": 1, "clear": 4, "wait": 2, "nest": 7,
}  # fmt: skip
ARCHIVE_WEIGHTS: Mapping[str, float] = {
    "redirect": 10, "overwrite": 14, "append": 14, "passed-on": 26, "reread": 50, "ls": 20, "rm": 4, "touch": 7,
    "cd": 1, "arithmetic": 6, "variable": 2, "clear": 2,
}  # fmt: skip
LEDGER_WEIGHTS: Mapping[str, float] = {
    "touch": 16, "redirect": 5, "overwrite": 4, "append": 10, "mv": 10, "cp": 8, "rm": 8, "ls": 34, "reread": 60,
    "mkdir": 1, "cd": 1, "clear": 1, "arithmetic": 3, "gone": 50,
}  # fmt: skip
JOURNAL_WEIGHTS: Mapping[str, float] = {
    "redirect": 10, "append": 26, "overwrite": 3, "passed-on": 8, "cp": 6, "mv": 6, "touch": 4, "rm": 3, "ls": 8,
    "reread": 40, "clear": 1,
}  # fmt: skip
_MANY_FILES = 5
_VARIABLES = "ABCXYZ"


class CommandChooser:
    """Picks command lines for one session.

    Args:
        rng: the session's random stream.
        split: which words and sums may be used.
        weights: weight of each family.
        longest_word: longer ones are drawn again.
    """

    def __init__(self, rng: Random, split: Split, weights: Mapping[str, float], longest_word: int = 7) -> None:
        self.rng = rng
        self.split = split
        self.weights = weights
        self.longest_word = longest_word
        self.pending: list[str] = []
        self._makers: dict[str, Callable[[Home], str | None]] = {
            "echo": self._echo, "redirect": self._redirect, "append": self._append, "cat": self._cat, "ls": self._ls,
            "touch": self._touch, "rm": self._rm, "mkdir": self._mkdir, "rmdir": self._rmdir, "cd": self._cd,
            "pwd": lambda home: "pwd", "mv": self._mv, "cp": self._cp, "clear": lambda home: "clear",
            "arithmetic": lambda home: f"echo $(({random_sum(self.rng, self.split)}))", "variable": self._variable,
            "status": self._status, "unknown": self._unknown, "wait": lambda home: "cat",
            "nest": self._nest, "overwrite": self._overwrite, "passed-on": self._passed_on, "reread": self._reread,
            "gone": self._gone,
        }  # fmt: skip

    def choose(self, home: Home) -> str:
        """Returns the next command line for a user whose files are ``home``."""
        if self.pending:
            return self.pending.pop(0)
        names = list(self.weights)
        weights = [self.weights[name] * self._urgency(name, home) for name in names]
        while True:
            line = self._makers[weighted(self.rng, names, weights)](home)
            if line is not None:
                return line

    def word(self) -> str:
        """Returns a fresh word of this user's split."""
        return random_word(self.rng, self.split, self.longest_word)

    def _urgency(self, family: str, home: Home) -> float:
        crowded = len(home.here) > _MANY_FILES
        if family == "cat":
            return 2.7 if home.unread else 0.6
        if family == "ls":
            return 1.8 if home.changed else 0.4
        if family == "rm":
            return 6.0 if crowded else 2.0
        if family == "rmdir":
            return 6.0 if home.folders() else 0.5
        if family in ("touch", "mkdir", "redirect"):
            return 0.4 if crowded else 1.2
        if family == "append":
            return 2.2 if home.files() else 0.5
        if family in ("mv", "cp"):
            return 2.2 if home.files() else 0.5
        if family == "cd":
            return 4.0 if home.path else 3.0 if home.folders() else 0.5
        return 1.0

    def _chance(self, share: float) -> bool:
        return self.rng.random() < share

    def _new_name(self, home: Home) -> str:
        """Returns a short name that is not in the working folder yet."""
        while True:
            name = self.word()
            if name not in home.here and len(name) <= 5:
                return name

    def _text(self) -> str:
        """Returns one to three words as echo's argument, sometimes quoted."""
        words = [self.word() for _ in range(weighted(self.rng, (1, 2, 3), (50, 35, 15)))]
        quote = weighted(self.rng, ("", "'", '"'), (76, 12, 12))
        gap = "  " if self._chance(0.15 if quote else 0.03) else " "
        return quote + gap.join(words) + quote

    def _some_file(self, home: Home, missing: float) -> str | None:
        """Returns a file of the working folder, or with chance ``missing`` a name that is not there."""
        files = home.files()
        if self._chance(missing):
            return self._new_name(home)
        return self.rng.choice(files) if files else None

    def _echo(self, home: Home) -> str:
        return f"echo {self._text()}"

    def _redirect(self, home: Home) -> str:
        files = home.files()
        name = self.rng.choice(files) if files and self._chance(0.25) else self._new_name(home)
        sign = " >" if self._chance(0.08) else " > "
        return f"echo {self._text()}{sign}{name}"

    def _append(self, home: Home) -> str | None:
        files = [name for name in home.files() if int(str(home.here[name])) < 4]
        if files and self._chance(0.9):
            return f"echo {self._text()} >> {self.rng.choice(files)}"
        return f"echo {self._text()} >> {self._new_name(home)}" if self._chance(0.3) else None

    def _cat(self, home: Home) -> str | None:
        if home.folders() and self._chance(0.08):
            return self._cat_in_folder(home)
        unread = [name for name in home.unread if name in home.here]
        missing = 0.0 if unread and self._chance(0.75) else 0.4
        if missing == 0.0:
            name = self.rng.choice(unread[-2:])
            other = self._some_file(home, 0.0)
            return f"cat {name} {other}" if other not in (None, name) and self._chance(0.05) else f"cat {name}"
        name_or_none = self._some_file(home, missing)
        return None if name_or_none is None else f"cat {name_or_none}"

    def _overwrite(self, home: Home) -> str | None:
        files = home.files()
        return f"echo {self.word()} > {self.rng.choice(files)}" if files else None

    def _passed_on(self, home: Home) -> str | None:
        """Copies or renames a file, perhaps over another, perhaps twice, and mostly reads it by its last name."""
        files = home.files()
        if not files:
            return None
        source = self.rng.choice(files)
        others = [name for name in files if name != source]
        names = [source, self.rng.choice(others) if others and self._chance(0.25) else self._new_name(home)]
        if self._chance(0.25):
            names.append(self._new_name(home))
        first, *rest = [f"{self.rng.choice(('cp', 'mv'))} {a} {b}" for a, b in pairwise(names)]
        self.pending += [*rest, f"cat {names[-1]}"] if self._chance(0.7) else rest
        return first

    def _reread(self, home: Home) -> str | None:
        files = home.files()
        return f"cat {self.rng.choice(files)}" if files else None

    def _gone(self, home: Home) -> str | None:
        """Asks for a file that was removed or renamed lately, as an agent does that repeats itself."""
        names = [name for name in home.gone[-4:] if name not in home.here]
        if not names:
            return None
        name = names[-1] if self._chance(0.6) else self.rng.choice(names)
        command = weighted(self.rng, ("rm", "cat", "ls", "mv", "cp"), (50, 20, 10, 10, 10))
        return f"{command} {name} {self._new_name(home)}" if command in ("mv", "cp") else f"{command} {name}"

    def _cat_in_folder(self, home: Home) -> str:
        folder = self.rng.choice(home.folders())
        inside = home.here[folder]
        assert not isinstance(inside, int)
        files = [name for name, entry in inside.items() if isinstance(entry, int)]
        return f"cat {folder}/{self.rng.choice(files)}" if files else f"cat {folder}"

    def _ls(self, home: Home) -> str:
        folders = home.folders()
        if folders and self._chance(0.18):
            return f"ls {self.rng.choice(folders)}"
        if self._chance(0.04):
            name = self._some_file(home, 0.4)
            return f"ls {name}" if name else "ls"
        return "ls"

    def _touch(self, home: Home) -> str:
        names = [self._new_name(home) for _ in range(weighted(self.rng, (1, 2), (75, 25)))]
        return "touch " + " ".join(names)

    def _rm(self, home: Home) -> str | None:
        folders = [name for name in home.folders() if home.here[name]]
        if folders and self._chance(0.12):
            return f"rm -r {self.rng.choice(folders)}"
        files = home.files()
        if len(files) >= 2 and self._chance(0.2):
            return "rm " + " ".join(self.rng.sample(files, 2))
        name = self._some_file(home, 0.12)
        return None if name is None else f"rm {name}"

    def _mkdir(self, home: Home) -> str | None:
        if len(home.path) >= 2:
            return None
        if home.here and self._chance(0.06):
            return f"mkdir {self.rng.choice(list(home.here))}"
        return f"mkdir {self._new_name(home)}"

    def _rmdir(self, home: Home) -> str | None:
        folders = home.folders()
        if not folders or self._chance(0.15):
            return f"rmdir {self._new_name(home)}" if self._chance(0.3) else None
        return f"rmdir {self.rng.choice(folders)}"

    def _cd(self, home: Home) -> str | None:
        folders = home.folders()
        if home.path and (not folders or self._chance(0.7)):
            return weighted(self.rng, ("cd ..", "cd", "cd ~"), (60, 30, 10))
        if self._chance(0.08):
            return f"cd {self._new_name(home)}"
        return f"cd {self.rng.choice(folders)}" if folders else None

    def _nest(self, home: Home) -> str:
        """Goes into a folder inside a folder, perhaps after leaving both, and asks where it is."""
        if home.path:
            return "cd"
        outer, inner = self._new_name(home), self.word()
        back = weighted(self.rng, ((), ("cd", f"cd {outer}"), ("cd", "clear", f"cd {outer}")), (40, 30, 30))
        out = weighted(self.rng, ((), ("cd",), ("cd ..", "pwd")), (30, 40, 30))
        self.pending += [f"cd {outer}", f"mkdir {inner}", *back, f"cd {inner}", "pwd", *out]
        return f"mkdir {outer}"

    def _target(self, home: Home, source: str) -> str:
        """Returns where ``source`` is moved or copied to: mostly a new name, sometimes a folder or another file."""
        others = [name for name in home.folders() if name != source]
        if others and self._chance(0.4):
            return self.rng.choice(others)
        files = [name for name in home.files() if name != source]
        return self.rng.choice(files) if files and self._chance(0.1) else self._new_name(home)

    def _mv(self, home: Home) -> str | None:
        if home.folders() and self._chance(0.12):
            source: str | None = self.rng.choice(home.folders())
        else:
            source = self._some_file(home, 0.1)
        return None if source is None else f"mv {source} {self._target(home, source)}"

    def _cp(self, home: Home) -> str | None:
        source = self._some_file(home, 0.1)
        return None if source is None else f"cp {source} {self._target(home, source)}"

    def _variable(self, home: Home) -> str:
        known = sorted(home.variables)
        if known and self._chance(0.35):
            name = self.rng.choice(known)
            return f"echo {self.word()} ${name}" if self._chance(0.2) else f"echo ${name}"
        name = self.rng.choice(_VARIABLES)
        if self._chance(0.04):
            return f"echo ${name}"
        if self._chance(0.85):
            self.pending.append(f"echo ${name}")
        return f"{name}={self.word()}"

    def _status(self, home: Home) -> str:
        if self._chance(0.15):
            return "echo $?"
        self.pending.append("echo $?")
        return self.rng.choice(("true", "false"))

    def _unknown(self, home: Home) -> str:
        name = self.rng.choice(("ls", "echo", "cat", "pwd", "touch", "clear", "mkdir", "rm"))
        misspelt = self._chance(0.5)
        command = misspelt_command(self.rng, name, self.split) if misspelt else unknown_command(self.rng, self.split)
        if self._chance(0.35):
            return f"{command} {self.word()}"
        return command
