"""Pre-training by hand, without its handiwork: frames, answers a frame, batches of crops, one loop (notebook 13).

The objectives themselves stand in the notebook. A frame is 20 ms, as in the six backbones.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import nn

from serlib.data.synth import RATE, Utterance
from serlib.errors import SerlibError
from serlib.files import atomic_path, cache_dir, key_of

HOP, WINDOW, BANDS = 320, 800, 80  # samples: a frame every 20 ms, 50 ms wide, so that the bands show the pitch too
CROP, BATCH = 64, 16  # frames of a crop (1.28 s), crops of a batch
CODE = 1  # raise it when the same beginning would end elsewhere
TRIED = 20  # steps that are taken before what was kept may be loaded


def mel(samples: np.ndarray) -> torch.Tensor:
    """Return the log-mel frames of a clip.

    Parameters
    ----------
    samples
        Mono at 16 kHz, shape (n,).

    Returns
    -------
    Tensor
        float32 of shape (n // HOP + 1, BANDS): 80 bands every 20 ms.

    Examples
    --------
    >>> import numpy as np
    >>> ser.pretraining.mel(np.zeros(16_000)).shape
    torch.Size([51, 80])
    """
    import librosa

    power = librosa.feature.melspectrogram(
        y=np.asarray(samples), sr=RATE, n_fft=WINDOW, hop_length=HOP, n_mels=BANDS, fmin=50
    )
    return torch.from_numpy(np.log(power.T + 1e-5).astype(np.float32))


def phone_frames(utterance: Utterance) -> np.ndarray:
    """Return the phone at the center of each frame of ``mel``.

    Parameters
    ----------
    utterance
        A sentence with its alignment, as ``ser.synth.recite`` speaks.

    Returns
    -------
    ndarray
        IPA symbols, shape (frames,); "" where nothing is said.

    Examples
    --------
    >>> import numpy as np
    >>> hello = ser.synth.Utterance("hi", np.zeros(1600), ((0.0, 0.03, "h"), (0.03, 0.1, "aɪ")))
    >>> ser.pretraining.phone_frames(hello).tolist()
    ['h', 'h', 'aɪ', 'aɪ', 'aɪ', 'aɪ']
    """
    centers = np.arange(len(utterance.samples) // HOP + 1) * HOP / RATE
    ends = [end for _, end, _ in utterance.phones[:-1]]
    return np.array([phone for *_, phone in utterance.phones])[np.searchsorted(ends, centers, side="right")]


def melody(samples: np.ndarray) -> np.ndarray:
    """Return pitch, voicing, level and their changes, a row for each frame of ``mel``.

    The pitch is bridged over unvoiced frames; a change is that from 100 ms before to 100 ms after.

    Parameters
    ----------
    samples
        Mono at 16 kHz.

    Returns
    -------
    ndarray
        Shape (frames, 5): pitch (semitones above 100 Hz), voiced (0 or 1), level (dB), change of pitch, change of
        level.

    Examples
    --------
    A tone of 200 Hz is an octave above 100 Hz:

    >>> import numpy as np
    >>> tone = np.sin(2 * np.pi * 200 * np.arange(16_000) / 16_000)
    >>> ser.pretraining.melody(tone)[25, :2].round(1).tolist()
    [12.0, 1.0]
    """
    import parselmouth

    count = len(samples) // HOP + 1
    times = np.arange(count) * HOP / RATE
    pitch = parselmouth.Sound(np.asarray(samples, float), RATE).to_pitch(0.01, 60, 600)
    hertz = np.array([pitch.get_value_at_time(time) for time in times])
    voiced = np.isfinite(hertz)
    tones = 12 * np.log2(np.interp(times, times[voiced], hertz[voiced]) / 100) if voiced.any() else np.zeros(count)
    level = 10 / np.log(10) * torch.logsumexp(mel(samples), 1).numpy()
    padded = np.pad(np.stack([tones, level], 1), ((5, 5), (0, 0)), mode="edge")
    return np.column_stack([tones, voiced, level, padded[10:] - padded[:-10]])


def pretrain(
    objective: Callable[[dict[str, torch.Tensor]], tuple[torch.Tensor, float]],
    modules: Sequence[nn.Module],
    material: Mapping[str, Sequence[torch.Tensor]],
    steps: int,
    random_state: int = 101,
) -> pd.DataFrame:
    """Train modules by an objective of one's own.

    AdamW, a learning rate that warms up to 0.003 and fades, gradients clipped at 5.

    The outcome is kept in the cache. Nobody can read off an objective whether it is the one of last time, but its first
    steps can tell: they are always taken, and where they end at the same weights bit for bit, from the same material,
    the rest would be the same too and is loaded. It then says so.

    Parameters
    ----------
    objective
        What gets a dictionary of the names of ``material`` with random crops (BATCH, CROP, ...), all cut at the same
        places, and returns the loss and how often the guess at a hidden frame was right.
    modules
        What is trained.
    material
        Sequences by name, one tensor (frames, ...) for each utterance.
    steps
        How many batches are learned from.
    random_state
        The same gives the same crops and, since torch is seeded too, the same masks.

    Returns
    -------
    DataFrame
        A row for each step: step, loss, hits.

    Raises
    ------
    SerlibError
        For utterances shorter than a crop, and for names whose sequences are not equally long.

    Examples
    --------
    A line through the origin, fitted to y = 3 x:

    >>> import torch
    >>> x = torch.linspace(-1, 1, 100)[:, None]
    >>> line = torch.nn.Linear(1, 1, bias=False)
    >>> def objective(batch):
    ...     return ((line(batch["x"]) - batch["y"]) ** 2).mean(), 0.0
    >>> history = ser.pretraining.pretrain(objective, [line], {"x": [x], "y": [3 * x]}, steps=5)
    >>> history["step"].to_list(), list(history)
    ([1, 2, 3, 4, 5], ['step', 'loss', 'hits'])
    """
    from tqdm import trange

    lengths = [{len(sequence) for sequence in row} for row in zip(*material.values(), strict=True)]
    if not lengths or any(len(equal) > 1 or min(equal) < CROP for equal in lengths):
        raise SerlibError(
            f"the material needs utterances of at least {CROP} frames whose {', '.join(material)} are equally long;"
            " cut all of them from the same frames, and leave out what is shorter."
        )
    torch.manual_seed(random_state)
    rng = np.random.default_rng(random_state)
    weights = [weight for module in modules for weight in module.parameters()]
    optimizer = torch.optim.AdamW(weights, lr=3e-3, betas=(0.9, 0.98), weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=steps, pct_start=0.1)
    history, kept = list[dict[str, float]](), None
    for step in trange(1, steps + 1, desc="listening", leave=False):
        chosen = rng.integers(0, len(lengths), BATCH)
        starts = [int(rng.integers(0, min(lengths[i]) - CROP + 1)) for i in chosen]
        places = list(zip(chosen, starts, strict=True))
        batch = {name: torch.stack([rows[i][s : s + CROP] for i, s in places]) for name, rows in material.items()}
        loss, hits = objective(batch)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(weights, 5.0)
        optimizer.step()
        schedule.step()
        history.append({"step": step, "loss": loss.item(), "hits": float(hits)})
        if step == TRIED < steps:
            kept = _place(modules, material, steps, history)
            if kept.is_file():
                end = torch.load(kept, weights_only=True)
                for module, state in zip(modules, end["modules"], strict=True):
                    module.load_state_dict(state)
                torch.set_rng_state(end["random"])
                print(f"{steps} steps, kept from an earlier time; the first {TRIED}, taken again, were the same.")
                return pd.DataFrame(end["history"])
    if kept:
        states = [module.state_dict() for module in modules]
        with atomic_path(kept) as new:
            torch.save({"modules": states, "random": torch.get_rng_state(), "history": history}, new)
    return pd.DataFrame(history)


def _place(
    modules: Sequence[nn.Module],
    material: Mapping[str, Sequence[torch.Tensor]],
    steps: int,
    history: list[dict[str, float]],
) -> Path:
    """Return where the outcome of a pre-training is kept: by all that the steps to come depend on."""
    digest = hashlib.sha256()
    for tensor in (tensor for module in modules for tensor in module.state_dict().values()):
        digest.update(tensor.numpy().tobytes())
    for name, rows in material.items():
        digest.update(name.encode())
        for row in rows:
            digest.update(row.numpy().tobytes())
    digest.update(torch.get_rng_state().numpy().tobytes())
    depends = {
        "code": CODE,
        "state": digest.hexdigest(),
        "steps": steps,
        "history": history,
        "torch": torch.__version__,
    }
    return cache_dir() / "pretraining" / f"{key_of(depends)}.pt"
