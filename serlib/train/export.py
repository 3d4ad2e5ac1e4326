"""A trained model as one ONNX file, sound in and probabilities out, for programs without Python (notebook 12)."""

import json
import logging
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from serlib.data import audio
from serlib.errors import SerlibError, nearest
from serlib.files import atomic_path, given_path
from serlib.train import backbones, sharing
from serlib.train import model as models
from serlib.train.recipes import QUIET, Probe, recipe_from

PRECISIONS = ("float32", "float16", "int8")
CODE = 1  # raise it when the same run would give another file
LARGEST = 2**31 - 1  # bytes of one file: what its format (protobuf) counts up to
FRAME = 320  # samples, 20 ms: the step of every encoder here
SMALL = 1024  # numbers: a smaller weight is kept as it is, for nothing would be won


class _Normalized(nn.Module):
    """Each clip with mean 0 and variance 1, where the feature extractor does that: (1, samples) to the same shape."""

    def __init__(self, extractor: Any):
        super().__init__()
        self.wanted = extractor.do_normalize

    def forward(self, samples: torch.Tensor) -> torch.Tensor:
        if not self.wanted:
            return samples
        centered = samples - samples.mean(-1, keepdim=True)
        return centered / torch.sqrt((centered**2).mean(-1, keepdim=True) + 1e-7)


class _LogMel(nn.Module):
    """Whisper's log-mel spectrogram of a padded clip, as a convolution and a product of matrices.

    (1, samples) becomes (1, bands, frames). The convolution's filters are the windowed cosines and sines of the Fourier
    transform, since not every program that reads ONNX has that.
    """

    def __init__(self, extractor: Any):
        super().__init__()
        self.half, self.hop = extractor.n_fft // 2, extractor.hop_length
        time = torch.arange(extractor.n_fft, dtype=torch.float64)
        angles = 2 * torch.pi * torch.arange(self.half + 1)[:, None] * time / extractor.n_fft
        window = torch.hann_window(extractor.n_fft, dtype=torch.float64)
        waves = torch.cat([angles.cos(), angles.sin()]) * window
        self.register_buffer("waves", waves[:, None].float())
        self.register_buffer("bands", torch.from_numpy(extractor.mel_filters.T).float())

    def forward(self, samples: torch.Tensor) -> torch.Tensor:
        mirrored = nn.functional.pad(samples[:, None], (self.half, self.half), mode="reflect")
        waves = nn.functional.conv1d(mirrored, self.waves, stride=self.hop)[..., :-1]
        power = waves[:, : self.half + 1] ** 2 + waves[:, self.half + 1 :] ** 2
        loudness = torch.clamp(self.bands @ power, min=1e-10).log10()
        loudness = torch.maximum(loudness, loudness.amax((1, 2), keepdim=True) - 8.0)
        return (loudness + 4.0) / 4.0


class _FineTuned(nn.Module):
    """A fine-tuned model from samples to probabilities, (1, samples) to (1, classes)."""

    def __init__(self, model: nn.Module, extractor: Any):
        super().__init__()
        self.model = model
        self.whole = 0 if models.takes_waveforms(model) else extractor.n_samples
        self.front: nn.Module = _LogMel(extractor) if self.whole else _Normalized(extractor)

    def forward(self, samples: torch.Tensor) -> torch.Tensor:
        if self.whole:
            samples = nn.functional.pad(samples, (0, self.whole))[:, : self.whole]
        return self.model(self.front(samples)).logits.softmax(-1)


