"""What a trained model says of sounds in memory, such as distorted clips: a predictions frame like any other (14)."""

import hashlib
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import pandas as pd

from serlib.data import acoustics, audio
from serlib.errors import SerlibError, demand
from serlib.files import atomic_path, cache_dir, checksum, key_of
from serlib.judge import predictions
from serlib.train.classify import probabilities_of
from serlib.train.heads import softmax_of
from serlib.train.recipes import Probe, Recipe, recipe_from
from serlib.train.run import Run

CODE = 1  # raise it when the same model would say something else of the same sounds
EVALUATED = 8  # clips that an evaluation hears at once at least, as while it was trained


def hear(model: Any, clips: pd.DataFrame, sounds: Mapping[str, np.ndarray], name: str | None = None) -> pd.DataFrame:
    """Return what a model says of sounds that stand in the place of the clips' own (14).

    A fine-tuned model hears them in batches, as it does when its run is tested: the clips of the whole test part,
    undistorted, get the very answers that its run has. (HuBERT base hears how long the other clips of a batch are, so
    some of them alone get slightly others.) Answers are kept in the cache, by the content of model and sounds.

    Parameters
    ----------
    model
        A run whose checkpoint is on this machine, or a classifier of scikit-learn that was fitted to a table of
        ``ser.acoustic_features``.
    clips
        Rows of a corpus: whose voices these are and what they were to show.
    sounds
        Samples at 16 kHz by the name of the clip, as ``ser.distort`` makes them.
    name
        What tables and figures call this voter; without one the name of the run.

    Returns
    -------
    DataFrame
        A predictions frame whose part is "test", a voter.

    Raises
    ------
    SerlibError
        For a run without its checkpoint, a classifier that was fitted to something else, a clip without a sound, and a
        sound of less than 0.1 s.

    Examples
    --------
    A classifier of three clips, asked about a fourth that is as high as one of them:

    >>> import numpy as np, pandas as pd
    >>> from sklearn.neighbors import KNeighborsClassifier
    >>> tones = {hz: np.sin(2 * np.pi * hz * np.arange(8000) / ser.RATE).astype(np.float32) for hz in (100, 200, 400)}
    >>> table = pd.DataFrame({hz: ser.acoustics.describe(tone) for hz, tone in tones.items()}).T[["pitch_mean"]]
    >>> nearest = KNeighborsClassifier(1).fit(table, ["sad", "calm", "happy"])
    >>> clips = pd.DataFrame({"emotion": ["happy"]}, index=["new"])
    >>> ser.hear(nearest, clips, {"new": tones[400]}, "nearest neighbor")["predicted"].item()
    'happy'
    """
    demand(clips, pd.DataFrame, "table of clips", "give rows of a corpus")
    if clips.empty:
        raise SerlibError("There are no clips to hear; give one row of a corpus at least.")
    demand(sounds, Mapping, "dictionary of sounds", "give what ser.distort returns")
    if missing := [clip for clip in clips.index if clip not in sounds]:
        raise SerlibError(f"There is no sound for clip {missing[0]}; distort the same clips.")
    heard = {str(clip): np.ascontiguousarray(sounds[clip], dtype=np.float32) for clip in clips.index}
    if isinstance(model, Run):
        labels, profile = model.info["labels"], str(model.info.get("profile") or "")
        table = _of_run(model, heard)
    elif hasattr(model, "predict_proba"):
        labels, profile = list(model.classes_), ""
        table = _of_classifier(model, heard)
    else:
        raise SerlibError(f"hear takes a run or a fitted classifier, and this is a {type(model).__name__}.")
    frame = predictions.make(clips, table, labels, "test").assign(profile=profile)
    frame.attrs["name"] = name or predictions.name_of(model)
    return frame


def _made_once(
    content: dict[str, Any], sounds: Mapping[str, np.ndarray], make: Callable[[Mapping[str, np.ndarray]], np.ndarray]
) -> np.ndarray:
    """Return what is made of sounds, (clips, numbers): from the cache, by the content of sounds and maker."""
    # In their order: HuBERT base hears what else is in a batch.
    digests = [hashlib.sha256(samples.tobytes()).hexdigest() for samples in sounds.values()]
    path = cache_dir() / "heard" / f"{key_of({'maker': content, 'sounds': digests, 'code': CODE})}.npz"
    try:
        with np.load(path, allow_pickle=False) as kept:
            table = kept["table"]
            if str(kept["digest"]) == hashlib.sha256(table.tobytes()).hexdigest():
                return table
    except (OSError, ValueError, KeyError, EOFError, BadZipFile):
        pass  # not there, or cut: made again
    table = np.ascontiguousarray(make(sounds))
    with atomic_path(path) as fresh:
        np.savez(fresh, table=table, digest=hashlib.sha256(table.tobytes()).hexdigest())
    return table


