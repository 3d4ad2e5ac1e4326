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


def classify(run: Run, paths: Sequence[Path | str]) -> pd.DataFrame:
    """Return the probability of each emotion for sound files of any rate.

    A clip that is longer than the model hears at once (Whisper: 30 s, fine-tuned the length that it was trained on) is
    heard in equal windows: the probabilities of a fine-tuned model, the averages of a probe are averaged over them.

    Parameters
    ----------
    run
        A run whose checkpoint is on this machine.
    paths
        A list of sound files.

    Returns
    -------
    DataFrame
        A row for each file, a column for each label, 0 to 1.

    Raises
    ------
    SerlibError
        For files that cannot be read, and for a run whose checkpoint is not on this machine.

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
    from serlib.train import backbones, probing
    from serlib.train import model as models

    if not isinstance(run, Run):
        raise SerlibError(f"classify takes a run and files, and this is a {type(run).__name__}; train or load one.")
    if isinstance(paths, str | Path):
        raise SerlibError(f"give the files as a list, like [{str(paths)!r}].")
    demand(paths, Iterable, "list of files", "give paths, like ['a.wav', 'b.wav']")
    checkpoint, paths = run.folder / "checkpoint", list(paths)
    if not paths:
        raise SerlibError("The list of files is empty; give one path at least.")
    if not checkpoint.is_dir():
        raise SerlibError(f"The run of {run.name} holds predictions but no checkpoint; run its notebook to train one.")
    recipe = recipe_from(run.info)
    sounds = [audio.heard(path, recipe.trim) for path in paths]
    model, extractor = models.load_trained(checkpoint), backbones.extractor_from(checkpoint)
    if isinstance(recipe, Probe):
        features = probing.averages_of((model, extractor), sounds, recipe)
        table = recipe.head.read(checkpoint / "probe.npz").probabilities(features)
    else:
        table = np.stack([_probabilities(model, extractor, samples) for samples in sounds])
    return pd.DataFrame(table, index=[given_path(path).stem for path in paths], columns=run.info["labels"])


def _probabilities(model: Any, extractor: Any, samples: np.ndarray) -> np.ndarray:
    """Return the probabilities of one clip, (classes,)."""
    import torch

    from serlib.train import probing

    logits = []
    for window in probing.windows(samples, extractor):
        values = extractor(np.array(window), sampling_rate=audio.RATE, return_tensors="pt")[model.main_input_name]
        with torch.inference_mode():
            logits.append(model(values).logits[0].numpy())
    return softmax_of(np.stack(logits)).mean(axis=0)
