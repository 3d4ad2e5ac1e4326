"""What a probe fits to the averages of a frozen encoder: a logistic regression as plain arrays (02)."""

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from serlib.judge.metrics import uar

# How many clips the average voice counts as, beside those of an enrolled one. On the validation actors of the folds of
# Luna-Jiménez it is, of 0, 1, 2, 3, 4 and 6, the best for few clips of Whisper tiny.en on RAVDESS, and within half a
# point of the best for base: with 1, one enrolled clip harms both.
AVERAGE_VOICE = 3
REGULARIZATION = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0)  # values of C to choose from, on validation


def softmax_of(logits: np.ndarray) -> np.ndarray:
    """Return probabilities, in float64 along the last axis, so that they sum to 1 in the CSV too."""
    from scipy.special import softmax

    return softmax(np.asarray(logits, dtype=np.float64), axis=-1)


@dataclass(frozen=True)
class Fitted:
    """A head whose settings were chosen: ``trial`` was fitted to train, ``final`` to train and validation.

    ``rows`` are the history, a row for each choice, ``best`` the number of the chosen one, ``settings`` go to run.json.

    Examples
    --------
    >>> import numpy as np
    >>> from serlib.train.heads import Logistic
    >>> x, y = np.array([[-1.0], [-2.0], [1.0], [2.0]]), np.array([0, 0, 1, 1])
    >>> fitted = Logistic.choose({"train": x, "validation": x}, {"train": y, "validation": y})
    >>> len(fitted.rows), fitted.settings
    (6, {'regularization': 1.0})
    """

    trial: Any
    final: Any
    rows: list[dict[str, float]]
    best: int
    settings: dict[str, Any]


