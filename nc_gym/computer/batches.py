"""Training batches: shards of recorded screens become token sessions, cached on disk, and padded batches in memory.

In: ``*.npz`` shards (lossless tile-delta videos, pixels only). Out: dicts of int64 tensors for ``objective.losses``.
"""

from __future__ import annotations

import hashlib
import multiprocessing
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nc_gym.computer.codec import TileCodec
from nc_gym.computer.objective import Batch
from nc_gym.computer.tokens import TokenSession, tokenize

_FIELDS = tuple(f.name for f in fields(TokenSession))
_SHARD_ARRAYS = (
    "tiles", "screen0", "starts", "events", "delta_starts", "delta_pos", "delta_tile", "family", "families",
)  # fmt: skip
_EASY_SHARE = 0.25  # of the sessions that were all right when last seen: so many are seen again in the next pass


class ShardError(ValueError):
    """A folder of training shards cannot be used."""


def find_shards(folders: list[Path]) -> list[Path]:
    """Returns all shards below the folders, sorted."""
    shards = sorted(p for folder in folders for p in Path(folder).rglob("shard-*.npz"))
    if not shards:
        raise ShardError(
            f"no training shards (shard-*.npz) below {', '.join(map(str, folders))}; "
            "record some with `nc-gym collect` and pass its output folder"
        )
    return shards


def read_shard(path: Path) -> dict[str, NDArray]:
    """Reads all arrays of one shard; see ``read_arrays``."""
    return read_arrays(path, _SHARD_ARRAYS)


def read_arrays(path: Path, names: tuple[str, ...]) -> dict[str, NDArray]:
    """Reads the arrays of a shard that are called ``names``.

    Raises:
        ShardError: the file is damaged or no such shard.
    """
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in names}
    except (ValueError, KeyError, EOFError, AttributeError, TypeError, zipfile.BadZipFile, zlib.error) as error:
        raise ShardError(
            f"{path} is not a training shard ({error}); remove it and build the shards again from their casts"
        ) from error


