"""The laptop's leaderboard: its entries, its protocols, their training, and the table of what they said."""

import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from fnmatch import fnmatch
from itertools import combinations
from pathlib import Path
from typing import Any

import enrolled
import luck
import numpy as np
import pandas as pd
from ridge import RidgeProbe

import serlib as ser
from results import keep, write
from serlib.files import atomic_path, checksum, key_of
from serlib.judge.predictions import Voter, align, labels, probabilities
from serlib.judge.voting import FLOOR
from serlib.train.backbones import weights_key
from serlib.train.run import Runs, sound_of

LOGISTIC = ser.PROFILES["laptop"].probe
TINY, BASE = "whisper-tiny.en", "whisper-base"
TUNED = ser.Recipe(epochs=8, batch_size=16, accumulation=1, warmup=0.1, eval_every=65, trim=True)
# name of the run -> (title, encoder, recipe). The first is the probe of notebook 02.
ENTRIES = {
    "whisper-tiny.en-probe": ("logistic regression", TINY, LOGISTIC),
    "whisper-tiny.en-ridge": ("kernel ridge", TINY, RidgeProbe()),
    "whisper-tiny.en-loudness": (
        "kernel ridge, loudness, three speeds",
        TINY,
        RidgeProbe(pooling="loudness", speeds=(0.9, 1.0, 1.1)),
    ),
    "whisper-tiny.en-convolutions": ("kernel ridge, convolutions only", TINY, RidgeProbe(layers="first")),
    "whisper-base-probe": ("logistic regression, Whisper base", BASE, LOGISTIC),
    "whisper-base-ridge": ("kernel ridge, Whisper base", BASE, RidgeProbe()),
    "whisper-tiny.en": ("fine-tuned", TINY, TUNED),
    "whisper-base": ("fine-tuned, Whisper base", BASE, TUNED),
    "whisper-base-lora": ("LoRA, Whisper base", BASE, replace(TUNED, lora=16, learning_rate=5e-4)),
    "whisper-base-upper": ("upper two layers fine-tuned, Whisper base", BASE, replace(TUNED, frozen=4)),
}
QUICK = ("whisper-tiny.en-ridge", "whisper-tiny.en-loudness", "whisper-base-ridge")
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
PAPER, FIVE = list(PROTOCOLS)[:2]
# Entries that take minutes of a core each, and the protocols that they were trained on.
SLOW = {
    "whisper-tiny.en": [PAPER],
    "whisper-base-probe": [PAPER],
    "whisper-base": [PAPER, FIVE],
    "whisper-base-lora": [PAPER, FIVE],
    "whisper-base-upper": [PAPER, FIVE],
}
# What is told apart there: how many clips of the voice are enrolled, then the same with features that know nothing.
ENROLLED = [f"{title}{clips}" for title in ("", enrolled.CONTROL) for clips in enrolled.NUMBERS]
# Of counts (..., right and clips, classes).
MEASURES = {
    "accuracy": lambda cells: cells[..., 0, :].sum(-1) / cells[..., 1, :].sum(-1),
    "UAR": lambda cells: (cells[..., 0, :] / cells[..., 1, :]).mean(-1),
}


