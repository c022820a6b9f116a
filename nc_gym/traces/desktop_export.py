"""``nc-gym export``: a recorded desktop session becomes a screen video and an action file of the paper's data engine.

For whoever trains on the Neural Computers authors' formats (see ``desktop_paper.py`` for the files and how actions and
frames are aligned). ``nc-gym import`` reads both again: the same events, and screens as the video's compression left
them.
"""

from __future__ import annotations

from pathlib import Path

from nc_gym.traces.desktop_paper import write_csv, write_json
from nc_gym.traces.desktop_trace import read_screens, read_trace, require_new
from nc_gym.video import VideoWriter

FPS = 15  # of the paper's GUI recordings
_WRITERS = {"csv": write_csv, "json": write_json}


def export_session(session: Path, out: Path, kind: str) -> tuple[Path, Path]:
    """Writes NAME.mp4, the screens with the pointer on them, and NAME.csv or NAME.json of a session NAME.jsonl.

    Args:
        session: the .jsonl file of a recording.
        out: folder of the two files.
        kind: "csv" for one row per event, "json" for a list of actions.

    Returns:
        Video and action file.

    Raises:
        TraceError: the recording is incomplete, or a file is there already.
    """
    video, actions = out / f"{session.stem}.mp4", out / f"{session.stem}.{kind}"
    require_new(video, actions)
    trace = read_trace(session)
    part = video.with_name(f"{session.stem}.part.mp4")
    try:
        with VideoWriter(part, FPS) as film:
            for screen in read_screens(session):
                film.write(screen)
        _WRITERS[kind](actions, trace.events, FPS)
        part.replace(video)
    finally:
        part.unlink(missing_ok=True)
    return video, actions
