"""What the Trainer is fed: features of each clip, computed once, in batches of clips of like length (03)."""

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from serlib.data import audio
from serlib.files import atomic_path, cache_dir, checksum, key_of
from serlib.train.model import LowerLayers
from serlib.train.recipes import Recipe
from serlib.train.run import Work

CODE = 1  # raise it when the same sound would give other features
POOL = 50  # steps' worth of clips that are sorted by length together
GRID = 32  # frames; a GPU in half precision takes 0.1 to 2 s more over a batch of a length that is new (results/gpu)


class Buckets(torch.utils.data.Sampler):
    """The order of training clips: steps of ``size`` clips of like length, another order in each epoch.

    Clips are drawn at random into pools of 50 steps, sorted by length within a pool, cut into steps, and the steps
    shuffled. The order follows from seed and epoch alone, so a resumed run, or one on several processes, sees the same
    clips in the same steps as an undisturbed one. The last step is filled up with clips that the epoch has seen.
    """

    def __init__(self, lengths: Sequence[float] | np.ndarray, size: int, seed: int) -> None:
        self.lengths, self.size, self.seed, self.epoch = np.asarray(lengths), size, seed, 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of this epoch (the Trainer's data loader calls it)."""
        self.epoch = epoch

    def __len__(self) -> int:
        return -(-len(self.lengths) // self.size) * self.size

    def __iter__(self) -> Iterator[int]:
        rng = np.random.default_rng([self.seed, self.epoch])
        order = np.resize(rng.permutation(len(self.lengths)), len(self))
        pools = np.split(order, range(POOL * self.size, len(order), POOL * self.size))
        by_length = np.concatenate([pool[np.argsort(self.lengths[pool], kind="stable")] for pool in pools])
        steps = by_length.reshape(-1, self.size)
        return iter(steps[rng.permutation(len(steps))].ravel().tolist())


def frames_multiple(needs_mask: bool, half_on_gpu: bool) -> int:
    """Return of which number the frames of a batch are a multiple; the planner asks the same.

    Only where a mask hides what is filled up: HuBERT base would hear it.
    """
    return GRID if needs_mask and half_on_gpu else 1


def padded_length(longest: int, shortest: int, multiple: int) -> int:
    """Return the frames of a batch whose longest clip has ``longest`` of them."""
    return -(-max(longest, shortest) // multiple) * multiple


def collate(
    clips: list[dict[str, Any]],
    labels: dict[str, int],
    name: str,
    channels: int,
    needs_mask: bool,
    shortest: int = 0,
    multiple: int = 1,
) -> dict[str, torch.Tensor]:
    """Pad to the longest clip of the batch; the mask counts samples, as the stock models want it.

    ``labels`` has the number of each clip's emotion (as a column beside the features it would make datasets write a
    second copy of all of them). ``name`` is what the model calls its input, of shape (clips, channels, frames).
    ``shortest`` is the least number of frames: SpecAugment fails on a batch that has fewer than one of its spans. Their
    number is a ``multiple``, so that a GPU meets few lengths.
    """
    features = [torch.from_numpy(np.array(clip["features"])).view(channels, -1) for clip in clips]
    longest = padded_length(max(f.shape[1] for f in features), shortest, multiple)
    batch = {
        name: torch.stack([torch.nn.functional.pad(f, (0, longest - f.shape[1])) for f in features]),
        "labels": torch.tensor([labels[str(clip["clip"])] for clip in clips]),
    }
    if needs_mask:
        samples = torch.tensor([int(clip["samples"]) for clip in clips])
        batch["attention_mask"] = (torch.arange(int(samples.max()))[None] < samples[:, None]).long()
    return batch


def features_of(work: Work[Recipe], encoder: Any, extractor: Any) -> dict[str, Any]:
    """Return train, validation and test as memory-mapped datasets of what the frozen ``encoder`` makes of each clip.

    Without an encoder they hold what the extractor makes of it, Whisper's log-mel spectrograms. They are kept in the
    cache by the key of sound, weights and settings; kept features that were cut or changed are made again.
    """
    import datasets

    datasets.disable_progress_bars()
    split = work.split
    corpus = pd.concat([frame for _, frame in split.parts()])
    sounds = audio.clips(corpus, trim=work.recipe.trim)
    keys = audio.content_keys(corpus)
    settings = {"trim": work.recipe.trim, "seconds": getattr(extractor, "chunk_length", None)}
    if isinstance(encoder, LowerLayers):
        settings["frozen"] = work.recipe.frozen
    depends = {
        "sound": key_of({str(clip): key for clip, key in keys.items()}),
        "weights": getattr(extractor, "key", work.weights),  # a network's front is the same whatever its weights
        "settings": settings,
        "code": CODE,
    }
    folder = cache_dir() / "features" / key_of(depends)
    if not _is_whole(folder):
        shutil.rmtree(folder, ignore_errors=True)
        make = partial(encoded, sounds=sounds, encoder=encoder, extractor=extractor)
        with atomic_path(folder, folder=True) as fresh:
            columns = datasets.Features(
                clip=datasets.Value("string"),
                samples=datasets.Value("int64"),
                features=datasets.Sequence(datasets.Value("float32")),
            )
            made = datasets.Dataset.from_generator(make, features=columns, cache_dir=str(fresh / "making"))
            made.save_to_disk(fresh / "clips")
            shutil.rmtree(fresh / "making", ignore_errors=True)
            (fresh / "files.json").write_text(json.dumps(_digests(fresh)), encoding="utf-8")
    whole = datasets.load_from_disk(str(folder / "clips"))
    place = {clip: i for i, clip in enumerate(whole["clip"])}
    lengths = {clip: len(sounds[clip]) for clip in place}
    parts = {}
    for part, frame in split.parts():
        # Evaluation goes by length, so that a batch holds little padding; training has an order of its own.
        clips = list(frame.index) if part == "train" else sorted(frame.index, key=lengths.__getitem__)
        parts[part] = whole.select([place[clip] for clip in clips]).with_format("numpy")
    return parts


def _digests(folder: Path) -> dict[str, str]:
    """Return the digest of each file of kept features."""
    files = sorted(path for path in (folder / "clips").rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): checksum(path) for path in files}


def _is_whole(folder: Path) -> bool:
    """Whether kept features are what they were when they were made."""
    try:
        return json.loads((folder / "files.json").read_text(encoding="utf-8")) == _digests(folder)
    except (OSError, ValueError):
        return False


def encoded(sounds: Mapping[str, np.ndarray], encoder: Any, extractor: Any) -> Iterator[dict[str, Any]]:
    """Yield each clip normalized on its own, through the frozen encoder: (channels x frames,) float32, flat."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    if encoder is not None:
        encoder = encoder.to(device).eval()
    for clip, samples in sounds.items():
        made = extractor(np.array(samples), sampling_rate=audio.RATE, return_tensors="pt")
        features = made[extractor.model_input_names[0]]
        if encoder is not None:
            with torch.inference_mode():
                features = encoder(features.to(device)).float().cpu()
        yield {"clip": clip, "samples": len(samples), "features": features[0].numpy().ravel()}
