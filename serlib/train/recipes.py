"""How a backbone is used: a Recipe fine-tunes it, a Probe fits a linear head on it as it is. Notebooks 02 to 08."""

import numbers
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np

from serlib.data.splits import Split
from serlib.errors import SerlibError, in_short, is_number, nearest
from serlib.train.heads import Fitted, Logistic

# Settings that recipes got after runs had been made without them. A key leaves them out while they change nothing.
LATER = ("frozen",)
QUIET = 6  # seconds to which a probe pads Whisper's clips at least


def setting(default: Any, rule: str, **bounds: Any) -> Any:
    """Return a dataclass field that knows what may stand in it: a rule of ``_RULES``, and its bounds or choices."""
    return field(default=default, metadata={"rule": rule, **bounds})


def _check_settings(settings: Any, kind: str) -> None:
    """Raise SerlibError in one sentence for the first field that holds what its ``setting`` does not allow."""
    for one in fields(settings):
        value, rule = getattr(settings, one.name), dict(one.metadata)
        if not rule:
            continue
        fault = _RULES[rule.pop("rule")](value, **rule)
        if fault:
            raise SerlibError(f"The {kind}'s {one.name} is {in_short(value)}; it must be {fault}.")


def _whole(value: Any, least: int, most: int | None = None) -> str:
    right = isinstance(value, numbers.Integral) and not isinstance(value, bool) and int(value) >= least
    if right and (most is None or int(value) <= most):
        return ""
    return f"a whole number, {least} or more" if most is None else f"a whole number, {least} to {most}"


def _positive(value: Any, optional: bool = False) -> str:
    right = is_number(value) and value > 0 or (optional and value is None)
    return "" if right else "a number greater than 0" + ", or None" * optional


def _share(value: Any, optional: bool = False) -> str:
    right = is_number(value) and 0 <= value < 1 or (optional and value is None)
    return "" if right else "a share, from 0 to below 1" + ", or None" * optional


def _one_of(value: Any, choices: Sequence[str]) -> str:
    if isinstance(value, str) and value in choices:
        return ""
    listed = " or ".join(f'"{choice}"' for choice in choices)
    return f"{listed} ({nearest(value, choices)})" if isinstance(value, str) else listed


def _switch(value: Any) -> str:
    return "" if isinstance(value, bool) else "True or False"


_RULES: dict[str, Callable[..., str]] = {
    "whole": _whole,
    "positive": _positive,
    "share": _share,
    "one of": _one_of,
    "switch": _switch,
}


