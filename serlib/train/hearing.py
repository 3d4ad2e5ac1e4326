"""What a trained model says of sounds in memory, such as distorted clips (14), and through a long recording (16)."""

import hashlib
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import pandas as pd

from serlib.data import acoustics, audio
from serlib.errors import SerlibError, demand, is_number
from serlib.files import atomic_path, cache_dir, checksum, key_of
from serlib.judge import predictions
from serlib.train import rescue
from serlib.train.classify import probabilities_of
from serlib.train.heads import softmax_of
from serlib.train.recipes import Probe, Recipe, recipe_from
from serlib.train.run import Run

CODE = 1  # raise it when the same model would say something else of the same sounds
UNSURE, SILENCE = "not sure", "silence"  # what is heard in a piece of a recording besides emotions
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


# Emotion over time


def listen_through(
    run: Run, path: Path | str, window: float = 3.0, hop: float = 1.0, sure: float = 0.5
) -> pd.DataFrame:
    """Return what a trained model hears in a long recording, window by window (16).

    The model was taught clips of one sentence, and is asked about pieces of like length. A piece may hold two emotions
    or none: the model has no answer for that, but its highest probability falls, and ``sure`` makes a third answer.

    Parameters
    ----------
    run
        A run whose checkpoint is on this machine.
    path
        A sound file of any rate.
    window, hop
        How long a piece is, and how far the next one is from it, in seconds; with a hop below the window they overlap.
    sure
        The least probability with which an emotion is named, 0 to 1; choose it on validation.

    Returns
    -------
    DataFrame
        A row for each piece: start and end in seconds, heard (an emotion, "not sure" or "silence"), and a column
        ``p_`` for each label, 0 to 1, empty in silence. The last piece ends with the recording.

    Raises
    ------
    SerlibError
        For a run without its checkpoint, a file that cannot be read or that memory cannot hold, and for pieces or a
        probability that cannot be.

    Examples
    --------
    >>> ser.listen_through(run, "talk.wav", sure=0.6).head(3)  # doctest: +SKIP
       start  end     heard  p_angry  p_calm  ...
    0    0.0  3.0      calm     0.02    0.91
    1    1.0  4.0      calm     0.04    0.85
    2    2.0  5.0  not sure     0.40    0.31
    """
    demand(run, Run, "model", "train or load a run")
    _check_pieces(window, hop, sure)
    _demand_memory(path)
    samples = audio.heard(path)
    width, step = round(window * audio.RATE), round(hop * audio.RATE)
    last = max(0, len(samples) - width)
    starts = [*range(0, last, step), last]
    pieces = {f"{number:06d}": samples[start : start + width] for number, start in enumerate(starts)}
    loud = _loud(pieces, bool(recipe_from(run.info).trim))
    labels = run.info["labels"]
    table = pd.DataFrame(np.nan, index=list(pieces), columns=[f"p_{label}" for label in labels])
    if loud:
        table.loc[loud] = _of_run(run, {name: np.ascontiguousarray(pieces[name]) for name in loud})
    heard = [_named(row, sure, labels) for row in table.to_numpy()]
    times = np.array(starts) / audio.RATE
    ends = np.minimum(times + window, len(samples) / audio.RATE)
    return pd.DataFrame({"start": times, "end": ends, "heard": heard}).join(table.reset_index(drop=True))


def _check_pieces(window: Any, hop: Any, sure: Any) -> None:
    for name, seconds in {"window": window, "hop": hop}.items():
        if not is_number(seconds) or seconds < audio.SHORTEST:
            raise SerlibError(f"{name} is {seconds!r:.60}; it is a number of seconds, {audio.SHORTEST} or more.")
    if hop > window:
        raise SerlibError(f"a hop of {hop} s leaves gaps between windows of {window} s; make it no longer than those.")
    if not is_number(sure) or not 0 <= sure <= 1:
        raise SerlibError(f"sure is {sure!r:.60}; it is a probability, between 0 and 1.")


def _demand_memory(path: Path | str) -> None:
    """Raise SerlibError for a recording whose samples this machine's memory cannot hold twice, as decoding does."""
    header = audio.header(path)
    needed, there = 2 * 4 * header.frames * header.channels, rescue.machine_memory()
    if needed > there:
        hours = header.frames / header.rate / 3600
        raise SerlibError(
            f"{Path(path).name} is {hours:.1f} hours long and takes {needed / 1e9:.1f} GB of memory, of which this "
            f"machine has {there / 1e9:.1f}; cut it into parts."
        )


def _loud(pieces: Mapping[str, np.ndarray], trimmed: bool) -> list[str]:
    """Return which pieces hold sound: near the loudest one, and long enough for a model that hears them trimmed."""
    power = {
        name: float(np.square(samples - samples.mean(), dtype=np.float64).mean()) for name, samples in pieces.items()
    }
    least = max(power.values()) * 10 ** (audio.SILENCE_DB / 10)
    shortest = audio.SHORTEST * audio.RATE
    return [
        name
        for name, samples in pieces.items()
        if power[name] > 0 and power[name] >= least and (not trimmed or len(audio.trim(samples)) >= shortest)
    ]


def _named(probabilities: np.ndarray, sure: float, labels: list[str]) -> str:
    """Return what is said of a piece with these probabilities."""
    if np.isnan(probabilities).any():
        return SILENCE
    return labels[int(probabilities.argmax())] if probabilities.max() >= sure else UNSURE
