"""Copy the small files of finished runs from runs/ to results/, for committing: `python scripts/results.py PROFILE`.

Runs with a name of their own are somebody's tries and stay where they are; `make leaderboard` copies its own.
"""

import shutil
import sys
from pathlib import Path

from serlib.files import atomic_path
from serlib.lesson import PROFILES
from serlib.train.run import Run, load_run

ROOT = Path(__file__).parents[1]
FILES = ("predictions.csv", "history.csv", "run.json")


def keep(run: Run, runs: Path, results: Path) -> None:
    """Copy a run's predictions, history and record, not its checkpoint, to the same place below ``results``."""
    with atomic_path(results / run.folder.relative_to(runs), folder=True) as fresh:
        for name in FILES:
            shutil.copyfile(run.folder / name, fresh / name)


def main(profile: str) -> None:
    runs, results = ROOT / "runs" / profile, ROOT / "results" / profile
    for folder in sorted(path.parent for path in runs.glob("*/*/run.json") if ".before" not in path.parent.name):
        run = load_run(folder)
        if run.info["own_name"] is None:
            keep(run, runs, results)
    # those of notebook 11 need real recordings; of mini everybody makes them in a minute
    for prices in sorted(runs.glob("prices/*/predictions.csv")) if PROFILES[profile].corpus == "ravdess" else ():
        with atomic_path(results / prices.relative_to(runs)) as fresh:
            shutil.copyfile(prices, fresh)


if __name__ == "__main__":
    main(*sys.argv[1:])