@dataclass(frozen=True)
class Recipe:
    """How a backbone is fine-tuned; the defaults are the paper's (section 5.3, Table 2). The convolutions stay frozen.

    Gradients are always clipped at norm 1, as the Trainer does unasked (Pascanu et al. 2013, arXiv 1211.5063).

    Parameters
    ----------
    epochs
        How often each training clip is heard.
    batch_size
        Clips at once.
    accumulation
        Batches of an optimizer step.
    learning_rate
        The encoder's.
    head_learning_rate
        The new head's, None for the same: a pre-trained encoder moves slowly, a new head fast (rates by layer: Howard
        and Ruder 2018, arXiv 1801.06146).
    warmup
        Share of all steps in which the rate grows from 0, while the head still points anywhere (Goyal et al. 2017,
        arXiv 1706.02677).
    eval_every
        Optimizer steps from one evaluation to the next.
    pooling
        Over time: "mean", "sum" or "max".
    layers
        "last", or "weighted": a learned sum of all layers in place of the last alone (Pepino et al. 2021, arXiv
        2104.03502, who tried it on RAVDESS).
    trim
        Whether the silence before and after the voice is left out, nearly half of RAVDESS's sound (its lengths stand in
        serlib/train/planner.py).
    pretrained
        False keeps the architecture and throws the weights away, to see what pre-training is worth.
    seed
        Of order, dropout and new weights, a whole number from 0 up.
    precision
        "auto" is bfloat16 on a GPU or CPU that has it, float16 on other GPUs, else float32; "fp32" is float32
        everywhere (mixed precision: Micikevicius et al. 2018, arXiv 1710.03740).
    gradient_checkpointing
        Whether to forget the activations of each layer and compute them again on the way back, for memory (Chen et al.
        2016, arXiv 1604.06174). The numbers stay the same.
    lora
        Rank of the matrices that are trained in place of the encoder's own, 0 for none (Hu et al. 2022, arXiv
        2106.09685; on speech emotion Feng and Narayanan 2023, arXiv 2306.05350).
    frozen
        How many of the encoder's first layers stay as they are, with all that lies before them, 0 for none: the lower
        layers know sounds in general, the upper ones the task (Yosinski et al. 2014, arXiv 1411.1792). Of Whisper their
        output is computed once and kept.
    label_smoothing
        Share of certainty moved from the true emotion to all (Szegedy et al. 2016, arXiv 1512.00567).
    class_weights
        Whether rare emotions count as much as frequent ones (King and Zeng 2001, doi
        10.1093/oxfordjournals.pan.a004868).
    masking
        Share of frames hidden in training, in spans of 0.2 s (SpecAugment: Park et al. 2019, arXiv 1904.08779). None
        leaves it to the checkpoint; most of them hide two spans at least, 13 % of 3 s of speech.
    layerdrop
        Share of layers skipped at random (Fan et al. 2020, arXiv 1909.11556), None for the checkpoint's own. A sum of
        all layers needs all of them.
    bucketing
        Whether batches are of clips of like length, for less padding (Khomenko et al. 2016, arXiv 1708.05604). The last
        step of an epoch is filled up with clips that the epoch has seen.

    Raises
    ------
    SerlibError
        When made, for a setting that could not be carried out.

    Examples
    --------
    >>> print(ser.Recipe(epochs=2, head_learning_rate=1e-3, trim=True))
    2 epochs, batch 4 x 2, learning rate 0.0001 (head 0.001), mean pooling of the last layer, trimmed, evaluation every
    100 steps
    >>> ser.Recipe(pooling="men")
    Traceback (most recent call last):
    ...
    serlib.errors.SerlibError: The recipe's pooling is 'men'; it must be "mean" or "sum" or "max" (did you mean mean?).
    """

    epochs: int = setting(10, "whole", least=1)
    batch_size: int = setting(4, "whole", least=1)
    accumulation: int = setting(2, "whole", least=1)
    learning_rate: float = setting(1e-4, "positive")
    head_learning_rate: float | None = setting(None, "positive", optional=True)
    warmup: float = setting(0.0, "share")
    eval_every: int = setting(100, "whole", least=1)
    pooling: str = setting("mean", "one of", choices=("mean", "sum", "max"))
    layers: str = setting("last", "one of", choices=("last", "weighted"))
    trim: bool = setting(False, "switch")
    pretrained: bool = setting(True, "switch")
    seed: int = setting(101, "whole", least=0, most=2**32 - 1)  # what numpy takes
    precision: str = setting("auto", "one of", choices=("auto", "fp32"))
    gradient_checkpointing: bool = setting(False, "switch")
    lora: int = setting(0, "whole", least=0)
    frozen: int = setting(0, "whole", least=0)
    label_smoothing: float = setting(0.0, "share")
    class_weights: bool = setting(False, "switch")
    masking: float | None = setting(None, "share", optional=True)
    layerdrop: float | None = setting(0.0, "share", optional=True)
    bucketing: bool = setting(True, "switch")

    def __post_init__(self) -> None:
        _check_settings(self, "recipe")
        if self.layers == "weighted" and (self.lora or self.layerdrop != 0):
            raise SerlibError(
                'The recipe\'s layers are "weighted": that learned sum needs every layer and its own weights, so set '
                "lora=0 and layerdrop=0."
            )
        if self.frozen and (self.lora or self.layers == "weighted"):
            taker = "LoRA" if self.lora else "a learned sum of all layers"
            raise SerlibError(f"The recipe freezes {self.frozen} layers, which {taker} needs; set frozen=0.")

    def __str__(self) -> str:
        return (
            f"{self.epochs} epochs, batch {self.batch_size} x {self.accumulation}, learning rate {self.learning_rate:g}"
            + (f" (head {self.head_learning_rate:g})" if self.head_learning_rate else "")
            + (f", warm-up {self.warmup:.0%}" if self.warmup else "")
            + f", {self.pooling} pooling of the {self.layers} layer{'s' * (self.layers != 'last')}"
            + ", trimmed" * self.trim
            + (f", LoRA of rank {self.lora}" if self.lora else "")
            + (f", first {self.frozen} layers frozen" if self.frozen else "")
            + ", gradient checkpointing" * self.gradient_checkpointing
            + (f", label smoothing {self.label_smoothing:g}" if self.label_smoothing else "")
            + ", class weights" * self.class_weights
            + (f", {self.masking:.0%} of frames masked" if self.masking is not None else "")
            + ", random batches" * (not self.bucketing)
            + (", float32" if self.precision == "fp32" else "")
            + f", evaluation every {self.eval_every} steps"
        )


def halved(batch: int) -> int:
    """Return the next smaller batch to try where memory is not enough; it divides whatever step this one divides."""
    return batch // 2 if batch % 2 == 0 else 1


