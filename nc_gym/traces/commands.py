"""Chooses the next command line of a goal-directed user: one maker per command family.

Weights follow what its home looks like: a file that was written is soon read, a changed folder is soon listed, many
files are cleaned up.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import pairwise
from random import Random

from nc_gym.traces.home import Home
from nc_gym.traces.words import Split, misspelt_command, random_sum, random_word, split_of, unknown_command, weighted

_MANY_FILES = 5
_VARIABLES = "ABCXYZ"


class CommandChooser:
    """Picks command lines for one session.

    Args:
        rng: the session's random stream.
        split: which words and sums may be used.
        weights: weight of each family.
        longest_word: longer ones are drawn again.
        alike: share of new names that begin as another in the folder does.
    """

    def __init__(
        self, rng: Random, split: Split, weights: Mapping[str, float], longest_word: int = 7, alike: float = 0.0
    ) -> None:
        self.rng = rng
        self.split = split
        self.weights = weights
        self.longest_word = longest_word
        self.alike = alike
        self.pending: list[str] = []
        self._makers: dict[str, Callable[[Home], str | None]] = {
            "echo": self._echo, "redirect": self._redirect, "append": self._append, "cat": self._cat, "ls": self._ls,
            "touch": self._touch, "rm": self._rm, "mkdir": self._mkdir, "rmdir": self._rmdir, "cd": self._cd,
            "pwd": lambda home: "pwd", "mv": self._mv, "cp": self._cp, "clear": lambda home: "clear",
            "arithmetic": lambda home: f"echo $(({random_sum(self.rng, self.split)}))", "variable": self._variable,
            "status": self._status, "unknown": self._unknown, "wait": lambda home: "cat",
            "nest": self._nest, "overwrite": self._overwrite, "passed-on": self._passed_on, "reread": self._reread,
            "gone": self._gone, "into": self._into, "visit": self._visit, "inside": self._inside,
            "wide": self._wide, "stock": self._stock,
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
        other = self.rng.choice(list(home.here)) if self.alike and home.here and self._chance(self.alike) else ""
        while True:
            name = other[: self.rng.randint(1, 3)] + self.word()[: self.rng.randint(1, 2)] if other else self.word()
            if name not in home.here and len(name) <= min(5, self.longest_word) and split_of(name) == self.split:
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

    def _wide(self, home: Home) -> str:
        """Echoes so many words that the line ends near the screen's right edge, before or behind it."""
        length, line = self.rng.randint(31, 44), f"echo {self.word()}"
        while len(line) < length:
            line += f" {self.word()}"
        return line

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
        looks = weighted(self.rng, ((), (names[-1],), (names[-1], source), (source, names[-1])), (30, 45, 15, 10))
        self.pending += [*rest, *(f"cat {name}" for name in looks)]
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

    def _stock(self, home: Home) -> str:
        """Makes three or four files at once, so that there is much to list."""
        return "touch " + " ".join(self._new_name(home) for _ in range(self.rng.choice((3, 4))))

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

    def _into(self, home: Home) -> str | None:
        """Copies or moves something into a folder and mostly looks where it is now."""
        folders = home.folders()
        target = self.rng.choice(folders) if folders else ""
        others = [name for name in home.here if name != target]
        if not target or not others:
            return None
        source = self.rng.choice(others)
        looks = (
            (),
            (f"ls {target}",),
            ("ls",),
            ("ls", f"ls {target}"),
            (f"cd {target}", "ls", "cd .."),
            (f"rmdir {target}",),
        )
        self.pending += weighted(self.rng, looks, (20, 30, 16, 10, 18, 6))
        return f"{'mv' if source in folders else self.rng.choice(('cp', 'mv'))} {source} {target}"

    def _visit(self, home: Home) -> str | None:
        """Goes into a folder, may change something there, lists it, and mostly comes back, often to look again."""
        if not home.folders():
            return None
        folder, name = self.rng.choice(home.folders()), self._new_name(home)
        change = weighted(self.rng, ((), (f"touch {name}",), (f"echo {self.word()} > {name}",)), (30, 40, 30))
        back = weighted(self.rng, ((), ("cd ..",), ("cd ..", "ls"), ("cd ..", f"ls {folder}")), (25, 30, 15, 30))
        self.pending += [*change, *(("ls",) if self._chance(0.8) else ()), *back]
        return f"cd {folder}"

    def _inside(self, home: Home) -> str | None:
        """Does something in a folder without going there, or lists it, full or empty."""
        if not home.folders():
            return None
        folder = self.rng.choice(home.folders())
        entries = home.here[folder]
        assert not isinstance(entries, int)
        name = self.rng.choice([*(name for name in entries if isinstance(entries[name], int)), self._new_name(home)])
        forms = ("ls {}", "cat {}/{}", "touch {}/{}", "echo {2} > {0}/{1}", "rm {}/{}", "rmdir {}", "rm -r {}")
        return weighted(self.rng, forms, (50, 24, 8, 6, 4, 5, 3)).format(folder, name, self.word())

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
