"""A probe with another head: kernel ridge regression on a frozen encoder's averages, in closed form.

Least squares toward one-hot emotions with a Gaussian kernel (Rifkin, Yeo and Poggio 2003, "Regularized least-squares
classification"), which learns from a thousand clips in a second and knows its own held-out errors without refitting.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path

import numpy as np
from sklearn.linear_model import Ridge
from sklearn.metrics.pairwise import euclidean_distances, rbf_kernel

from serlib.data.splits import Split
from serlib.errors import SerlibError
from serlib.judge.metrics import temperature
from serlib.train.heads import Fitted, history_row, softmax_of
from serlib.train.recipes import Probe, setting

# (gamma, alpha) to choose from: the Gaussian's gamma times the number of features, and the ridge.
GRID = tuple(product((0.1, 0.2, 0.4), (0.03, 0.1, 0.3)))
VOICE_RIDGE = 0.1  # per feature, of the model that recognizes voices
LOUDNESS = 0.3  # loudness grows with this power of intensity (Stevens 1957, doi 10.1037/h0046162)


@dataclass(frozen=True)
class KernelRidge:
    """A fitted classifier as plain arrays, so that nothing needs unpickling.

    ``support`` are the training clips as they went into the kernel, ``weights`` (clips, classes) and ``bias`` what
    scikit-learn's KernelRidge finds for them. ``voices`` are the mean of each training voice and ``who`` (features + 1,
    voices) recognizes them; both have no voice where nothing is centered. ``spread`` scales what centering left.
    """

    mean: np.ndarray
    scale: np.ndarray
    who: np.ndarray
    voices: np.ndarray
    spread: np.ndarray
    support: np.ndarray
    weights: np.ndarray
    bias: np.ndarray
    gamma: float
    temperature: float

    @classmethod
    def fit(
        cls, features: np.ndarray, labels: np.ndarray, gamma: float, alpha: float, temperature: float,
        actors: np.ndarray | None = None,
    ) -> "KernelRidge":  # fmt: skip
        """Fit (clips, features) to class numbers; with ``actors``, subtract each one's mean first."""
        prepared = _prepared(features, actors)
        x, targets = prepared["support"], _one_hot(labels)
        bias = targets.mean(0)
        weights = np.linalg.solve(_kernel(x, x, gamma) + alpha * np.eye(len(x)), targets - bias)
        return cls(**prepared, weights=weights, bias=bias, gamma=gamma, temperature=temperature)

    def recognized(self, features: np.ndarray) -> np.ndarray:
        """Return the number of the training voice that each clip sounds most like, from its sound alone."""
        return (((features - self.mean) / self.scale) @ self.who[:-1] + self.who[-1]).argmax(1)

    def probabilities(self, features: np.ndarray) -> np.ndarray:
        x = (features - self.mean) / self.scale
        if len(self.voices):
            x = (x - self.voices[self.recognized(features)]) / self.spread
        return softmax_of((_kernel(x, self.support, self.gamma) @ self.weights + self.bias) * self.temperature)

    def write(self, path: Path) -> None:
        np.savez(path, **{name: np.asarray(value, np.float32) for name, value in asdict(self).items()})

    @classmethod
    def read(cls, path: Path) -> "KernelRidge":
        with np.load(path, allow_pickle=False) as kept:
            return cls(**kept)


def search(
    features: np.ndarray, labels: np.ndarray, groups: np.ndarray, actors: np.ndarray | None = None
) -> Iterator[tuple[float, float, np.ndarray, np.ndarray]]:
    """Yield gamma, alpha, the scores of the training clips (clips, classes) and their held-out scores, over ``GRID``.

    Held out means: what a clip would score, had its whole group not been trained on.
    """
    x = _prepared(features, actors)["support"]
    distances = euclidean_distances(x, squared=True) / x.shape[1]
    for gamma, alpha in GRID:
        yield gamma, alpha, *_held_out(np.exp(-gamma * distances), labels, alpha, groups)


