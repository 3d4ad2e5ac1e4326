"""A frozen encoder: averages of its layers, and a logistic or kernel ridge regression on them. See notebook 02."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import soxr

from serlib.data import audio
from serlib.data.splits import Split
from serlib.files import atomic_path, cache_dir
from serlib.judge import predictions
from serlib.train.backbones import Backbone, extractor_of
from serlib.train.recipes import Recipe, Result, Work, softmax_of, weights_name
from serlib.train.ridge import KernelRidge, search, tune_temperature

REGULARIZATION = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0)  # values of C to choose from, on validation
QUIET = 6  # seconds to which Whisper's clips are padded at least
LOUDNESS = 0.3  # loudness grows with this power of intensity (Stevens 1957, doi 10.1037/h0046162)


@dataclass(frozen=True)
class Logistic:
    """Standardization and logistic regression as plain arrays, so that nothing needs unpickling."""

    mean: np.ndarray
    scale: np.ndarray
    weights: np.ndarray
    bias: np.ndarray

    @classmethod
    def fit(cls, features: np.ndarray, labels: np.ndarray, c: float) -> "Logistic":
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

    def probabilities(self, features: np.ndarray) -> np.ndarray:
        return softmax_of((features - self.mean) / self.scale @ self.weights.T + self.bias)

    def write(self, path: Path) -> None:
        np.savez(path, **{name: value.astype(np.float32) for name, value in asdict(self).items()})

    @classmethod
    def read(cls, path: Path) -> "Logistic":
        with np.load(path, allow_pickle=False) as kept:
            return cls(**kept)


def layer_averages(backbone: Backbone, split: Split, recipe: Recipe) -> pd.DataFrame:
    """Return what a frozen encoder makes of each clip, one row a clip: measured once, then kept in the cache (02).

    The averages of the layers over time stand side by side, and each column begins with the number of its layer:
    ``averages[0]`` is what enters the transformer, shape (clips, hidden), ``averages[backbone.layers]`` what leaves it.
    """
    corpus = pd.concat([frame for _, frame in split.parts()])
    recipe_key = [
        recipe.trim,
        recipe.pooling,
        recipe.layers,
        recipe.speeds,
        recipe.pretrained,
        recipe.seed * (not recipe.pretrained),
        QUIET,
    ]
    key = hashlib.sha256(json.dumps([weights_name(backbone, recipe), recipe_key]).encode()).hexdigest()[:16]
    path = cache_dir() / "features" / f"{key}.npz"
    # By file and not by split: the splits of one corpus share their clips.
    files = pd.Series(audio.fingerprints(corpus), index=corpus.index)
    kept = pd.DataFrame()
    if path.exists():
        with np.load(path) as file:
            kept = pd.DataFrame(file["features"], index=file["files"])
    missing = corpus[~files.isin(kept.index).to_numpy()].sort_index()
    if len(missing):
        encoder = frozen_encoder(backbone, recipe)
        sounds = audio.clips(missing, trim=recipe.trim)
        averages = averages_of(encoder, [sounds[clip] for clip in missing.index], recipe)
        kept = pd.concat([kept, pd.DataFrame(averages, index=files[missing.index])])
        with atomic_path(path) as fresh:
            np.savez(fresh, files=kept.index.to_numpy(str), features=kept.to_numpy())
    features = kept.loc[files].set_axis(corpus.index)
    numbers = {"all": range(backbone.layers + 1), "first": [0]}.get(recipe.layers, [backbone.layers])
    parts = ["mean", "std"] if recipe.pooling == "loudness" else recipe.pooling.split("+")
    names = pd.MultiIndex.from_product(  # all means stand before all standard deviations
        [parts, numbers, range(backbone.hidden)], names=["average", "layer", "dimension"]
    )
    features.columns = names.droplevel("average") if len(parts) == 1 else names.reorder_levels([1, 0, 2])
    return features


def probe(work: Work) -> Result:
    """Fit the recipe's head to the training part's averages, then to training and validation; predict test once."""
    recipe, split = work.recipe, work.split
    model, extractor = frozen_encoder(work.backbone, recipe)
    features = layer_averages(work.backbone, split, recipe)
    number = {label: i for i, label in enumerate(split.labels)}
    x = {part: features.loc[frame.index].to_numpy() for part, frame in split.parts()}
    y = {part: frame["emotion"].map(number).to_numpy() for part, frame in split.parts()}
    # The chosen settings stand; now the validation clips may teach too, as in any nested protocol. Test has not been
    # looked at.
    both = np.concatenate([x["train"], x["validation"]]), np.concatenate([y["train"], y["validation"]])
    fit = _logistic if recipe.head == "logistic" else _kernel_ridge
    trial, final, rows, best, settings = fit(x, y, both, split, recipe)
    table = pd.concat(
        [
            predictions.make(split.validation, trial.probabilities(x["validation"]), split.labels, "validation"),
            predictions.make(split.test, final.probabilities(x["test"]), split.labels, "test"),
        ],
        ignore_index=True,
    )
    info = {
        "best_step": best + 1,
        "steps": len(rows),
        **settings,
        "parameters": sum(p.numel() for p in model.parameters()),
        "trainable_parameters": int(final.weights.size + final.bias.size),
    }

    def save(folder: Path) -> None:
        model.save_pretrained(folder)
        extractor.save_pretrained(folder)
        final.write(folder / "probe.npz")

    return Result(table, pd.DataFrame(rows), info, save)


def _logistic(x: dict, y: dict, both: tuple, split: Split, recipe: Recipe) -> tuple:
    """Return (fitted to train, fitted to both, history, best row, settings): C by the loss on validation.

    By loss, because among a hundred clips several values of C are equally often right, and only the loss tells them
    apart.
    """
    trials = [Logistic.fit(x["train"], y["train"], c) for c in REGULARIZATION]
    rows = []
    for step, (c, trial) in enumerate(zip(REGULARIZATION, trials, strict=True), 1):
        own, guess = trial.probabilities(x["train"]), trial.probabilities(x["validation"])
        rows.append(_row(step, c, own, y["train"], guess, y["validation"]))
    best = int(np.argmin([row["eval_loss"] for row in rows]))
    final = Logistic.fit(*both, REGULARIZATION[best])
    return trials[best], final, rows, best, {"regularization": REGULARIZATION[best]}


def _kernel_ridge(x: dict, y: dict, both: tuple, split: Split, recipe: Recipe) -> tuple:
    """Return the same: gamma and alpha by the exact held-out loss on train, which has ten times as many clips.

    Clips are held out one at a time where the split's test voices are known from training, else a whole actor at a
    time, so that the choice is made for the question that the test part asks.
    """
    actors = split.train["actor"].to_numpy(str)
    known = set(split.test["actor"]) <= set(actors)
    groups = np.arange(len(actors)) if known or len(set(actors)) == 1 else actors
    voices = actors if recipe.centered and known else None
    train, labels = x["train"].astype(float), y["train"]
    settings, rows = [], []
    for step, (gamma, alpha, own, scores) in enumerate(search(train, labels, groups, voices), 1):
        temperature = tune_temperature(scores, labels)
        rows.append(_row(step, step, softmax_of(own * temperature), labels, softmax_of(scores * temperature), labels))
        settings.append({"gamma": gamma, "alpha": alpha, "temperature": temperature})
    best = int(np.argmin([row["eval_loss"] for row in rows]))
    trial = KernelRidge.fit(train, labels, **settings[best], actors=voices)
    if voices is not None:
        voices = np.concatenate([voices, split.validation["actor"].to_numpy(str)])
    final = KernelRidge.fit(both[0].astype(float), both[1], **settings[best], actors=voices)
    return trial, final, rows, best, settings[best] | {"centered": voices is not None}


def _row(step: int, epoch: float, own: np.ndarray, taught: np.ndarray, guess: np.ndarray, truth: np.ndarray) -> dict:
    """Return one row of the history: the loss on what was taught, and all measures on what was held out."""
    right = guess.argmax(1) == truth
    return {
        "step": step,
        "epoch": epoch,
        "loss": -np.log(own[np.arange(len(own)), taught]).mean(),
        "eval_loss": -np.log(guess[np.arange(len(guess)), truth]).mean(),
        "eval_accuracy": right.mean(),
        "eval_uar": np.mean([right[truth == k].mean() for k in set(truth)]),
    }


def frozen_encoder(backbone: Backbone, recipe: Recipe):
    """Return (encoder, feature extractor), the encoder alone where the checkpoint has a decoder too."""
    import torch
    from transformers import set_seed

    from serlib.train import model as models

    set_seed(recipe.seed)
    # The labels are of no use to a frozen encoder; two make the smallest head there is.
    model = models.load(backbone, ("a", "b"), pretrained=recipe.pretrained)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return model.to(device).eval(), extractor_of(backbone)


def averages_of(encoder, sounds: list[np.ndarray], recipe: Recipe) -> np.ndarray:
    """Return (clips, features): the mean over time (and the standard deviation) of each chosen layer, side by side.

    With several speeds, the mean over the copies of a clip.
    """
    model, extractor = encoder
    states = _whisper_states if model.config.model_type == "whisper" else _waveform_states
    longest = getattr(extractor, "n_samples", None)  # Whisper hears 30 s
    total = 0
    for speed in recipe.speeds:
        copies = [s if speed == 1 else soxr.resample(s, audio.RATE, audio.RATE / speed) for s in sounds]
        copies = [copy[:longest] for copy in copies]
        heard = zip(states(model, extractor, copies), copies, strict=True)
        total = total + np.stack([_pooled(layers, copy, recipe) for layers, copy in heard])
    return (total / len(recipe.speeds)).astype(np.float32)


def _pooled(layers: np.ndarray, samples: np.ndarray, recipe: Recipe) -> np.ndarray:
    """Return the averages over time of (layers, frames, hidden) as one row."""
    layers = {"all": layers, "first": layers[:1]}.get(recipe.layers, layers[-1:])
    if recipe.pooling != "loudness":
        pooled = [layers.mean(1)] + ([layers.std(1)] if recipe.pooling == "mean+std" else [])
    else:
        frames = np.array_split(np.asarray(samples, np.float64), layers.shape[1])
        loudness = np.array([np.mean(frame**2) for frame in frames]) ** LOUDNESS + 1e-12
        mean = np.average(layers, axis=1, weights=loudness)
        spread = np.average((layers - mean[:, None]) ** 2, axis=1, weights=loudness)
        pooled = [mean, np.sqrt(spread)]
    return np.concatenate([part.ravel() for part in pooled]).astype(np.float32)


def _waveform_states(model, extractor, sounds: list[np.ndarray]) -> Iterator[np.ndarray]:
    """Yield (layers, frames, hidden) for each clip, one at a time, so that none depends on its neighbors' length."""
    import torch

    for samples in sounds:
        values = extractor(np.array(samples), sampling_rate=audio.RATE, return_tensors="pt").input_values
        with torch.inference_mode():
            states = model.base_model(values.to(model.device), output_hidden_states=True).hidden_states
        yield torch.cat(states).float().cpu().numpy()


def _whisper_states(model, extractor, sounds: list[np.ndarray]) -> Iterator[np.ndarray]:
    """Yield (layers, frames, hidden) of each clip's own frames, without Whisper's usual padding to 30 s.

    Clips are padded to 6 s, longer ones to the next half second, and the position embeddings sliced to fit. In
    cross-validation on RAVDESS's training clips that is as good as 30 s, and six times faster.
    """
    import torch

    from serlib.train import model as models

    encoder = model.encoder
    positions = encoder.embed_positions.weight
    step = audio.RATE // 2
    for samples in sounds:
        padded = max(QUIET * audio.RATE, -(-len(samples) // step) * step)
        mels = extractor(
            np.array(samples),
            sampling_rate=audio.RATE,
            padding="max_length",
            max_length=padded,
            return_tensors="pt",
        ).input_features
        frames = mels.shape[-1] // 2
        models.place(model, positions[:frames])
        with torch.inference_mode():
            states = encoder(mels.to(model.device), output_hidden_states=True).hidden_states
        own = max(1, round(len(samples) / audio.RATE * 50))  # 20 ms a frame
        yield torch.cat(states)[:, :own].float().cpu().numpy()
    models.place(model, positions)
