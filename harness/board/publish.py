"""The board as a data set: Parquet files with a card, which `datasets.load_dataset` reads."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from harness import __version__
from harness.board.board import Board
from harness.board.read import read_board, what_is_said
from harness.board.tables import frame_of, limits_of
from harness.errors import MissingPackage, StoreError, UsageError
from harness.registry import TaskSpec
from harness.store import Store

if TYPE_CHECKING:
    import pandas as pd

_HUB = "hf:"


def publish(store: Store, tasks: Mapping[str, TaskSpec], to: str) -> str:
    """Write the data set to a folder that is not there yet, or, `hf:ORG/NAME`, to the Hugging Face hub. Returns where.

    Three configurations: `rows` (a line for each row of each case), `limits` (breaking points), `records` (one record
    a line: scores, costs, provenance). Raises UsageError, StoreError, and MissingPackage without pyarrow or the hub's
    client.
    """
    board = read_board(store, tasks, charts=False)
    frames = {"rows": frame_of(board), "limits": _limits(board), "records": _records(store)}
    if to.startswith(_HUB):
        return _to_hub(frames, board, to.removeprefix(_HUB))
    out = Path(to)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"{out} is there already; name a folder that is not, with --to DIR")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        making = Path(tempfile.mkdtemp(prefix=".making-", dir=out.parent))
    except OSError as error:
        raise StoreError(f"{out} cannot be written: {error.strerror}") from None
    try:
        write_data_set(frames, board, making)
        making.chmod(0o755)
        if out.is_dir():
            out.rmdir()
        making.rename(out)
    except OSError as error:
        raise StoreError(f"{out} cannot be written: {error.strerror}") from None
    finally:
        shutil.rmtree(making, ignore_errors=True)
    return f"{out}: datasets.load_dataset({str(out)!r}, 'rows')"


def write_data_set(frames: Mapping[str, pd.DataFrame], board: Board, folder: Path) -> None:
    """The Parquet files and the card."""
    for name, frame in frames.items():
        place = folder / "data" / name
        place.mkdir(parents=True)
        try:
            frame.to_parquet(place / "train-00000-of-00001.parquet", index=False)
        except ImportError:
            raise MissingPackage("Parquet needs pyarrow; pip install 'limits-harness[board]'") from None
    (folder / "README.md").write_text(_card(frames, board), "utf-8")


def _limits(board: Board) -> pd.DataFrame:
    import pandas as pd

    columns = ["task", "task_version", "baseline", "name", "limit", "text", "value", "low", "high", "rank_low",
               "rank_high", "draws", "beside"]  # fmt: skip
    frame = pd.DataFrame(list(limits_of(board)), columns=columns)
    whole, real = ("task_version", "rank_low", "rank_high", "draws"), ("value", "low", "high")
    types = {**dict.fromkeys(whole, "Int64"), **dict.fromkeys(real, "Float64")}
    return frame.astype({name: types.get(name, "string") for name in columns})


def _records(store: Store) -> pd.DataFrame:
    """One record a line, with what was said of it since."""
    from harness.api import load_results

    said, _ = what_is_said(store)
    frame = load_results(store.root, records=True)
    frame["trust"] = [said.trust.get(i, "self-reported") for i in frame["id"]]
    frame["retracted"] = [said.retractions[i].reason if i in said.retractions else "" for i in frame["id"]]
    return frame


def _card(frames: Mapping[str, pd.DataFrame], board: Board) -> str:
    """Front matter as the hub reads it, then what a reader needs; numbers only, no text of any record."""
    configs = "".join(
        f"- config_name: {name}\n  default: {str(name == 'rows').lower()}\n  data_files:\n  - split: train\n"
        f"    path: data/{name}/*.parquet\n"
        for name in frames
    )
    tasks = "\n".join(f"- `{t.name}`, version {t.version}: {t.summary}" for t in board.tasks)
    sizes = ", ".join(f"{len(frame):,} {name}" for name, frame in frames.items())
    return f"""---
license: apache-2.0
pretty_name: The limits of learned representations
tags:
- benchmark
- leaderboard
configs:
{configs}---

# The limits of learned representations

What `harness` {__version__} measured: {sizes}, up to {board.newest}.

{tasks}

`rows` has a line for each baseline on each case of a task: the mean score over draws with a 95 % interval, the ranks
that cannot be excluded (`rank_low` to `rank_high`; empty: not resolved), latency, memory, and how far it was verified
(`trust`). `limits` has the breaking points, `records` what single runs came to. Scores compare across machines; costs
only within one machine class (`machine`). Failures are rows as well (`status`, `reason`).
"""


def _to_hub(frames: Mapping[str, pd.DataFrame], board: Board, name: str) -> str:
    if name.count("/") != 1:
        raise UsageError(f"hf:{name} is no data set; write hf:ORG/NAME")
    try:
        from huggingface_hub import HfApi
        from huggingface_hub.errors import HfHubHTTPError
    except ImportError:
        raise MissingPackage("the hub needs its client; pip install 'limits-harness[board]'") from None
    with tempfile.TemporaryDirectory() as folder:
        write_data_set(frames, board, Path(folder))
        api = HfApi()
        try:
            api.create_repo(name, repo_type="dataset", exist_ok=True)
            api.upload_folder(repo_id=name, repo_type="dataset", folder_path=folder, commit_message="The board")
        except (HfHubHTTPError, OSError, ValueError) as error:
            said = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise StoreError(f"the hub did not take {name}: {said}; log in with `hf auth login`") from None
    return f"hf:{name}: datasets.load_dataset({name!r}, 'rows')"
