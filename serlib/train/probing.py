"""Probing a frozen encoder: averages of its layers over time, measured once, and a linear head on them (02)."""

import hashlib
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias
from zipfile import BadZipFile

import numpy as np
import pandas as pd
import soxr

from serlib.data import audio
from serlib.data.splits import Split
from serlib.errors import SerlibError, demand
from serlib.files import atomic_path, cache_dir, key_of
from serlib.judge import predictions
from serlib.train.backbones import Backbone, extractor_of
from serlib.train.recipes import QUIET, Probe
from serlib.train.run import Result, Run, Runs, Work, found_or_made, processes, work_on

CODE = 1  # raise it when the same clip would give other averages, or they another head

Encoder: TypeAlias = tuple[Any, Any]  # transformers' model and its feature extractor


def probe(backbone: Backbone, split: Split, recipe: Probe, folder: Path | str | Runs, name: str | None = None) -> Run:
    """Fit a linear head on a frozen encoder and return the Run in ``folder/<split>/<name>``.

    A finished run of the same sound, labels, weights and recipe is loaded; another of that name is kept beside it, and
    what changed is said. The regularization is chosen on validation by loss, then validation teaches too, and test is
    predicted once.

    Parameters
    ----------
    backbone
        What ``ser.backbone`` or ``lesson.backbone`` returned.
    split
        Train, validation and test.
    recipe
        What is averaged; a lesson's is ``lesson.probe_recipe``.
    folder
        Where runs are kept, as ``lesson.runs``.
    name
        What tells apart probes of one backbone on one split; without one it is the backbone's key and "-probe".

    Returns
    -------
    Run
        A voter, with history (a row for each regularization) and record.

    Raises
    ------
    SerlibError
        For weights that cannot be found, and clips that cannot be read or are shorter than 0.1 s.

    Examples
    --------
    >>> lesson = ser.start("mini")
    CPU, 2 cores - profile mini - ...
    >>> print(lesson.probe_recipe)
    frozen encoder, mean+std of all layers, logistic regression
    >>> split = ser.stratified_split(lesson.corpus())  # doctest: +SKIP
    >>> run = ser.probe(lesson.backbone("frozen"), split, lesson.probe_recipe, lesson.runs)  # doctest: +SKIP
    """
    if not isinstance(recipe, Probe):
        raise SerlibError(
            f"probe takes a ser.Probe, not a {type(recipe).__name__}; a ser.Recipe goes to ser.fine_tune."
        )
    if isinstance(backbone, Backbone) and backbone.is_network:
        raise SerlibError(f"{backbone.title} has no frozen encoder to probe; train it with ser.fine_tune.")
    work = work_on(backbone, split, recipe, folder, name)
    return found_or_made(work, CODE, partial(_fit_and_predict, work))


def _fit_and_predict(work: Work[Probe]) -> Result | None:
    """Fit the recipe's head to the averages of training and validation, and predict test once."""
    if not processes().is_main_process:
        return None
    recipe, split = work.recipe, work.split
    encoder = frozen_encoder(work.backbone, recipe)
    model, extractor = encoder
    features = _averages(work, encoder)
    x = {part: features.loc[frame.index].to_numpy() for part, frame in split.parts()}
    y = {part: frame["emotion"].map(split.labels.index).to_numpy() for part, frame in split.parts()}
    head = recipe.fit(x, y, split)
    answers = {"validation": head.trial.probabilities(x["validation"]), "test": head.final.probabilities(x["test"])}
    table = [
        predictions.make(getattr(split, part), shares, split.labels, part, corpus=split.attrs["name"])
        for part, shares in answers.items()
    ]
    info = {
        "best_step": head.best + 1,
        "steps": len(head.rows),
        **head.settings,
        "parameters": sum(p.numel() for p in model.parameters()),
        "trainable_parameters": int(head.final.weights.size + head.final.bias.size),
    }

    def save(folder: Path) -> None:
        model.save_pretrained(folder)
        extractor.save_pretrained(folder)
        head.final.write(folder / "probe.npz")

    return Result(pd.concat(table, ignore_index=True), pd.DataFrame(head.rows), info, save)


