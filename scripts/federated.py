"""The federated lesson on real voices: `python scripts/federated.py`, with RAVDESS_DIR and SERLIB_MODELS.

A frozen Whisper tiny.en, a linear head, and the actors of RAVDESS as clients: a minute of one core once the averages
are in the cache, ten before. results/laptop/federated gets what each system said of the test clips: on the paper's
random split, and on new voices, in the five folds of Luna-Jiménez. Notebook 17 draws them.
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

import serlib as ser
from serlib import federated
from serlib.data.splits import Split
from serlib.train.kept import keep_voter

RESULTS = Path(__file__).parents[1] / "results" / "laptop" / "federated"
ROUNDS, STEPS, PACE = 30, 5, 25  # the notebook's; the learning rate is PACE over the number of features


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
    main()
