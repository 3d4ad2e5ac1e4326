"""Federated learning by hand, without its handiwork: clients, their local steps, and what their messages tell (17).

The averaging itself stands in the notebook too. A model is one array of weights. A head is (features, classes): softmax
regression on what ``standardized`` returns, whose last feature is 1, so that the last row is the bias. A whole network
is one row, and ``Whole`` knows what to do with it.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import pandas as pd

from serlib.data.splits import Split
from serlib.errors import SerlibError, nearest
from serlib.files import atomic_path, given_path
from serlib.train.backbones import Backbone
from serlib.train.heads import softmax_of
from serlib.train.recipes import Recipe

CUTS = ("one", "actor", "even", "unequal", "emotion")  # how clips can be dealt out to clients


@dataclass(frozen=True)
class Client:
    """One that keeps its clips and sends weights only: a telephone, a clinic, an actor.

    Attributes
    ----------
    name
        Whose clips they are.
    x
        Features, (clips, features).
    y
        Class numbers, (clips,).

    Raises
    ------
    SerlibError
        For a client without clips, which has nothing to learn from.

    Examples
    --------
    >>> import numpy as np
    >>> len(ser.federated.Client("actor 01", np.ones((3, 2)), np.array([0, 1, 1])))
    3
    """

    name: str
    x: np.ndarray
    y: np.ndarray

    def __post_init__(self) -> None:
        if not len(self.y):
            raise SerlibError(f"client {self.name} has no clips; leave it out of the rounds, or give it some.")

    def __len__(self) -> int:
        return len(self.y)


def write_client(client: Client, path: Path | str) -> None:
    """Write a client's clips into one .npz file, for the telephone that they belong to.

    Parameters
    ----------
    client
        Its name, features and class numbers.
    path
        The file.

    Examples
    --------
    >>> import numpy as np
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     client = ser.federated.Client("actor 07", np.ones((3, 2)), np.zeros(3, int))
    ...     ser.federated.write_client(client, f"{folder}/07.npz")
    ...     len(ser.federated.read_client(f"{folder}/07.npz"))
    3
    """
    with atomic_path(path) as fresh:
        np.savez(fresh, name=client.name, x=client.x, y=client.y)


def read_client(path: Path | str) -> Client:
    """Return what ``write_client`` wrote.

    Parameters
    ----------
    path
        The file.

    Returns
    -------
    Client
        With its clips.

    Raises
    ------
    SerlibError
        For a file that is not there or holds no clips of a client.

    Examples
    --------
    >>> import numpy as np
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     client = ser.federated.Client("actor 07", np.ones((3, 2)), np.zeros(3, int))
    ...     ser.federated.write_client(client, f"{folder}/07.npz")
    ...     ser.federated.read_client(f"{folder}/07.npz").name
    'actor 07'
    """
    path = given_path(path)
    try:
        with open(path, "rb") as file, np.load(BytesIO(file.read()), allow_pickle=False) as kept:
            return Client(str(kept["name"]), kept["x"], kept["y"])
    except (OSError, ValueError, KeyError, EOFError, BadZipFile) as error:
        if isinstance(error, SerlibError):  # a client without clips
            raise
        raise SerlibError(f"{path} holds no clips of a client; write them with federated.write_client.") from error


def standardized(features: pd.DataFrame, split: Split, own: bool = False) -> pd.DataFrame:
    """Return features minus their average, over their standard deviation, and a column of ones for the bias.

    Parameters
    ----------
    features
        What ``ser.layer_averages`` returned: a row for each clip of the split.
    split
        Average and deviation are those of its training clips.
    own
        Whether each actor is measured from the average of his or her own training clips, which need not leave home.

    Returns
    -------
    DataFrame
        float32, a row for each clip of the split; a feature that never changes is 0.

    Raises
    ------
    SerlibError
        With ``own``, for an actor without training clips.

    Examples
    --------
    >>> import pandas as pd
    >>> clips = pd.DataFrame({"path": list("abcd"), "emotion": ["calm", "sad"] * 2, "seconds": 2.0})
    >>> clips["actor"] = ["01", "01", "02", "02"]
    >>> split = ser.splits.Split("toy", clips, clips[:0], clips[:0])
    >>> features = pd.DataFrame({"pitch": [100.0, 120.0, 200.0, 220.0]}, index=split.train.index)
    >>> ser.federated.standardized(features, split, own=True).to_numpy().tolist()
    [[-1.0, 1.0], [1.0, 1.0], [-1.0, 1.0], [1.0, 1.0]]
    """
    corpus = pd.concat([part for _, part in split.parts()])
    x, train = features.loc[corpus.index].to_numpy(float), len(split.train)
    voices = corpus["actor"].to_numpy() if own else np.full(len(corpus), "all")
    result = np.ones((len(x), x.shape[1] + 1), dtype=np.float32)
    for voice in np.unique(voices):
        rows = voices == voice
        taught = x[:train][rows[:train]]
        if not len(taught):
            raise SerlibError(f"actor {voice} has no training clips to be measured from; use own=False for new voices.")
        deviation = taught.std(0)
        result[rows, :-1] = (x[rows] - taught.mean(0)) / np.where(deviation > 0, deviation, 1)
    return pd.DataFrame(result, index=corpus.index)


def clients(
    x: pd.DataFrame, corpus: pd.DataFrame, labels: Sequence[str], by: str, random_state: int = 101
) -> list[Client]:
    """Return the clips of a corpus dealt out to clients.

    Parameters
    ----------
    x
        What ``standardized`` returned.
    corpus
        The clips to deal out, such as ``split.train``.
    labels
        All classes, in their order, such as ``split.labels``.
    by
        "one" for a single client that has everything, "actor" for a client an actor. With as many clients as there are
        actors: "even" deals clips out by chance, "unequal" by chance in parts like 1, 1/2, 1/3 and so on, and "emotion"
        gives each client clips of a single emotion.
    random_state
        The seed of the draw.

    Returns
    -------
    list of Client
        In the order of their names.

    Raises
    ------
    SerlibError
        For another word than these, for no clips, and for a clip whose emotion is not among the labels.

    Examples
    --------
    >>> import pandas as pd
    >>> corpus = pd.DataFrame({"emotion": ["calm", "sad"] * 4, "actor": ["01", "02"] * 4}, index=list("abcdefgh"))
    >>> x = pd.DataFrame(1.0, index=corpus.index, columns=range(3))
    >>> [len(client) for client in ser.federated.clients(x, corpus, ("calm", "sad"), by="unequal")]
    [5, 3]
    """
    if by not in CUTS:
        raise SerlibError(f"clips cannot be dealt out by {by!r:.60}; {nearest(str(by), CUTS)}")
    if not len(corpus):
        raise SerlibError("there are no clips to deal out to clients; give a part of a split that has some.")
    strange = sorted(set(corpus["emotion"]) - set(labels))
    if strange:
        raise SerlibError(f"{strange[0]} is not among the labels {', '.join(labels)}; give all classes of the corpus.")
    mixed = corpus.sort_index().sample(frac=1, random_state=random_state)
    n, place = corpus["actor"].nunique(), pd.Series(range(len(mixed)), index=mixed.index)
    if by == "one":
        names = place.map(lambda _: "all")
    elif by == "actor":
        names = "actor " + mixed["actor"]
    elif by == "emotion":
        each = max(1, n // mixed["emotion"].nunique())
        names = mixed["emotion"] + " " + (mixed.groupby("emotion").cumcount() % each + 1).astype(str)
    else:
        sizes = np.ones(n) if by == "even" else 1 / np.arange(1, n + 1)
        ends = np.round(np.cumsum(sizes) / sizes.sum() * len(mixed))
        names = place.map(lambda clip: f"part {np.searchsorted(ends, clip, side='right') + 1:02d}")
    found = []
    for name, own in corpus.groupby(names.loc[corpus.index]):
        y = own["emotion"].map(list(labels).index).to_numpy()
        found.append(Client(str(name), x.loc[own.index].to_numpy(), y))
    return found


def shares(weights: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Return the probability of each class for each clip.

    Parameters
    ----------
    weights
        (features, classes).
    x
        (clips, features).

    Returns
    -------
    ndarray
        float64 of shape (clips, classes), each row with a sum of 1.

    Examples
    --------
    >>> import numpy as np
    >>> ser.federated.shares(np.zeros((2, 4)), np.ones((1, 2))).tolist()
    [[0.25, 0.25, 0.25, 0.25]]
    """
    return softmax_of(x @ weights)