def count_tiles(shards: list[Path]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Returns all distinct tiles (D, h, w, 3) of the shards and how often each was drawn (D,)."""
    seen: dict[bytes, int] = {}
    shape: tuple[int, ...] = ()
    for path in shards:
        shard = read_shard(path)
        tiles = shard["tiles"]
        drawn = np.bincount(shard["delta_tile"], minlength=len(tiles))
        drawn += np.bincount(shard["screen0"].reshape(-1), minlength=len(tiles))
        shape = tiles.shape[1:]
        for tile, n in zip(tiles, drawn, strict=True):
            seen[tile.tobytes()] = seen.get(tile.tobytes(), 0) + int(n)
    tiles = np.frombuffer(b"".join(seen), np.uint8).reshape(-1, *shape)
    return tiles, np.array(list(seen.values()))


def tokenize_shard(path: Path, codec: TileCodec) -> Path:
    """Tokenizes one shard and returns the cache file beside it, made only if it is not there yet for this codec."""
    c = codec.config
    key = codec.prototypes.numpy().tobytes() + repr((c.group, c.gaze_rows, c.tile_columns, c.num_events)).encode()
    out = path.with_name(f"tokens-{path.stem[6:]}-{hashlib.sha256(key).hexdigest()[:12]}.npz")
    if out.exists() and out.stat().st_mtime >= path.stat().st_mtime:  # a shard may have been built anew
        return out
    data = read_shard(path)
    code_of = codec.encode_tiles(torch.from_numpy(data["tiles"])).numpy()
    screen0, delta_code = code_of[data["screen0"]], code_of[data["delta_tile"]]
    delta_pos, starts = data["delta_pos"].astype(np.int64), data["starts"]
    sessions = []
    for s in range(len(screen0)):
        events = slice(starts[s], starts[s + 1])
        bounds = data["delta_starts"][starts[s] : starts[s + 1] + 1]
        sessions.append(
            tokenize(
                screen0[s], data["events"][events].astype(np.int64), bounds, delta_pos, delta_code,
                columns=c.tile_columns, num_codes=c.num_codes, num_events=c.num_events, group=c.group,
                gaze_rows=c.gaze_rows,
            )
        )  # fmt: skip
    arrays = {name: np.concatenate([getattr(s, name) for s in sessions]) for name in _FIELDS}
    arrays["tokens"] = np.cumsum([0, *map(len, sessions)])
    arrays |= {name: data[name] for name in ("starts", "family", "families")}
    save_whole(out, arrays)
    return out


def save_whole(out: Path, arrays: dict[str, NDArray]) -> None:
    """Writes beside the target and renames, so that there is never half a file."""
    partial = out.with_name("partial-" + out.name)
    try:
        np.savez(partial, **arrays)  # type: ignore[arg-type]  # numpy types its own option as bool
        partial.replace(out)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise ShardError(
            f"{out} could not be written ({error}); free some space and start the same command again"
        ) from error


@dataclass(frozen=True)
class TokenFile:
    """The token sessions of one shard; session s is ``tokens[s]:tokens[s+1]`` of every per-token array."""

    arrays: dict[str, NDArray[np.int16]]
    tokens: NDArray[np.int64]
    starts: NDArray[np.int64]
    family: NDArray[np.uint8]
    families: list[str]

    @classmethod
    def load(cls, path: Path) -> TokenFile:
        """Reads what ``tokenize_shard`` wrote."""
        with np.load(path) as f:
            arrays = {name: f[name] for name in _FIELDS}
            return cls(arrays, f["tokens"], f["starts"], f["family"], [str(x) for x in f["families"]])


def groups_of_like_length(lengths: NDArray, tokens: int, generator: torch.Generator) -> list[list[int]]:
    """Shares sessions out to batches of at most ``tokens`` tokens with their padding, or of one session, at random.

    Args:
        lengths: tokens of each session.
        tokens: of a batch.
        generator: source of choices.

    Returns:
        The numbers of the sessions of each batch; every session is in one.
    """
    order = torch.randperm(len(lengths), generator=generator).numpy()
    groups: list[list[int]] = []
    rest: list[int] = []  # of all pools together, or a few short sessions would be a step of their own for each pool
    for pool in np.array_split(order, max(1, len(order) // 512)):
        whole, left = _groups_of(pool, lengths, tokens)
        groups, rest = groups + whole, rest + left
    whole, left = _groups_of(np.array(rest, np.int64), lengths, tokens)
    groups += [*whole, *([left] if left else [])]
    return [groups[g] for g in torch.randperm(len(groups), generator=generator).tolist()]


def _groups_of(pool: NDArray, lengths: NDArray, tokens: int) -> tuple[list[list[int]], list[int]]:
    """Returns the full batches of a pool of sessions, longest first, and the sessions that fill none."""
    pool = pool[np.argsort(lengths[pool], kind="stable")][::-1]
    groups: list[list[int]] = []
    i = 0
    while i < len(pool):
        n = max(1, tokens // int(lengths[pool[i]]))
        if i + n > len(pool):
            break
        groups.append(pool[i : i + n].tolist())
        i += n
    return groups, pool[i:].tolist()


class TokenData:
    """All token sessions in memory, drawn in random batches of about equal cost.

    Args:
        shards: shard files.
        codec: the codec that names tiles.
        max_tokens: longer sessions are cut.
        workers: processes that tokenize shards not yet cached.
    """

    def __init__(self, shards: list[Path], codec: TileCodec, max_tokens: int, workers: int = 2) -> None:
        jobs = [(path, codec) for path in shards]
        if workers > 1 and len(jobs) > 1:
            with multiprocessing.get_context("spawn").Pool(workers) as pool:
                paths = pool.starmap(tokenize_shard, jobs, chunksize=1)
        else:
            paths = [tokenize_shard(*job) for job in jobs]
        self.files = [TokenFile.load(p) for p in paths]
        self.sessions = [(f, s) for f in range(len(self.files)) for s in range(len(self.files[f].tokens) - 1)]
        lengths = [int(self.files[f].tokens[s + 1] - self.files[f].tokens[s]) for f, s in self.sessions]
        self.lengths = np.minimum(lengths, max_tokens)
        self.max_tokens = max_tokens
        self.config = codec.config
        self.right = np.zeros(len(self.sessions), bool)  # every token of it was predicted when it was last seen

    def batch(self, chosen: list[int]) -> Batch:
        """Returns the padded batch of the sessions with these numbers."""
        per_token = [n for n in _FIELDS if n != "gaze"]
        parts: dict[str, list[Tensor]] = {n: [] for n in [*per_token, "gaze", "valid", "family"]}
        for i in chosen:
            f, s = self.sessions[i]
            file = self.files[f]
            lo, n = int(file.tokens[s]), int(self.lengths[i])
            for name in per_token:
                parts[name].append(torch.from_numpy(file.arrays[name][lo : lo + n]))
            events = slice(file.starts[s], file.starts[s] + int(file.arrays["index"][lo + n - 1]) + 1)
            parts["gaze"].append(torch.from_numpy(file.arrays["gaze"][events]))
            parts["family"].append(torch.from_numpy(file.family[events]))
            parts["valid"].append(torch.ones(n, dtype=torch.bool))
        out: Batch = {n: torch.nn.utils.rnn.pad_sequence(p, batch_first=True) for n, p in parts.items()}
        valid = out.pop("valid")
        batch = {n: t.long() for n, t in out.items()}
        batch["code_in"] = torch.where(valid[..., None], batch["code_in"], self.config.num_codes)
        return batch | {"valid": valid, "session": torch.tensor(chosen)}

    def batches(self, tokens: int, generator: torch.Generator) -> Iterator[Batch]:
        """Yields random batches of about ``tokens`` tokens without end; sessions of like length go together.

        Each pass takes the sessions that had a mistake when they were last seen, and ``_EASY_SHARE`` of the others.
        """
        while True:
            again = torch.rand(len(self.sessions), generator=generator).numpy() < _EASY_SHARE
            sessions = np.flatnonzero(~self.right | again)
            for chosen in groups_of_like_length(self.lengths[sessions], tokens, generator):
                yield self.batch(sessions[chosen].tolist())

    def note(self, sessions: NDArray[np.int64], right: NDArray[np.bool_]) -> None:
        """Remembers of some sessions (B,) whether every token was predicted (B,)."""
        self.right[sessions] = right
