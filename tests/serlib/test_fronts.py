"""What networks are given: against torchaudio, which computes it in its own way, and always of one size."""

import numpy as np
import pytest
import torch

from serlib.data import audio
from serlib.train import fronts, probing
from serlib.train.backbones import backbone
from serlib.train.networks import NETWORKS, network
from serlib.train.recipes import Probe


@pytest.fixture
def voice() -> np.ndarray:
    """A gliding tone with overtones and a little noise, 2 s."""
    random, time = np.random.default_rng(15), np.arange(2 * audio.RATE) / audio.RATE
    phase = 2 * np.pi * (150 * time + 40 * time**2)
    return (np.sin(phase) + 0.5 * np.sin(2 * phase) + 0.01 * random.standard_normal(len(time))).astype(np.float32)


def test_the_mel_picture_is_torchaudios(voice):
    torchaudio = pytest.importorskip("torchaudio")
    own = fronts._picture_of(voice, "mel", 64, 1024, 640)
    energy = torchaudio.transforms.MelSpectrogram(
        audio.RATE, 1024, hop_length=640, n_mels=64, norm="slaney", mel_scale="slaney", pad_mode="constant"
    )(torch.from_numpy(voice))
    decibels = torchaudio.functional.amplitude_to_DB(energy, 10, 1e-10, np.log10(float(energy.max())), 80).numpy()
    assert own.shape == decibels.shape == (64, 51)
    assert own.max() == pytest.approx(1) and own.min() >= -1
    assert np.abs(own - (decibels / 40 + 1)).max() < 0.01


@pytest.mark.parametrize("name", [name for name, row in NETWORKS.items() if row.front["kind"] != "encoder"])
@pytest.mark.parametrize("seconds", [0.1, 2.0, 5.0])
def test_every_clip_becomes_as_many_frames_as_the_network_was_built_for(name, seconds):
    samples = np.random.default_rng(0).standard_normal(int(seconds * audio.RATE)).astype(np.float32)
    made = fronts.front_of(network(name))(samples)["input_features"]
    assert made.shape == (1, NETWORKS[name].front["bands"], NETWORKS[name].frames)
    assert made.dtype == torch.float32 and torch.isfinite(made).all()


def test_silence_is_a_picture_too():
    for name in ("mel-cnn", "cycle-graph"):
        assert torch.isfinite(fronts.front_of(network(name))(np.zeros(8000))["input_features"]).all()


def test_pitch_is_among_the_descriptors():
    tone = np.sin(2 * np.pi * 140 * np.arange(3 * audio.RATE) / audio.RATE).astype(np.float32)
    rows = fronts._picture_of(tone, "descriptors", 35, 1024, 400)
    assert np.median(rows[16]) == pytest.approx(12, abs=0.2)  # an octave above 70 Hz, in semitones


def test_an_encoders_frames_are_those_that_a_probe_averages(voice):
    on = backbone("hubert-base-mini")
    front = fronts.front_of(network("mlp", on=on))
    made = front(voice)["input_features"][0].numpy().reshape(on.layers + 1, on.hidden, -1)
    layers = probing.states_of(probing.frozen_encoder(on, Probe()), voice)
    even = layers.shape[1] // 2 * 2
    assert np.allclose(made.mean(2), layers[:, :even].mean(1), atol=1e-4)


def test_fronts_differ_by_their_settings_and_are_found_again():
    one, again, other = (fronts.front_of(network(name)).key for name in ("mel-cnn", "mel-cnn", "cycle-graph"))
    assert one == again != other
    heads = {fronts.front_of(network(name, on=backbone("hubert-base-mini"))).key for name in ("mlp", "downstream")}
    assert len(heads) == 1  # what the encoder makes of a clip is kept once for both