def layer_averages(backbone: Backbone, split: Split, recipe: Probe) -> pd.DataFrame:
    """Return what a frozen encoder makes of each clip: measured once, then kept in the cache (02).

    Parameters
    ----------
    backbone
        What ``ser.backbone`` or ``lesson.backbone`` returned.
    split
        Whose clips of all three parts are heard.
    recipe
        What is averaged.

    Returns
    -------
    DataFrame
        A row for each clip. The averages of the layers over time stand side by side, and each column begins with the
        number of its layer: ``averages[0]`` is what enters the transformer, shape (clips, hidden),
        ``averages[backbone.layers]`` what leaves it.

    Raises
    ------
    SerlibError
        For weights that cannot be found, and clips that cannot be read.

    Examples
    --------
    Three sounds of half a second, one for each part:

    >>> from tempfile import TemporaryDirectory
    >>> import numpy as np, pandas as pd, soundfile
    >>> backbone, parts = ser.backbone("hubert-base-mini"), []
    >>> with TemporaryDirectory() as folder:
    ...     for hertz in (100, 200, 400):
    ...         path = f"{folder}/{hertz}.wav"
    ...         soundfile.write(path, 0.5 * np.sin(2 * np.pi * hertz * np.arange(8000) / 16000), 16000)
    ...         parts.append(pd.DataFrame({"path": [path], "emotion": ["calm"]}))
    ...     averages = ser.layer_averages(backbone, ser.splits.Split("tones", *parts), ser.Probe())
    >>> averages.index.to_list(), averages[backbone.layers]["mean"].shape
    (['100', '200', '400'], (3, 96))
    """
    demand(recipe, Probe, "recipe", "make one with ser.Probe")
    return _averages(work_on(backbone, split, recipe, cache_dir(), None))


def _averages(work: Work[Probe], encoder: Encoder | None = None) -> pd.DataFrame:
    """Return the averages of a work's clips: from the cache, and what that lacks from the encoder."""
    backbone, split, recipe = work.backbone, work.split, work.recipe
    corpus = pd.concat([frame for _, frame in split.parts()])
    depends = {"weights": work.weights, "settings": {**recipe.measures, "padded": QUIET}, "code": CODE}
    path = cache_dir() / "features" / f"{key_of(depends)}.npz"
    # By sound and not by split or name: the splits of one corpus share their clips.
    keys = audio.content_keys(corpus)
    kept = _cached_averages(path)
    missing = corpus[~keys.isin(kept.index).to_numpy()].sort_index()
    if len(missing):
        sounds = audio.clips(missing, trim=recipe.trim)
        fresh = averages_of(
            encoder or frozen_encoder(backbone, recipe), [sounds[clip] for clip in missing.index], recipe
        )
        kept = pd.concat([kept, pd.DataFrame(fresh, index=keys[missing.index])])
        kept = kept[~kept.index.duplicated()]  # two clips of one recording
        _cache_averages(kept, path)
    features = kept.loc[keys].set_axis(corpus.index)
    parts = ["mean", "std"] if features.shape[1] == 2 * backbone.hidden * len(_layers_of(work)) else ["mean"]
    names = pd.MultiIndex.from_product(  # all means stand before all standard deviations
        [parts, _layers_of(work), range(backbone.hidden)], names=["average", "layer", "dimension"]
    )
    features.columns = names.droplevel("average") if len(parts) == 1 else names.reorder_levels([1, 0, 2])
    return features


def _layers_of(work: Work[Probe]) -> list[int]:
    """Return the numbers of the layers that a probe averages."""
    return work.recipe.averaged_layers(work.backbone.layers)


def _cached_averages(path: Path) -> pd.DataFrame:
    """Return the averages that the cache has, a row for each sound: none where it has nothing, or nothing whole."""
    try:
        with np.load(path, allow_pickle=False) as file:
            sounds, features = file["sounds"], file["features"]
            if str(file["digest"]) == _digest(sounds, features):
                return pd.DataFrame(features, index=sounds)
    except (OSError, ValueError, KeyError, EOFError, TypeError, BadZipFile):
        pass  # not there, cut, empty or of another kind: measured again
    return pd.DataFrame()


def _cache_averages(kept: pd.DataFrame, path: Path) -> None:
    sounds, features = kept.index.to_numpy(str), kept.to_numpy()
    with atomic_path(path) as fresh:
        np.savez(fresh, sounds=sounds, features=features, digest=_digest(sounds, features))


