"""Train every entry of the laptop's leaderboard on every protocol of RAVDESS, then let them vote.

`python scripts/leaderboard` trains into runs/laptop (RAVDESS_DIR; a finished run is loaded); with `--table` it
computes the table from the predictions in results/laptop, in seconds, and writes it to results/laptop/leaderboard.csv.
Everything that is chosen is chosen on clips of the training part, the vote's members too. `make leaderboard` does both.
"""

import argparse
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # results.py lies beside this folder

import numpy as np
from board import VOTE, table, train

import serlib as ser

RESULTS = Path(__file__).parents[2] / "results" / "laptop"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--table", action="store_true", help="train nothing: the table of what is in results/laptop")
    if not parser.parse_args().table:
        begin = time.time()
        lesson = ser.start("laptop")
        train(lesson.corpus(), lesson.runs, RESULTS)
        print(f"trained or loaded in {(time.time() - begin) / 60:.1f} minutes")
        return
    board = table(RESULTS).round(6)
    board.to_csv(RESULTS / "leaderboard.csv", index=False, lineterminator="\n")
    for protocol, rows in board.groupby("protocol", sort=False):
        print(f"\n{protocol}: {rows['folds'].max()} fold(s), {rows['clips'].max():,} test clips")
        for row in rows.itertuples():
            seconds = "" if np.isnan(row.seconds) else f"  {row.seconds:6.0f} s"
            print(
                f"  {row.entry:40s} accuracy {row.accuracy:6.2%} ({row.accuracy_low:.1%} to {row.accuracy_high:.1%})"
                f"  UAR {row.UAR:6.2%} ({row.UAR_low:.1%} to {row.UAR_high:.1%}){seconds}"
            )
    trained = board[(board["entry"] != VOTE) & board["seconds"].notna()]
    print(f"\n{trained['folds'].sum()} trainings, {trained['seconds'].sum() / 60:.0f} minutes in all")


if __name__ == "__main__":
    sys.exit(main())
