"""Copy the small files of finished runs, and of the voters kept beside them, from runs/ to results/, for committing:
`python scripts/results.py PROFILE`.

Runs with a name of their own are somebody's tries and stay where they are; `make leaderboard` copies its own.
"""

import shutil
import sys
from pathlib import Path

import pandas as pd

from serlib.files import atomic_path
from serlib.lesson import PROFILES
from serlib.train.kept import RECORD, load_voter
from serlib.train.run import Run, load_run

ROOT = Path(__file__).parents[1]
FILES = ("predictions.csv", "history.csv", "run.json")
VOTER = ("predictions.csv", RECORD)


def keep(run: Run, runs: Path, results: Path) -> None:
    """Copy a run's predictions, history and record, not its checkpoint, to the same place below ``results``."""
    copy(run.folder, FILES, results / run.folder.relative_to(runs))


def write(table: pd.DataFrame, path: Path) -> None:
    """Write a table of answers for committing, whole or not at all; its index is the first column."""
    with atomic_path(path) as fresh:
        table.to_csv(fresh, index_label=table.index.name or "clip", lineterminator="\n")


def copy(source: Path, names: tuple[str, ...], target: Path) -> None:
    """Copy these files of a folder to another, which then holds no others."""
    with atomic_path(target, folder=True) as fresh:
        for name in names:
            shutil.copyfile(source / name, fresh / name)


def main(profile: str) -> None:
    runs, results = ROOT / "runs" / profile, ROOT / "results" / profile
    for folder in sorted(path.parent for path in runs.glob("*/*/run.json") if ".before" not in path.parent.name):
        run = load_run(folder)
        if run.info["own_name"] is None:
            keep(run, runs, results)
    for folder in sorted(path.parent for path in runs.glob(f"*/*/{RECORD}")):
        # the prices of notebook 11 need real recordings; of mini everybody makes them in a minute
        if folder.parent.name != "prices" or PROFILES[profile].corpus == "ravdess":
            load_voter(folder)  # what is damaged is not committed
            copy(folder, VOTER, results / folder.relative_to(runs))


if __name__ == "__main__":
    main(*sys.argv[1:])