@dataclass(frozen=True)
class Probe:
    """How a frozen encoder is probed (02): layers averaged over time, and logistic regression on the averages.

    `make leaderboard` has a probe of its own with another head: a subclass that says how to ``pool`` a clip and which
    ``head`` to ``fit``.

    Parameters
    ----------
    pooling
        "mean", or "mean+std" with standard deviations beside the means.
    layers
        "all" or "last".
    trim
        Whether the silence before and after the voice is left out.
    pretrained
        False throws the encoder's weights away, to see what pre-training is worth.
    seed
        Of such random weights, a whole number from 0 up.

    Raises
    ------
    SerlibError
        When made, for a setting that could not be carried out.

    References
    ----------
    Linear probes: Alain and Bengio (2017, arXiv 1610.01644); on speech emotion, Pepino et al. (2021, arXiv 2104.03502).

    Examples
    --------
    >>> print(ser.Probe(layers="last", pooling="mean"))
    frozen encoder, mean of last layers, logistic regression
    """

    pooling: str = setting("mean+std", "one of", choices=("mean", "mean+std"))
    layers: str = setting("all", "one of", choices=("last", "all"))
    trim: bool = setting(False, "switch")
    pretrained: bool = setting(True, "switch")
    seed: int = setting(101, "whole", least=0, most=2**32 - 1)  # what numpy takes

    head = Logistic
    speeds = (1.0,)  # at which a clip is heard; the averages of its copies are averaged

    def __post_init__(self) -> None:
        _check_settings(self, "probe")

    def __str__(self) -> str:
        return f"frozen encoder, {self.pooling} of {self.layers} layers, logistic regression" + ", trimmed" * self.trim

    def averaged_layers(self, layers: int) -> list[int]:
        """Return the numbers of the layers that are averaged.

        Parameters
        ----------
        layers
            How many layers the encoder has.

        Returns
        -------
        list of int
            0 is what enters the layers, ``layers`` what leaves the last.

        Examples
        --------
        >>> ser.Probe().averaged_layers(3), ser.Probe(layers="last").averaged_layers(3)
        ([0, 1, 2, 3], [3])
        """
        return list(range(layers + 1)) if self.layers == "all" else [layers]

    def pool(self, layers: np.ndarray, samples: np.ndarray) -> np.ndarray:
        """Return the averages over time of one clip as one row.

        Parameters
        ----------
        layers
            What the chosen layers make of it, shape (layers, frames, hidden).
        samples
            The clip itself, mono at 16 kHz.

        Returns
        -------
        ndarray
            float32 of shape (features,). All means stand before all standard deviations.

        Examples
        --------
        >>> import numpy as np
        >>> layers = np.array([[[0.0, 5.0], [2.0, 5.0]]])  # one layer, two frames of two numbers
        >>> ser.Probe().pool(layers, np.zeros(640)).tolist()
        [1.0, 5.0, 1.0, 0.0]
        """
        parts = [layers.mean(1), layers.std(1)][: 1 + (self.pooling == "mean+std")]
        return np.concatenate([part.ravel() for part in parts]).astype(np.float32)

    def fit(self, x: dict[str, np.ndarray], y: dict[str, np.ndarray], split: Split) -> Fitted:
        """Fit the head to the averages.

        Parameters
        ----------
        x
            Averages, (clips, features), for "train" and "validation".
        y
            Class numbers, (clips,), for the same parts.
        split
            The split that they are of.

        Returns
        -------
        Fitted
            The head of train alone, and of train and validation.

        Examples
        --------
        >>> import numpy as np
        >>> x, y = np.array([[-1.0], [-2.0], [1.0], [2.0]]), np.array([0, 0, 1, 1])
        >>> fitted = ser.Probe().fit({"train": x, "validation": x}, {"train": y, "validation": y}, None)
        >>> fitted.final.probabilities(np.array([[3.0]])).argmax().item()
        1
        """
        return self.head.choose(x, y)

    @property
    def measures(self) -> dict[str, Any]:
        """The settings on which the averages depend, whatever is fitted to them.

        >>> ser.Probe(layers="last").measures["layers"]
        'last'
        """
        seed = 0 if self.pretrained else self.seed
        return {"pooling": self.pooling, "layers": self.layers, "trim": self.trim, "speeds": self.speeds, "seed": seed}


def recipe_from(info: Mapping[str, Any]) -> Recipe | Probe:
    """Return the recipe that a run's record holds. SerlibError for one that this serlib does not know."""
    kinds: dict[str, type[Recipe | Probe]] = {"fine-tuned": Recipe, "probe": Probe}
    try:
        return kinds[info["kind"]](**info["recipe"])
    except (KeyError, TypeError) as error:
        raise SerlibError(
            f"The run {info.get('name', '')} was made by a recipe that serlib itself does not have; classify with the "
            "program that made it."
        ) from error
