"""Says what a folder of recordings holds, from their headers alone; the configuration of weights keeps it."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

from nc_gym.traces.shards import find_recordings


def census(folder: Path, suffix: str) -> list[dict[str, Any]]:
    """Counts the sessions and events of each recording below a folder.

    Args:
        folder: of `nc-gym collect` or several such.
        suffix: ".cast" or ".jsonl".

    Returns:
        One entry per seed, split and user: these three, ``sessions`` and ``events``. Files without a header that can be
        read do not count, as the shards leave them out.
    """
    sessions: Counter[tuple[Any, ...]] = Counter()
    events: Counter[tuple[Any, ...]] = Counter()
    for path in find_recordings(folder, suffix):
        try:
            with path.open(encoding="utf-8") as file:
                header = json.loads(file.readline())
            info = header["nc_gym"] if suffix == ".cast" else header["info"] | {"steps": header["steps"]}
        except (ValueError, KeyError, TypeError):
            continue
        made = info.get("seed"), info.get("split"), info.get("user")  # an imported session has no seed
        sessions[made] += 1
        events[made] += info["steps"]
    names = ("seed", "split", "user")
    return [
        dict(zip(names, made, strict=True)) | {"sessions": count, "events": events[made]}
        for made, count in sorted(sessions.items(), key=str)
    ]
