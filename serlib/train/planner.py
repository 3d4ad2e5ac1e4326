"""What a training run will take, before it starts: memory, operations, minutes and disk. See notebook 06.

All of it follows from shapes: how many weights a layer has, how many numbers it must keep for the way back, how many
multiplications a frame needs. No weights are loaded. What a GPU makes of it is predicted, not measured; on a CPU, a
few steps with one and with three layers give the speed.
"""

import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd

from serlib.data import audio
from serlib.data.splits import Split
from serlib.errors import SerlibError, nearest
from serlib.train.backbones import SIX, Backbone, backbone, config_of, weights_of
from serlib.train.finetuning import half_precision
from serlib.train.model import PROJECTION
from serlib.train.recipes import Recipe

GB = 1e9
STARTING = 20  # seconds to load libraries, weights and clips, whatever the run
FRAMES = 50  # frames a second that leave the convolutions
SHORTEST = 10  # frames that SpecAugment needs; training pads to them
# Seconds of RAVDESS's 1,440 clips, at every tenth of them, whole and trimmed; measured by serlib.clips.
_WHOLE = (2.94, 3.30, 3.44, 3.50, 3.57, 3.67, 3.74, 3.84, 3.97, 4.14, 5.27)
_TRIMMED = (1.08, 1.43, 1.56, 1.66, 1.74, 1.84, 1.96, 2.12, 2.33, 2.68, 4.29)
_CLIPS = {"train": 1036, "validation": 116, "test": 288}


@dataclass(frozen=True)
class Device:
    """Where one trains: memory in GB, operations a second in full and in mixed precision, bytes a second.

    ``start`` is the memory that is gone before the model comes, ``layer`` the seconds that the commands of one layer
    take, there and back, however small the batch is. ``half`` says whether there is mixed precision at all.
    """

    name: str
    memory: float
    full: float
    mixed: float
    bandwidth: float
    start: float = 0.8
    layer: float = 1.5e-3
    measured: bool = False
    half: bool = True


# Peaks of the makers' data sheets (dense, not sparse), of which the shares below are assumed to be reached.
DEVICES = {
    device.name: device
    for device in (
        Device("T4", 15.0, 8.1e12, 65e12, 320e9),
        Device("L4", 22.0, 30.3e12, 121e12, 300e9),
        Device("A100-40", 40.0, 19.5e12, 312e12, 1555e9),
        Device("H100", 80.0, 67e12, 989e12, 3350e9),
    )
}
REACHED = {"full": 0.7, "mixed": 0.4, "bandwidth": 0.7}  # of the peaks above, in layers of this size


@dataclass(frozen=True)
class Cost:
    """What one run will take on one device. Memory and disk in GB, operations as floating-point operations.

    ``disk`` is the most at any time, with the checkpoint from the hub, cached features and checkpoints; ``left`` is
    what stays of it in the run's folder, the trained model. ``fits`` says whether the memory is enough; where it is
    not, ``remedy`` holds the changes to the recipe that would make it fit (empty where none is known).
    """

    title: str
    device: str
    measured: bool
    parameters: int
    trainable: int
    memory: float
    limit: float
    step_operations: float
    operations: float
    step_seconds: float
    minutes: float
    disk: float
    left: float
    remedy: dict

    @property
    def fits(self) -> bool:
        """Whether the device has the memory."""
        return self.memory <= self.limit

    def __str__(self) -> str:
        share = "all" if self.trainable > 0.9 * self.parameters else f"{self.trainable / 1e6:,.3g} M"
        text = (
            f"{self.title} on {self.device}: {self.parameters / 1e6:,.4g} M weights, {share} of them trained, "
            f"{self.memory:.1f} of {self.limit:.0f} GB of memory, {_minutes(self.minutes)}, {self.disk:.1f} GB of disk "
            f"while it runs, {self.left:.1f} GB afterwards"
        )
        if not self.fits:
            changes = ", ".join(f"{name}={value}" for name, value in self.remedy.items())
            text += f"; it does not fit{f', but does with {changes}' if changes else ', whatever the recipe'}"
        return text + (" (predicted)." if not self.measured else " (predicted from this CPU's measured speed).")