def train(corpus: pd.DataFrame, folder: Runs, results: Path) -> None:
    """Train the entries on the splits of all protocols into ``folder`` and copy their small files to ``results``.

    One actor out only those are trained that take seconds. What is answered on other splits, and with voices enrolled,
    goes to ``results/answers``.
    """
    folds = [
        ser.stratified_split(corpus),
        *ser.actor_folds(corpus, "luna-jimenez"),
        *ser.actor_folds(corpus, "emobox"),
        *ser.leave_one_statement_out(corpus),
        *ser.leave_one_statement_out(corpus, "luna-jimenez"),
    ]
    work = [
        (split, key)
        for split in folds
        for key in ENTRIES
        if any(fnmatch(split.name, PROTOCOLS[protocol]) for protocol in SLOW.get(key, PROTOCOLS))
    ]
    work += [(split, key) for split in ser.leave_one_actor_out(corpus) for key in QUICK]
    for split, name in work:
        _, encoder, recipe = ENTRIES[name]
        verb = ser.probe if isinstance(recipe, ser.Probe) else ser.fine_tune
        own = None if name in (encoder, f"{encoder}-probe") else name  # else it is the one by default
        run = verb(ser.backbone(encoder), split, recipe, folder, name=own)
        keep(run, folder.folder, results)
        if split.name != "stratified":  # 60 MB each, and a fold's model is of use to nobody
            shutil.rmtree(run.folder / "checkpoint", ignore_errors=True)
    for name, module in (("luck", luck), ("enrolled", enrolled)):
        answer(corpus, module, results / "answers" / f"{name}.csv")


def answer(corpus: pd.DataFrame, module: Any, path: Path) -> None:
    """Write what a module answers for a corpus to ``path``, unless it stands there from the same clips and weights.

    Beside it lies ``keys.json``: for each file of answers the key of what it depends on, and its own checksum, so that
    a file that was changed by hand is answered anew too.
    """
    weights = [weights_key(ser.backbone(encoder)) for encoder in module.DEPENDS["encoders"]]
    truth = corpus[["actor", "emotion"]]
    clips = {"sound": sound_of(corpus), "labels": truth.sort_index().to_csv(lineterminator="\n")}
    key = key_of({**module.DEPENDS, **clips, "weights": weights})
    notes = path.with_name("keys.json")
    kept = json.loads(notes.read_text(encoding="utf-8")) if notes.is_file() else {}
    if path.is_file() and kept.get(path.stem) == {"key": key, "sha256": checksum(path)}:
        print(f"{path.stem}: answered already")
        return
    said = module.answers(corpus)
    write(truth.join(said), path)
    with atomic_path(notes) as fresh:
        kept[path.stem] = {"key": key, "sha256": checksum(path)}
        fresh.write_text(json.dumps(kept, indent=1, sort_keys=True) + "\n", encoding="utf-8")


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
    if (kept := folder / "answers" / "enrolled.csv").is_file():
        said = pd.read_csv(kept, index_col="clip")
        rows += [enrolled_row(said, what) for what in ENROLLED]
    return pd.DataFrame(rows)


def enrolled_row(said: pd.DataFrame, what: str) -> dict[str, Any]:
    """Return the row of the leaderboard for what is said with so many clips of the voice enrolled.

    A clip counts once for each draw in which it is judged. The intervals draw actors, and for each actor a draw.
    """
    title, _, clips = what.rpartition(", ")
    columns = said[[column for column in said if column.rpartition(", draw ")[0] == what]].stack().dropna()
    clip, draw = (columns.index.get_level_values(level) for level in (0, 1))
    truth = said["emotion"].reindex(clip).to_numpy()
    table = pd.DataFrame({"right": columns.to_numpy() == truth, "clips": 1})
    keys = [said["actor"].reindex(clip).to_numpy(), draw, truth]
    table = table.groupby(keys).sum().unstack(fill_value=0)  # (actors x draws, measures x classes)
    cells = table.to_numpy(float).reshape(said["actor"].nunique(), -1, 2, said["emotion"].nunique())
    random = np.random.default_rng(0)
    actors, drawn = (random.integers(size, size=(10_000, len(cells))) for size in cells.shape[:2])
    many, all_of_them = cells[actors, drawn].sum(1), cells.sum((0, 1))
    row = {
        "protocol": f"five actor folds, {clips} enrolled",
        "entry": title or "two Whispers",
        "folds": 5,
        "clips": int(all_of_them[1].sum()),
        "right": int(all_of_them[0].sum()),
    }
    for name, measure in MEASURES.items():
        low, high = np.quantile(measure(many), (0.025, 0.975))
        row |= {name: float(measure(all_of_them)), f"{name}_low": low, f"{name}_high": high}
    return row
