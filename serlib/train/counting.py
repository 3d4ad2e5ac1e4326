"""What one step of an encoder's training takes, counted while the real model runs without numbers. See notebook 06.

On torch's device "meta" a tensor has a shape and no content, so a model of any size is built and trained there in an
instant. Its operations are counted by the formulas of torch's FlopCounterMode. Two models of a few layers are enough,
because a layer more always adds the same; a test holds that against whole models.
"""

import json
import math
import weakref
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, fields
from functools import cache
from typing import Any, NamedTuple

import torch
from torch.nn import functional
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from serlib.data import audio
from serlib.train import model as models

LAYERS = (2, 4)  # of the two models; from them to all layers it is a straight line


@dataclass(frozen=True)
class Setup:
    """What decides the counts: a config.json as text, and of recipe and device what changes the graph of a step.

    ``mixed`` is half precision in the products alone (autocast); ``gpu`` is attention in one fused kernel and masks of
    dropout of one byte, in place of what a CPU does.
    """

    config: str
    lora: int = 0
    checkpointing: bool = False
    mixed: bool = False
    gpu: bool = True

    def build(self, layers: int, device: str = "meta") -> tuple[torch.nn.Module, torch.nn.Module, int]:
        """Return (model in training, its convolutions, its weights without LoRA's), with so many layers."""
        from transformers import AutoConfig, AutoModelForAudioClassification
        from transformers.utils import logging

        logging.set_verbosity_error()  # it would warn of checkpointing with adapters, which is what is counted
        config = AutoConfig.for_model(**json.loads(self.config) | {"num_hidden_layers": layers, "layerdrop": 0.0})
        with torch.device(device):
            net = AutoModelForAudioClassification.from_config(config, dtype=torch.float32).train()
            parameters = _count_of_weights(net)
            convolutions = models.freeze_convolutions(net)
            net.base_model.feature_extractor = models.CachedFeatures()  # as in training
            net.config.apply_spec_augment = False  # it draws on the CPU, and adds next to nothing
            if self.checkpointing:
                as_there = (lambda: (nullcontext(), _WithKernelsOf(self))) if device == "meta" else None
                models.forget_activations(net, as_there)
            net = models.with_lora(net, self.lora) if self.lora else net
        return net, convolutions, parameters


class Pass(NamedTuple):
    """One way through a batch: what its kernels do. A multiplication and an addition count as two operations.

    ``linear`` are floating-point operations that grow with the frames, ``squared`` those of attention, which grow with
    their square; ``moved`` are bytes read and written, ``kernels`` their number.
    """

    linear: float = 0
    squared: float = 0
    moved: float = 0
    kernels: float = 0

    @property
    def operations(self) -> float:
        """All floating-point operations."""
        return self.linear + self.squared

    def plus(self, other: "Pass") -> "Pass":
        """Return both together."""
        return Pass(*map(sum, zip(self, other, strict=True)))

    def scaled(self, clips: float, frames: float) -> "Pass":
        """Return the same for this share of the clips, and of the frames of each."""
        tokens = clips * frames
        return Pass(self.linear * tokens, self.squared * tokens * frames, self.moved * tokens, self.kernels)


@dataclass(frozen=True)
class Counts:
    """What a batch takes, there and back, and the weights that it goes through.

    ``parameters`` are the model's, ``held`` those and LoRA's, ``convolutions`` the frozen ones among them, which give
    ``channels`` numbers a frame. ``peak`` is the most bytes alive at a time beside weights and gradients: activations,
    weights in half precision, and what comes and goes.
    """

    parameters: float
    held: float
    trainable: float
    convolutions: float
    channels: float
    forward: Pass
    backward: Pass
    peak: float


@cache
def count(setup: Setup, clips: int, frames: int) -> Counts:
    """Return what a batch of so many clips of so many frames takes, in the model of all layers."""
    few, more = (_count(setup, layers, clips, frames) for layers in LAYERS)
    share = (json.loads(setup.config)["num_hidden_layers"] - LAYERS[0]) / (LAYERS[1] - LAYERS[0])

    def line(a: Any, b: Any) -> Any:
        return Pass(*map(line, a, b)) if isinstance(a, Pass) else a + share * (b - a)

    return Counts(*(line(getattr(few, field.name), getattr(more, field.name)) for field in fields(Counts)))


@cache
def convolution_operations(config: str) -> float:
    """Return the operations of the convolutions for one second of sound, whose output is computed once a clip."""
    _, convolutions, _ = Setup(config).build(1)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        convolutions(torch.empty(1, 10 * audio.RATE, device="meta"))
    return counter.get_total_flops() / 10


