"""The embedded corpus: spoken alike every time, healthy sound, and the prosody that the table promises."""

import json

import numpy as np
import parselmouth
import pytest
import soundfile

from serlib.data import synth
from serlib.data.ravdess import EMOTIONS, STATEMENTS, parse_name


def some_clips(actors=(1, 2)) -> dict[str, dict]:
    names = [f"03-01-0{emotion}-01-01-01-{actor:02d}" for actor in actors for emotion in range(1, 9)]
    return {name: parse_name(name) for name in names}


def test_every_emotion_has_a_rule():
    assert set(synth.PROSODY) == set(EMOTIONS)
    assert synth.PROSODY["neutral"] == synth.Prosody()


def test_speaking_twice_gives_the_same_samples(monkeypatch, tmp_path):
    sums = []
    for attempt in ("first", "second"):
        monkeypatch.setenv("SERLIB_CACHE", str(tmp_path / attempt))
        folder = synth.corpus_folder(some_clips(), STATEMENTS)
        sums.append(json.loads((folder / "manifest.json").read_text()))
    assert sums[0] == sums[1]
    assert sums[0]["clips"] == 16


def test_clips_are_neither_silent_nor_clipped(spoken_dir):
    for path in spoken_dir.glob("Actor_*/*.wav"):
        samples, rate = soundfile.read(path)
        assert rate == 16_000
        assert 0.8 < len(samples) / rate < 7
        level = 20 * np.log10(np.sqrt(np.mean(samples**2)))
        assert -55 < level < -8, path.name
        assert np.mean(np.abs(samples) > 0.99) < 1e-3, path.name


def test_a_damaged_clip_is_spoken_anew():
    clips = some_clips(actors=(3,))
    folder = synth.corpus_folder(clips, STATEMENTS)
    victim = sorted(folder.glob("Actor_*/*.wav"))[0]
    whole = victim.read_bytes()
    victim.write_bytes(whole[:200])
    assert synth.corpus_folder(clips, STATEMENTS) == folder
    assert victim.read_bytes() == whole


def pitch_of(samples: np.ndarray) -> float:
    """Median F0 in semitones above 100 Hz, by Praat's own analysis."""
    hertz = parselmouth.Sound(samples.astype(float), synth.RATE).to_pitch(0.01, 60, 600).selected_array["frequency"]
    return 12 * np.log2(np.median(hertz[hertz > 0]) / 100)


@pytest.mark.parametrize(("higher", "lower"), [("angry", "sad"), ("fearful", "calm"), ("surprised", "disgust")])
def test_pitch_follows_the_table(higher, lower):
    voice = synth._actor_voice(5)
    means = {}
    for emotion in (higher, lower):
        rng = np.random.default_rng(0)
        takes = [synth.say(STATEMENTS[0], voice, synth.PROSODY[emotion], rng) for _ in range(4)]
        means[emotion] = np.mean([pitch_of(samples) for samples in takes])
    promised = synth.PROSODY[higher].pitch - synth.PROSODY[lower].pitch
    assert means[higher] - means[lower] == pytest.approx(promised, abs=2.5)


def test_anger_is_louder_and_faster_than_sadness():
    voice = synth._actor_voice(4)
    rng = np.random.default_rng(1)
    angry, sad = (synth.say(STATEMENTS[1], voice, synth.PROSODY[e], rng) for e in ("angry", "sad"))
    assert np.sqrt(np.mean(angry**2)) > 2 * np.sqrt(np.mean(sad**2))
    assert len(angry) < 0.85 * len(sad)


def test_two_actors_differ():
    assert len({synth._actor_voice(actor) for actor in range(1, 25)}) == 24
    male = np.mean([synth._actor_voice(actor).pitch for actor in range(1, 25, 2)])
    female = np.mean([synth._actor_voice(actor).pitch for actor in range(2, 25, 2)])
    assert female > 1.5 * male
