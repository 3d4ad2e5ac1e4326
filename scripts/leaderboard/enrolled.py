"""The enrolled voice: what clips of a new speaker, without labels, are worth on the actor folds of Luna-Jiménez."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd
from ridge import KernelRidge, RidgeProbe, trials
from sklearn.metrics import log_loss

import serlib as ser
from serlib.train.heads import REGULARIZATION, Logistic, voice_of

SPEEDS = (0.9, 1.0, 1.1)
AVERAGES = (RidgeProbe(trim=True, speeds=SPEEDS), RidgeProbe(trim=True, speeds=SPEEDS, pooling="loudness"))
ENCODERS = ("whisper-tiny.en", "whisper-base")
CLIPS = (1, 2, 5, 10, 20)  # of the tested voice, enrolled
NUMBERS = ["0 clips", *(f"{clips} clip{'s' * (clips > 1)}" for clips in CLIPS), "all other clips"]
CONTROL = "control of noise, "
DRAWS = 10  # of which clips those are
ROUNDS = 20  # of choosing members
NOISE = 500  # features of the control
# What the answers depend on beside clips and weights; raise "code" whenever other code would answer otherwise.
DEPENDS = {
    "code": 1,
    "encoders": ENCODERS,
    "averages": [asdict(recipe) for recipe in AVERAGES],
    "numbers": [CLIPS, DRAWS, ROUNDS, NOISE],
}

Features = dict[str, pd.DataFrame]


def features_of(corpus: pd.DataFrame) -> Features:
    """Return the averages of both encoders, a row for each clip, by what they are called."""
    split = ser.stratified_split(corpus)  # any split that has all clips
    found = {
        f"{encoder}, {recipe.pooling}": ser.layer_averages(ser.backbone(encoder), split, recipe)
        for encoder in ENCODERS
        for recipe in AVERAGES
    }
    for recipe in AVERAGES:
        pair = [found[f"{encoder}, {recipe.pooling}"] for encoder in ENCODERS]
        found[f"both, {recipe.pooling}"] = pd.concat(pair, axis=1)
    return found


def noise_of(corpus: pd.DataFrame) -> Features:
    """Return features that know nothing: what is right with them is chance, or a fault of the protocol."""
    values = np.random.default_rng(0).normal(size=(len(corpus), NOISE))
    return {"noise": pd.DataFrame(values, corpus.index)}


@dataclass(frozen=True)
class Member:
    """A fitted head, the features that it reads, and the voice from which it measures when it has heard none."""

    features: str
    head: Any
    average: np.ndarray

    def probabilities(self, x: pd.DataFrame, enrolled: pd.Index) -> np.ndarray:
        """Return (clips, classes) of the clips that are not enrolled; without any enrolled, of all."""
        values, heard = x.drop(enrolled).to_numpy(float), x.loc[enrolled].to_numpy(float)
        return self.head.probabilities(values - voice_of(heard.sum(0), len(heard), self.average))

    def each(self, x: pd.DataFrame) -> np.ndarray:
        """Return (clips, classes), each clip with all others of the voice enrolled."""
        values = x.to_numpy(float)
        return self.head.probabilities(values - voice_of(values.sum(0) - values, len(values) - 1, self.average))


def members(features: Features, clips: pd.DataFrame) -> list[Member]:
    """Return the heads fitted to these clips: on features as they are, and less the mean of each clip's own voice."""
    y = clips["emotion"].map(sorted(clips["emotion"].unique()).index).to_numpy()
    actors, fitted = clips["actor"].to_numpy(str), []
    for name, frame in features.items():
        x = frame.loc[clips.index]
        average = x.groupby(actors).mean().mean().to_numpy()  # of the voices
        for values in (x - average, x - x.groupby(actors).transform("mean")):
            values = values.to_numpy(float)
            fitted.append(Member(name, _ridge(values, y, actors), average))
            if not name.startswith("both"):
                fitted.append(Member(name, Logistic.fit(values, y, REGULARIZATION[0]), average))
    return fitted


