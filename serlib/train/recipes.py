"""How a backbone is trained, and what a training takes and gives. Notebooks 02 to 08 explain the settings."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from serlib.data import audio
from serlib.data.splits import Split
from serlib.errors import SerlibError
from serlib.train.backbones import TWINS, Backbone


@dataclass(frozen=True)
class Recipe:
    """How a backbone is trained; the defaults are the paper's (section 5.3, Table 2).

    ``learning_rate`` is the encoder's, ``head_learning_rate`` the new head's (None: the same). ``warmup`` is a share
    of all steps, ``eval_every`` a number of optimizer steps. ``freeze`` is "cnn" (fine-tune all but the convolutions,
    as the paper does) or "all" (a frozen encoder: averages of its layers and a ``head`` on them). ``pooling`` is
    "mean", "sum" or "max"; a frozen encoder also knows "mean+std". ``layers`` is "last", "weighted" or, frozen, "all".

    A frozen encoder's own settings (`make leaderboard` says what each is worth):

    * ``head``: "logistic" or "kernel ridge" (regression on one-hot emotions, Gaussian kernel; serlib/train/ridge.py).
    * ``pooling="loudness"``: mean and standard deviation in which loud frames count more (Stevens 1957, doi
      10.1037/h0046162), for emotion is in the voice and not in the silence around it.
    * ``layers="first"``: what the convolutions hand to the transformer.
    * ``speeds``: copies of each clip to average over, such as (0.9, 1.0, 1.1) (speed perturbation: Ko et al. 2015,
      doi 10.21437/Interspeech.2015-711).
    * ``centered``: subtract the mean of the training voice that a clip sounds like, if the test voices are known
      from training (else it does nothing). Kernel ridge only. Who speaks in a test clip is never read.

    What makes a large encoder fit, or helps a small corpus, each with its source:

    * ``layers="weighted"``: a learned sum of all layers in place of the last alone (Pepino et al. 2021, arXiv
      2104.03502, who tried it on RAVDESS).
    * ``head_learning_rate``: a pre-trained encoder moves slowly, a new head fast (rates by layer: Howard and Ruder
      2018, arXiv 1801.06146).
    * ``warmup``: the rate grows from 0 first, while the head still points anywhere (Goyal et al. 2017, arXiv
      1706.02677).
    * ``trim``: without the silence before and after the voice, nearly half of RAVDESS's sound (its lengths stand in
      serlib/train/planner.py).
    * ``precision``: "auto" is bfloat16 on a GPU or CPU that has it, float16 on other GPUs, else float32; "fp32" is
      float32 everywhere (mixed precision: Micikevicius et al. 2018, arXiv 1710.03740).
    * ``gradient_checkpointing``: forget the activations of each layer and compute them again on the way back, for
      memory (Chen et al. 2016, arXiv 1604.06174). The numbers stay the same.
    * ``lora``: rank of the matrices that are trained in place of the encoder's own, 0 for none (Hu et al. 2022,
      arXiv 2106.09685; on speech emotion Feng and Narayanan 2023, arXiv 2306.05350).
    * ``label_smoothing``: share of certainty moved from the true emotion to all (Szegedy et al. 2016, arXiv
      1512.00567).
    * ``class_weights``: rare emotions count as much as frequent ones (King and Zeng 2001, doi
      10.1093/oxfordjournals.pan.a004868).
    * ``masking``: share of frames hidden in training, in spans of 0.2 s (SpecAugment: Park et al. 2019, arXiv
      1904.08779). None leaves it to the checkpoint; most of them hide two spans at least, 13 % of 3 s of speech.
    * ``layerdrop``: share of layers skipped at random (Fan et al. 2020, arXiv 1909.11556), None for the checkpoint's
      own. A sum of all layers needs all of them.
    * ``bucketing``: batches of clips of like length, for less padding (Khomenko et al. 2016, arXiv 1708.05604). The
      last step of an epoch is filled up with clips that the epoch has seen.

    Gradients are always clipped at norm 1, as the Trainer does unasked (Pascanu et al. 2013, arXiv 1211.5063).
    """

    epochs: int = 10
    batch_size: int = 4
    accumulation: int = 2
    learning_rate: float = 1e-4
    head_learning_rate: float | None = None
    warmup: float = 0.0
    eval_every: int = 100
    pooling: str = "mean"
    layers: str = "last"
    freeze: str = "cnn"
    trim: bool = False
    pretrained: bool = True
    seed: int = 101
    precision: str = "auto"
    gradient_checkpointing: bool = False
    lora: int = 0
    label_smoothing: float = 0.0
    class_weights: bool = False
    masking: float | None = None
    layerdrop: float | None = 0.0
    bucketing: bool = True
    head: str = "logistic"
    speeds: tuple[float, ...] = (1.0,)
    centered: bool = False

    def __post_init__(self):
        object.__setattr__(self, "speeds", tuple(self.speeds))  # run.json knows lists only
        for name in ("epochs", "batch_size", "accumulation", "learning_rate", "eval_every"):
            if getattr(self, name) <= 0:
                raise SerlibError(f"The recipe's {name} is {getattr(self, name)}; it must be greater than 0.")
        if self.freeze not in ("cnn", "all"):
            raise SerlibError(f'The recipe\'s freeze is {self.freeze!r}; it must be "cnn" or "all".')
        if self.precision not in ("auto", "fp32"):
            raise SerlibError(f'The recipe\'s precision is {self.precision!r}; it must be "auto" or "fp32".')
        for name in ("label_smoothing", "masking", "layerdrop"):
            if not 0 <= (getattr(self, name) or 0) < 1:
                raise SerlibError(f"The recipe's {name} is {getattr(self, name)}; it is a share, from 0 to below 1.")
        if self.head not in ("logistic", "kernel ridge"):
            raise SerlibError(f'The recipe\'s head is {self.head!r}; it must be "logistic" or "kernel ridge".')
        if not self.speeds or min(self.speeds) <= 0:
            raise SerlibError(f"The recipe's speeds are {self.speeds}; give at least one, each greater than 0.")
        if self.centered and self.head != "kernel ridge":
            raise SerlibError('The recipe is centered; only head="kernel ridge" knows that.')
        odd = {
            "head": self.head != "logistic",
            "speeds": self.speeds != (1.0,),
            "pooling": self.pooling == "loudness",
            "layers": self.layers == "first",
        }
        if self.freeze != "all" and any(odd.values()):
            name = next(name for name in odd if odd[name])
            raise SerlibError(f'The recipe\'s {name} is for a frozen encoder; set freeze="all" too.')
        if self.lora < 0:
            raise SerlibError(f"The recipe's lora is {self.lora}; it is a rank, such as 16, or 0 for none.")
        if self.layers == "weighted" and (self.lora or self.layerdrop != 0):
            raise SerlibError(
                'The recipe\'s layers are "weighted": that learned sum needs every layer and its own weights, so set '
                "lora=0 and layerdrop=0."
            )

    def __str__(self) -> str:
        if self.freeze == "all":
            speeds = ", ".join(f"{speed:g}" for speed in self.speeds)
            return (
                f"frozen encoder, {self.pooling} of {self.layers} layers, {self.head} regression"
                + f", speeds {speeds}" * (self.speeds != (1.0,))
                + ", centered by voice" * self.centered
                + ", trimmed" * self.trim
            )
        return (
            f"{self.epochs} epochs, batch {self.batch_size} x {self.accumulation}, learning rate {self.learning_rate:g}"
            + (f" (head {self.head_learning_rate:g})" if self.head_learning_rate else "")
            + (f", warm-up {self.warmup:.0%}" if self.warmup else "")
            + f", {self.pooling} pooling of the {self.layers} layer{'s' * (self.layers != 'last')}"
            + ", trimmed" * self.trim
            + (f", LoRA of rank {self.lora}" if self.lora else "")
            + ", gradient checkpointing" * self.gradient_checkpointing
            + (f", label smoothing {self.label_smoothing:g}" if self.label_smoothing else "")
            + ", class weights" * self.class_weights
            + (f", {self.masking:.0%} of frames masked" if self.masking is not None else "")
            + ", random batches" * (not self.bucketing)
            + (", float32" if self.precision == "fp32" else "")
            + f", evaluation every {self.eval_every} steps"
        )


@dataclass(frozen=True)
class Work:
    """What is to be trained, and the folder that it goes to."""

    backbone: Backbone
    split: Split
    recipe: Recipe
    target: Path


@dataclass(frozen=True)
class Result:
    """What a training hands over: predictions of validation and test, its history, facts for run.json.

    ``save`` writes the checkpoint into an empty folder.
    """

    predictions: pd.DataFrame
    history: pd.DataFrame
    info: dict
    save: Callable[[Path], None]


def sounds_of(split: Split, trim: bool) -> audio.Clips:
    """Return the decoded clips of all three parts."""
    whole = pd.concat([frame for _, frame in split.parts()])
    return audio.clips(whole, trim=trim)


def weights_name(backbone: Backbone, recipe: Recipe) -> str:
    """Return where the weights come from, exact enough to tell whether two runs began alike."""
    if not recipe.pretrained:
        return f"random, in the shape of {backbone.checkpoint}"
    if backbone.is_twin:
        digest = json.loads((TWINS / Path(backbone.checkpoint).name / "recipe.json").read_text())["sha256"]
        return f"shipped with serlib, sha256 {digest[:12]}"
    return backbone.checkpoint


def softmax_of(logits: np.ndarray) -> np.ndarray:
    """Return probabilities, in float64 along the last axis, so that they sum to 1 in the CSV too."""
    from scipy.special import softmax

    return softmax(np.asarray(logits, dtype=np.float64), axis=-1)
