"""A synthetic user's own idea of its home folder: which files it made, where it is, what it typed.

``Home.run(line)`` follows one entered command line and says which family it belongs to. It is bookkeeping for choosing
commands that make sense and for labelling traces; nothing here draws a screen, and the network never sees it.
"""

from __future__ import annotations

import re
import shlex
from typing import Union

FAMILIES: tuple[str, ...] = (
    "none", "echo", "redirect", "append", "ls", "cat", "cat-missing", "touch", "rm", "mkdir", "rmdir", "cd", "pwd",
    "mv", "cp", "clear", "arithmetic", "variable", "status", "unknown", "missing", "typist", "edit",
)  # fmt: skip
FAMILY_INDEX: dict[str, int] = {name: i for i, name in enumerate(FAMILIES)}

Folder = dict[str, Union[int, "Folder"]]  # a file is its number of lines
_REDIRECT = re.compile(r"^(?P<command>.*?)\s*(?P<sign>>>?)\s*(?P<file>[\w/]+)\s*$")
_ASSIGNMENT = re.compile(r"^[A-Z]=\S*\s*$")


class Home:
    """The files a user believes exist, its working folder, its shell history and which files it wrote but has not read.

    Attributes:
        root: the home folder; names map to a file's number of lines or to a folder.
        path: names from home to the working folder.
        history: entered lines, oldest first.
        variables: names of shell variables that were set.
        unread: files written since they were last shown, oldest first, as names in the working folder.
        gone: names of files that were removed or renamed, oldest first; some may be there again.
        changed: whether the working folder's listing changed since the last ``ls``.
    """

    def __init__(self) -> None:
        self.root: Folder = {}
        self.path: list[str] = []
        self.history: list[str] = []
        self.variables: set[str] = set()
        self.unread: list[str] = []
        self.gone: list[str] = []
        self.changed = False

    @property
    def here(self) -> Folder:
        """The working folder."""
        return self._at(self.path)

    def files(self) -> list[str]:
        """Returns the names of the files in the working folder."""
        return [name for name, entry in self.here.items() if isinstance(entry, int)]

    def folders(self) -> list[str]:
        """Returns the names of the folders in the working folder."""
        return [name for name, entry in self.here.items() if not isinstance(entry, int)]

    def run(self, line: str) -> str:
        """Follows one entered line, remembers it in the history and returns its family."""
        if not line.strip():
            return "edit"
        self.history.append(line)
        if _ASSIGNMENT.match(line):
            self.variables.add(line[0])
            return "variable"
        redirect = _REDIRECT.match(line)
        if redirect and line.startswith("echo"):
            return self._write(redirect["file"], append=redirect["sign"] == ">>")
        try:
            words = shlex.split(line)
        except ValueError:
            return "typist"
        action = getattr(self, f"_do_{words[0]}", None) if words[0].isalpha() else None
        return action(words[1:]) if action else "unknown"

    def _at(self, names: list[str]) -> Folder:
        folder = self.root
        for name in names:
            entry = folder[name]
            assert not isinstance(entry, int)
            folder = entry
        return folder

    def _entry(self, name: str) -> tuple[Folder, str] | None:
        """Returns the folder that holds (or would hold) ``name`` and the last part of it; None if a part is missing."""
        folder, parts = self.here, name.rstrip("/").split("/")
        for part in parts[:-1]:
            entry = folder.get(part)
            if entry is None or isinstance(entry, int):
                return None
            folder = entry
        return folder, parts[-1]

    def _get(self, name: str) -> int | Folder | None:
        place = self._entry(name)
        return None if place is None else place[0].get(place[1])

    def _write(self, name: str, append: bool) -> str:
        place = self._entry(name)
        if place is None or isinstance(place[0].get(place[1]), dict):
            return "missing"
        old = place[0].get(place[1])
        self.changed |= old is None
        place[0][place[1]] = (old if append and isinstance(old, int) else 0) + 1
        if name in self.unread:
            self.unread.remove(name)
        self.unread.append(name)
        return "append" if append else "redirect"

    def _forget(self, name: str) -> None:
        place = self._entry(name)
        if place is not None:
            place[0].pop(place[1], None)
            self.gone.append(name)
        if name in self.unread:
            self.unread.remove(name)
        self.changed = True

    def _do_echo(self, words: list[str]) -> str:
        text = " ".join(words)
        if "$((" in text:
            return "arithmetic"
        if "$?" in text:
            return "status"
        return "variable" if "$" in text else "echo"

    def _do_true(self, words: list[str]) -> str:
        return "status"

    _do_false = _do_true

    def _do_pwd(self, words: list[str]) -> str:
        return "pwd"

    def _do_clear(self, words: list[str]) -> str:
        return "clear"

    def _do_ls(self, words: list[str]) -> str:
        if not words:
            self.changed = False
        return "ls" if all(self._get(word) is not None for word in words) else "missing"

    def _do_cat(self, words: list[str]) -> str:
        self.unread = [name for name in self.unread if name not in words]
        return "cat" if all(isinstance(self._get(word), int) for word in words) else "cat-missing"

    def _do_touch(self, words: list[str]) -> str:
        for word in words:
            place = self._entry(word)
            if place is None:
                return "missing"
            if place[1] not in place[0]:
                place[0][place[1]] = 0
                self.changed = True
        return "touch"

    def _do_rm(self, words: list[str]) -> str:
        recursive, family = "-r" in words, "rm"
        for word in (word for word in words if word != "-r"):
            entry = self._get(word)
            if isinstance(entry, int) or (recursive and entry is not None):
                self._forget(word)
            else:
                family = "missing"
        return family

    def _do_mkdir(self, words: list[str]) -> str:
        family = "mkdir"
        for word in words:
            place = self._entry(word)
            if place is None or place[1] in place[0]:
                family = "missing"
            else:
                place[0][place[1]] = {}
                self.changed = True
        return family

    def _do_rmdir(self, words: list[str]) -> str:
        family = "rmdir"
        for word in words:
            if self._get(word) == {}:
                self._forget(word)
            else:
                family = "missing"
        return family

    def _do_cd(self, words: list[str]) -> str:
        target = words[0] if words else "~"
        if target == "~":
            self.path = []
        elif target == "..":  # users do not leave their home, but by a `cd ..` that they recall there
            self.path = self.path[:-1]
        elif isinstance(self._get(target), dict):
            self.path = [*self.path, *target.rstrip("/").split("/")]
        else:
            return "missing"
        self.unread, self.changed = [], True
        return "cd"

    def _transfer(self, words: list[str], keep: bool) -> bool:
        if len(words) != 2:
            return False
        source, target = words
        entry, place = self._get(source), self._entry(target)
        if entry is None or place is None or source == target or (keep and isinstance(entry, dict)):
            return False
        old = place[0].get(place[1])
        if isinstance(old, dict):
            place = (old, source.rstrip("/").split("/")[-1])
        elif (isinstance(old, int) and isinstance(entry, dict)) or (old is None and target.endswith("/")):
            return False
        if not keep:
            self._forget(source)
        place[0][place[1]] = entry
        if not isinstance(old, dict) and isinstance(entry, int):
            self.unread.append(target)
        self.changed = True
        return True

    def _do_mv(self, words: list[str]) -> str:
        return "mv" if self._transfer(words, keep=False) else "missing"

    def _do_cp(self, words: list[str]) -> str:
        return "cp" if self._transfer(words, keep=True) else "missing"
