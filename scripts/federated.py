"""The federated lesson on real voices: `python scripts/federated.py`, with RAVDESS_DIR and SERLIB_MODELS.

A frozen Whisper tiny.en, a linear head, and the actors of RAVDESS as clients: a minute of one core once the averages
are in the cache, ten before. results/laptop/federated gets what each system said of the test clips: on the paper's
random split, and on new voices, in the five folds of Luna-Jiménez. Notebook 17 draws them.

`python scripts/federated.py twin` needs no data and no weights: the twin of HuBERT base on mini, all of it trained but
its convolutions, by the 24 actors and in one place, beside a head on the frozen twin; ten minutes of one core.
results/mini/answers/federated.csv gets what each answered to the test clips after some of the rounds: a row a clip, a
column "system | round". Validation chooses a twin's learning rate, by its accuracy after CHOOSING rounds.
"""

import sys
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

import serlib as ser
from results import write
from serlib import federated
from serlib.data.splits import Split
from serlib.lesson import Lesson
from serlib.train.kept import keep_voter

RESULTS = Path(__file__).parents[1] / "results" / "laptop" / "federated"
TWIN = Path(__file__).parents[1] / "results" / "mini" / "answers" / "federated.csv"
ROUNDS, STEPS, PACE = 30, 5, 25  # the notebook's; the learning rate is PACE over the number of features
RATES, CHOOSING, BATCH = (0.1, 0.3, 1.0), 3, 4  # a twin's: learning rates, rounds that choose one, clips of a step
SHOWN = (0, 1, 2, 3, 4, 6, 8, 10, 12, 14, 16, 18, 20)  # rounds whose answers are kept; a round is one local epoch
DEALT = {"federated": "actor", "one place": "one"}


def said(split: Split, shares: np.ndarray, clips: pd.Index) -> pd.DataFrame:
    """Return predictions on the test part; ``clips`` names the rows of ``shares``."""
    rows = pd.DataFrame(shares, index=clips).loc[split.test.index]
    return ser.predictions.make(split.test, rows.to_numpy(), split.labels, "test", corpus=split.attrs["name"])


def together(split: Split, features: pd.DataFrame, by: str, own: bool = False) -> pd.DataFrame:
    """Return what a common head says, trained by clients that are dealt out like this: "one" is in one place."""
    x = federated.standardized(features, split, own)
    start = np.zeros((x.shape[1], len(split.labels)), dtype=np.float32)
    learn = partial(federated.local_steps, steps=STEPS, rate=PACE / x.shape[1])
    some = federated.clients(x, split.train, split.labels, by=by)
    weights = federated.fed_avg(start, some, ROUNDS, learn)[-1]
    return said(split, federated.shares(weights, x.loc[split.test.index].to_numpy()), split.test.index)


def alone(split: Split, features: pd.DataFrame) -> pd.DataFrame:
    """Return what each actor's own head says of the test clips of that actor."""
    x = federated.standardized(features, split, own=True)
    start = np.zeros((x.shape[1], len(split.labels)), dtype=np.float32)
    shares, clips = [], []
    for actor in federated.clients(x, split.train, split.labels, by="actor"):
        weights = federated.local_steps(start, actor, STEPS * ROUNDS, PACE / x.shape[1])
        asked = split.test.index[split.test["actor"] == actor.name.removeprefix("actor ")]
        shares.append(federated.shares(weights, x.loc[asked].to_numpy()))
        clips += list(asked)
    return said(split, np.concatenate(shares), pd.Index(clips))


def new_voices(folds: Sequence[Split], features: pd.DataFrame, by: str) -> pd.DataFrame:
    """Return what common heads say of actors that were left out, all folds together."""
    return ser.pool([together(fold, features, by) for fold in folds], f"{by}, new voices")


def heads(split: Split, lesson: Lesson, by: str) -> dict[int, np.ndarray]:
    """Return what a head on the frozen twin says of the test clips, by the rounds that it has had."""
    features = ser.layer_averages(lesson.backbone("frozen"), split, lesson.probe_recipe)
    x = federated.standardized(features, split)
    learn = partial(federated.local_steps, steps=STEPS, rate=PACE / x.shape[1])
    start = np.zeros((x.shape[1], len(split.labels)), dtype=np.float32)
    history = federated.fed_avg(start, federated.clients(x, split.train, split.labels, by=by), SHOWN[-1], learn)
    return {n: federated.shares(history[n], x.loc[split.test.index].to_numpy()) for n in SHOWN}


def twins(split: Split, lesson: Lesson, by: str) -> dict[int, np.ndarray]:
    """Return the same of the whole twin, at the learning rate that validation chooses."""
    recipe = replace(lesson.recipe, batch_size=BATCH)
    found: dict[float, float] = {}
    kept = {}
    for rate in RATES:
        twin = federated.Whole(lesson.backbone("hubert-base"), split, recipe, rate)
        some, [asked] = twin.clients(split.train, by), twin.clients(split.validation, "one")
        history = federated.fed_avg(twin.start, some, CHOOSING, twin.teach)
        found[rate] = float((twin.shares(history[-1], asked).argmax(1) == asked.y).mean())
        kept[rate] = twin, some, history
        print(f"twin by {by}, rate {rate}: {found[rate]:.1%} of validation after {CHOOSING} rounds", flush=True)
    twin, some, history = kept[max(found, key=found.__getitem__)]
    history += federated.fed_avg(history[-1], some, SHOWN[-1] - CHOOSING, twin.teach)[1:]
    [asked] = twin.clients(split.test, "one")
    return {n: twin.shares(history[n], asked) for n in SHOWN}


def whole() -> None:
    """Write what heads and whole twins answer, round by round."""
    lesson = ser.start("mini")
    split = ser.stratified_split(lesson.corpus())
    columns = {}
    for what, train in (("head", heads), ("twin", twins)):
        for how, by in DEALT.items():
            for n, shares in train(split, lesson, by).items():
                columns[f"{what}, {how} | {n}"] = np.take(split.labels, shares.argmax(1))
    table = split.test[["actor", "emotion"]].assign(**columns)
    write(table, TWIN)
    right = table[list(columns)].eq(table["emotion"], axis=0).mean()
    right.index = right.index.str.split(" | ", regex=False, expand=True)
    print(right.unstack(0).rename(int).sort_index().map("{:.1%}".format).to_string())


def main() -> None:
    lesson = ser.start("laptop")
    corpus = lesson.corpus()
    split, folds = ser.stratified_split(corpus), ser.actor_folds(corpus, "luna-jimenez")
    features = ser.layer_averages(lesson.backbone("frozen"), split, lesson.probe_recipe)
    systems = {
        "alone": alone(split, features),
        "central": together(split, features, "one"),
        "central-own": together(split, features, "one", own=True),
        "central-new-voices": new_voices(folds, features, "one"),
        "fedavg": together(split, features, "actor"),
        "fedavg-own": together(split, features, "actor", own=True),
        "fedavg-new-voices": new_voices(folds, features, "actor"),
    }
    for name, voter in systems.items():
        keep_voter(ser.predictions.named(voter, name), RESULTS / name, corpus, "laptop")
        value, low, high = ser.intervals(voter).loc["accuracy"]
        print(f"{name:20} {len(voter):5} clips  accuracy {value:.1%}  ({low:.1%} to {high:.1%})")


if __name__ == "__main__":
    whole() if sys.argv[1:] == ["twin"] else main()
