"""What a training run will take, before it starts: memory, operations, minutes and disk. See notebook 06.

Weights, operations and memory are counted on the real model, built of its config.json without weights (see counting).
What a GPU makes of it is predicted, not measured; on a CPU, a few steps with one and with three layers give the speed.
"""

import json
import math
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from serlib.data import audio
from serlib.data.splits import Split
from serlib.errors import SerlibError, demand, nearest
from serlib.train.backbones import SIX, Backbone, backbone, config_of, weights_of
from serlib.train.batches import Buckets, frames_multiple, padded_length
from serlib.train.counting import Counts, Pass, Setup, convolution_operations, count
from serlib.train.finetuning import half_precision
from serlib.train.recipes import Recipe, halved
from serlib.train.rescue import machine_memory

GB = 1e9
CONFIGS = Path(__file__).parent / "configs"  # of the six, what their config.json on the hub says of their shape
STARTING = 20  # seconds to load libraries, weights and clips, whatever the run
FRAMES = 50  # frames a second that leave the convolutions
SHORTEST = 10  # frames that SpecAugment needs; training pads to them
# Seconds of RAVDESS's 1,440 clips, at every tenth of them, whole and trimmed; measured by serlib.clips.
_WHOLE = (2.94, 3.30, 3.44, 3.50, 3.57, 3.67, 3.74, 3.84, 3.97, 4.14, 5.27)
_TRIMMED = (1.08, 1.43, 1.56, 1.66, 1.74, 1.84, 1.96, 2.12, 2.33, 2.68, 4.29)
_CLIPS = {"train": 1036, "validation": 116, "test": 288}


@dataclass(frozen=True)
class Device:
    """Where one trains: ``memory`` in GB, operations a second in ``full`` and in ``mixed`` precision, bytes a second.

    ``bandwidth`` is the last. ``start`` is the memory (GB) that is gone before the model comes, ``measured`` whether
    the figures were measured here (a CPU's) or are of a data sheet, and ``half`` whether there is mixed precision at
    all.

    Examples
    --------
    >>> ser.planner.DEVICES["T4"].memory
    15.0
    """

    name: str
    memory: float
    full: float
    mixed: float
    bandwidth: float
    start: float = 0.8
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
# Seconds until Python and the driver have started a kernel, however small; measured with what scripts/gpu_proof.py ran
# on an H100, where it came on top of what the kernels take.
LAUNCH = 30e-6
AHEAD = 1.3  # on a CPU, what the way ahead takes of its share of operations, for which weights are made halves


@dataclass(frozen=True)
class Cost:
    """What one run will take on one device. Memory and disk in GB, operations as floating-point operations.

    ``disk`` is the most at any time, with the checkpoint from the hub, cached features and checkpoints; ``left`` is
    what stays of it in the run's folder, the trained model. ``fits`` says whether the memory is enough; where it is
    not, ``remedy`` holds the changes to the recipe that would make it fit (empty where none is known).

    Examples
    --------
    >>> cost = ser.plan(ser.backbone("hubert-base"), ser.Recipe(), "T4")
    >>> print(cost)
    HuBERT base on T4: 94.57 M weights, 90.37 M of them trained, 2.9 of 15 GB of memory, 4 minutes, 4.9 GB of disk
    while it runs, 0.4 GB afterwards (predicted).
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
    remedy: dict[str, Any]

    @property
    def fits(self) -> bool:
        """Whether the device has the memory.

        >>> ser.plan(ser.backbone("hubert-base"), ser.Recipe(), "T4").fits
        True
        """
        return self.memory <= self.limit

    def __str__(self) -> str:
        share = "all" if self.trainable == self.parameters else f"{self.trainable / 1e6:,.4g} M"
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
    """Predict what fine-tuning takes.

    Parameters
    ----------
    backbone
        What ``ser.backbone`` returned, an encoder of the wav2vec 2.0 family.
    recipe
        How it would be trained.
    device
        "here", "CPU", a key of ``ser.planner.DEVICES``, or a Device.
    split
        Whose clips it would hear; without one RAVDESS's, split like the book's.

    Returns
    -------
    Cost
        Memory and disk in GB, minutes, operations.

    Raises
    ------
    SerlibError
        For what is not fine-tuned: a frozen recipe, or an encoder of another kind than wav2vec 2.0's; and for an
        unknown device.

    Examples
    --------
    >>> cost = ser.plan(ser.backbone("hubert-xlarge"), ser.Recipe(), "T4")
    >>> cost.fits, cost.remedy
    (False, {'lora': 16, 'gradient_checkpointing': True})
    """
    if not isinstance(recipe, Recipe):
        raise SerlibError("The planner knows fine-tuning only; give a ser.Recipe.")
    demand(backbone, Backbone, "backbone", "make one with ser.backbone")
    demand(device, str | Device, "device", f"name one: {', '.join(['here', 'CPU', *DEVICES])}")
    if split is not None:
        demand(split, Split, "split", "make one with ser.stratified_split")
    place = device if isinstance(device, Device) else _device(device, backbone.hidden)
    remedy: dict[str, Any] = {}
    predicted = _predicted_cost(backbone, recipe, place, split)
    if not predicted.fits:
        remedy = _remedy(recipe, lambda other: _Work.of(backbone, other, place, split).memory <= place.memory)
    return replace(predicted, remedy=remedy)


def plan_all(recipe_for: Callable[[Backbone], Recipe], devices: list[str] | None = None) -> pd.DataFrame:
    """Return the cost of fine-tuning each of the six on RAVDESS.

    Parameters
    ----------
    recipe_for
        What gives the recipe of a backbone, as ``lesson.recipe_for`` does.
    devices
        "here", "CPU" or keys of ``ser.planner.DEVICES``; without them, all of these.

    Returns
    -------
    DataFrame
        A row for each backbone and device. Columns weights and trained (millions), memory (GB), fits ("yes", the
        changes to the recipe that would make it, or "no"), TFLOP a step, minutes, disk (GB).

    Raises
    ------
    SerlibError
        As ``ser.plan``.

    Examples
    --------
    >>> table = ser.plan_all(lambda backbone: ser.Recipe(), ["T4"])
    >>> table["memory (GB)"].round(1).to_list()
    [7.8, 7.8, 2.9, 21.4, 7.8, 7.8]
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