def losses(weights: np.ndarray, client: Client) -> np.ndarray:
    """Return the loss of each clip of a client: minus the log of the probability of its true class.

    Parameters
    ----------
    weights
        (features, classes).
    client
        Whose clips.

    Returns
    -------
    ndarray
        (clips,).

    Examples
    --------
    >>> import numpy as np
    >>> client = ser.federated.Client("actor 01", np.ones((1, 2)), np.array([3]))
    >>> ser.federated.losses(np.zeros((2, 4)), client).round(2).tolist()  # log 4
    [1.39]
    """
    return -np.log(shares(weights, client.x)[np.arange(len(client)), client.y])


def _errors(weights: np.ndarray, client: Client) -> np.ndarray:
    """Return, (clips, classes), what is said minus what is true: the gradient of a clip's loss by its logits."""
    said = shares(weights, client.x)
    said[np.arange(len(client)), client.y] -= 1
    return said.astype(weights.dtype)


def local_steps(
    weights: np.ndarray, client: Client, steps: int = 5, rate: float = 0.03, pull: float = 0.0
) -> np.ndarray:
    """Return the weights after some steps of gradient descent on all clips of one client.

    Parameters
    ----------
    weights
        (features, classes), what the server sent; it stays as it is.
    client
        Who learns.
    steps
        How many.
    rate
        The learning rate.
    pull
        mu of FedProx (Li et al. 2020), which draws each step back to what the server sent; 0 is FedAvg.

    Returns
    -------
    ndarray
        New weights, of the shape and type of the old.

    Examples
    --------
    >>> import numpy as np
    >>> client = ser.federated.Client("actor 01", np.array([[2.0]]), np.array([0]))
    >>> ser.federated.local_steps(np.zeros((1, 2)), client, steps=1, rate=0.5).tolist()  # 0.5 * 2 * (1 - 1/2)
    [[0.5, -0.5]]
    """
    sent = weights
    for _ in range(steps):
        gradient = client.x.T @ _errors(weights, client) / len(client)
        weights = weights - rate * (gradient + pull * (weights - sent))
    return weights


