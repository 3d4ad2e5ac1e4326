"""The laptop's leaderboard: its entries, its protocols, their training, and the table of what they said."""

import shutil
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
from ridge import RidgeProbe

import serlib as ser
from results import keep
from serlib.judge.predictions import Voter, align, labels, probabilities
from serlib.judge.voting import FLOOR
from serlib.train.run import Runs

LOGISTIC = ser.PROFILES["laptop"].probe
# name of the run -> (title, recipe). The first is the probe of notebook 02.
ENTRIES = {
    "whisper-tiny.en-probe": ("logistic regression", LOGISTIC),
    "whisper-tiny.en-ridge": ("kernel ridge", RidgeProbe()),
    "whisper-tiny.en-loudness": (
        "kernel ridge, loudness, three speeds",
        RidgeProbe(pooling="loudness", speeds=(0.9, 1.0, 1.1)),
    ),
    "whisper-tiny.en-convolutions": ("kernel ridge, convolutions only", RidgeProbe(layers="first")),
    "whisper-tiny.en": (
        "fine-tuned",
        ser.Recipe(epochs=8, batch_size=16, accumulation=1, warmup=0.1, eval_every=65, trim=True),
    ),
}
OWN = ("whisper-tiny.en-ridge", "whisper-tiny.en-loudness", "whisper-tiny.en-convolutions")  # names not by default
QUICK = ("whisper-tiny.en-ridge", "whisper-tiny.en-loudness")
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


def train(corpus: pd.DataFrame, folder: Runs, results: Path) -> None:
    """Train the entries on the splits of all protocols into ``folder`` and copy their small files to ``results``.

    One actor out only those are trained that take seconds.
    """
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
    for split, name in work:
        recipe = ENTRIES[name][1]
        verb = ser.probe if isinstance(recipe, ser.Probe) else ser.fine_tune
        run = verb(whisper, split, recipe, folder, name=name if name in OWN else None)
        keep(run, folder.folder, results)
        if split.name != "stratified":  # 60 MB each, and a fold's model is of use to nobody
            shutil.rmtree(run.folder / "checkpoint", ignore_errors=True)


def vote(voters: Sequence[Voter]) -> ser.voting.Vote:
    """Return the soft vote of those members, two at least, whose vote has the lowest cross-entropy on validation."""
    frames = align(voters, "validation")
    each, clips = np.stack([probabilities(frame) for frame in frames]), np.arange(len(frames[0]))
    truth = np.searchsorted(labels(frames[0]), frames[0]["emotion"].to_numpy(str))

    def loss(jury: tuple[int, ...]) -> float:
        total = each[list(jury)].sum(0)
        return float(-np.log(np.maximum((total / total.sum(1, keepdims=True))[clips, truth], FLOOR)).mean())

    juries = [jury for size in range(2, len(voters) + 1) for jury in combinations(range(len(voters)), size)]
    return ser.soft_vote([voters[i] for i in min(juries, key=loss)])


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