# --- what a step takes --------------------------------------------------------------------------------------------


def _config(backbone: Backbone, recipe: Recipe, labels: int) -> str:
    """Return the config.json of a backbone as it is trained: its own, the recipe's settings in it, as sorted text."""
    if backbone.family == "whisper":  # before the hub is asked for what is not planned anyway
        raise SerlibError(f"The planner knows encoders like wav2vec 2.0's, and {backbone.title} is none of them.")
    if recipe.frozen:
        raise SerlibError(
            f"The planner counts trainings of all layers, and this recipe freezes {recipe.frozen}; plan it with "
            "frozen=0, which takes more."
        )
    source = weights_of(backbone.checkpoint)
    if backbone.key in SIX and not isinstance(source, Path):  # shipped, so that the planner needs no network
        config = json.loads((CONFIGS / f"{backbone.key}.json").read_text(encoding="utf-8"))
    else:
        config = config_of(source, backbone.revision).to_dict()
    if config["model_type"] not in ("wav2vec2", "hubert", "unispeech"):
        raise SerlibError(f"The planner knows encoders like wav2vec 2.0's, and {backbone.title} is none of them.")
    # the names of labels only as many as there are, and half of the file's numbers are no half in training
    for name in ("id2label", "label2id", "dtype", "torch_dtype"):
        config.pop(name, None)
    config |= {"num_labels": labels, "use_weighted_layer_sum": recipe.layers == "weighted"}
    if recipe.masking is not None:  # without masks there is no vector that hides a frame
        config["mask_time_prob"] = recipe.masking
    return json.dumps(config, sort_keys=True)


@dataclass(frozen=True)
class _Work:
    """What a run has to do: its setup, its batches of (clips, frames) in an epoch, and the counts of the largest one.

    ``steps`` are the optimizer's in all epochs, ``looks`` how often validation is judged; ``memory`` is what it needs
    at most, in GB.
    """

    setup: Setup
    train: list[tuple[int, int]]
    evaluation: list[tuple[int, int]]
    test: list[tuple[int, int]]
    steps: int
    looks: int
    sound: float  # in seconds
    largest: tuple[int, int]
    counts: Counts
    memory: float

    @classmethod
    def of(cls, backbone: Backbone, recipe: Recipe, device: Device, split: Split | None) -> "_Work":
        seconds = _clip_seconds(recipe, split)
        mixed = recipe.precision == "auto" and device.half
        gpu = not device.measured
        config = _config(backbone, recipe, len(split.labels) if split else 8)
        setup = Setup(config, recipe.lora, recipe.gradient_checkpointing, mixed, gpu)
        multiple = frames_multiple(backbone.needs_mask, gpu and mixed)
        train = _batches(_in_order(seconds["train"], recipe), recipe.batch_size, multiple)
        more = max(recipe.batch_size, 8)
        evaluation, test = (_batches(np.sort(seconds[part]), more, multiple) for part in ("validation", "test"))
        # a step that the epoch ends before it is full counts as one, as it does for the Trainer
        steps = recipe.epochs * math.ceil(len(train) / recipe.accumulation)
        looks = math.ceil(steps / recipe.eval_every) + 1  # after the last step too, and once more with the best
        # in some epoch the longest clip is in a batch of full size, whatever the order
        largest = max(clips for clips, _ in train), max(frames for _, frames in train)
        counts = count(setup, *largest)
        peak = _peak_bytes(counts, recipe, device, weights_of(backbone.checkpoint))
        sound = float(sum(lengths.sum() for lengths in seconds.values()))
        return cls(setup, train, evaluation, test, steps, looks, sound, largest, counts, peak / GB + device.start)