def fed_avg(
    weights: np.ndarray,
    clients: Sequence[Client],
    rounds: int,
    teach: Callable[[np.ndarray, Client], np.ndarray] = local_steps,
) -> list[np.ndarray]:
    """Return the weights at the start and after each round of federated averaging; the notebook writes it out (17).

    Parameters
    ----------
    weights
        Where all begin.
    clients
        Who learns; each counts by its clips.
    rounds
        How often weights go out and come back.
    teach
        What a client does with the weights that it gets.

    Returns
    -------
    list of ndarray
        rounds + 1 arrays.

    References
    ----------
    McMahan et al. (2017), Communication-Efficient Learning of Deep Networks from Decentralized Data.

    Examples
    --------
    >>> import numpy as np
    >>> three = ser.federated.Client("has three", np.ones((3, 1)), np.zeros(3, int))
    >>> one = ser.federated.Client("has one", np.ones((1, 1)), np.zeros(1, int))
    >>> learn = lambda weights, client: weights + len(client)  # 3 and 1: 3/4 of 3 and 1/4 of 1 are 2.5
    >>> ser.federated.fed_avg(np.zeros((1, 1)), [three, one], rounds=1, teach=learn)[-1].item()
    2.5
    """
    clips = np.array([len(client) for client in clients], dtype=weights.dtype)
    history = [weights]
    for _ in range(rounds):
        answers = [teach(weights, client) for client in clients]
        weights = np.average(answers, axis=0, weights=clips / clips.sum())
        history.append(weights)
    return history