def _count(setup: Setup, layers: int, clips: int, frames: int) -> Counts:
    net, convolutions, parameters = setup.build(layers)
    trained = [weight for weight in net.parameters() if weight.requires_grad]
    for weight in trained:
        weight.grad = torch.empty_like(weight)  # as in all steps but the first
    channels, frozen = net.config.conv_dim[-1], _count_of_weights(convolutions)
    features = torch.empty(clips, channels, frames, device="meta")
    labels = torch.zeros(clips, dtype=torch.long, device="meta")
    with _Meter(net) as meter, _WithKernelsOf(setup):
        loss = net(features, labels=labels).loss
        forward, meter.counted = meter.counted, Pass()
        loss.backward()
    trainable = sum(weight.numel() for weight in trained)
    return Counts(
        parameters, _count_of_weights(net) + frozen, trainable, frozen, channels, forward, meter.counted, meter.peak
    )


def _count_of_weights(net: torch.nn.Module) -> int:
    return sum(weight.numel() for weight in net.parameters())


def _convolution_backward(gradient: Sequence[int], x: Any, weight: Sequence[int], *others: Any, **_: Any) -> int:
    """Return the operations of a convolution on the way back: for its input and its weights, as many as ahead each."""
    wanted = others[-1]  # input, weights, bias: torch's own formula takes the weights of a group for those of all
    return 2 * math.prod(gradient) * math.prod(weight[1:]) * sum(wanted[:2])


_ATEN = torch.ops.aten
FORMULAS = {_ATEN.convolution_backward: _convolution_backward}
_FUSED = _ATEN._scaled_dot_product_efficient_attention
# bmm: products of each head's own, which nothing else has
ATTENTION = (_ATEN.bmm, _FUSED, _ATEN._scaled_dot_product_efficient_attention_backward)


class _Meter(TorchDispatchMode):
    """Counts what passes (``counted``), and the bytes alive, the most at a time as ``peak``.

    FlopCounterMode itself follows modules by hooks that keep recomputed activations alive, so only its formulas serve.
    """

    def __init__(self, net: torch.nn.Module) -> None:
        super().__init__()
        self.formulas = FlopCounterMode(display=False, custom_mapping=FORMULAS).flop_registry
        self.counted, self.now, self.peak = Pass(), 0, 0
        self.alive: dict[int, int] = {}  # bytes of each storage
        own = [*net.parameters(), *net.buffers(), *(w.grad for w in net.parameters() if w.grad is not None)]
        self.own = {tensor.untyped_storage()._cdata for tensor in own}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        made = [tensor for tensor in (out if isinstance(out, tuple | list) else [out]) if torch.is_tensor(tensor)]
        if not func.is_view:
            formula = self.formulas.get(func._overloadpacket)
            operations = formula(*args, **(kwargs or {}), out_val=out) if formula else 0
            linear, squared = (0, operations) if func._overloadpacket in ATTENTION else (operations, 0)
            moved = sum(tensor.nbytes for tensor in [*args, *made] if torch.is_tensor(tensor))
            self.counted = self.counted.plus(Pass(linear, squared, moved, 1))
        for tensor in made:
            storage = tensor.untyped_storage()
            if storage._cdata not in self.own and storage._cdata not in self.alive:
                self.alive[storage._cdata] = storage.nbytes()
                self.now += storage.nbytes()
                weakref.finalize(storage, self._free, storage._cdata)
        self.peak = max(self.peak, self.now)
        return out

    def _free(self, storage: int) -> None:
        self.now -= self.alive.pop(storage)


class _WithKernelsOf(TorchFunctionMode):
    """Lets the meta device, which knows neither autocast nor kernels, keep what a CPU or a GPU would keep.

    Source: torch's list of what autocast casts (docs.pytorch.org/docs/stable/amp.html), and its fused kernels.
    """

    def __init__(self, setup: Setup) -> None:
        super().__init__()
        self.setup = setup

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs, setup = kwargs or {}, self.setup
        if setup.mixed and func in (functional.linear, functional.conv1d):
            args = [value.bfloat16() if torch.is_tensor(value) else value for value in args]
        elif setup.mixed and setup.gpu and func is functional.layer_norm:
            args = [args[0].float(), *args[1:]]
        elif setup.gpu and func is functional.dropout:
            return _dropout(*args, **kwargs)
        elif func is functional.scaled_dot_product_attention and (setup.gpu or not kwargs.get("dropout_p")):
            return _FUSED(*args[:3], None, True, kwargs.get("dropout_p", 0.0))[0]  # a CPU has none with dropout
        return func(*args, **kwargs)


def _dropout(x: torch.Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> torch.Tensor:
    return torch.native_dropout(x, p, True)[0] if training and p else x
