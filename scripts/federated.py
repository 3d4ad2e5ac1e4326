"""The federated lesson on real voices: `python scripts/federated.py`, with RAVDESS_DIR and SERLIB_MODELS.

A frozen Whisper tiny.en, a linear head, and 24 actors of RAVDESS as clients, three minutes of one core once the averages
are in the cache. results/laptop/federated gets what each system said of the test clips: on the paper's random split,
and on new voices, in the five folds of Luna-Jiménez. Notebook 17 draws them.
"""

from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

import serlib as ser
from serlib import federated
from serlib.data.splits import Split
from serlib.lesson import Lesson
from serlib.train.kept import keep_voter

RESULTS = Path(__file__).parents[1] / "results" / "laptop" / "federated"
ROUNDS, STEPS, PACE = 30, 5, 25  # the notebook's; the learning rate is PACE over the number of features


def answers(split: Split, features: pd.DataFrame, own: bool) -> dict[str, pd.DataFrame]:
    """Return what was said of the test clips: by training in one place, federated, and by each actor alone."""
    x, labels = federated.standardized(features, split, own), split.labels
    actors = federated.clients(x, split.train, labels, by="actor")
    start = np.zeros((x.shape[1], len(labels)), dtype=np.float32)
    learn = partial(federated.local_steps, steps=STEPS, rate=PACE / x.shape[1])
    asked = x.loc[split.test.index].to_numpy()
    said = {
        "central": federated.shares(federated.fed_avg(start, everyone(x, split), ROUNDS, learn)[-1], asked),
        "fedavg": federated.shares(federated.fed_avg(start, actors, ROUNDS, learn)[-1], asked),
    }
    if not own:  # the mean of the probabilities that 24 heads give, each of which knows one actor
        heads = [federated.local_steps(start, actor, STEPS * ROUNDS, PACE / x.shape[1]) for actor in actors]
        said["alone"] = alone(heads, actors, split, x)
    return {
        name: ser.predictions.make(split.test, shares, labels, "test", corpus=split.attrs["name"])
        for name, shares in said.items()
    }


def everyone(x: pd.DataFrame, split: Split) -> list[federated.Client]:
    """Return the single client that has all training clips."""
    return federated.clients(x, split.train, split.labels, by="one")
