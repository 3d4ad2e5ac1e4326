"""The networks of the related work, each small and whole, in plain torch; trained by ``ser.fine_tune`` (notebook 15).

A network takes a picture of the sound, (clips, bands, frames), as ``serlib.train.fronts`` makes it of 3 s, and returns
a number a class. It starts from nothing but for two kinds: CNN-14, whose weights from AudioSet are taken from a file of
yours, and the two heads that read a frozen encoder. Written from the articles; where an article leaves a size open, or
was not at hand, the docstring says that the size is ours.
"""

import math
import pickle
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import AutoConfig, AutoModelForAudioClassification, PreTrainedConfig, PreTrainedModel
from transformers.modeling_outputs import SequenceClassifierOutput

from serlib.errors import SerlibError, demand, in_short, nearest
from serlib.files import key_of, named_folder
from serlib.train.backbones import NETWORK, NETWORK_TYPE, Backbone, hush, weights_key
from serlib.train.weights import digest

CODE = 1  # raise it when the same network of the same name would give other numbers
AUDIOSET = "Cnn14_16k_mAP=0.438.pth"  # the file of Kong et al. for 16 kHz, in a folder that SERLIB_MODELS names
SECONDS = 3.0  # of a clip, which is filled up with silence or cut
NODES = 120  # of a graph: Shirian and Guha's number, here 25 ms each


# --- on a spectrogram --------------------------------------------------------------------------------------------


def _block(inside: int, outside: int, pooling: int, activation: type[nn.Module] = nn.ReLU) -> list[nn.Module]:
    """Return a 3 x 3 convolution that keeps the size, its normalization, its activation, and a pooling."""
    convolution = nn.Conv2d(inside, outside, 3, padding=1)
    return [convolution, nn.BatchNorm2d(outside), activation(), nn.MaxPool2d(pooling)]


class MelCNN(nn.Module):
    """Four blocks of convolution on a log-mel picture, then its mean: the network that tutorials begin with (15).

    After Piczak (2015, doi 10.1109/MLSP.2015.7324337), who first read such pictures so; the sizes are ours: 98,664
    weights for 8 classes.
    """

    shortest = 16  # frames: four poolings by 2

    def __init__(self, bands: int, frames: int, classes: int):
        super().__init__()
        sizes = (1, 16, 32, 64, 128)
        blocks = [_block(a, b, 2) for a, b in zip(sizes, sizes[1:], strict=False)]
        self.blocks = nn.Sequential(*(layer for block in blocks for layer in block))
        self.classifier = nn.Linear(sizes[-1], classes)

    def forward(self, picture: torch.Tensor) -> torch.Tensor:
        """Turn (clips, bands, frames) into (clips, classes)."""
        patterns = self.blocks(picture[:, None]).mean((2, 3))
        return self.classifier(nn.functional.dropout(patterns, 0.3, self.training))