@dataclass(frozen=True)
class Logistic:
    """Standardization and logistic regression as plain arrays, so that nothing needs unpickling.

    ``mean`` and ``scale`` have shape (features,), ``weights`` (classes, features), ``bias`` (classes,).

    Examples
    --------
    >>> import numpy as np
    >>> from serlib.train.heads import Logistic
    >>> head = Logistic.fit(np.array([[0.0], [1.0], [4.0], [5.0]]), np.array([0, 0, 1, 1]), c=1.0)
    >>> head.probabilities(np.array([[2.5]])).round(3).tolist()
    [[0.5, 0.5]]
    """

    mean: np.ndarray
    scale: np.ndarray
    weights: np.ndarray
    bias: np.ndarray

    @classmethod
    def fit(cls, features: np.ndarray, labels: np.ndarray, c: float) -> "Logistic":
        """Fit to averages.

        Parameters
        ----------
        features
            Shape (clips, features).
        labels
            Class numbers, shape (clips,).
        c
            scikit-learn's C, the inverse of the strength of the regularization.

        Returns
        -------
        Logistic
            The fitted head.

        Examples
        --------
        >>> import numpy as np
        >>> from serlib.train.heads import Logistic
        >>> Logistic.fit(np.array([[0.0], [1.0], [4.0], [5.0]]), np.array([0, 0, 1, 1]), c=1.0).mean.tolist()
        [2.5]
        """
        from sklearn.linear_model import LogisticRegression
        from sklearn.preprocessing import StandardScaler
        from threadpoolctl import threadpool_limits

        scaler = StandardScaler().fit(features)
        with threadpool_limits(1):  # many small products: threads would spend their time waiting for each other
            fitted = LogisticRegression(C=c, max_iter=2000).fit(scaler.transform(features), labels)
        weights, bias = fitted.coef_, fitted.intercept_
        if len(weights) == 1:  # two classes: scikit-learn keeps one row, the other is its mirror
            weights, bias = np.vstack([-weights, weights]) / 2, np.concatenate([-bias, bias]) / 2
        return cls(scaler.mean_, scaler.scale_, weights, bias)

    @classmethod
    def choose(cls, x: dict[str, np.ndarray], y: dict[str, np.ndarray]) -> Fitted:
        """Fit with C by the loss on validation.

        By loss, because among a hundred clips several values of C are equally often right, and only the loss tells them
        apart. The chosen C stands then, so that the validation clips may teach too, as in any nested protocol.

        Parameters
        ----------
        x
            Averages, (clips, features), for "train" and "validation".
        y
            Class numbers, (clips,), for the same parts.

        Returns
        -------
        Fitted
            The head of train alone, and of train and validation.

        Examples
        --------
        >>> import numpy as np
        >>> from serlib.train.heads import Logistic
        >>> x, y = np.array([[-1.0], [-2.0], [1.0], [2.0]]), np.array([0, 1, 0, 1])  # which has nothing to do with x
        >>> Logistic.choose({"train": x, "validation": -x}, {"train": y, "validation": y}).settings
        {'regularization': 0.003}
        """
        trials = [cls.fit(x["train"], y["train"], c) for c in REGULARIZATION]
        rows = []
        for step, (c, trial) in enumerate(zip(REGULARIZATION, trials, strict=True), 1):
            own, guess = (trial.probabilities(x[part]) for part in ("train", "validation"))
            rows.append(history_row(step, c, own, y["train"], guess, y["validation"]))
        best = int(np.argmin([row["eval_loss"] for row in rows]))
        heard, truth = (np.concatenate([part["train"], part["validation"]]) for part in (x, y))
        final = cls.fit(heard, truth, REGULARIZATION[best])
        return Fitted(trials[best], final, rows, best, {"regularization": REGULARIZATION[best]})

    def probabilities(self, features: np.ndarray) -> np.ndarray:
        """Return the probabilities of each class.

        Parameters
        ----------
        features
            Shape (clips, features).

        Returns
        -------
        ndarray
            float64 of shape (clips, classes), each row with a sum of 1.

        Examples
        --------
        >>> import numpy as np
        >>> from serlib.train.heads import Logistic
        >>> head = Logistic(np.zeros(1), np.ones(1), np.array([[0.0], [1.0]]), np.zeros(2))
        >>> head.probabilities(np.array([[0.0], [np.log(3)]])).round(2).tolist()
        [[0.5, 0.5], [0.25, 0.75]]
        """
        return softmax_of((features - self.mean) / self.scale @ self.weights.T + self.bias)

    def enrolled(self, features: np.ndarray) -> "Logistic":
        """Return the head for a voice that it has heard some clips of, without their emotions (11).

        It measures a clip from the average of the voices that it was trained on; now it measures from the average of
        this voice. That average is not well known from few clips, so the old one counts as three clips more.

        Parameters
        ----------
        features
            The averages of the voice's clips, shape (clips, features).

        Returns
        -------
        Logistic
            The same head with another mean.

        References
        ----------
        The mean of a speaker, subtracted: Atal (1974, doi 10.1121/1.1914702); drawn toward the mean of all, as in
        maximum a posteriori adaptation: Gauvain and Lee (1994, doi 10.1109/89.279278).

        Examples
        --------
        >>> import numpy as np
        >>> from serlib.train.heads import Logistic
        >>> head = Logistic(np.zeros(1), np.ones(1), np.eye(2)[:, :1], np.zeros(2))
        >>> head.enrolled(np.full((3, 1), 4.0)).mean.tolist()  # three clips of 4, and 0 three times
        [2.0]
        """
        return replace(self, mean=voice_of(features.sum(0), len(features), self.mean))

    def write(self, path: Path | str) -> None:
        """Keep the arrays in one .npz file.

        Parameters
        ----------
        path
            The file.

        Examples
        --------
        >>> import numpy as np
        >>> from tempfile import TemporaryDirectory
        >>> from serlib.train.heads import Logistic
        >>> head = Logistic(np.zeros(1), np.ones(1), np.array([[0.0], [1.0]]), np.zeros(2))
        >>> with TemporaryDirectory() as folder:
        ...     head.write(f"{folder}/head.npz")
        ...     Logistic.read(f"{folder}/head.npz").weights.tolist()
        [[0.0], [1.0]]
        """
        np.savez(path, **{name: value.astype(np.float32) for name, value in asdict(self).items()})

    @classmethod
    def read(cls, path: Path | str) -> "Logistic":
        """Return what ``write`` kept.

        Parameters
        ----------
        path
            The file.

        Returns
        -------
        Logistic
            Its arrays are float32.

        Examples
        --------
        >>> import numpy as np
        >>> from tempfile import TemporaryDirectory
        >>> from serlib.train.heads import Logistic
        >>> with TemporaryDirectory() as folder:
        ...     Logistic(np.zeros(1), np.ones(1), np.eye(2), np.zeros(2)).write(f"{folder}/head.npz")
        ...     Logistic.read(f"{folder}/head.npz").weights.dtype.name
        'float32'
        """
        with np.load(path, allow_pickle=False) as kept:
            return cls(**kept)


def voice_of(total: np.ndarray, clips: int, average: np.ndarray) -> np.ndarray:
    """Return from where an enrolled voice is measured: its mean, drawn toward the average voice.

    ``total`` is the sum of the features of so many enrolled clips, (features,) or (voices, features); ``average`` that
    of all voices, (features,).
    """
    return (total + AVERAGE_VOICE * average) / (clips + AVERAGE_VOICE)


def history_row(
    step: int, epoch: float, own: np.ndarray, taught: np.ndarray, guess: np.ndarray, truth: np.ndarray
) -> dict[str, float]:
    """Return one row of a history: the loss on what was taught, and all measures on what was held out.

    ``own`` and ``guess`` are probabilities (clips, classes), ``taught`` and ``truth`` class numbers (clips,).
    """
    return {
        "step": step,
        "epoch": epoch,
        "loss": -np.log(own[np.arange(len(own)), taught]).mean(),
        "eval_loss": -np.log(guess[np.arange(len(guess)), truth]).mean(),
        "eval_accuracy": (guess.argmax(1) == truth).mean(),
        "eval_uar": float(uar(truth, guess.argmax(1))),
    }