class Whole:
    """A whole network as one row of numbers, so that ``fed_avg`` averages it as it averages a head.

    Its convolutions are frozen: what they make of each clip is computed once and kept in the cache. A local epoch is
    gradient descent (SGD without momentum, the gradient of a step shortened to length 1) on steps of clips of like
    length. It keeps nothing from one round to the next but the weights, so with a single client the rounds are
    training in one place, bit for bit.

    Parameters
    ----------
    backbone
        What ``ser.backbone`` or ``lesson.backbone`` returned; of the wav2vec 2.0 family.
    split
        Whose clips are dealt out and asked.
    recipe
        Its seed, trimming, pooling, masking and clips of a step count; what only the Trainer does, does not.
    rate
        The learning rate of gradient descent.

    Attributes
    ----------
    start
        The weights to begin with, (weights,) float32: the pre-trained encoder and a new head.

    Raises
    ------
    SerlibError
        For a backbone without frozen convolutions.

    References
    ----------
    McMahan et al. (2017), algorithm 1: SGD at home, with E = 1 epoch.

    Examples
    --------
    >>> lesson = ser.start("mini")
    CPU, 2 cores - profile mini - ...
    >>> split = ser.stratified_split(lesson.corpus())  # doctest: +SKIP
    >>> twin = ser.federated.Whole(lesson.backbone("hubert-base"), split, lesson.recipe, rate=0.1)  # doctest: +SKIP
    >>> actors = twin.clients(split.train, by="actor")  # doctest: +SKIP
    >>> history = ser.federated.fed_avg(twin.start, actors, 10, twin.teach)  # doctest: +SKIP
    """

    def __init__(self, backbone: Backbone, split: Split, recipe: Recipe, rate: float) -> None:
        from transformers import set_seed

        from serlib.train import batches
        from serlib.train.finetuning import learner_of
        from serlib.train.run import work_on

        work = work_on(backbone, split, recipe, ".", None)
        if backbone.is_network or backbone.family == "whisper":
            raise SerlibError(f"{backbone.title} has no convolutions to freeze; take one of the wav2vec 2.0 family.")
        set_seed(recipe.seed)
        self._learner = learner_of(work)
        self.model = self._learner.model
        parts = batches.features_of(work, self._learner.encoder, self._learner.extractor).values()
        self._clips = {str(row["clip"]): row for part in parts for row in part}
        self._split, self._recipe, self._rate, self._masks = split, recipe, rate, backbone.needs_mask
        self._epochs: Counter[str] = Counter()  # of each client, for the order of its clips
        self._trained = [p for _, p in self._learner.trained]
        self.start = self._weights()

    def clients(self, corpus: pd.DataFrame, by: str) -> list[Client]:
        """Return a part of the split dealt out as ``federated.clients`` does; x has the names of clips, (clips, 1)."""
        return clients(pd.DataFrame({"clip": corpus.index}, index=corpus.index), corpus, self._split.labels, by)

    def teach(self, weights: np.ndarray, client: Client) -> np.ndarray:
        """Return the weights after one more epoch on the clips of one client, (weights,)."""
        import torch

        from serlib.train.batches import Buckets

        self._load(weights)
        self.model.train()
        lengths = [int(self._clips[name]["samples"]) for name in client.x[:, 0]]
        size = min(self._recipe.batch_size, len(client))
        order = Buckets(lengths, size, self._recipe.seed)
        order.set_epoch(self._epochs[client.name])
        self._epochs[client.name] += 1
        optimizer = torch.optim.SGD(self._trained, lr=self._rate)
        for rows in np.reshape(list(order), (-1, size)):
            optimizer.zero_grad()
            self.model(**self._batch(client, rows)).loss.backward()
            torch.nn.utils.clip_grad_norm_(self._trained, 1.0)
            optimizer.step()
        return self._weights()

    def shares(self, weights: np.ndarray, client: Client) -> np.ndarray:
        """Return the probability of each class for each clip, (clips, classes)."""
        import torch

        self._load(weights)
        self.model.eval()
        by_length = np.argsort([int(self._clips[name]["samples"]) for name in client.x[:, 0]], kind="stable")
        said = np.empty((len(client), len(self._split.labels)))
        with torch.inference_mode():
            for rows in np.split(by_length, range(self._recipe.batch_size, len(by_length), self._recipe.batch_size)):
                said[rows] = softmax_of(self.model(**self._batch(client, rows)).logits.numpy())
        return said

    def _weights(self) -> np.ndarray:
        import torch

        return torch.cat([p.detach().ravel() for p in self._trained]).numpy()

    def _load(self, weights: np.ndarray) -> None:
        import torch

        if weights.shape != (size := sum(p.numel() for p in self._trained),):
            raise SerlibError(f"a message of shape {weights.shape} is not a row of this network's {size:,} weights.")
        torch.nn.utils.vector_to_parameters(torch.from_numpy(weights.copy()), self._trained)

    def _batch(self, client: Client, rows: np.ndarray) -> dict[str, Any]:
        """Return the input of the network for some clips of a client."""
        from serlib.train.batches import collate

        names, learner = [str(client.x[row, 0]) for row in rows], self._learner
        labels = dict(zip(names, client.y[rows].tolist(), strict=True))
        clips = [self._clips[name] for name in names]
        return collate(clips, labels, learner.input_name, learner.channels, self._masks, learner.shortest)