class ParallelTransformer(nn.Module):
    """Two CNNs and a transformer read the same cepstrum side by side, and one layer reads all three (15).

    Zenkov (2020, github.com/IliaZenkov/transformer-cnn-emotion-recognition), whom Han et al. (2021) gave a ResNet in
    place of one CNN. The CNNs look for patterns in the picture, the transformer compares moments. With 40 cepstral
    coefficients and about 282 frames each CNN ends in 512 numbers and the transformer in 40: 1,064 in all.
    """

    shortest = 32  # frames: poolings by 2, 4 and 4

    def __init__(self, bands: int, frames: int, classes: int):
        super().__init__()
        self.scale = nn.BatchNorm1d(bands, affine=False)  # each coefficient, over all training clips
        plan = ((1, 16, 2), (16, 32, 4), (32, 64, 4))
        self.cnns = nn.ModuleList(
            nn.Sequential(*(layer for sizes in plan for layer in (*_block(*sizes), nn.Dropout(0.3))), nn.Flatten())
            for _ in range(2)
        )
        layer = nn.TransformerEncoderLayer(bands, nhead=4, dim_feedforward=512, dropout=0.4, batch_first=True)
        self.transformer = nn.TransformerEncoder(layer, 4, enable_nested_tensor=False)
        self.classifier = nn.Linear(2 * 64 * (bands // 32) * (frames // 32) + bands, classes)

    def forward(self, picture: torch.Tensor) -> torch.Tensor:
        """Turn (clips, coefficients, frames) into (clips, classes)."""
        picture = self.scale(picture)
        patterns = [cnn(picture[:, None]) for cnn in self.cnns]
        moments = nn.functional.max_pool1d(picture, 4).transpose(1, 2)
        return self.classifier(torch.cat([*patterns, self.transformer(moments).mean(1)], 1))


class ParallelAttention(nn.Module):
    """A CNN beside a two-way LSTM whose moments are weighed by attention (15).

    Bautista et al. (2022, doi 10.3390/electronics11233935), their "parallel CNN-BLSTM-attention"; the sizes are ours.
    """

    shortest = 16

    def __init__(self, bands: int, frames: int, classes: int):
        super().__init__()
        sizes = (1, 16, 32, 64, 64)
        blocks = [_block(a, b, 2, nn.ELU) for a, b in zip(sizes, sizes[1:], strict=False)]
        self.cnn = nn.Sequential(*(layer for block in blocks for layer in block))
        self.lstm = nn.LSTM(bands, 64, batch_first=True, bidirectional=True)
        self.attention = nn.Linear(128, 1)
        self.classifier = nn.Linear(sizes[-1] + 128, classes)

    def forward(self, picture: torch.Tensor) -> torch.Tensor:
        """Turn (clips, bands, frames) into (clips, classes)."""
        patterns = self.cnn(picture[:, None]).mean((2, 3))
        moments, _ = self.lstm(nn.functional.max_pool1d(picture, 2).transpose(1, 2))
        weights = self.attention(moments).softmax(1)  # (clips, frames, 1)
        both = torch.cat([patterns, (weights * moments).sum(1)], 1)
        return self.classifier(nn.functional.dropout(both, 0.3, self.training))


class _Pair(nn.Module):
    """Two convolutions of CNN-14 and an average pooling; its parts have the names of the published file."""

    def __init__(self, inside: int, outside: int, pooling: int):
        super().__init__()
        self.conv1 = nn.Conv2d(inside, outside, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outside)
        self.conv2 = nn.Conv2d(outside, outside, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outside)
        self.pooling = pooling

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.bn2(self.conv2(self.bn1(self.conv1(x)).relu())).relu()
        return nn.functional.dropout(nn.functional.avg_pool2d(x, self.pooling), 0.2, self.training)


class CNN14(nn.Module):
    """CNN-14 of PANNs, at its real size: six pairs of convolutions, 64 to 2,048 channels (15).

    Kong et al. (2020, arXiv 1912.10211) trained it to name 527 kinds of sound in AudioSet, and count 80,753,615
    weights with that layer of names. Luna-Jiménez et al. (2021, doi 10.3390/s21227665) fine-tuned it on RAVDESS.
    """

    shortest = 32  # frames: five poolings by 2

    def __init__(self, bands: int, frames: int, classes: int):
        super().__init__()
        self.bn0 = nn.BatchNorm2d(bands)
        sizes = (1, 64, 128, 256, 512, 1024, 2048)
        for number in range(1, 7):
            self.add_module(f"conv_block{number}", _Pair(sizes[number - 1], sizes[number], 2 if number < 6 else 1))
        self.fc1 = nn.Linear(2048, 2048)
        self.classifier = nn.Linear(2048, classes)

    def forward(self, picture: torch.Tensor) -> torch.Tensor:
        """Turn (clips, bands, frames) into (clips, classes)."""
        x = self.bn0(picture[:, :, None]).permute(0, 2, 3, 1)  # one channel, frames, bands
        for number in range(1, 7):
            x = self.get_submodule(f"conv_block{number}")(x)
        x = x.mean(3)
        x = nn.functional.dropout(x.amax(2) + x.mean(2), 0.5, self.training)
        return self.classifier(nn.functional.dropout(self.fc1(x).relu(), 0.5, self.training))


# --- on a graph of frames ----------------------------------------------------------------------------------------


def cycle_basis(nodes: int) -> torch.Tensor:
    """Return the frequencies of a ring of nodes as columns, (nodes, nodes): waves that close on themselves (15).

    They are the eigenvectors of the ring's Laplacian, and known without computing them: a constant, cosines and sines.
    What is measured along the ring is taken apart into them by the transpose, as by a Fourier transform.

    Parameters
    ----------
    nodes
        How many stand in the ring, 3 or more.

    Returns
    -------
    Tensor
        float32, orthonormal; slow waves come first.

    References
    ----------
    Sandryhaila and Moura (2013, arXiv 1210.4752): the Fourier transform of a graph.

    Examples
    --------
    >>> import torch
    >>> basis = ser.networks.cycle_basis(4)
    >>> (basis.T @ basis).round(decimals=3).abs().tolist() == torch.eye(4).tolist()
    True
    """
    place = torch.arange(nodes, dtype=torch.float64) * 2 * math.pi / nodes
    waves = [torch.ones(nodes, dtype=torch.float64)]
    for turns in range(1, nodes // 2 + 1):
        waves.append((turns * place).cos())
        if 2 * turns < nodes:
            waves.append((turns * place).sin())
    return torch.stack([wave / wave.norm() for wave in waves], 1).float()


class _Spectral(nn.Module):
    """One exact graph convolution: into frequencies, the same small network at each, and back."""

    def __init__(self, inside: int, outside: int, hidden: int = 128):
        super().__init__()
        self.inside, self.norm, self.outside = (
            nn.Linear(inside, hidden), nn.BatchNorm1d(hidden), nn.Linear(hidden, outside)
        )  # fmt: skip

    def forward(self, nodes: torch.Tensor, basis: torch.Tensor) -> torch.Tensor:
        x = self.inside(basis.T @ nodes)
        x = self.norm(x.transpose(1, 2)).transpose(1, 2).relu()
        return (basis @ self.outside(x)).relu()


class CompactGraph(nn.Module):
    """Frames as the nodes of a ring, each joined to the one before and after it, and two graph convolutions (15).

    Shirian and Guha (2021, arXiv 2008.02063). On a ring the convolution is exact and cheap, since its frequencies are
    known. With the article's 35 numbers a node and 64 a hidden node the two layers have 29,952 weights, its "about 30
    thousand"; what reads the sum of all nodes comes to them.
    """

    shortest = NODES

    def __init__(self, bands: int, frames: int, classes: int):
        super().__init__()
        self.scale = nn.BatchNorm1d(bands, affine=False)
        self.register_buffer("basis", cycle_basis(frames))
        self.layers = nn.ModuleList([_Spectral(bands, 64), _Spectral(64, 64)])
        self.reader = nn.Sequential(nn.Linear(64, 128), nn.Dropout(0.5), nn.PReLU(128))
        self.classifier = nn.Linear(128, classes)

    def forward(self, picture: torch.Tensor) -> torch.Tensor:
        """Turn (clips, descriptors, nodes) into (clips, classes)."""
        nodes = self.scale(picture).transpose(1, 2)
        for layer in self.layers:
            nodes = layer(nodes, self.basis)
        return self.classifier(self.reader(nodes.sum(1)))


class LearnedGraph(nn.Module):
    """The same frames, but which of them are joined is learned with the rest (15).

    After the L-GrIN of Shirian, Tripathi and Guha (2022, arXiv 2008.02661): edges that are learned, a layer that looks
    at once at a node, at its neighbors and at theirs ("inception"), and learned weights in place of a sum over nodes.
    The sizes are ours. The edges begin as the ring.
    """

    shortest = NODES

    def __init__(self, bands: int, frames: int, classes: int):
        super().__init__()
        self.scale = nn.BatchNorm1d(bands, affine=False)
        ring = torch.eye(frames).roll(1, 0)
        self.edges = nn.Parameter(ring + ring.T + 0.01)
        sizes = (bands, 96)
        self.views = nn.ModuleList(nn.ModuleList(nn.Linear(size, 32) for _ in range(3)) for size in sizes)
        self.norms = nn.ModuleList(nn.BatchNorm1d(96) for _ in sizes)
        self.weights = nn.Parameter(torch.zeros(frames))
        self.classifier = nn.Linear(96, classes)

    def graph(self) -> torch.Tensor:
        """Return the edges as they are used, (nodes, nodes): none is negative, and each row sums to 1."""
        edges = (self.edges + self.edges.T).relu() / 2
        return edges / edges.sum(1, keepdim=True).clamp(min=1e-6)

    def forward(self, picture: torch.Tensor) -> torch.Tensor:
        """Turn (clips, descriptors, nodes) into (clips, classes)."""
        nodes, edges = self.scale(picture).transpose(1, 2), self.graph()
        for views, norm in zip(self.views, self.norms, strict=True):
            near = edges @ nodes
            seen = torch.cat([view(x) for view, x in zip(views, (nodes, near, edges @ near), strict=True)], 2)
            nodes = norm(seen.transpose(1, 2)).transpose(1, 2).relu()
        return self.classifier((self.weights.softmax(0)[:, None] * nodes).sum(1))


# --- on a frozen encoder -----------------------------------------------------------------------------------------


def _mean_of_frames(frames: torch.Tensor, heard: torch.Tensor) -> torch.Tensor:
    """Return the mean over time of (..., frames) without the padding: frames that are zero throughout."""
    own = (heard != 0).any(1).float()  # (clips, frames)
    return (frames * own[:, None]).sum(-1) / own.sum(-1, keepdim=True).clamp(min=1)


class MLP(nn.Module):
    """A frozen encoder's last layer, averaged over time, and one hidden layer on that average (15).

    Luna-Jiménez et al. (2022, doi 10.3390/app12010327), their first way, "embedding extraction"; their best result is
    of the second, which fine-tunes the encoder too. The size of the hidden layer is ours.
    """

    shortest = 1

    def __init__(self, bands: int, layers: int, classes: int):
        super().__init__()
        self.hidden = bands // layers
        self.scale = nn.BatchNorm1d(self.hidden, affine=False)
        self.inside = nn.Linear(self.hidden, 80)
        self.classifier = nn.Linear(80, classes)

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        """Turn (clips, layers x hidden, frames) into (clips, classes)."""
        average = self.scale(_mean_of_frames(frames[:, -self.hidden :], frames))
        return self.classifier(nn.functional.dropout(self.inside(average).relu(), 0.3, self.training))


class Downstream(nn.Module):
    """A learned sum of a frozen encoder's layers, a dense layer a frame, the mean over time, a classifier (15).

    The head of Morais et al. (2022, arXiv 2202.03896): an "upstream" that knows speech, and a small "downstream" for
    the task at hand, which is easily changed for another. The sizes are ours.
    """

    shortest = 1

    def __init__(self, bands: int, layers: int, classes: int):
        super().__init__()
        self.layers = layers
        self.layer_weights = nn.Parameter(torch.zeros(layers))
        self.scale = nn.BatchNorm1d(bands // layers, affine=False)
        self.inside = nn.Linear(bands // layers, 128)
        self.classifier = nn.Linear(128, classes)

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        """Turn (clips, layers x hidden, frames) into (clips, classes)."""
        layers = frames.unflatten(1, (self.layers, -1))
        summed = self.scale((layers * self.layer_weights.softmax(0)[:, None, None]).sum(1))
        dense = nn.functional.dropout(self.inside(summed.transpose(1, 2)).relu(), 0.3, self.training)
        return self.classifier(_mean_of_frames(dense.transpose(1, 2), frames))


# --- the table, and how a network becomes a backbone -------------------------------------------------------------


@dataclass(frozen=True)
class Row:
    """One network: what it is called, its module, what its input is made of, and how it is described.

    ``front`` holds the settings of ``serlib.train.fronts``; ``frames`` is how many of them 3 s make.
    """

    title: str
    build: Callable[[int, int, int], nn.Module]
    front: dict[str, Any]
    about: str

    @property
    def frames(self) -> int:
        """Frames of 3 s; a graph has its nodes.

        >>> ser.networks.NETWORKS["mel-cnn"].frames
        76
        """
        return NODES if self.front["kind"] == "descriptors" else 1 + int(SECONDS * 16_000) // self.front["hop"]


_MEL = {"kind": "mel", "bands": 64, "window": 1024, "hop": 640}
_RING = {"kind": "descriptors", "bands": 35, "window": 1024, "hop": 400}
_ENCODER = {"kind": "encoder", "bands": 0, "window": 0, "hop": 640}
NETWORKS = {
    "mel-cnn": Row("mel CNN", MelCNN, _MEL, "four convolutions on a log-mel picture"),
    "parallel-transformer": Row(
        "parallel CNN + transformer",
        ParallelTransformer,
        {"kind": "cepstrum", "bands": 40, "window": 512, "hop": 170},
        "two CNNs and a transformer side by side (Zenkov 2020, Han et al. 2021)",
    ),
    "parallel-attention": Row(
        "parallel CNN + attention",
        ParallelAttention,
        _MEL,
        "a CNN beside an LSTM with attention (Bautista et al. 2022)",
    ),
    "cnn14": Row(
        "CNN-14",
        CNN14,
        {"kind": "level", "bands": 64, "window": 512, "hop": 160},
        "twelve convolutions, pre-trained to name the sounds of AudioSet (Kong et al. 2020)",
    ),
    "cycle-graph": Row("cycle graph", CompactGraph, _RING, "frames as nodes of a ring (Shirian and Guha 2021)"),
    "learned-graph": Row("learned graph", LearnedGraph, _RING, "frames whose edges are learned (Shirian et al. 2022)"),
    "mlp": Row("MLP", MLP, _ENCODER, "one hidden layer on a frozen encoder's average (Luna-Jiménez et al. 2022)"),
    "downstream": Row(
        "downstream head", Downstream, _ENCODER, "a learned sum of a frozen encoder's layers (Morais et al. 2022)"
    ),
}


OWN = ("network", "head", "panns")  # families of serlib's own networks


def network(name: str, on: Backbone | None = None) -> Backbone:
    """Return a network of the related work as a backbone that ``ser.fine_tune`` trains like any other (15).

    Parameters
    ----------
    name
        "mel-cnn", "parallel-transformer", "parallel-attention", "cnn14", "cycle-graph", "learned-graph"; or a head on a
        frozen encoder, "mlp" or "downstream".
    on
        The frozen encoder that such a head reads; None for the others.

    Returns
    -------
    Backbone
        What it is; all of it is trained, but for such an encoder.

    Raises
    ------
    SerlibError
        With the nearest name for one that is none, for a head without an encoder that has heard speech, and for another
        network with one.

    Examples
    --------
    >>> print(ser.network("mel-cnn"))
    mel CNN (0.09866 M parameters, ...): four convolutions on a log-mel picture.
    >>> ser.network("mel-cn")
    Traceback (most recent call last):
    ...
    serlib.errors.SerlibError: There is no network called 'mel-cn': did you mean mel-cnn?
    """
    if not isinstance(name, str) or name not in NETWORKS:
        raise SerlibError(f"There is no network called {name!r}: {nearest(str(name), NETWORKS)}")
    row, front, title, key = NETWORKS[name], dict(NETWORKS[name].front), NETWORKS[name].title, name
    sizes = (front["bands"], row.frames)
    if front["kind"] == "encoder":
        demand(
            on, Backbone, "frozen encoder", f'give one, as ser.network("{name}", on=ser.backbone("whisper-tiny.en"))'
        )
        assert on is not None
        if on.family in OWN:
            raise SerlibError(
                f"{on.title} is no pre-trained encoder, so there is nothing to freeze; give one of those."
            )
        front |= {"bands": on.hidden * (on.layers + 1), "weights": weights_key(on)}
        sizes = (front["bands"], on.layers + 1)
        title, key = f"{on.title}, frozen + {title}", f"{on.key}-{name}"
    elif on is not None:
        given = in_short(on.key if isinstance(on, Backbone) else on)
        raise SerlibError(f"{title} hears the sound itself and takes no frozen encoder; leave out on={given}.")
    with torch.device("meta"):
        count = sum(p.numel() for p in row.build(*sizes, 8).parameters())
    revision = key_of({"name": name, "front": front, "code": CODE, "weights": _audioset_digest(name)})
    family = "panns" if name == "cnn14" else "network" if on is None else "head"
    place = NETWORK + (name if on is None else f"{name}/{on.key if on.is_twin else on.checkpoint}")
    return Backbone(
        key, title, place, family, count / 1e6, front["bands"], sizes[1], False, f"{row.about}.", "", revision, "mit"
    )


def row_of(backbone: Backbone) -> Row:
    """Return the row of a network's backbone."""
    return NETWORKS[backbone.checkpoint.removeprefix(NETWORK).split("/")[0]]


# --- a network among the models of transformers, so that the Trainer saves and loads it --------------------------


class NetworkConfig(PreTrainedConfig):
    """What config.json says of a trained network: its name here, and the size of its input."""

    model_type = NETWORK_TYPE

    def __init__(self, network: str = "mel-cnn", bands: int = 64, frames: int = 76, **other: Any):
        self.network, self.bands, self.frames = network, bands, frames
        super().__init__(**other)


class _NetworkClassifier(PreTrainedModel):
    """A network of this module in the dress of a transformers model: logits, and a loss where labels are given."""

    config_class = NetworkConfig
    base_model_prefix = "network"
    main_input_name = "input_features"

    def __init__(self, config: NetworkConfig):
        super().__init__(config)
        row = NETWORKS[config.network]
        self.network = row.build(config.bands, config.frames, config.num_labels)
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        """Leave the weights as torch draws them."""

    def forward(self, input_features: torch.Tensor, labels: torch.Tensor | None = None, **_: Any) -> Any:
        frames, shortest = input_features.shape[-1], self.network.shortest
        if frames < shortest:
            raise SerlibError(
                f"A clip of {frames} frames is too short for {NETWORKS[self.config.network].title}, which pools "
                f"{shortest} of them into one; fill it up with silence."
            )
        logits = self.network(input_features)
        loss = None if labels is None else nn.functional.cross_entropy(logits, labels)
        return SequenceClassifierOutput(loss=loss, logits=logits)


AutoConfig.register(NetworkConfig.model_type, NetworkConfig, exist_ok=True)
AutoModelForAudioClassification.register(NetworkConfig, _NetworkClassifier, exist_ok=True)


def load(backbone: Backbone, labels: Sequence[str], pretrained: bool) -> nn.Module:
    """Return a network with random weights by torch's seed, or CNN-14 with those of AudioSet (15).

    Parameters
    ----------
    backbone
        What ``ser.network`` returned.
    labels
        The classes, in order.
    pretrained
        Whether CNN-14 takes its weights from the file of Kong et al.; the others have none to take.

    Returns
    -------
    Module
        A model of transformers, for input of shape (clips, bands, frames); its logits are (clips, classes).

    Raises
    ------
    SerlibError
        Where that file is not there, is damaged, or holds another network.

    Examples
    --------
    >>> model = ser.networks.load(ser.network("mel-cnn"), ["happy", "sad"], pretrained=False)
    >>> model.network.classifier
    Linear(in_features=128, out_features=2, bias=True)
    """
    hush()
    name = backbone.checkpoint.removeprefix(NETWORK).split("/")[0]
    config = NetworkConfig(
        network=name,
        bands=backbone.hidden,
        frames=backbone.layers,
        num_labels=len(labels),
        id2label=dict(enumerate(labels)),
        label2id={label: i for i, label in enumerate(labels)},
    )
    model = _NetworkClassifier(config)
    if pretrained and backbone.family == "panns":
        _take_audioset(model.network)
    return model


def _audioset_file() -> Path | None:
    """Return the file of CNN-14's weights below the folder that SERLIB_MODELS names, None where there is none."""
    shelf = named_folder("SERLIB_MODELS")
    places = [shelf / AUDIOSET, shelf / "cnn14" / AUDIOSET] if shelf else []
    return next((place for place in places if place.is_file()), None)


def _audioset_digest(name: str) -> str:
    file = _audioset_file() if name == "cnn14" else None
    return digest(file) if file else ""


def _take_audioset(network: nn.Module) -> None:
    """Fill CNN-14 with the weights of its published file, all but its last layer, which named other things."""
    file = _audioset_file()
    if file is None:
        raise SerlibError(
            f"The weights of CNN-14 are not here: put {AUDIOSET} (Zenodo record 3987831) into a folder cnn14 below the "
            "one that SERLIB_MODELS names, or train from nothing with Recipe(pretrained=False)."
        )
    try:
        found = torch.load(file, map_location="cpu", weights_only=True)
        found = found.get("model", found)
        fault = _difference(network.state_dict(), found)
    except (OSError, RuntimeError, EOFError, AttributeError, pickle.UnpicklingError) as error:
        raise SerlibError(f"{file.name} is no file of weights that torch can read; download it again.") from error
    if fault:
        raise SerlibError(f"{file.name} holds another network than CNN-14 for 16 kHz: {fault}; take that very file.")
    known = [key for key in network.state_dict() if key in found and not key.startswith("classifier")]
    network.load_state_dict({key: found[key] for key in known}, strict=False)


def _difference(own: dict[str, torch.Tensor], found: dict[str, torch.Tensor]) -> str:
    """Return the first tensor that is missing in a file or has another shape, "" where all of them fit."""
    for key, tensor in own.items():
        if key.startswith("classifier") or key.endswith("num_batches_tracked"):
            continue
        if key not in found:
            return f"it has no {key}"
        if found[key].shape != tensor.shape:
            return f"its {key} is {tuple(found[key].shape)} in place of {tuple(tensor.shape)}"
    return ""