def _predicted_cost(backbone: Backbone, recipe: Recipe, device: Device, split: Split | None) -> Cost:
    work = _Work.of(backbone, recipe, device, split)
    counts, (clips, frames) = work.counts, work.largest
    usual = clips, round(float(np.mean([frames for _, frames in work.train])))
    forward, backward = (n.scaled(1, usual[1] / frames) for n in (counts.forward, counts.backward))
    parameters, trainable = round(counts.parameters), round(counts.trainable)

    at_once = min(recipe.accumulation, len(work.train))  # batches of a step
    step_operations = at_once * forward.plus(backward).operations
    sizes = {part: _in_batches(getattr(work, part), usual) for part in ("train", "evaluation", "test")}
    looked = work.looks * sizes["evaluation"] + sizes["test"]
    convolving = work.sound * convolution_operations(work.setup.config)

    ahead, both = _batch_seconds(forward, backward, work.setup, device, usual)
    # Adam reads and writes weight, gradient and averages; the gradient is cleared, and measured to be clipped
    update = 4 * 11 * trainable / (device.bandwidth * (1 if device.measured else REACHED["bandwidth"]))
    total = STARTING + recipe.epochs * sizes["train"] * both + work.steps * update + looked * ahead
    total += convolving * 2 / (device.full * (1 if device.measured else REACHED["full"]))
    trained = recipe.epochs * sizes["train"] * forward.plus(backward).operations
    return Cost(
        title=backbone.title,
        device=device.name,
        measured=device.measured,
        parameters=parameters,
        trainable=trainable,
        memory=work.memory,
        limit=device.memory,
        step_operations=step_operations,
        operations=trained + looked * forward.operations + convolving,
        step_seconds=at_once * both + update,
        minutes=total / 60,
        disk=_disk_bytes(counts, recipe, backbone, work.sound) / GB,
        left=4 * parameters / GB,
        remedy={},
    )


def _in_batches(batches: list[tuple[int, int]], usual: tuple[int, int]) -> float:
    """Return how many batches of the usual size these are."""
    return sum(clips * frames for clips, frames in batches) / (usual[0] * usual[1])


def _peak_bytes(counts: Counts, recipe: Recipe, device: Device, source: Path | str) -> float:
    """Return the most bytes at a time: weights, gradients, Adam's two averages, and what a step counts besides."""
    kept = 4 * counts.held  # the convolutions are set aside once their output is cached, but they are still there
    step = kept + 12 * counts.trainable + counts.peak
    if not device.measured:
        return max(step, kept + 16 * counts.trainable)  # Adam's update works on all weights at once there
    # pages of a file count while weights are read: all of them at the start, the best step's at the end
    return max(step + _saved_bytes(counts, recipe), kept + (_file_bytes(source) or kept))


def _saved_bytes(counts: Counts, recipe: Recipe) -> float:
    """Return the bytes of weights in one of the Trainer's checkpoints."""
    return 4 * (counts.trainable if recipe.lora else counts.parameters - counts.convolutions)


def _file_bytes(source: Path | str) -> int:
    """Return the size of a local checkpoint's weights, which may be halves; 0 for what is still on the hub."""
    if not isinstance(source, Path):
        return 0
    safe = sum(file.stat().st_size for file in source.glob("*.safetensors"))
    return safe or sum(file.stat().st_size for file in source.glob("*.bin"))


def _disk_bytes(counts: Counts, recipe: Recipe, backbone: Backbone, sound: float) -> float:
    """Return the bytes of the hub's checkpoint, cached sound and features, three checkpoints, and the result."""
    features = sound * (FRAMES * counts.channels + audio.RATE) * 4  # of so many seconds of sound
    # two checkpoints, and one being written
    checkpoints = 3 * (_saved_bytes(counts, recipe) + 8 * counts.trainable)
    return 4 * counts.parameters * (not backbone.is_twin) + features + checkpoints + 4 * counts.parameters