def clip_gradients(weights: np.ndarray, client: Client) -> np.ndarray:
    """Return the gradient of each clip's loss, (clips, features, classes).

    Parameters
    ----------
    weights
        (features, classes).
    client
        Whose clips.

    Returns
    -------
    ndarray
        Their mean over the clips is the gradient of a local step.

    Examples
    --------
    >>> import numpy as np
    >>> client = ser.federated.Client("actor 01", np.array([[2.0]]), np.array([0]))
    >>> ser.federated.clip_gradients(np.zeros((1, 2)), client).tolist()
    [[[-1.0, 1.0]]]
    """
    return client.x[:, :, None] * _errors(weights, client)[:, None, :]


def noisy_mean(rows: np.ndarray, bound: float, noise: float, random: np.random.Generator) -> np.ndarray:
    """Return the mean of clipped messages, with noise that hides whether any one of them was there.

    Parameters
    ----------
    rows
        Messages, (messages, ...): the updates of clients, or the gradients of clips.
    bound
        The greatest length of a message; a longer one is shortened to it.
    noise
        The standard deviation of the noise on the sum, in units of ``bound``.
    random
        Where the noise comes from.

    Returns
    -------
    ndarray
        The shape of one message.

    References
    ----------
    Of gradients: Abadi et al. (2016), doi 10.1145/2976749.2978318. Of clients: McMahan et al. (2018).

    Examples
    --------
    >>> import numpy as np
    >>> rows = np.array([[3.0, 4.0], [0.0, 1.0]])  # lengths 5 and 1
    >>> ser.federated.noisy_mean(rows, bound=1, noise=0, random=np.random.default_rng(0)).round(2).tolist()
    [0.3, 0.9]
    """
    lengths = np.linalg.norm(rows.reshape(len(rows), -1), axis=1)
    total = np.tensordot(np.minimum(1, bound / np.maximum(lengths, 1e-12)), rows, axes=1)
    return ((total + random.normal(0, noise * bound, total.shape)) / len(rows)).astype(rows.dtype)


def epsilon(noise: float, rounds: int, delta: float) -> float:
    """Return epsilon of so many noisy means in which every message took part.

    Several means with Gaussian noise tell as much as one with less: noise / sqrt(rounds). For one, epsilon is exact.

    Parameters
    ----------
    noise
        As in ``noisy_mean``.
    rounds
        How many means were published.
    delta
        The chance that the promise is not kept, between 0 and 1.

    Returns
    -------
    float
        Infinite without noise.

    References
    ----------
    The exact epsilon of Gaussian noise: Balle and Wang (2018), theorem 8. Of several: Dong, Roth and Su (2022).

    Examples
    --------
    >>> round(ser.federated.epsilon(noise=5, rounds=25, delta=1e-5), 2)
    4.38
    """
    from scipy.optimize import brentq
    from scipy.stats import norm

    if noise <= 0:
        return float("inf")
    mu = np.sqrt(rounds) / noise

    def broken(e: float) -> float:
        """How much more than delta the promise with this epsilon is broken."""
        return float(norm.cdf(mu / 2 - e / mu) - np.exp(e + norm.logcdf(-mu / 2 - e / mu)) - delta)

    return 0.0 if broken(0) <= 0 else float(brentq(broken, 0, mu**2 + 50 * mu))


def membership(inside: np.ndarray, outside: np.ndarray) -> tuple[float, float, float]:
    """Return how well a model's losses tell the clips it learned from: the AUC, and its 95 % interval.

    Parameters
    ----------
    inside
        Losses of clips that were taught, (clips,).
    outside
        Losses of others like them, (clips,).

    Returns
    -------
    tuple of float
        AUC, low and high end: the chance that of two clips, one of each kind, the taught one has the smaller loss. 0.5
        is a coin. Clips count as independent.

    References
    ----------
    The attack: Yeom et al. (2018), doi 10.1109/CSF.2018.00027. The interval: DeLong et al. (1988), doi 10.2307/2531595.

    Examples
    --------
    >>> import numpy as np
    >>> ser.federated.membership(np.array([0.1, 0.2, 0.6]), np.array([0.3, 0.4, 0.5, 0.7]))[0]
    0.75
    """
    wins = (inside[:, None] < outside).astype(float) + (inside[:, None] == outside) / 2
    spread = np.sqrt(wins.mean(1).var(ddof=1) / len(inside) + wins.mean(0).var(ddof=1) / len(outside))
    auc = wins.mean()
    return float(auc), float(max(0, auc - 1.96 * spread)), float(min(1, auc + 1.96 * spread))
