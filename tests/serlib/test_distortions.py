"""Distortions have units: what comes out is measured here by means of our own, ratio, time, band, rate and pitch."""

import numpy as np
import pytest
from scipy.signal import find_peaks

from serlib.data import distortions
from serlib.errors import SerlibError

RATE = 16_000
TIME = np.arange(2 * RATE) / RATE


def tone(hertz: float, seconds: float = 2, loud: float = 0.3) -> np.ndarray:
    return (loud * np.sin(2 * np.pi * hertz * TIME[: round(seconds * RATE)])).astype(np.float32)


def voice(seed: int) -> np.ndarray:
    """Return two seconds that rise and fall four times a second, with a pitch and its overtones, between silences."""
    random = np.random.default_rng(seed)
    pitch = random.uniform(100, 250)
    hum = sum(np.sin(2 * np.pi * k * pitch * TIME + random.uniform(0, 6)) / k for k in range(1, 15))
    return np.pad(0.1 * hum * (1.1 + np.sin(2 * np.pi * 4 * TIME)), RATE // 2).astype(np.float32)


def power(samples: np.ndarray) -> float:
    return np.mean(samples.astype(np.float64) ** 2)


def share_of_energy(samples: np.ndarray, low: float, high: float) -> float:
    energy = np.abs(np.fft.rfft(samples.astype(np.float64))) ** 2
    hertz = np.fft.rfftfreq(len(samples), 1 / RATE)
    return energy[(hertz >= low) & (hertz <= high)].sum() / energy.sum()


@pytest.mark.parametrize("kind", ["white", "babble"])
@pytest.mark.parametrize("snr_db", [20, 10, 0])
def test_the_ratio_of_what_comes_out_is_the_one_that_was_asked_for(kind, snr_db):
    clip = np.pad(tone(220), RATE).astype(np.float32)  # a second of silence on either side
    voices = [voice(seed) for seed in range(8)] if kind == "babble" else []
    noisy = distortions.add_noise(clip, snr_db, kind, voices)
    noise = noisy.astype(np.float64) - clip
    measured = 10 * np.log10(power(clip[RATE:-RATE]) / power(noise))
    assert noisy.dtype == np.float32 and len(noisy) == len(clip)
    assert measured == pytest.approx(snr_db, abs=0.15)  # the span of the voice is found to a frame


def test_white_noise_is_equally_strong_in_every_band_and_babble_is_not():
    clip = tone(220)
    white = distortions.add_noise(clip, 0) - clip
    shares = [share_of_energy(white, low, low + 1000) for low in range(0, 8000, 1000)]
    assert shares == pytest.approx([1 / 8] * 8, rel=0.1)
    babble = distortions.add_noise(clip, 0, "babble", [voice(seed) for seed in range(6)]) - clip
    assert share_of_energy(babble, 50, 4000) > 0.99


def test_babble_is_six_of_the_voices_that_were_given():
    """Each hums at one frequency, so a spectrum counts them."""
    voices = [tone(300 + 200 * k) for k in range(10)]
    clip = tone(5000)
    babble = distortions.add_noise(clip, 0, "babble", voices).astype(np.float64) - clip
    heights = np.abs(np.fft.rfft(babble))[:5000]
    peaks, _ = find_peaks(heights, height=heights.max() / 2)
    assert len(peaks) == 6 and set(peaks / 2) <= {300 + 200 * k for k in range(10)}


def test_a_clip_gets_the_same_noise_again_and_another_clip_another():
    a, b = tone(220), tone(230)
    of_a = distortions.add_noise(a, 10)
    assert np.array_equal(of_a, distortions.add_noise(a.copy(), 10))
    assert not np.array_equal(of_a, distortions.add_noise(a, 10, random_state=1))
    assert abs(np.corrcoef(of_a - a, distortions.add_noise(b, 10) - b)[0, 1]) < 0.05


def reverberation(response: np.ndarray) -> float:
    """Return the RT60 in s by Schroeder's backward integration: three times as long as from -5 to -25 dB."""
    left = np.cumsum(response[::-1].astype(np.float64) ** 2)[::-1]
    decay = 10 * np.log10(left / left[0] + 1e-12)
    steady = (decay <= -5) & (decay >= -25)
    slope = np.polyfit(np.flatnonzero(steady) / RATE, decay[steady], 1)[0]
    return -60 / slope


@pytest.mark.parametrize("rt60, distance", [(0.2, 0.5), (0.2, 3), (0.4, 1), (0.6, 2)])
def test_the_reverberation_time_of_a_room_is_the_one_that_was_asked_for(rt60, distance):
    pytest.importorskip("pyroomacoustics")
    for random_state in (0, 1):
        response = distortions.room_response(rt60, distance, random_state)
        assert len(response) == round(rt60 * RATE)
        assert reverberation(response) == pytest.approx(rt60, rel=0.2)


def test_a_far_microphone_hears_more_of_the_room():
    pytest.importorskip("pyroomacoustics")

    def direct_to_reverberant(distance: float) -> float:
        response = distortions.room_response(0.4, distance).astype(np.float64)
        near = np.argmax(np.abs(response)) + RATE // 400  # 2.5 ms after the direct sound
        return 10 * np.log10(np.sum(response[:near] ** 2) / np.sum(response[near:] ** 2))

    ratios = [direct_to_reverberant(distance) for distance in (0.5, 1, 2, 3)]
    assert ratios == sorted(ratios, reverse=True) and ratios[0] - ratios[-1] > 8


def test_a_clip_in_a_room_keeps_its_energy_and_gets_a_tail():
    pytest.importorskip("pyroomacoustics")
    clip = tone(300)
    heard = distortions.in_room(clip, 0.3, 2)
    assert len(heard) == len(clip) + round(0.3 * RATE) - 1
    assert np.sum(heard.astype(np.float64) ** 2) == pytest.approx(np.sum(clip.astype(np.float64) ** 2), rel=1e-3)
    tail = heard[len(clip) :]
    assert power(tail[:800]) > 100 * power(tail[-800:]) > 0


def test_a_telephone_lets_300_to_3400_hertz_through():
    noise = (0.1 * np.random.default_rng(0).standard_normal(4 * RATE)).astype(np.float32)
    heard = distortions.telephone(noise)
    assert len(heard) == len(noise)
    assert share_of_energy(heard, 290, 3450) > 0.985
    for hertz, kept in ((1000, True), (150, False), (6000, False)):
        gain = power(distortions.telephone(tone(hertz))) / power(tone(hertz))
        assert gain > 0.9 if kept else gain < 0.02


def test_a_telephone_has_the_steps_of_the_mu_law():
    """They grow with the height of the sample, so the error is 38 dB below a loud tone and below a soft one.

    With 8 bits of equal steps the soft one would have 20 dB less.
    """
    for loud in (0.5, 0.05):
        clip = tone(1013, loud=loud)[800:-800].astype(np.float64)
        heard = distortions.telephone(tone(1013, loud=loud))[800:-800].astype(np.float64)
        error = heard - clip * (heard @ clip) / (clip @ clip)
        assert 36 < 10 * np.log10(power(clip) / power(error)) < 40


@pytest.mark.parametrize("kbit_s, low, high", [(8, 6, 10.5), (16, 12, 18), (64, 48, 80)])
def test_the_rate_of_opus_is_counted_in_the_bytes_of_its_file(kbit_s, low, high):
    speech = np.tile(voice(3), 4)
    spent = 8 * len(distortions.opus_file(speech, kbit_s)) / (len(speech) / RATE) / 1000
    assert low < spent < high
    heard = distortions.opus(speech, kbit_s)
    assert heard.shape == speech.shape and heard.dtype == np.float32
    assert np.corrcoef(heard, speech)[0, 1] > 0.8  # neither late nor upside down


def test_opus_at_fewer_bits_is_further_from_the_clip():
    speech = np.tile(voice(3), 2)
    errors = [power(distortions.opus(speech, rate) - speech) for rate in (8, 16, 64)]
    assert errors == sorted(errors, reverse=True)


def test_clipping_cuts_at_the_asked_level_and_tanh_bends_below_it():
    clip = tone(217, loud=0.8)
    cut, bent = distortions.clip(clip, 20), distortions.tanh(clip, 20)
    limit = np.abs(clip).max() / 10
    assert np.abs(cut).max() == pytest.approx(limit, rel=1e-6)
    assert np.array_equal(cut[np.abs(clip) < limit], clip[np.abs(clip) < limit])
    assert np.mean(np.abs(cut) >= 0.999 * limit) == pytest.approx(1 - 2 / np.pi * np.arcsin(0.1), abs=0.01)
    assert limit * 0.999 < np.abs(bent).max() <= limit and (np.abs(bent) <= np.abs(cut) + 1e-7).all()
    assert np.array_equal(distortions.clip(clip, 0), clip)


def test_level_is_decibels():
    clip = tone(200)
    assert 10 * np.log10(power(distortions.level(clip, -12)) / power(clip)) == pytest.approx(-12, abs=1e-3)


@pytest.mark.parametrize("factor", [0.8, 1.25])
def test_speed_changes_length_and_pitch_alike(factor):
    heard = distortions.speed(tone(400), factor)
    assert len(heard) == pytest.approx(2 * RATE / factor, abs=2)
    pitch = np.argmax(np.abs(np.fft.rfft(heard * np.hanning(len(heard))))) / (len(heard) / RATE)
    assert pitch == pytest.approx(400 * factor, abs=1)


SILENCE = np.zeros(RATE, np.float32)
SHORT = np.full(1000, 0.1, np.float32)


@pytest.mark.parametrize(
    "call, said",
    [
        (lambda: distortions.add_noise(SILENCE, 10), "silent"),
        (lambda: distortions.add_noise(tone(200), 10, "pink"), "white"),
        (lambda: distortions.add_noise(tone(200), 10, "babble"), "give clips of other people"),
        (lambda: distortions.add_noise(tone(200), 10, "babble", [SILENCE]), "give clips of other people"),
        (lambda: distortions.add_noise(tone(200), float("nan")), "signal-to-noise ratio is nan"),
        (lambda: distortions.add_noise(tone(200), 10, random_state=-1), "random_state"),
        (lambda: distortions.in_room(tone(200), 0.01, 1), "0.2 to 1 s"),
        (lambda: distortions.in_room(tone(200), 0.3, 50), "0.3 to 4 m"),
        (lambda: distortions.opus(tone(200), 2), "6 to 256 kbit/s"),
        (lambda: distortions.clip(tone(200), -3), "0 to 60 dB"),
        (lambda: distortions.level(tone(200), "loud"), "dB"),
        (lambda: distortions.speed(tone(200), 0), "0.25 to 4"),
        (lambda: distortions.telephone(np.zeros((2, 2), np.float32)), "row of finite numbers"),
        (lambda: distortions.telephone("a.wav"), "ser.read"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_sentence(call, said):
    with pytest.raises(SerlibError, match=said) as caught:
        call()
    assert "\n" not in str(caught.value) and str(caught.value).endswith(".")


def test_echoes_longer_than_the_clip_are_said():
    pytest.importorskip("pyroomacoustics")
    with pytest.raises(SerlibError, match="give a longer clip"):
        distortions.in_room(SHORT, 0.3, 1)


def test_silence_goes_through_all_that_draws_no_noise():
    for heard in (
        distortions.telephone(SILENCE),
        distortions.opus(SILENCE, 16),
        distortions.clip(SILENCE, 10),
        distortions.tanh(SILENCE, 10),
        distortions.level(SILENCE, 6),
    ):
        assert np.abs(heard).max() < 1e-3 and len(heard) == len(SILENCE)