def _batch_seconds(
    forward: Pass, backward: Pass, setup: Setup, device: Device, batch: tuple[int, int]
) -> tuple[float, float]:
    """Return the seconds of a batch's way ahead, and of both ways.

    On a GPU, those of products at their speed, of numbers at memory's, and of launching kernels.
    """
    both = forward.plus(backward)
    if device.measured:
        stem, layer = _measured_parts(setup, *batch)
        whole = stem + layer * json.loads(setup.config)["num_hidden_layers"]
        return AHEAD * whole * forward.operations / both.operations, whole
    speed = device.mixed * REACHED["mixed"] if setup.mixed else device.full * REACHED["full"]
    width = device.bandwidth * REACHED["bandwidth"]
    ahead, whole = (n.operations / speed + n.moved / width + n.kernels * LAUNCH for n in (forward, both))
    return ahead, whole


def _clip_seconds(recipe: Recipe, split: Split | None) -> dict[str, np.ndarray]:
    """Return the lengths of the clips of each part, in seconds."""
    if split is None:
        known = _TRIMMED if recipe.trim else _WHOLE
        return {part: np.interp(np.linspace(0, 10, n), np.arange(11), known) for part, n in _CLIPS.items()}
    if not recipe.trim:
        return {part: frame["seconds"].to_numpy() for part, frame in split.parts()}
    sounds = audio.clips(pd.concat([frame for _, frame in split.parts()]), trim=True)
    return {part: np.array([len(sounds[clip]) / audio.RATE for clip in frame.index]) for part, frame in split.parts()}


def _in_order(seconds: np.ndarray, recipe: Recipe) -> np.ndarray:
    """Return the lengths of the clips as training hears them in its first epoch, those that fill up its last step too.

    Without buckets it is any order that has nothing to do with their lengths.
    """
    if recipe.bucketing:
        return seconds[list(Buckets(seconds, recipe.batch_size * recipe.accumulation, recipe.seed))]
    return np.random.default_rng(recipe.seed).permutation(seconds)


def _batches(seconds: np.ndarray, size: int, multiple: int) -> list[tuple[int, int]]:
    """Return (clips, frames that they are filled up to) of each batch."""
    batches = [seconds[i : i + size] for i in range(0, len(seconds), size)]
    return [(len(batch), padded_length(int(batch.max() * FRAMES), SHORTEST, multiple)) for batch in batches]


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
    product = min(_seconds_of_tries(lambda: x @ w, 5))
    passing = min(_seconds_of_tries(lambda: torch.mul(wide, 1.01, out=scaled), 5))
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    memory = machine_memory() / GB
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


@cache
def _measured_parts(setup: Setup, clips: int, frames: int) -> tuple[float, float]:
    """Return the seconds, there and back, of what surrounds the layers and of one layer, on this CPU.

    Measured on the stock network with one and with three layers of random weights, because in half precision and with
    LoRA a CPU spends as much on conversions, norms and dropout as on the products that one could count.
    """
    import torch

    def seconds(layers: int) -> float:
        net, _, _ = setup.build(layers, "cpu")
        given = torch.randn(clips, net.config.conv_dim[-1], frames)
        masked = net.config.feat_extract_norm == "layer"
        mask = torch.ones(clips, frames * 320 + 80, dtype=torch.long) if masked else None  # of samples
        labels = torch.zeros(clips, dtype=torch.long)

        def step() -> None:
            with torch.autocast("cpu", torch.bfloat16, enabled=setup.mixed):
                loss = net(given, attention_mask=mask, labels=labels).loss
            loss.backward()

        step()  # gradients get their memory
        return float(np.median(_seconds_of_tries(step, 3)))

    one, three = seconds(1), seconds(3)
    layer = max(three - one, 0.0) / 2
    return max(one - layer, 0.0), layer


def _seconds_of_tries(step: Callable[[], object], least: int) -> list[float]:
    """Return the seconds of each try, on all threads: of the least number, or of what a quarter second has."""
    import torch

    tries: list[float] = []
    end = time.process_time() + 0.25 * torch.get_num_threads()
    while time.process_time() < end or len(tries) < least:
        begin = time.process_time()
        step()
        tries.append((time.process_time() - begin) / torch.get_num_threads())
    return tries


def _remedy(recipe: Recipe, fits: Callable[[Recipe], bool]) -> dict[str, Any]:
    """Return the smallest change to the recipe that fits: memory for time, then smaller batches, then fewer weights.

    Of smaller batches it is the largest that fits; a step has as many clips as before.
    """
    lora = {"lora": recipe.lora or 16, "gradient_checkpointing": True, "layers": "last", "layerdrop": 0.0}
    for change in ({"gradient_checkpointing": True}, lora):
        for size in _sizes(recipe.batch_size):
            changes = change | {"batch_size": size, "accumulation": recipe.batch_size * recipe.accumulation // size}
            if fits(replace(recipe, **changes)):
                return {name: value for name, value in changes.items() if getattr(recipe, name) != value}
    return {}


def _sizes(batch: int) -> list[int]:
    """Return this batch, its half and so on down to one clip."""
    return [batch] if batch == 1 else [batch, *_sizes(halved(batch))]