def _digest(sounds: np.ndarray, features: np.ndarray) -> str:
    return hashlib.sha256(sounds.tobytes() + np.ascontiguousarray(features).tobytes()).hexdigest()


def frozen_encoder(backbone: Backbone, recipe: Probe) -> Encoder:
    """Return (encoder, feature extractor), the encoder alone where the checkpoint has a decoder too."""
    import torch
    from transformers import set_seed

    from serlib.train import model as models

    set_seed(recipe.seed)
    # The labels are of no use to a frozen encoder; two make the smallest head there is.
    model = models.load(backbone, ("a", "b"), pretrained=recipe.pretrained)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return model.to(device).eval(), extractor_of(backbone)


def averages_of(encoder: Encoder, sounds: list[np.ndarray], recipe: Probe) -> np.ndarray:
    """Return (clips, features): the mean over time (and the standard deviation) of each chosen layer, side by side.

    With several speeds, the mean over the copies of a clip. Whisper hears a clip of more than 30 s in equal windows,
    whose averages count alike.
    """
    total: np.ndarray = np.zeros((), dtype=np.float32)
    for speed in recipe.speeds:
        copies = [s if speed == 1 else soxr.resample(s, audio.RATE, audio.RATE / speed) for s in sounds]
        total = total + np.stack([_averages_of_clip(encoder, copy, recipe) for copy in copies])
    return (total / len(recipe.speeds)).astype(np.float32)


def _averages_of_clip(encoder: Encoder, samples: np.ndarray, recipe: Probe) -> np.ndarray:
    """Return the averages of one clip, (features,)."""
    rows = []
    for window in windows(samples, encoder[1]):
        layers = states_of(encoder, window)
        chosen = recipe.averaged_layers(len(layers) - 1)
        rows.append(recipe.pool(layers[chosen], window))
    return np.mean(rows, axis=0)


def states_of(encoder: Encoder, samples: np.ndarray) -> np.ndarray:
    """Return what enters a frozen encoder's layers and what leaves each, (layers, frames, hidden), of one window."""
    model, extractor = encoder
    states = _whisper_states if model.config.model_type == "whisper" else _waveform_states
    return states(model, extractor, samples)


def windows(samples: np.ndarray, extractor: Any) -> list[np.ndarray]:
    """Return a clip in equal pieces, none longer than an encoder hears at once: one piece where it hears any length."""
    longest = getattr(extractor, "n_samples", len(samples))  # Whisper's extractor knows such a length
    return np.array_split(samples, max(1, -(-len(samples) // longest)))


def _waveform_states(model: Any, extractor: Any, samples: np.ndarray) -> np.ndarray:
    """Return (layers, frames, hidden) of a clip, which goes alone, so that none depends on its neighbors' length."""
    import torch

    values = extractor(np.array(samples), sampling_rate=audio.RATE, return_tensors="pt").input_values
    with torch.inference_mode():
        states = model.base_model(values.to(model.device), output_hidden_states=True).hidden_states
    return torch.cat(states).float().cpu().numpy()


def _whisper_states(model: Any, extractor: Any, samples: np.ndarray) -> np.ndarray:
    """Return (layers, frames, hidden) of a clip's own frames, without Whisper's usual padding to 30 s.

    It is padded to 6 s, or if longer to the next half second, and the position embeddings sliced to fit. In
    cross-validation on RAVDESS's training clips that is as good as 30 s, and six times faster.
    """
    import torch

    from serlib.train import model as models

    encoder = model.encoder
    positions = encoder.embed_positions.weight
    step = audio.RATE // 2
    padded = max(QUIET * audio.RATE, -(-len(samples) // step) * step)
    mels = extractor(
        np.array(samples), sampling_rate=audio.RATE, padding="max_length", max_length=padded, return_tensors="pt"
    ).input_features
    models.place(model, positions[: mels.shape[-1] // 2])
    try:
        with torch.inference_mode():
            states = encoder(mels.to(model.device), output_hidden_states=True).hidden_states
    finally:
        models.place(model, positions)
    own = max(1, round(len(samples) / audio.RATE * 50))  # 20 ms a frame
    return torch.cat(states)[:, :own].float().cpu().numpy()
