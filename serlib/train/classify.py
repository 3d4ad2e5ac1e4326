"""What a trained model hears in any sound file (12)."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from serlib.data import audio
from serlib.errors import SerlibError, demand
from serlib.files import given_path
from serlib.train.heads import softmax_of
from serlib.train.recipes import Probe, recipe_from
from serlib.train.run import Run


def classify(run: Run, paths: Sequence[Path | str], enrolled: Sequence[Path | str] = ()) -> pd.DataFrame:
    """Return the probability of each emotion for sound files of any rate.

    A clip that is longer than the model hears at once (Whisper: 30 s, fine-tuned the length that it was trained on) is
    heard in equal windows: the probabilities of a fine-tuned model, the averages of a probe are averaged over them.

    Parameters
    ----------
    run
        A run whose checkpoint is on this machine.
    paths
        A list of sound files.
    enrolled
        For a probe: a few other clips of the same voice, of any emotions, the more mixed the better; nobody need know
        which. The probe then measures from this voice's average instead of the average of all (11).

    Returns
    -------
    DataFrame
        A row for each file, a column for each label, 0 to 1.

    Raises
    ------
    SerlibError
        For files that cannot be read, for a run whose checkpoint is not on this machine, for a voice enrolled with a
        fine-tuned model, and for a file that is to be judged and enrolled at once.

    Examples
    --------
    A run that you have trained answers; those in results/ keep their predictions only:

    >>> ser.classify(ser.start("mini").run("hubert-base"), ["my_voice.wav"]).iloc[0].idxmax()  # doctest: +SKIP
    'happy'
    >>> ser.classify(ser.load_run("results/laptop/stratified/whisper-tiny.en"), ["my_voice.wav"])
    Traceback (most recent call last):
    ...
    serlib.errors.SerlibError: The run of Whisper tiny.en, fine-tuned holds predictions but no checkpoint; run its
    notebook to train one.
    """
    from serlib.train import fronts, probing
    from serlib.train import model as models

    if not isinstance(run, Run):
        raise SerlibError(f"classify takes a run and files, and this is a {type(run).__name__}; train or load one.")
    paths, enrolled = _listed(paths), _listed(enrolled)
    checkpoint = run.folder / "checkpoint"
    if not paths:
        raise SerlibError("The list of files is empty; give one path at least.")
    if not checkpoint.is_dir():
        raise SerlibError(f"The run of {run.name} holds predictions but no checkpoint; run its notebook to train one.")
    recipe = recipe_from(run.info)
    if enrolled and not isinstance(recipe, Probe):
        raise SerlibError(f"{run.name} is fine-tuned and cannot enroll a voice; a probe can: make one with ser.probe.")
    if both := {given_path(path).resolve() for path in paths} & {given_path(path).resolve() for path in enrolled}:
        raise SerlibError(f"{min(both).name} is to be judged and enrolled; enroll other clips of the voice.")
    sounds = [audio.heard(path, recipe.trim) for path in [*paths, *enrolled]]
    model, extractor = models.load_trained(checkpoint), fronts.extractor_from(checkpoint)
    if isinstance(recipe, Probe):
        features = probing.averages_of((model, extractor), sounds, recipe)
        head = recipe.head.read(checkpoint / "probe.npz")
        if enrolled:
            head = head.enrolled(features[len(paths) :])
        table = head.probabilities(features[: len(paths)])
    else:
        table = np.stack([probabilities_of(model, extractor, samples) for samples in sounds])
    return pd.DataFrame(table, index=[given_path(path).stem for path in paths], columns=run.info["labels"])


def _listed(paths: Sequence[Path | str]) -> list[Path | str]:
    """Return the paths as a list. SerlibError for one path alone, and for what holds none."""
    if isinstance(paths, str | Path):
        raise SerlibError(f"give the files as a list, like [{str(paths)!r}].")
    demand(paths, Iterable, "list of files", "give paths, like ['a.wav', 'b.wav']")
    return list(paths)


def probabilities_of(model: Any, extractor: Any, samples: np.ndarray) -> np.ndarray:
    """Return the probabilities of one clip, (classes,)."""
    import torch

    from serlib.train import probing

    logits = []
    for window in probing.windows(samples, extractor):
        values = extractor(np.array(window), sampling_rate=audio.RATE, return_tensors="pt")[model.main_input_name]
        with torch.inference_mode():
            logits.append(model(values).logits[0].numpy())
    return softmax_of(np.stack(logits)).mean(axis=0)