def _ridge(x: np.ndarray, y: np.ndarray, actors: np.ndarray) -> KernelRidge:
    """Return the kernel ridge whose settings have the lowest loss on voices held out."""
    settings, *_ = min(trials(x, y, actors), key=lambda tried: log_loss(y, tried[2]))
    return KernelRidge.fit(x, y, **settings)


def draws(own: pd.DataFrame, seed: int) -> Iterator[tuple[int, int, pd.Index]]:
    """Yield how many clips of one voice are enrolled, the number of the draw, and which: each draw adds to itself."""
    for draw in range(DRAWS):
        order = own.index[np.random.default_rng([seed, draw]).permutation(len(own))]
        for clips in CLIPS:
            yield clips, draw, order[:clips]


def answers(corpus: pd.DataFrame) -> pd.DataFrame:
    """Return what is said to each test clip: a row a clip, a column for what is enrolled and draw, then the control."""
    folds = ser.actor_folds(corpus, "luna-jimenez")
    features = {"": features_of(corpus), CONTROL: noise_of(corpus)}
    return pd.concat([said(known, folds, title) for title, known in features.items()], axis=1)


def said(features: Features, folds: list[ser.splits.Split], title: str) -> pd.DataFrame:
    """Return what the vote says to each test clip, a row a clip, for each number of enrolled clips and each draw.

    Nested: the vote's members are chosen, for each number of clips, on the validation actors, by heads that were fitted
    without them; then all heads are fitted again with those actors, and the test actors are heard.
    """
    columns: dict[str, list[pd.Series]] = {}
    for fold in folds:
        labels = np.array(fold.labels)
        trial = members(features, fold.train)
        chosen = {what: _chosen(shares, truth) for what, (shares, truth) in _tried(trial, features, fold).items()}
        final = members(features, pd.concat([fold.train, fold.validation]))
        for what, draw, index, shares in _heard(final, features, fold.test):
            total = np.tensordot(chosen[what], shares, 1)
            column = f"{title}{what}, draw {draw}"
            columns.setdefault(column, []).append(pd.Series(labels[total.argmax(1)], index))
        print(f"{title}{fold.name}: enrolled")
    return pd.DataFrame({column: pd.concat(parts) for column, parts in columns.items()})


def _heard(
    fitted: list[Member], features: Features, clips: pd.DataFrame
) -> Iterator[tuple[str, int, pd.Index, np.ndarray]]:
    """Yield what is enrolled, the draw, the clips that are judged, and (members, clips, classes), voice by voice."""
    for actor, own in clips.groupby("actor"):
        x = {name: frame.loc[own.index] for name, frame in features.items()}
        nobody = own.index[:0]
        yield NUMBERS[0], 0, own.index, np.stack([one.probabilities(x[one.features], nobody) for one in fitted])
        for number, draw, enrolled in draws(own, int(actor)):
            shares = np.stack([one.probabilities(x[one.features], enrolled) for one in fitted])
            yield NUMBERS[1 + CLIPS.index(number)], draw, own.index.drop(enrolled), shares
        yield NUMBERS[-1], 0, own.index, np.stack([one.each(x[one.features]) for one in fitted])


def _tried(trial: list[Member], features: Features, fold: ser.splits.Split) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return, for each number of enrolled clips, what the members say to the validation clips, and the truth."""
    truth = fold.validation["emotion"].map(fold.labels.index)
    said: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {}
    for what, _, index, shares in _heard(trial, features, fold.validation):
        said.setdefault(what, []).append((shares, truth[index].to_numpy()))
    return {
        what: (np.concatenate([s for s, _ in parts], axis=1), np.concatenate([t for _, t in parts]))
        for what, parts in said.items()
    }


def _chosen(shares: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Return the weight of each member: round by round the one joins whose joining lowers the loss most.

    Ensemble selection with replacement (Caruana et al. 2004, doi 10.1145/1015330.1015432).
    """
    own = shares[:, np.arange(len(truth)), truth]  # of the true class
    votes, right = np.zeros(len(shares)), np.zeros(len(truth))
    for step in range(1, ROUNDS + 1):
        losses = -np.log(np.maximum((right + own) / step, 1e-12)).mean(1)
        best = int(losses.argmin())
        votes[best] += 1
        right = right + own[best]
    return votes / votes.sum()
