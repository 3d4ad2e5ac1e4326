"""Train every entry of the laptop's leaderboard on every protocol of RAVDESS, then let them vote.

`python scripts/leaderboard.py` trains into runs/laptop (RAVDESS_DIR; a finished run is loaded); with `--table` it
computes the table from the predictions in results/laptop, in seconds, and writes it to results/laptop/leaderboard.csv.
Everything that is chosen is chosen on clips of the training part, the vote's members too. `make leaderboard` does both.
"""

import argparse
import shutil
import sys
import time
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd

import serlib as ser
from serlib.judge.predictions import labels, probabilities, rows_of
from serlib.judge.voting import FLOOR
from serlib.train.training import Run

RESULTS = Path(__file__).parents[1] / "results" / "laptop"
LOGISTIC = ser.PROFILES["laptop"].probe
RIDGE = replace(LOGISTIC, head="kernel ridge", centered=True)
# folder -> (title, recipe). The first is the probe of notebook 02.
ENTRIES = {
    "whisper-tiny.en-frozen": ("logistic regression", LOGISTIC),
    "whisper-tiny.en-ridge-frozen": ("kernel ridge", RIDGE),
    "whisper-tiny.en-loudness-frozen": (
        "kernel ridge, loudness, three speeds",
        replace(RIDGE, pooling="loudness", speeds=(0.9, 1.0, 1.1)),
    ),
    "whisper-tiny.en-convolutions-frozen": ("kernel ridge, convolutions only", replace(RIDGE, layers="first")),
    "whisper-tiny.en": (
        "fine-tuned",
        ser.Recipe(epochs=8, batch_size=16, accumulation=1, warmup=0.1, eval_every=65, trim=True),
    ),
}
QUICK = ("whisper-tiny.en-ridge-frozen", "whisper-tiny.en-loudness-frozen")
SLOW = "whisper-tiny.en"  # twenty minutes of one core each: on the paper's split only
VOTE = "vote, members chosen on validation"
# protocol -> how its folders begin
PROTOCOLS = {
    "random, as the paper": "stratified",
    "five actor folds (Luna-Jiménez)": "luna-jimenez-fold?",
    "six actor folds (EmoBox)": "emobox-fold?",
    "one actor out": "without-[0-2]?",
    "one statement out": "without-statement?",
    "actors and statement out": "luna-jimenez-fold?-without-statement?",
}


def train(corpus: pd.DataFrame, folder: Path) -> None:
    """Train the entries on the splits of all protocols, one actor out with those alone that take seconds."""
    random = ser.stratified_split(corpus)
    folds = [
        random,
        *ser.actor_folds(corpus, "luna-jimenez"),
        *ser.actor_folds(corpus, "emobox"),
        *ser.leave_one_statement_out(corpus),
        *ser.leave_one_statement_out(corpus, "luna-jimenez"),
    ]
    work = [(split, key) for split in folds for key in ENTRIES if key != SLOW or split is random]
    work += [(split, key) for split in ser.leave_one_actor_out(corpus) for key in QUICK]
    whisper = ser.backbone("whisper-tiny.en")
    for split, key in work:
        title, recipe = ENTRIES[key]
        key = key.removesuffix("-frozen")  # which fine_tune adds
        title = whisper.title if recipe == LOGISTIC else f"{whisper.title}, {title}"
        run = ser.fine_tune(replace(whisper, key=key, title=title), split, recipe, folder)
        if split.name != "stratified":  # 60 MB each, and a fold's model is of use to nobody
            shutil.rmtree(run.folder / "checkpoint", ignore_errors=True)


def loss(voter: object) -> float:
    """Return the cross-entropy on the validation part."""
    frame = rows_of(voter, "validation")
    truth = np.searchsorted(labels(frame), frame["emotion"].to_numpy(str))
    return float(-np.log(np.maximum(probabilities(frame)[np.arange(len(frame)), truth], FLOOR)).mean())


def vote(runs: list[Run]) -> ser.voting.Vote:
    """Return the soft vote of those members, two at least, whose vote has the lowest loss on validation."""
    juries = [jury for size in range(2, len(runs) + 1) for jury in combinations(runs, size)]
    return min((ser.soft_vote(jury) for jury in juries), key=loss)


def table(folder: Path) -> pd.DataFrame:
    """Return a row for each entry on each protocol, from the runs of a folder; a protocol without runs has none.

    Accuracy and UAR are pooled over the folds, their intervals draw actors (95 %), ``seconds`` sums the trainings.
    """
    rows = []
    for protocol, pattern in PROTOCOLS.items():
        found = {}
        for fold in sorted(folder.glob(pattern)):
            runs = {key: ser.load_run(fold / key) for key in ENTRIES if (fold / key).is_dir()}
            for key, run in runs.items():
                found.setdefault(ENTRIES[key][0], []).append((run, run.info["seconds"]))
            if len(runs) > 1:
                total = sum(run.info["seconds"] for run in runs.values())
                found.setdefault(VOTE, []).append((vote(list(runs.values())), total))
        for entry, folds in found.items():
            pooled = ser.pool([voter for voter, _ in folds], entry)
            both = ser.intervals(pooled)
            right = int((pooled["predicted"] == pooled["emotion"]).sum())
            row = {"protocol": protocol, "entry": entry, "folds": len(folds), "clips": len(pooled), "right": right}
            for measure in ("accuracy", "UAR"):
                value, low, high = both.loc[measure]
                row |= {measure: value, f"{measure}_low": low, f"{measure}_high": high}
            rows.append(row | {"seconds": sum(seconds for _, seconds in folds)})
    return pd.DataFrame(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--table", action="store_true", help="train nothing: the table of what is in results/laptop")
    if not parser.parse_args().table:
        begin = time.time()
        lesson = ser.start("laptop")
        train(lesson.corpus(), lesson.runs)
        print(f"trained or loaded in {(time.time() - begin) / 60:.1f} minutes")
        return
    board = table(RESULTS).round(4)
    board.to_csv(RESULTS / "leaderboard.csv", index=False, lineterminator="\n")
    for protocol, rows in board.groupby("protocol", sort=False):
        print(f"\n{protocol}: {rows['folds'].max()} fold(s), {rows['clips'].max():,} test clips")
        for row in rows.itertuples():
            print(
                f"  {row.entry:40s} accuracy {row.accuracy:6.2%} ({row.accuracy_low:.1%} to {row.accuracy_high:.1%})"
                f"  UAR {row.UAR:6.2%} ({row.UAR_low:.1%} to {row.UAR_high:.1%})  {row.seconds:6.0f} s"
            )
    trained = board[board["entry"] != VOTE]
    print(f"\n{trained['folds'].sum()} trainings, {trained['seconds'].sum() / 60:.0f} minutes in all")


if __name__ == "__main__":
    sys.exit(main())
