"""What a network of notebook 15 hears: 3 s of sound as a picture, a cepstrum, a graph's nodes, or an encoder's frames.

A front is a feature extractor of transformers: it is saved beside the model, and found again with it.
"""

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoFeatureExtractor
from transformers.feature_extraction_utils import BatchFeature, FeatureExtractionMixin

from serlib.data import audio
from serlib.files import key_of
from serlib.train import backbones, networks
from serlib.train.backbones import Backbone

CODE = 1  # raise it when the same clip would give another picture
FLOOR = 80  # dB below the loudest point, where silence ends


class Front(FeatureExtractionMixin):
    """Turns one clip into a network's input, (1, bands, frames): ``kind`` says into what (15).

    "mel" is log-mel energy, 80 dB below the loudest point to -1 and that point to 1; "cepstrum" the cosine transform of
    it in dB; "level" log-mel energy in absolute dB, as PANNs has it; "descriptors" a node's 35 numbers; "encoder" all
    layers of a frozen encoder, two frames of 20 ms averaged. All but the last are of 3 s.
    """

    model_input_names = ["input_features"]

    def __init__(self, kind: str = "mel", bands: int = 64, window: int = 1024, hop: int = 640, **other: Any):
        super().__init__(**other)
        self.kind, self.bands, self.window, self.hop = kind, bands, window, hop
        self.return_attention_mask = False
        if kind != "encoder":
            self.n_samples = int(networks.SECONDS * audio.RATE)  # longer clips are heard in windows

    @property
    def key(self) -> str:
        """What its output depends on beside the sound."""
        return key_of({"front": {k: v for k, v in self.to_dict().items() if isinstance(v, str | int)}, "code": CODE})

    def __call__(self, samples: np.ndarray, **_: Any) -> BatchFeature:
        """Return ``input_features``, float32 of shape (1, bands, frames)."""
        samples = np.asarray(samples, dtype=np.float32)
        if self.kind == "encoder":
            made = _frames_of_encoder(self.encoder, self.pretrained, samples)
        else:
            made = _picture_of(_of_length(samples, self.n_samples), self.kind, self.bands, self.window, self.hop)
        return BatchFeature({"input_features": torch.from_numpy(np.ascontiguousarray(made, dtype=np.float32))[None]})


AutoFeatureExtractor.register(networks.NetworkConfig, Front, exist_ok=True)


def front_of(backbone: Backbone, pretrained: bool = True) -> Front:
    """Return what makes a network's input of a clip (15).

    Parameters
    ----------
    backbone
        What ``ser.network`` returned.
    pretrained
        False gives a frozen encoder random weights.

    Returns
    -------
    Front
        Called with samples at 16 kHz, shape (n,), it returns ``input_features``, float32 of shape (1, bands, frames).

    Examples
    --------
    >>> import numpy as np
    >>> tone = np.sin(2 * np.pi * 200 * np.arange(32_000) / ser.RATE)
    >>> ser.fronts.front_of(ser.network("mel-cnn"))(tone)["input_features"].shape
    torch.Size([1, 64, 76])
    """
    row, on = networks.row_of(backbone), backbone.checkpoint.removeprefix(backbones.NETWORK).partition("/")[2]
    settings = row.front | {"bands": backbone.hidden}
    if on:
        weights = backbones.weights_key(backbones.backbone(on))
        settings |= {"encoder": on, "weights": weights, "pretrained": pretrained}
    return Front(**settings)


def extractor_from(folder: Path) -> Any:
    """Return what makes the input of a trained model, a network or another. SerlibError without.

    It is asked here, and not in backbones, because a network's is found only once ``Front`` has been registered.
    """
    return backbones.extractor_from(folder)


def _of_length(samples: np.ndarray, length: int) -> np.ndarray:
    """Return the first ``length`` samples, silence after them where there are fewer, shape (length,)."""
    return np.pad(samples[:length], (0, max(0, length - len(samples))))


def _picture_of(samples: np.ndarray, kind: str, bands: int, window: int, hop: int) -> np.ndarray:
    """Return what a network sees of a clip, (bands, 1 + n // hop); of descriptors there are 120 frames."""
    import librosa

    if kind == "descriptors":
        return _descriptors(samples, window, hop)
    low = 50 if kind == "level" else 0
    mels = 128 if kind == "cepstrum" else bands
    energy = librosa.feature.melspectrogram(
        y=samples, sr=audio.RATE, n_fft=window, hop_length=hop, n_mels=mels, fmin=low, fmax=8000
    )
    if kind == "level":
        return librosa.power_to_db(energy, ref=1.0, amin=1e-10, top_db=None)
    decibels = librosa.power_to_db(energy, ref=np.max, top_db=FLOOR)
    return librosa.feature.mfcc(S=decibels, n_mfcc=bands) if kind == "cepstrum" else decibels * 2 / FLOOR + 1


def _descriptors(samples: np.ndarray, window: int, hop: int) -> np.ndarray:
    """Return 35 numbers for each of 120 nodes: 15 of cepstrum, loudness, pitch, how fast each changes, zero-crossings.

    Shirian and Guha's are of that kind, by openSMILE: cepstrum, zero-crossings, voicing, pitch, energy, their changes.
    """
    import librosa

    energy = librosa.feature.melspectrogram(y=samples, sr=audio.RATE, n_fft=window, hop_length=hop)
    cepstrum = librosa.feature.mfcc(S=librosa.power_to_db(energy, ref=np.max, top_db=FLOOR), n_mfcc=15)
    loudness = librosa.feature.rms(y=samples, frame_length=window, hop_length=hop)
    loudness = librosa.amplitude_to_db(loudness, ref=np.max, top_db=FLOOR)
    pitch = librosa.yin(samples, fmin=70, fmax=600, sr=audio.RATE, frame_length=window, hop_length=hop)
    crossings = librosa.feature.zero_crossing_rate(samples, frame_length=window, hop_length=hop)
    own = np.concatenate([cepstrum, loudness, 12 * np.log2(pitch / 70)[None]])
    return np.concatenate([own, librosa.feature.delta(own), crossings])[:, : networks.NODES]


def _frames_of_encoder(name: str, pretrained: bool, samples: np.ndarray) -> np.ndarray:
    """Return all layers of a frozen encoder, (layers x hidden, frames), two frames of 20 ms averaged."""
    from serlib.train import probing

    encoder = _encoder(name, pretrained)
    layers = np.concatenate([probing.states_of(encoder, piece) for piece in probing.windows(samples, encoder[1])], 1)
    even = layers.shape[1] // 2 * 2
    layers = layers[:, :even].reshape(len(layers), -1, 2, layers.shape[2]).mean(2) if even else layers
    return layers.transpose(0, 2, 1).reshape(-1, layers.shape[1])


@cache
def _encoder(name: str, pretrained: bool) -> Any:
    from serlib.train import probing
    from serlib.train.recipes import Probe

    return probing.frozen_encoder(backbones.backbone(name), Probe(pretrained=pretrained))
