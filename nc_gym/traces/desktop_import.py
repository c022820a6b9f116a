"""``nc-gym import``: a screen video and its action file become a recording that ``nc-gym train desktop`` learns from.

For recordings of the Neural Computers authors' data engine (see ``desktop_paper.py`` for the files and how actions and
frames are aligned) or of one's own. The video is scaled to this desktop's screen, and pointer places with it. The
pointer is part of such a video, so the recording's own pointer image is empty: the network learns to draw it. Of their
agent's two files the JSON is the one to import: its CSV knows no clicks and no keys.
"""

from __future__ import annotations

from pathlib import Path

import imageio_ffmpeg
import numpy as np

from nc_gym.machines.desktop_events import Event, position
from nc_gym.machines.pointer import Sprite
from nc_gym.traces.desktop_mix import USERS
from nc_gym.traces.desktop_paper import Video, read_csv, read_json
from nc_gym.traces.desktop_trace import DesktopTrace, ScreenWriter, TraceError, decode, require_new, write_trace

_READERS = {".csv": read_csv, ".json": read_json}
_NOTHING = Sprite(np.zeros((1, 1, 4), np.uint8), (0, 0))


def import_session(video: Path, actions: Path, out: Path, user: str) -> Path:
    """Writes the recording NAME.jsonl and NAME.mkv of a video NAME.* and its actions.

    Args:
        video: N + 1 frames of any size: frame 0 is the screen before anything was done, frame k follows action k - 1.
        actions: per-frame CSV or actions JSON of N actions, in pixels of the video; or N + 1 rows of their recorders.
        out: folder of the recording.
        user: one of ``USERS``: "goal" for goal-directed, "slow" and "fast" for random users.

    Returns:
        The .jsonl file.

    Raises:
        TraceError: a file cannot be read, is of another kind, or the two do not fit.
    """
    if user not in USERS:
        raise TraceError(f"unknown user {user!r}; choose one of {', '.join(USERS)}")
    if actions.suffix not in _READERS:
        raise TraceError(f"{actions} is no action file; expected a .csv or a .json of the authors' data engine")
    path = out / f"{video.stem}.jsonl"
    require_new(path, path.with_suffix(".mkv"))  # perhaps the video itself
    film = _look(video)
    events = _READERS[actions.suffix](actions, film)
    if not events:
        raise TraceError(f"{actions} holds no actions; expected one for each frame of {video} but the first")
    if film.frames != len(events) + 1:
        raise TraceError(
            f"{video} has {film.frames} frames and {actions} has {len(events)} actions; "
            f"expected one frame more than actions, {len(events) + 1}: the screen before each action and the last"
        )
    out.mkdir(parents=True, exist_ok=True)
    screens = ScreenWriter(path.with_suffix(".mkv"))
    try:
        for frame in decode(video):
            screens.write(frame)
        screens.close()
    except BaseException:
        screens.discard()
        raise
    write_trace(path, _trace(video, actions, events, user), screens.checksum)
    return path


def _trace(video: Path, actions: Path, events: list[Event], user: str) -> DesktopTrace:
    """Returns what is known about an imported session: no purposes, no windows, no pointer of its own."""
    info = {"machine": "desktop", "user": user, "video": video.name, "actions": actions.name, "packages": {}}
    pointers = [(x, y, 0) for x, y in (position(column, row) for column, row, _, _ in [events[0], *events])]
    return DesktopTrace(info, pointers, events, ["imported"] * len(events), sprites=[_NOTHING])


def _look(video: Path) -> Video:
    """Returns what a video says about itself; its frames are counted."""
    reader = imageio_ffmpeg.read_frames(str(video))
    try:
        about = next(reader)
    except (OSError, RuntimeError, KeyError, IndexError) as error:
        raise TraceError(f"{video} is no video that ffmpeg can read; expected an mp4, mkv or the like") from error
    finally:
        reader.close()
    return Video(about["source_size"], about["fps"], sum(1 for _ in decode(video)))