def _held_out(
    kernel: np.ndarray, labels: np.ndarray, alpha: float, groups: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the scores of the training clips and their held-out scores, both (clips, classes), without a refit.

    Exact for the given kernel and class shares, at the price of one inverse: with G the inverse of the ridged kernel, a
    group's held-out residuals are G_gg^-1 (G y)_g (An, Liu and Venkatesh 2007, doi 10.1016/j.patcog.2006.12.015).
    """
    targets = _one_hot(labels)
    inverse = np.linalg.inv(kernel + alpha * np.eye(len(kernel)))
    weights = inverse @ (targets - targets.mean(0))
    residuals = np.empty_like(targets)
    for group in np.unique(groups):
        rows = np.flatnonzero(groups == group)
        residuals[rows] = np.linalg.solve(inverse[np.ix_(rows, rows)], weights[rows])
    return targets - alpha * weights, targets - residuals


def tune_temperature(scores: np.ndarray, labels: np.ndarray) -> float:
    """Return the factor that makes the softmax of held-out scores most likely to say the truth."""
    return 1 / temperature(scores, labels, bounds=(np.exp(-5), np.exp(2)))


def trials(
    features: np.ndarray, labels: np.ndarray, groups: np.ndarray, actors: np.ndarray | None = None
) -> Iterator[tuple[dict[str, float], np.ndarray, np.ndarray]]:
    """Yield what `search` does as settings and two tables of probabilities.

    The first table is of the training clips as they were learned, the second held out. Both have one temperature.
    """
    for gamma, alpha, own, scores in search(features, labels, groups, actors):
        factor = tune_temperature(scores, labels)
        settings = {"gamma": gamma, "alpha": alpha, "temperature": factor}
        yield settings, softmax_of(own * factor), softmax_of(scores * factor)


def _prepared(features: np.ndarray, actors: np.ndarray | None) -> dict[str, np.ndarray]:
    """Return the clips as they go into the kernel, ``support``, and what leads there: the first fields of the class."""
    mean, scale = features.mean(0), features.std(0) + 1e-8
    x = (features - mean) / scale
    who, voices, spread = np.zeros((x.shape[1] + 1, 0)), np.zeros((0, x.shape[1])), np.ones(x.shape[1])
    if actors is not None:
        names, number = np.unique(actors, return_inverse=True)
        ridge = Ridge(VOICE_RIDGE * x.shape[1]).fit(x, np.eye(len(names))[number])
        who = np.vstack([ridge.coef_.T, ridge.intercept_])
        voices = np.stack([x[number == k].mean(0) for k in range(len(names))])
        x = x - voices[number]
        spread = x.std(0) + 1e-8
        x = x / spread
    return {"mean": mean, "scale": scale, "who": who, "voices": voices, "spread": spread, "support": x}


def _one_hot(labels: np.ndarray) -> np.ndarray:
    return np.eye(labels.max() + 1)[labels]


def _kernel(a: np.ndarray, b: np.ndarray, gamma: float) -> np.ndarray:
    return rbf_kernel(a, b, gamma=float(gamma) / a.shape[1])


@dataclass(frozen=True)
class RidgeProbe(Probe):
    """A probe whose head is kernel ridge regression, and what else the leaderboard tries on a frozen encoder.

    * ``pooling="loudness"``: mean and standard deviation in which loud frames count more (Stevens 1957, doi
      10.1037/h0046162), for emotion is in the voice and not in the silence around it.
    * ``layers="first"``: what the convolutions hand to the transformer.
    * ``speeds``: copies of each clip to average over, such as (0.9, 1.0, 1.1) (speed perturbation: Ko et al. 2015,
      doi 10.21437/Interspeech.2015-711).
    * ``centered``: subtract the mean of the training voice that a clip sounds like, if the test voices are known
      from training (else it does nothing). Who speaks in a test clip is never read.
    """

    pooling: str = setting("mean+std", "one of", choices=("mean", "mean+std", "loudness"))
    layers: str = setting("all", "one of", choices=("last", "all", "first"))
    speeds: tuple[float, ...] = (1.0,)
    centered: bool = setting(True, "switch")

    head = KernelRidge

    def __post_init__(self):
        super().__post_init__()
        object.__setattr__(self, "speeds", tuple(self.speeds))  # run.json knows lists only
        if not self.speeds or min(self.speeds) <= 0:
            raise SerlibError(f"The probe's speeds are {self.speeds}; give at least one, each greater than 0.")

    def __str__(self) -> str:
        return (
            f"frozen encoder, {self.pooling} of {self.layers} layers, kernel ridge regression"
            + (f", at speeds {', '.join(f'{speed:g}' for speed in self.speeds)}" if len(self.speeds) > 1 else "")
            + ", centered" * self.centered
            + ", trimmed" * self.trim
        )

    def averaged_layers(self, layers: int) -> list[int]:
        return [0] if self.layers == "first" else super().averaged_layers(layers)

    def pool(self, layers: np.ndarray, samples: np.ndarray) -> np.ndarray:
        if self.pooling != "loudness":
            return super().pool(layers, samples)
        frames = np.array_split(np.asarray(samples, np.float64), layers.shape[1])
        loudness = np.array([np.mean(frame**2) for frame in frames]) ** LOUDNESS + 1e-12
        mean = np.average(layers, axis=1, weights=loudness)
        spread = np.average((layers - mean[:, None]) ** 2, axis=1, weights=loudness)
        return np.concatenate([mean.ravel(), np.sqrt(spread).ravel()]).astype(np.float32)

    def fit(self, x: dict[str, np.ndarray], y: dict[str, np.ndarray], split: Split) -> Fitted:
        """Choose gamma and alpha by the exact held-out loss on train, which has ten times as many clips as validation.

        Clips are held out one at a time where the split's test voices are known from training, else a whole actor at a
        time, so that the choice is made for the question that the test part asks.
        """
        actors = split.train["actor"].to_numpy(str)
        known = set(split.test["actor"]) <= set(actors)
        groups = np.arange(len(actors)) if known or len(set(actors)) == 1 else actors
        voices = actors if self.centered and known else None
        train, labels = x["train"].astype(float), y["train"]
        settings, rows = [], []
        for step, (tried, own, held_out) in enumerate(trials(train, labels, groups, voices), 1):
            rows.append(history_row(step, step, own, labels, held_out, labels))
            settings.append(tried)
        best = int(np.argmin([row["eval_loss"] for row in rows]))
        trial = KernelRidge.fit(train, labels, **settings[best], actors=voices)
        if voices is not None:
            voices = np.concatenate([voices, split.validation["actor"].to_numpy(str)])
        both = [np.concatenate([part["train"], part["validation"]]) for part in (x, y)]
        final = KernelRidge.fit(both[0].astype(float), both[1], **settings[best], actors=voices)
        return Fitted(trial, final, rows, best, settings[best] | {"centered": voices is not None})