def plan(backbone: Backbone, recipe: Recipe, device: str | Device = "here", split: Split | None = None) -> Cost:
    """Predict what fine-tuning takes; ``device`` is "here", "CPU" or a key of DEVICES.

    Without a ``split`` the clips are RAVDESS's, split like the book's. Raises SerlibError for what is not fine-tuned:
    a frozen recipe, or an encoder of another kind than wav2vec 2.0's.
    """
    if not isinstance(recipe, Recipe):
        raise SerlibError("The planner knows fine-tuning only; give a ser.Recipe.")
    shape = _shape(backbone, recipe)
    place = device if isinstance(device, Device) else _device(device, shape["hidden"])
    remedy = {}
    predicted = _predict(backbone, shape, recipe, place, split)
    if not predicted.fits:
        remedy = _remedy(recipe, lambda other: _predict(backbone, shape, other, place, split).fits)
    return replace(predicted, remedy=remedy)


def plan_all(recipe_for: Callable[[Backbone], Recipe], devices: list[str] | None = None) -> pd.DataFrame:
    """Return the cost of fine-tuning each of the six, one row a backbone and device, on RAVDESS.

    ``recipe_for`` gives the recipe of a backbone, as ``lesson.recipe_for`` does.
    """
    rows = []
    for row in map(backbone, SIX):
        for name in devices or DEVICES:
            found = plan(row, recipe_for(row), name)
            rows.append(
                {
                    "backbone": found.title,
                    "device": found.device,
                    "weights (M)": found.parameters / 1e6,
                    "trained (M)": found.trainable / 1e6,
                    "memory (GB)": found.memory,
                    "fits": "yes" if found.fits else ", ".join(f"{k}={v}" for k, v in found.remedy.items()) or "no",
                    "TFLOP a step": found.step_operations / 1e12,
                    "minutes": found.minutes,
                    "disk (GB)": found.disk,
                }
            )
    return pd.DataFrame(rows).set_index(["backbone", "device"])


def _minutes(minutes: float) -> str:
    if minutes < 1:
        return "under a minute"
    if minutes < 100:
        return f"{minutes:.0f} minute{'s' * (round(minutes) != 1)}"
    return f"{minutes / 60:.0f} hours"


# --- what a model is made of --------------------------------------------------------------------------------------