class _Probed(nn.Module):
    """A frozen encoder, the averages of its layers over time, and the head on them: (1, samples) to (1, classes)."""

    def __init__(self, model: nn.Module, extractor: Any, recipe: Probe, head: Any):
        super().__init__()
        self.takes_waveforms = models.takes_waveforms(model)
        self.encoder = model.base_model if self.takes_waveforms else model.encoder
        self.front: nn.Module = _Normalized(extractor) if self.takes_waveforms else _LogMel(extractor)
        self.chosen = recipe.averaged_layers(model.config.num_hidden_layers)
        self.spread = recipe.pooling == "mean+std"
        for name in ("mean", "scale", "weights", "bias"):
            self.register_buffer(name, torch.from_numpy(getattr(head, name)).float())

    def forward(self, samples: torch.Tensor) -> torch.Tensor:
        if self.takes_waveforms:
            states = self.encoder(self.front(samples), output_hidden_states=True).hidden_states
            own = torch.ones(states[0].shape[1])
        else:
            states = self._whisper_states(samples)
            count = torch.clamp(torch.round(torch.full((1,), samples.shape[1]) / FRAME), min=1)
            own = (torch.arange(states[0].shape[1]) < count).float()
        layers = torch.cat([states[number] for number in self.chosen])  # (layers, frames, hidden)
        share = (own / own.sum())[:, None]
        mean = (layers * share).sum(1)
        averages = [mean.flatten()]
        if self.spread:
            averages.append(((layers - mean[:, None]) ** 2 * share).sum(1).sqrt().flatten())
        features = (torch.cat(averages) - self.mean) / self.scale
        return (features[None] @ self.weights.T + self.bias).softmax(-1)

    def _whisper_states(self, samples: torch.Tensor) -> list[torch.Tensor]:
        """Return what enters the layers and what leaves each, as ``probing`` hears a clip: padded to 6 s at least."""
        step = audio.RATE // 2
        padded = torch.sym_max(QUIET * audio.RATE, (samples.shape[1] + step - 1) // step * step)
        mels = self.front(nn.functional.pad(samples, (0, QUIET * audio.RATE))[:, :padded])
        encoder = self.encoder
        hidden = nn.functional.gelu(encoder.conv1(mels))
        hidden = nn.functional.gelu(encoder.conv2(hidden)).permute(0, 2, 1)
        states = [hidden + encoder.embed_positions.weight[: hidden.shape[1]]]
        for layer in encoder.layers:
            states.append(layer(states[-1], None))
        states[-1] = encoder.layer_norm(states[-1])
        return states


def export_onnx(run: Any, path: Path | str, precision: str = "float32") -> Path:  # a Run, whose own module asks this
    """Write a run as one ONNX file, and return where it is: the work of ``Run.export_onnx``."""
    if precision not in PRECISIONS:
        raise SerlibError(f"There is no precision called {precision!r}: {nearest(str(precision), PRECISIONS)}")
    path = given_path(path)
    if path.is_dir():
        raise SerlibError(f"{path} is a folder; give the name of a file in it, such as {path.name}/model.onnx.")
    checkpoint = run.folder / "checkpoint"
    if not checkpoint.is_dir():
        raise SerlibError(f"The run of {run.name} holds predictions but no checkpoint; run its notebook to train one.")
    try:
        import onnx
        import onnx_ir
        import onnxscript  # noqa: F401  torch's exporter asks for it
    except ImportError as error:
        raise SerlibError(
            f"An ONNX file is made by packages that are not here ({error.name}); install them: pip install onnx "
            "onnxscript onnxruntime."
        ) from error
    with atomic_path(path) as fresh:
        graph = _graph_of(run, checkpoint)
        if precision != "float32":
            for weight, axis in _weights_of(graph):
                _shrink(onnx_ir, graph, weight, axis, precision)
        for node in graph.graph:  # where in torch's and serlib's code it comes from: half a megabyte
            node.metadata_props.clear()
        graph.metadata_props.update(_facts(run, checkpoint, precision))
        size = sum(weight.const_value.nbytes for weight in graph.graph.initializers.values())
        if size > LARGEST:
            raise SerlibError(
                f"{run.name} is larger than one ONNX file may be ({size / 1e9:.1f} of 2.1 GB in {precision}); choose "
                "precision='int8'."
            )
        onnx.save(onnx_ir.to_proto(graph), fresh)
    return path


def _graph_of(run: Any, checkpoint: Path) -> Any:
    """Return the model of a run as a graph of onnx_ir, in float32, for one clip of any length."""
    recipe = recipe_from(run.info)
    if backbones.is_network(run.info["checkpoint"]):
        raise SerlibError(
            f"{run.name} is a network whose picture of the sound has no ONNX form here; export another run."
        )
    model, extractor = models.load_trained(checkpoint), backbones.extractor_from(checkpoint)
    whole: nn.Module
    if isinstance(recipe, Probe):
        whole = _Probed(model, extractor, recipe, recipe.head.read(checkpoint / "probe.npz"))
    else:
        whole = _FineTuned(model, extractor)
    for part in whole.modules():  # the weights themselves, not how they were written in training
        if nn.utils.parametrize.is_parametrized(part, "weight"):
            nn.utils.parametrize.remove_parametrizations(part, "weight")
    least, most = int(audio.SHORTEST * audio.RATE), getattr(extractor, "n_samples", None)
    length = torch.export.Dim("length", min=least, max=most)
    example = torch.randn(1, 3 * audio.RATE, generator=torch.Generator().manual_seed(0))
    talk = logging.getLogger("torch.onnx")
    before = talk.level
    talk.setLevel(logging.ERROR)  # of operators of packages that are not here, and not needed
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            program = torch.onnx.export(
                whole.eval(),
                (example[:, : most or None],),
                dynamo=True,
                input_names=["samples"],
                output_names=["probabilities"],
                dynamic_shapes={"samples": {1: length}},
                verbose=False,
            )
    finally:
        talk.setLevel(before)
    return program.model


def _weights_of(graph: Any) -> list[tuple[Any, int]]:
    """Return the large weights of a graph, each with the axis that counts what it puts out."""
    found = {}
    for node in graph.graph:
        place = 0 if node.op_type == "MatMul" and node.inputs[0].const_value is not None else 1
        if node.op_type not in ("Conv", "MatMul", "Gemm") or len(node.inputs) <= place:
            continue
        weight = node.inputs[place]
        if weight.is_initializer() and weight.const_value.size >= SMALL:
            rows = node.op_type == "Conv" or place == 0
            if node.op_type == "Gemm" and (turned := node.attributes.get("transB")):
                rows = bool(turned.as_int())
            found[weight.name] = weight, 0 if rows else len(weight.shape) - 1
    return list(found.values())


def _shrink(ir: Any, graph: Any, weight: Any, axis: int, precision: str) -> None:
    """Keep a weight in fewer bytes, and let the graph begin with what makes float32 of it again.

    So the sums are done in float32 whatever the precision, which is that of the file: float16, or int8 with one scale
    for each output.
    """
    values = weight.const_value.numpy()

    def kept(array: np.ndarray, ending: str) -> Any:
        value = ir.Value(name=weight.name + ending, const_value=ir.tensor(array, name=weight.name + ending))
        graph.graph.register_initializer(value)
        return value

    if precision == "float16":
        node = ir.Node("", "Cast", [kept(values.astype(np.float16), "_16")], {"to": ir.AttrInt64("to", 1)})
    else:
        others = tuple(place for place in range(values.ndim) if place != axis)
        scale = np.maximum(np.abs(values).max(others, keepdims=True) / 127, np.finfo(np.float32).tiny)
        small = np.rint(values / scale).astype(np.int8)
        inputs = [kept(small, "_8"), kept(scale.ravel().astype(np.float32), "_scale")]
        node = ir.Node("", "DequantizeLinear", inputs, {"axis": ir.AttrInt64("axis", axis)})
    graph.graph.insert_before(graph.graph[0], node)
    weight.replace_all_uses_with(node.outputs[0])
    del graph.graph.initializers[weight.name]


def _facts(run: Any, checkpoint: Path, precision: str) -> dict[str, str]:
    """Return what a program must know to use the file, and a reader to judge it: JSON where it is no text."""
    info, extractor = run.info, backbones.extractor_from(checkpoint)
    longest = getattr(extractor, "n_samples", None)
    facts = {
        "title": run.name,
        "labels": list(info["labels"]),
        "sampling_rate": audio.RATE,
        "trim_threshold_db": audio.SILENCE_DB if info["recipe"]["trim"] else None,
        "normalization": "in the graph",
        "shortest_seconds": audio.SHORTEST,
        "longest_seconds": longest and longest / audio.RATE,
        "precision": precision,
        "license": sharing.license_of(run),
        "corpus": info["corpus"],
        "synthetic": info["synthetic"],
        "known_voices": info["known_voices"],
        "split": info["split"],
        "profile": info["profile"],
        "backbone": info["backbone"],
        "kind": info["kind"],
    }
    return {name: value if isinstance(value, str) else json.dumps(value) for name, value in facts.items()}
