"""Which command families each kind of goal-directed user of a terminal types, and how often: weight of each family."""

from __future__ import annotations

from collections.abc import Mapping

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
MENDER_WEIGHTS: Mapping[str, float] = {**GOAL_WEIGHTS, "echo": 45, "wide": 15}
FOLDER_WEIGHTS: Mapping[str, float] = {
    "mkdir": 11, "touch": 7, "redirect": 5, "append": 1, "into": 44, "visit": 26, "inside": 40, "ls": 6, "rm": 1.5,
    "rmdir": 1, "cd": 1.5, "mv": 2, "cp": 1, "pwd": 2, "reread": 4, "clear": 1, "nest": 1,
}  # fmt: skip
SHELF_WEIGHTS: Mapping[str, float] = {
    "redirect": 44, "overwrite": 3, "append": 6, "passed-on": 12, "reread": 44, "rm": 1, "touch": 2, "ls": 4,
    "arithmetic": 2, "clear": 1,
}  # fmt: skip
LISTER_WEIGHTS: Mapping[str, float] = {
    "touch": 10, "stock": 14, "redirect": 12, "append": 3, "mkdir": 5, "mv": 6, "cp": 6, "rm": 2, "rmdir": 1, "ls": 40,
    "cat": 5, "cd": 2, "visit": 3, "clear": 1, "unknown": 2, "status": 2, "arithmetic": 2,
}  # fmt: skip