def _shape(backbone: Backbone, recipe: Recipe) -> dict:
    """Return the numbers of a checkpoint's config.json that decide its cost, at the families' defaults where unsaid."""
    source = weights_of(backbone.checkpoint)
    if isinstance(source, Path):
        config = json.loads((source / "config.json").read_text())
    elif backbone.key in SIX:  # what the hub's configs say, so that the planner needs no network
        config = {}
    else:
        config = config_of(source).to_dict()
    if config.get("model_type", backbone.family) not in ("wav2vec2", "hubert", "unispeech"):
        raise SerlibError(f"The planner knows encoders like wav2vec 2.0's, and {backbone.title} is none of them.")
    hidden = config.get("hidden_size", backbone.hidden)
    norm = config.get("feat_extract_norm", "layer" if backbone.needs_mask else "group")
    # The x-large has 16 heads of 80; all others have heads of 64
    heads = config.get("num_attention_heads", 16 if hidden == 1280 else hidden // 64)
    attention_dropout = config.get("attention_dropout", 0.1)
    return {
        "file": _file_bytes(source),
        "hidden": hidden,
        "inner": config.get("intermediate_size", 4 * hidden),
        "layers": config.get("num_hidden_layers", backbone.layers),
        "heads": heads,
        "channels": config.get("conv_dim", [512] * 7),
        "kernels": config.get("conv_kernel", [10, 3, 3, 3, 3, 2, 2]),
        "strides": config.get("conv_stride", [5, 2, 2, 2, 2, 2, 2]),
        "conv_bias": config.get("conv_bias", norm == "layer"),
        "layer_norm": norm == "layer",
        "position": config.get("num_conv_pos_embeddings", 128),
        "groups": config.get("num_conv_pos_embedding_groups", 16),
        "masked": (config.get("mask_time_prob", 0.05) if recipe.masking is None else recipe.masking) > 0,
        "attention_dropout": attention_dropout > 0,
        "inner_dropout": config.get("activation_dropout", 0.1) > 0,
        "hidden_dropout": config.get("hidden_dropout", 0.1) > 0,
    }


def _file_bytes(source: Path | str) -> int:
    """Return the size of a local checkpoint's weights, which may be halves; 0 for what is still on the hub."""
    if not isinstance(source, Path):
        return 0
    safe = sum(file.stat().st_size for file in source.glob("*.safetensors"))
    return safe or sum(file.stat().st_size for file in source.glob("*.bin"))


def _count(shape: dict, recipe: Recipe, labels: int) -> dict[str, int]:
    """Return the number of weights by part: convolutions, encoder, head, and LoRA's matrices."""
    h, f, layers = shape["hidden"], shape["inner"], shape["layers"]
    convolutions, before = 0, 1
    for i, (channels, kernel) in enumerate(zip(shape["channels"], shape["kernels"], strict=True)):
        convolutions += kernel * before * channels + channels * shape["conv_bias"]
        convolutions += 2 * channels * (shape["layer_norm"] or i == 0)
        before = channels
    projection = 2 * before + before * h + h + h * shape["masked"]
    # the positional convolution keeps its weights as direction and length (weight norm)
    position = h * (h // shape["groups"]) * shape["position"] + shape["position"] + h
    layer = 4 * (h * h + h) + 2 * h * f + f + h + 4 * h
    head = h * PROJECTION + PROJECTION + PROJECTION * labels + labels + (layers + 1) * (recipe.layers == "weighted")
    lora = recipe.lora * layers * (4 * 2 * h + 2 * (h + f))
    return {
        "convolutions": convolutions,
        "encoder": projection + position + 2 * h + layers * layer,
        "head": head,
        "lora": lora,
    }


# --- what a step takes --------------------------------------------------------------------------------------------


def _predict(backbone: Backbone, shape: dict, recipe: Recipe, device: Device, split: Split | None) -> Cost:
    labels = len(split.labels) if split else 8
    seconds = _seconds(recipe, split)
    weights = _count(shape, recipe, labels)
    parameters = weights["convolutions"] + weights["encoder"] + weights["head"]
    trainable = weights["lora"] + weights["head"] if recipe.lora else weights["encoder"] + weights["head"]
    mixed = recipe.precision == "auto" and device.half
    frames = _padded_frames(seconds["train"], recipe)
    evaluated = _padded_frames(
        seconds["validation"], replace(recipe, batch_size=max(recipe.batch_size, 8), bucketing=True)
    )
    tested = _padded_frames(seconds["test"], replace(recipe, batch_size=max(recipe.batch_size, 8), bucketing=True))

    # Memory. The conv encoder is set aside once its output is cached, but it is still there.
    kept = 4 * (parameters + weights["lora"])
    state = 12 * trainable  # gradient, and Adam's two averages
    copies = 2 * (parameters - weights["convolutions"]) if mixed and not recipe.lora else 0  # of the weights, in half
    longest = max(frames)
    saved = 4 * (trainable if recipe.lora else parameters - weights["convolutions"])
    if device.measured:
        # pages of a file count while weights are read: all of them at the start, the best step's at the end
        step = kept + state + copies + _activations(shape, recipe, longest, mixed, plain=True)
        peak = max(step + saved, kept + (shape["file"] or kept))
    else:
        step = kept + state + copies + _activations(shape, recipe, longest, mixed)
        update = kept + state + 4 * trainable  # Adam's update works on all weights at once there
        peak = max(step, update)

    # Operations: twice the forward pass on the way back, once where the weights stay, and once more when recomputed
    back = (1 if recipe.lora else 2) + (1 if recipe.gradient_checkpointing else 0)
    ahead = [_forward(shape, size, length) for size, length in frames]
    run = len(frames) * recipe.epochs / recipe.accumulation
    step_operations = float(np.mean(ahead)) * (1 + back) * recipe.accumulation
    evaluations = run / recipe.eval_every
    checked = evaluations * sum(_forward(shape, *batch) for batch in evaluated)
    checked += sum(_forward(shape, *batch) for batch in [*evaluated, *tested])
    cached = sum(lengths.sum() for lengths in seconds.values()) * _convolutions(shape)

    # Adam reads and writes weight, gradient and averages; the gradient is cleared, and measured to be clipped
    width = device.bandwidth * (1 if device.measured else REACHED["bandwidth"])
    update = 4 * 11 * trainable / width
    if device.measured:
        size, length = frames[0][0], max(SHORTEST, round(float(np.mean([length for _, length in frames]))))
        how = recipe.lora, recipe.gradient_checkpointing, mixed
        stem, layer = _measured_parts(_settings(shape, recipe), *how, size, length)
        there_and_back = stem + shape["layers"] * layer
        # the way ahead alone, for evaluation
        speed = step_operations / recipe.accumulation / there_and_back
        looked = 0.0
    else:
        # operations at the speed of a matrix product, and numbers that only come and go at the speed of memory
        speed = device.mixed * REACHED["mixed"] if mixed else device.full * REACHED["full"]
        moved = float(np.mean([_moved(shape, recipe, size, length, mixed) for size, length in frames]))
        layers = shape["layers"] * device.layer * (1 + 0.5 * recipe.gradient_checkpointing)
        there_and_back = moved / width + layers + step_operations / recipe.accumulation / speed
        looked = (evaluations * len(evaluated) + len(evaluated) + len(tested)) * layers / 3
    one = recipe.accumulation * there_and_back + update
    convolving = device.full * (1 if device.measured else REACHED["full"])
    total = STARTING + run * one + checked * 1.3 / speed + looked + cached * 2 / convolving

    # Disk: the checkpoint from the hub, cached sound and features, two checkpoints and one being written, the result
    clips = float(sum(lengths.sum() for lengths in seconds.values()))
    features = clips * (FRAMES * shape["channels"][-1] + audio.RATE) * 4
    disk = 4 * parameters * (not backbone.is_twin) + features + 3 * (saved + 8 * trainable) + 4 * parameters
    return Cost(
        title=backbone.title,
        device=device.name,
        measured=device.measured,
        parameters=parameters,
        trainable=trainable,
        memory=peak / GB + device.start,
        limit=device.memory,
        step_operations=step_operations,
        operations=run * step_operations + checked + cached,
        step_seconds=one,
        minutes=total / 60,
        disk=disk / GB,
        left=4 * parameters / GB,
        remedy={},
    )


def _seconds(recipe: Recipe, split: Split | None) -> dict[str, np.ndarray]:
    """Return the lengths of the clips of each part, in seconds."""
    if split is None:
        known = _TRIMMED if recipe.trim else _WHOLE
        # in a shuffled order, as in a corpus
        order = np.random.default_rng(0)
        return {
            part: order.permutation(np.interp(np.linspace(0, 10, n), np.arange(11), known))
            for part, n in _CLIPS.items()
        }
    if not recipe.trim:
        return {part: frame["seconds"].to_numpy() for part, frame in split.parts()}
    sounds = audio.clips(pd.concat([frame for _, frame in split.parts()]), trim=True)
    return {part: np.array([len(sounds[clip]) / audio.RATE for clip in frame.index]) for part, frame in split.parts()}


def _padded_frames(seconds: np.ndarray, recipe: Recipe) -> list[tuple[int, int]]:
    """Return (clips, frames of the longest) of each batch, by length where the recipe buckets."""
    ordered = np.sort(seconds) if recipe.bucketing else seconds
    batches = [ordered[i : i + recipe.batch_size] for i in range(0, len(ordered), recipe.batch_size)]
    return [(len(batch), int(batch.max() * FRAMES)) for batch in batches]


def _forward(shape: dict, clips: int, frames: int) -> float:
    """Return the operations of the way ahead, a multiplication and an addition counting as two."""
    h, f = shape["hidden"], shape["inner"]
    layer = 2 * (4 * h * h + 2 * h * f) + 4 * frames * h
    position = 2 * shape["position"] * h * h / shape["groups"]
    return clips * frames * (shape["layers"] * layer + position + 2 * shape["channels"][-1] * h + 2 * h * PROJECTION)


def _convolutions(shape: dict) -> float:
    """Return the operations of the frozen convolutions for one second of sound; they are done once a clip."""
    rate, before, total = audio.RATE, 1, 0.0
    for channels, kernel, stride in zip(shape["channels"], shape["kernels"], shape["strides"], strict=True):
        rate /= stride
        total += 2 * rate * kernel * before * channels
        before = channels
    return total


def _layer_bytes(shape: dict, clips: int, frames: int, mixed: bool, plain: bool) -> float:
    """Return the bytes that one transformer layer keeps for the way back.

    In full precision these are numbers of 4 bytes: input and output of both norms, queries, keys, values, the attended
    values, both sides of the activation function, and the masks of dropout. In mixed precision all but the inputs of
    the norms are halves. ``plain`` is attention without a fused kernel, which a CPU falls back to when there is
    dropout: three tables of frames by frames for each head.
    """
    h, f = shape["hidden"], shape["inner"]
    drop, inside = shape["hidden_dropout"], shape["inner_dropout"]
    if mixed:
        token = 4 * 2 * h + 2 * (6 * h + 2 * f) + 2 * drop * h + inside * 3 * f
    else:
        mask = 4 if plain else 1
        token = 4 * (8 * h + 2 * f) + 2 * drop * h * mask + inside * f * mask
    tables = 3 * (2 if mixed else 4) * shape["heads"] * frames if plain and shape["attention_dropout"] else 0
    return clips * frames * (token + tables)


def _activations(shape: dict, recipe: Recipe, longest: tuple[int, int], mixed: bool, plain: bool = False) -> float:
    """Return the bytes kept for the way back at the longest batch, and the largest that comes and goes."""
    clips, frames = longest
    h, layers = shape["hidden"], shape["layers"]
    layer = _layer_bytes(shape, clips, frames, mixed, plain)
    # the convolution for positions keeps its weight, put together from direction and length
    stem = clips * frames * 4 * (3 * shape["channels"][-1] + 8 * h) + 4 * h * h // shape["groups"] * shape["position"]
    summed = 2 * (layers + 1) * clips * frames * h * 4 if recipe.layers == "weighted" else 0
    passing = clips * frames * 4 * 2 * shape["inner"]
    if recipe.gradient_checkpointing:
        return layers * clips * frames * h * 4 + layer + stem + summed + passing
    return layers * layer + stem + summed + passing


def _moved(shape: dict, recipe: Recipe, clips: int, frames: int, mixed: bool) -> float:
    """Return the bytes that go through memory besides the matrix products, there and back."""
    layer = _layer_bytes(shape, clips, frames, mixed, plain=not mixed)
    return shape["layers"] * layer * (4 if not recipe.gradient_checkpointing else 5.5)


# --- devices ------------------------------------------------------------------------------------------------------


def _device(name: str, hidden: int) -> Device:
    if name in ("here", "CPU"):
        import torch

        if name == "here" and torch.cuda.is_available():
            return _gpu(torch.cuda.get_device_name(), torch.cuda.get_device_properties(0).total_memory / GB)
        return _cpu(min(1024, hidden))
    if name not in DEVICES:
        raise SerlibError(f"The planner knows no device called {name!r}: {nearest(name, ['here', 'CPU', *DEVICES])}")
    return DEVICES[name]


def _gpu(name: str, memory: float) -> Device:
    """Return the figures of a GPU by its name, or of the known one nearest in memory."""
    known = [device for device in DEVICES.values() if device.name.split("-")[0] in name]
    nearby = min(known or DEVICES.values(), key=lambda device: abs(device.memory - memory))
    return replace(nearby, name=name if known else f"{name} (reckoned as {nearby.name})", memory=memory)


@cache
def _cpu(hidden: int) -> Device:
    """Return this CPU: half a second of measurements, a matrix product as in a layer, and numbers going through memory.

    Seconds are those of this process alone, because others may be using the machine.
    """
    import torch

    x, w = torch.randn(512, hidden), torch.randn(hidden, 4 * hidden)
    wide = torch.randn(24, 1024, 1024)  # 100 MB, more than a cache holds
    scaled = torch.empty_like(wide)
    product = min(_tries(lambda: x @ w, 5))
    passing = min(_tries(lambda: torch.mul(wide, 1.01, out=scaled), 5))
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / GB if hasattr(os, "sysconf") else np.inf
    speed = 2 * x.numel() * w.shape[1] / product
    return Device(
        name=f"this CPU ({cores} core{'s' * (cores != 1)})",
        memory=memory,
        full=speed,
        mixed=speed,
        bandwidth=2 * 4 * wide.numel() / passing,
        start=0.95,
        measured=True,
        half=half_precision() == "bf16",
    )


def _settings(shape: dict, recipe: Recipe) -> tuple[tuple[str, object], ...]:
    """Return the settings of a stock network whose layers are those of the shape, to be hashed."""
    settings = {
        "hidden_size": shape["hidden"],
        "intermediate_size": shape["inner"],
        "num_attention_heads": shape["heads"],
        "do_stable_layer_norm": shape["layer_norm"],
        "num_conv_pos_embeddings": shape["position"],
        "num_conv_pos_embedding_groups": shape["groups"],
        "attention_dropout": 0.1 * shape["attention_dropout"],
        "activation_dropout": 0.1 * shape["inner_dropout"],
        "hidden_dropout": 0.1 * shape["hidden_dropout"],
        "layerdrop": 0.0,
        "use_weighted_layer_sum": recipe.layers == "weighted",
        # one frame in, one frame out: the convolutions were done before
        "conv_dim": (shape["channels"][-1],),
        "conv_kernel": (1,),
        "conv_stride": (1,),
    }
    return tuple(settings.items())


@cache
def _measured_parts(
    settings: tuple[tuple[str, object], ...], lora: int, checkpointing: bool, mixed: bool, clips: int, frames: int
) -> tuple[float, float]:
    """Return the seconds, there and back, of what surrounds the layers and of one layer, on this CPU.

    Measured on the stock network with one and with three layers of random weights, because in half precision and with
    LoRA a CPU spends as much on conversions, norms and dropout as on the products that one could count.
    """
    import torch
    from transformers import Wav2Vec2Config, Wav2Vec2ForSequenceClassification
    from transformers.utils import logging

    from serlib.train import model as models

    logging.set_verbosity_error()  # it would warn of checkpointing with adapters, which is what is measured

    def seconds(layers: int) -> float:
        config = Wav2Vec2Config(**dict(settings), num_hidden_layers=layers)
        net = Wav2Vec2ForSequenceClassification(config).train()
        net.base_model.feature_extractor = models.CachedFeatures()
        if checkpointing:
            models.forget_activations(net)
        if lora:
            net = models.with_lora(net, lora)
        given = torch.randn(clips, *config.conv_dim, frames)
        mask = torch.ones(clips, frames, dtype=torch.long) if config.do_stable_layer_norm else None
        labels = torch.zeros(clips, dtype=torch.long)

        def step() -> None:
            with torch.autocast("cpu", torch.bfloat16, enabled=mixed):
                loss = net(given, attention_mask=mask, labels=labels).loss
            loss.backward()

        step()  # gradients get their memory
        return float(np.median(_tries(step, 3)))

    one, three = seconds(1), seconds(3)
    layer = max(three - one, 0.0) / 2
    return max(one - layer, 0.0), layer


def _tries(step: Callable[[], object], least: int) -> list[float]:
    """Return the seconds of each try, on all threads: of the least number, or of what a quarter second has."""
    import torch

    tries, end = [], time.process_time() + 0.25 * torch.get_num_threads()
    while time.process_time() < end or len(tries) < least:
        begin = time.process_time()
        step()
        tries.append((time.process_time() - begin) / torch.get_num_threads())
    return tries


def _remedy(recipe: Recipe, fits: Callable[[Recipe], bool]) -> dict:
    """Return the smallest change to the recipe that fits: memory for time, then smaller batches, then fewer weights."""
    half = {"batch_size": max(1, recipe.batch_size // 2), "accumulation": recipe.accumulation * 2}
    lora = {"lora": 16, "gradient_checkpointing": True, "layers": "last", "layerdrop": 0.0}
    changes = ({"gradient_checkpointing": True}, {"gradient_checkpointing": True, **half}, lora, {**lora, **half})
    for change in changes:
        if fits(replace(recipe, **change)):
            return {name: value for name, value in change.items() if getattr(recipe, name) != value}
    return {}