def _of_classifier(model: Any, sounds: Mapping[str, np.ndarray]) -> np.ndarray:
    """Return the probabilities of a classifier of hand-made features, (clips, classes)."""
    measured = _made_once({"acoustics": acoustics.VERSION}, sounds, _measured)
    table = pd.DataFrame(measured, columns=list(acoustics.describe(next(iter(sounds.values())))))
    wanted = list(getattr(model, "feature_names_in_", []))
    if not wanted or set(wanted) - set(table.columns):
        raise SerlibError(
            f"This {type(model).__name__} was not fitted to a table of acoustic features; fit it to rows of "
            "ser.acoustic_features."
        )
    return model.predict_proba(table[wanted])


def _measured(sounds: Mapping[str, np.ndarray]) -> np.ndarray:
    """Return the hand-made features of each sound, (clips, features), in the order of ``acoustics.describe``."""
    return np.array([list(acoustics.describe(samples).values()) for samples in sounds.values()])


def _of_run(run: Run, sounds: Mapping[str, np.ndarray]) -> np.ndarray:
    """Return the probabilities of a run's model, (clips, classes)."""
    checkpoint, recipe = run.folder / "checkpoint", recipe_from(run.info)
    if not checkpoint.is_dir():
        raise SerlibError(f"The run of {run.name} holds predictions but no checkpoint; run its notebook to train one.")
    heard = {clip: audio.trim(samples) if recipe.trim else samples for clip, samples in sounds.items()}
    if short := [clip for clip, samples in heard.items() if len(samples) < audio.SHORTEST * audio.RATE]:
        raise SerlibError(f"Clip {short[0]} has less than {audio.SHORTEST} s of sound; leave it out.")
    files = {path.name: checksum(path) for path in sorted(checkpoint.iterdir()) if path.is_file()}
    if isinstance(recipe, Probe):
        del files["probe.npz"]  # probes of one encoder share what it makes of a sound
        averages = _made_once(files | recipe.measures, heard, partial(_averages, checkpoint, recipe))
        return recipe.head.read(checkpoint / "probe.npz").probabilities(averages)
    return _made_once(files, heard, partial(_of_tuned, run, recipe))


def _averages(checkpoint: Path, recipe: Probe, sounds: Mapping[str, np.ndarray]) -> np.ndarray:
    """Return what a frozen encoder makes of each sound, (clips, features)."""
    from serlib.train import backbones, probing
    from serlib.train import model as models

    encoder = models.load_trained(checkpoint), backbones.extractor_from(checkpoint)
    return probing.averages_of(encoder, list(sounds.values()), recipe)


def _of_tuned(run: Run, recipe: Recipe, sounds: Mapping[str, np.ndarray]) -> np.ndarray:
    """Return the probabilities of a fine-tuned model, (clips, classes)."""
    from serlib.train import fronts
    from serlib.train import model as models

    checkpoint = run.folder / "checkpoint"
    model, extractor = models.load_trained(checkpoint), fronts.extractor_from(checkpoint)
    if not models.takes_waveforms(model):
        return np.stack([probabilities_of(model, extractor, samples) for samples in sounds.values()])
    return _in_batches(model, extractor, run, recipe, sounds)


def _in_batches(model: Any, extractor: Any, run: Run, recipe: Recipe, sounds: Mapping[str, np.ndarray]) -> np.ndarray:
    """Return the probabilities of clips of like length together, as the Trainer evaluates, (clips, classes)."""
    import torch

    from serlib.train import batches
    from serlib.train import model as models

    device = "cuda" if torch.cuda.is_available() else "cpu"
    encoder = models.freeze_convolutions(model.to(device))
    model.base_model.feature_extractor = models.CachedFeatures()
    order = sorted(sounds, key=lambda clip: len(sounds[clip]))
    size = max(int(run.info.get("clips_at_once") or recipe.batch_size), EVALUATED)
    answers: dict[str, np.ndarray] = {}
    for first in range(0, len(order), size):
        chosen = order[first : first + size]
        encoded = list(batches.encoded({clip: sounds[clip] for clip in chosen}, encoder, extractor))
        batch = batches.collate(
            encoded,
            dict.fromkeys(chosen, 0),
            model.main_input_name,
            model.config.conv_dim[-1],
            bool(extractor.return_attention_mask),
            model.config.mask_time_length,
        )
        with torch.inference_mode():
            logits = model(**{name: values.to(device) for name, values in batch.items()}).logits.float().cpu().numpy()
        answers |= dict(zip(chosen, softmax_of(logits), strict=True))
    return np.stack([answers[clip] for clip in sounds])
