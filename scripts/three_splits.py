"""Does the order of the systems hold on other splits of `mini`? `python scripts/three_splits.py`, about half an hour.

The SVM and the frozen probe of notebook 02, the six twins, and the vote that validation chooses, each on three seeds of
the random split, the book's first. results/mini/three_splits.csv gets what each of them said of each clip; the tables
are computed from that file alone, and `--table` prints them again. Runs lie below runs/, so a second start goes on.
"""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from rooms import svm_of

import serlib as ser
from serlib.files import atomic_path
from serlib.lesson import Lesson

SAID = Path(__file__).parents[1] / "results" / "mini" / "three_splits.csv"
SEEDS = (101, 202, 303)
BARS = ("SVM", "frozen probe")
NAMES = ("wav2vec 2.0", "XLSR-53", "HuBERT base", "HuBERT XL", "UniSpeech", "UniSpeech multi")
SHORT = dict(zip(ser.SIX, NAMES, strict=True))


def svm(split: ser.splits.Split, features: pd.DataFrame) -> pd.DataFrame:
    """Return the SVM of notebook 02 as a voter."""
    model = svm_of(split, features)
    sheets = [
        ser.predictions.make(rows, model.predict_proba(features.loc[rows.index]), model.classes_, part)
        for part, rows in (("validation", split.validation), ("test", split.test))
    ]
    return pd.concat(sheets, ignore_index=True)


def said(seed: int, lesson: Lesson, corpus: pd.DataFrame, features: pd.DataFrame) -> pd.DataFrame:
    """Return what each system says of the validation and test clips of one split, a column each."""
    split = ser.stratified_split(corpus, random_state=seed)
    # The book's own split has its runs in their place; splits of one name share a folder otherwise.
    home = lesson if seed == SEEDS[0] else replace(lesson, home=lesson.home / "build" / f"split-{seed}")
    voters = {"SVM": svm(split, features)}
    frozen = home.backbone("frozen")
    voters["frozen probe"] = ser.probe(frozen, split, home.probe_recipe, home.runs).predictions
    twins = {SHORT[run.info["original"]]: run.predictions for run in home.jury(split)}
    voters |= twins
    for name, voter in voters.items():
        voter.attrs["name"] = name
    juries = ser.every_vote(twins.values(), sizes=range(2, len(twins) + 1), n_resamples=1)
    members = juries.loc[juries["validation_accuracy"].idxmax(), "members"]
    voters["vote"] = ser.majority_vote([twins[name] for name in members], name="vote").predictions
    table = voters["SVM"][["clip", "actor", "emotion", "part"]].set_index("clip")
    for name, voter in voters.items():
        table[name] = voter.set_index("clip")["predicted"]
    return table.reset_index().assign(seed=seed)


def mean_difference(rows: pd.DataFrame, a: str, b: pd.Series) -> tuple[float, float, float]:
    """Return the accuracy of a system minus that of others, over all splits, and its 95 % interval (actors drawn)."""
    gain = rows[a].eq(rows["emotion"]).astype(float) - b.eq(rows["emotion"]).astype(float)
    by_actor = gain.groupby(rows["actor"]).agg(["sum", "count"]).to_numpy()
    draws = np.random.default_rng(0).integers(0, len(by_actor), (10_000, len(by_actor)))
    sums, counts = by_actor[draws].sum(axis=1).T
    return (gain.mean(), *np.quantile(sums / counts, (0.025, 0.975)))


def tables(table: pd.DataFrame) -> str:
    """Return the accuracy of each system on each split, and what lies between it and the two bars, as Markdown."""
    systems = [name for name in table if name not in ("clip", "actor", "emotion", "part", "seed")]
    right = table[systems].eq(table["emotion"], axis=0)
    shares = right.groupby([table["part"], table["seed"]]).mean()
    test = table[table["part"] == "test"].reset_index(drop=True)
    lines = [f"| System | {' | '.join(f'split {seed}' for seed in SEEDS)} | minus SVM | minus frozen probe |"]
    lines.append("|---" * (len(SEEDS) + 3) + "|")
    for name in systems:
        cells = [f"{shares.at[('test', seed), name]:.1%}" for seed in SEEDS]
        for bar in BARS:
            gain, low, high = mean_difference(test, name, test[bar])
            cells.append(f"{100 * gain:+.1f} ({100 * low:+.1f} to {100 * high:+.1f})" if name != bar else "")
        lines.append(f"| {name} | {' | '.join(cells)} |")
    # The best voter is the one of the best validation accuracy, split by split.
    best = shares.loc["validation", list(SHORT.values())].idxmax(axis=1)
    gain, low, high = mean_difference(test, "vote", pd.Series([row[best[row["seed"]]] for _, row in test.iterrows()]))
    ends = f"{100 * low:+.1f} to {100 * high:+.1f}"
    lines.append(f"\nThe vote minus its best voter: {100 * gain:+.1f} points ({ends}).")
    gaps = shares[list(SHORT.values())].mean(axis=1).unstack(0).eval("100 * (validation - test)")
    lines.append(f"Validation minus test, mean of the six twins: {', '.join(f'{gap:+.1f}' for gap in gaps)} points.")
    return "\n".join(lines)


def main(*options: str) -> None:
    if options != ("--table",):
        lesson = ser.start("mini")
        corpus = lesson.corpus()
        features = ser.acoustic_features(corpus)
        table = pd.concat([said(seed, lesson, corpus, features) for seed in SEEDS], ignore_index=True)
        with atomic_path(SAID) as target:
            table.to_csv(target, index=False, lineterminator="\n")
    print(tables(pd.read_csv(SAID, dtype={"actor": str})))


if __name__ == "__main__":
    main(*sys.argv[1:])
