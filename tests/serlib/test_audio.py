"""Reading sines whose samples are known, bad files of every kind, a cache that is whole or not there."""

import json
import os
import pickle
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile

from serlib.data import audio
from serlib.errors import SerlibError


def sine(rate: int, seconds: float = 1.0, hertz: float = 440) -> np.ndarray:
    return 0.5 * np.sin(2 * np.pi * hertz * np.arange(int(rate * seconds)) / rate)


def corpus_of(paths: list[Path]) -> pd.DataFrame:
    return pd.DataFrame({"path": map(str, paths)}, index=pd.Index([path.stem for path in paths], name="clip"))


@pytest.mark.parametrize("rate", [8_000, 16_000, 22_050, 44_100, 48_000])
@pytest.mark.parametrize("suffix", ["wav", "flac"])
def test_any_rate_becomes_16_khz(tmp_path, rate, suffix):
    path = tmp_path / f"a.{suffix}"
    soundfile.write(path, sine(rate), rate, subtype="PCM_24")
    samples = audio.read(path)
    assert samples.dtype == np.float32 and samples.shape == (16_000,)
    # At the very ends a resampler does not know what came before and after.
    assert np.abs(samples - sine(16_000))[500:-500].max() < 1e-3


def test_channels_are_averaged(tmp_path):
    left, right = sine(16_000), sine(16_000, hertz=600)
    soundfile.write(tmp_path / "a.wav", np.stack([left, right], axis=1), 16_000, subtype="FLOAT")
    assert audio.read(tmp_path / "a.wav") == pytest.approx((left + right) / 2, abs=1e-6)


def test_resampling_agrees_with_scipy(tmp_path):
    from scipy.signal import resample_poly

    speech_like = np.cumsum(np.random.default_rng(0).standard_normal(48_000)) * 1e-3
    soundfile.write(tmp_path / "a.wav", speech_like, 48_000, subtype="FLOAT")
    reference = resample_poly(speech_like, 1, 3, window=("kaiser", 14.0))
    assert np.abs(audio.read(tmp_path / "a.wav") - reference)[500:-500].max() < 2e-3


def wav(path: Path, seconds: float = 1.0) -> Path:
    soundfile.write(path, sine(16_000, seconds), 16_000, subtype="PCM_16")
    return path


def zero_byte(path):
    path.write_bytes(b"")


def text(path):
    path.write_text("this is a letter, not a sound\n" * 50)


def truncated_wav(path):
    path.write_bytes(wav(path).read_bytes()[:-10_000])


def header_only(path):
    path.write_bytes(wav(path).read_bytes()[:20])


def truncated_flac(path):
    whole = path.with_suffix(".flac")
    soundfile.write(whole, np.random.default_rng(0).standard_normal(40_000) * 0.1, 16_000)
    path.write_bytes(whole.read_bytes()[:40_000])


def truncated_mp3(path):
    whole = path.with_suffix(".mp3")
    soundfile.write(whole, np.random.default_rng(0).standard_normal(40_000) * 0.1, 16_000)
    path.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])


def damaged_flac(path):
    whole = path.with_suffix(".flac")
    soundfile.write(whole, np.random.default_rng(0).standard_normal(40_000) * 0.1, 16_000)
    data = bytearray(whole.read_bytes())
    data[20_000:60_000] = bytes(40_000)
    path.write_bytes(data)


def nan(path):
    samples = sine(16_000)
    samples[100] = np.nan
    soundfile.write(path, samples, 16_000, subtype="FLOAT")


def infinite(path):
    samples = sine(16_000)
    samples[100] = np.inf
    soundfile.write(path, samples, 16_000, subtype="FLOAT")


def no_samples(path):
    soundfile.write(path, np.zeros(0), 16_000)


def folder(path):
    path.mkdir()


def missing(path):
    pass


BAD = {
    zero_byte: "is empty",
    text: "no sound file",
    header_only: "no sound file",
    truncated_wav: "cut off, 10,000 bytes",
    truncated_flac: "cut off or damaged",
    truncated_mp3: "cut off",
    damaged_flac: "cut off or damaged",
    nan: "NaN",
    infinite: "infinity",
    no_samples: "0 samples",
    folder: "no file",
    missing: "no file",
}


@pytest.mark.parametrize(("make", "sentence"), BAD.items(), ids=lambda value: getattr(value, "__name__", ""))
def test_bad_files_are_refused_in_one_sentence(tmp_path, make, sentence):
    path = tmp_path / "a.wav"
    make(path)
    with pytest.raises(SerlibError, match=sentence) as caught:
        audio.read(path)
    assert "a.wav" in str(caught.value) and "\n" not in str(caught.value)


def test_a_clip_of_50_ms(tmp_path):
    samples = audio.read(wav(tmp_path / "a.wav", 0.05))
    assert samples.shape == (800,)
    assert 400 <= len(audio.trim(samples)) <= 800


@pytest.mark.parametrize("n", [1, 100, 399, 401])
def test_trim_takes_clips_shorter_than_a_frame(n):
    assert len(audio.trim(np.ones(n, np.float32))) == n


def test_trim_by_hand():
    clip = np.concatenate([np.zeros(8_000), sine(16_000, 0.4), np.zeros(4_800)]).astype(np.float32)
    start, stop = audio.active_span(clip)
    assert 8_000 - 400 <= start <= 8_000 and 14_400 <= stop <= 14_400 + 400
    assert len(audio.trim(clip)) == stop - start
    # Loudness does not matter, the floor does: noise at -30 dB is silence at -25 and not at -35.
    assert audio.active_span(clip * 1e-3) == (start, stop)
    noisy = clip + np.float32(0.5 / np.sqrt(2) * 10 ** (-30 / 20)) * np.sign(np.sin(np.arange(len(clip)) * 2.0))
    assert audio.active_span(noisy, -25)[0] > 7_000
    assert audio.active_span(noisy, -35)[0] == 0


@pytest.mark.parametrize("level", [0, 0.1, -1])
def test_silence_is_left_alone(level):
    silence = np.full(16_000, level, np.float32)
    assert audio.active_span(silence) == (0, 0)
    assert len(audio.trim(silence)) == 16_000


def voice(rate: int = 16_000, level: float = 0.3, noise: float = 1e-4) -> np.ndarray:
    """Half a second of silence, 0.8 s of a tone that comes and goes, 0.7 s of silence; all above faint noise."""
    tone = np.hanning(int(0.8 * rate)) * sine(rate, 0.8)
    clip = np.concatenate([np.zeros(int(0.5 * rate)), 2 * level * tone, np.zeros(int(0.7 * rate))])
    return (clip + noise * np.random.default_rng(0).standard_normal(len(clip))).astype(np.float32)


@pytest.mark.parametrize("rate", [16_000, 48_000])
@pytest.mark.parametrize("offset", [0.01, -0.05, 0.5])
def test_an_offset_is_no_sound(rate, offset):
    clip = voice(rate)
    span = audio.active_span(clip, rate=rate)
    assert 0.45 * rate < span[0] < 0.7 * rate < 1.1 * rate < span[1] < 1.35 * rate
    assert audio.active_span(clip + np.float32(offset), rate=rate) == span
    if rate == audio.RATE:
        trimmed = audio.trim(clip + np.float32(offset))
        assert np.array_equal(trimmed, (clip + np.float32(offset))[slice(*span)]), "the samples stay as they are"


@pytest.mark.parametrize("offset", [0, 0.002, 0.02, 0.2])
@pytest.mark.parametrize("at", [0, 15_000, 31_000, 31_960])
def test_a_click_does_not_stand_for_the_clip(at, offset):
    """2.5 ms, 50 dB louder than the voice: the voice is still found, and the click is a part of what is heard."""
    clip = voice(level=2e-3, noise=1e-6)
    start, stop = audio.active_span(clip)
    clip[at : at + 40] += 0.9 * np.sign(np.sin(np.arange(40)))
    found = audio.active_span(clip + np.float32(offset))
    assert found[0] <= min(start, at) + 160 and found[1] >= max(stop, at + 40) - 160
    assert found[0] >= min(start, at) - 400 and found[1] <= max(stop, at + 40) + 400


def test_a_click_and_nothing_else_is_what_there_is():
    clip = np.zeros(16_000, np.float32)
    clip[8_000:8_040] = 0.5
    start, stop = audio.active_span(clip)
    assert start <= 8_000 and stop >= 8_040 and stop - start < audio.SHORTEST * audio.RATE


def plain_span(samples: np.ndarray, threshold_db: float, rate: int) -> tuple[int, int]:
    """What ``active_span`` says of a clip without offset and click, and said of every clip before."""
    starts = np.arange(0, max(len(samples) - rate // 40, 0) + rate // 100, rate // 100)
    starts = starts[starts < len(samples)]
    stops = np.minimum(starts + rate // 40, len(samples))
    energy = np.concatenate([[0.0], np.cumsum(np.square(samples, dtype=np.float64))])
    power = energy[stops] - energy[starts]
    active = np.flatnonzero(power > power.max() * 10 ** (threshold_db / 10))
    return starts[active[0]], stops[active[-1]]


def test_spans_of_real_recordings_stay_where_they_were(ravdess_dir):
    """Every number of a model that was trained on trimmed clips depends on these."""
    from serlib.data.ravdess import ravdess

    for path in ravdess(ravdess_dir)["path"][::7]:  # of all actors, emotions, statements and takes
        sounds, rate = audio.decode(path)
        for samples, threshold_db, at in ((audio.read(path), -35, audio.RATE), (sounds.mean(axis=1), -30, rate)):
            assert audio.active_span(samples, threshold_db, at) == plain_span(samples, threshold_db, at), path


def test_clips_hold_what_read_gives(tiny_corpus, own_cache):
    clips = audio.clips(tiny_corpus)
    assert list(clips) == sorted(tiny_corpus.index) and len(clips) == 16
    for clip, path in tiny_corpus["path"].items():
        assert np.array_equal(clips[clip], audio.read(path)) and clips[clip].dtype == np.float32
    assert sorted(path.suffix for path in (own_cache / "audio").iterdir()) == [".json", ".npy"]
    assert np.load(next((own_cache / "audio").glob("*.npy"))).shape == (16 * 9_600,)
    with pytest.raises(ValueError):
        clips[tiny_corpus.index[0]][0] = 1  # the cache cannot be written to by accident
    with pytest.raises(KeyError):
        clips["nobody"]


def test_the_cache_is_made_once_for_any_order(tiny_corpus, own_cache):
    audio.clips(tiny_corpus)
    stamps = {path: path.stat().st_mtime_ns for path in (own_cache / "audio").iterdir()}
    audio.clips(tiny_corpus.sample(frac=1, random_state=1))
    assert {path: path.stat().st_mtime_ns for path in (own_cache / "audio").iterdir()} == stamps


def test_a_changed_file_or_trimming_is_another_cache(tmp_path):
    path = wav(tmp_path / "a.wav")
    corpus = corpus_of([path])
    assert len(audio.clips(corpus)["a"]) == 16_000
    silence = np.zeros(8_000)
    soundfile.write(path, np.concatenate([silence, sine(16_000), silence]), 16_000, subtype="PCM_16")
    assert len(audio.clips(corpus)["a"]) == 32_000
    assert len(audio.clips(corpus, trim=True)["a"]) == pytest.approx(16_000, abs=800)
    assert len(audio.clips(corpus)["a"]) == 32_000
    soundfile.write(path, np.full(32_000, 0.25), 16_000, subtype="PCM_16")  # as many bytes, another sound
    assert (audio.clips(corpus)["a"] == 0.25).all()


def test_clips_travel_as_an_address(tiny_corpus):
    clips = audio.clips(tiny_corpus)
    packed = pickle.dumps(clips)
    assert len(packed) < 1_000
    assert np.array_equal(pickle.loads(packed)[tiny_corpus.index[3]], clips[tiny_corpus.index[3]])


def edited(change):
    """Return what changes the JSON of an index or of the notes on files."""

    def harm(path: Path):
        kept = json.loads(path.read_text())
        change(kept)
        path.write_text(json.dumps(kept))

    return harm


def zeroed(path: Path) -> None:
    """Put zeros in the place of the last bytes, and give the file its old time."""
    stat, data = path.stat(), path.read_bytes()
    path.write_bytes(data[:-40_000] + bytes(40_000))
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


HARMS = {
    "cut": lambda path: path.write_bytes(path.read_bytes()[:-100]),
    "empty": lambda path: path.write_bytes(b""),
    "gone": Path.unlink,
    "zip": lambda path: path.write_bytes(b"PK\x03\x04" + bytes(100)),
}
OF_SAMPLES = HARMS | {"zeroed": zeroed}
OF_INDEX = HARMS | {
    "null": lambda path: path.write_text("null"),
    "list": lambda path: path.write_text("[[1, 2], [3]]"),
    "text": lambda path: path.write_text('"text"'),
    "no key": edited(lambda kept: kept.pop("key")),
    "of an older version": lambda path: path.write_text(json.dumps({"clips": [["a", 0, 10]]})),
}


@pytest.mark.parametrize(
    ("ending", "harm"),
    [pytest.param("npy", harm, id=f"samples {name}") for name, harm in OF_SAMPLES.items()]
    + [pytest.param("json", harm, id=f"index {name}") for name, harm in OF_INDEX.items()]
    + [pytest.param("json", edited(lambda kept: kept["value"]["clips"][-1].__setitem__(1, 0)), id="index other spans")],
)
def test_a_damaged_cache_is_made_again(tiny_corpus, own_cache, ending, harm):
    last = tiny_corpus.index[-1]
    before = np.array(audio.clips(tiny_corpus)[last])
    harm(next((own_cache / "audio").glob(f"*.{ending}")))
    assert np.array_equal(audio.clips(tiny_corpus)[last], before)
    assert np.array_equal(audio.clips(tiny_corpus)[last], before)


# The content of a sound


def test_keys_are_those_of_the_sound_whatever_name_place_and_format(tmp_path):
    (tmp_path / "there").mkdir()
    samples = (sine(16_000) * 2**15).astype(np.int16)
    paths = [tmp_path / "a.wav", tmp_path / "there" / "b.wav", tmp_path / "c.flac", tmp_path / "d.wav"]
    for path in paths[:3]:
        soundfile.write(path, samples, 16_000, subtype="PCM_16")
    soundfile.write(paths[3], samples, 8_000, subtype="PCM_16")  # the same numbers are another sound when read slower
    keys = audio.content_keys(corpus_of(paths))
    assert keys.index.tolist() == ["a", "b", "c", "d"] and keys.str.fullmatch("[0-9a-f]{16}").all()
    assert keys["a"] == keys["b"] == keys["c"] != keys["d"]
    soundfile.write(paths[1], np.stack([samples, samples], axis=1), 16_000, subtype="PCM_16")
    assert audio.content_keys(corpus_of(paths))["b"] != keys["a"]


@pytest.fixture
def decoded(monkeypatch) -> list[str]:
    """The names of the files that were decoded, in any order."""
    names, decode = [], audio.decode

    def spy(path):
        names.append(Path(path).name)
        return decode(path)

    monkeypatch.setattr(audio, "decode", spy)
    monkeypatch.setattr(audio, "FRESH", 0)
    return names


def test_keys_are_made_once_and_again_where_a_file_changed(tmp_path, decoded):
    paths = [wav(tmp_path / f"{name}.wav") for name in "abc"]
    corpus = corpus_of(paths)
    keys = audio.content_keys(corpus)
    assert sorted(decoded) == ["a.wav", "b.wav", "c.wav"]
    decoded.clear()
    assert audio.content_keys(corpus).equals(keys) and audio.content_keys(corpus[1:]).equals(keys[1:])
    assert decoded == []
    stat = paths[1].stat()
    soundfile.write(paths[1], -sine(16_000), 16_000, subtype="PCM_16")
    os.utime(paths[1], ns=(stat.st_atime_ns, stat.st_mtime_ns))  # as a copy does that keeps the time of the original
    assert paths[1].stat().st_size == stat.st_size
    again = audio.content_keys(corpus)
    assert decoded == ["b.wav"] and list(again != keys) == [False, True, False]


def test_a_file_as_new_as_its_key_is_not_trusted(tmp_path, decoded, monkeypatch):
    """Two changes within one tick of a disk's clock leave the same size and time behind."""
    monkeypatch.setattr(audio, "FRESH", 3_600_000_000_000)
    corpus = corpus_of([wav(tmp_path / "a.wav")])
    audio.content_keys(corpus)
    audio.content_keys(corpus)
    assert decoded == ["a.wav", "a.wav"]


@pytest.mark.parametrize("name", OF_INDEX)
def test_damaged_notes_on_files_are_made_again(tmp_path, own_cache, decoded, name):
    corpus = corpus_of([wav(tmp_path / "a.wav")])
    keys = audio.content_keys(corpus)
    OF_INDEX[name](next((own_cache / "sounds").glob("*.json")))
    assert audio.content_keys(corpus).equals(keys) and len(decoded) == 2
    assert audio.content_keys(corpus).equals(keys) and len(decoded) == 2


def test_a_forged_key_is_not_believed(tmp_path, own_cache, decoded):
    corpus = corpus_of([wav(tmp_path / "a.wav")])
    keys = audio.content_keys(corpus)
    notes = next((own_cache / "sounds").glob("*.json"))
    notes.write_text(notes.read_text().replace(keys["a"], "0" * 16))
    assert audio.content_keys(corpus).equals(keys)


# What cannot be used


def test_a_clip_of_which_trimming_leaves_nothing_is_named(tiny_corpus, tmp_path):
    blip = np.zeros(16_000)
    blip[5_000:5_040] = 0.5
    soundfile.write(tmp_path / "blip.wav", blip, 16_000)
    corpus = pd.concat([tiny_corpus, corpus_of([tmp_path / "blip.wav"])])
    with pytest.raises(SerlibError, match=r"1 of 17 clips.*blip.wav has less than 0.1 s of sound.*leave it out"):
        audio.clips(corpus, trim=True)
    assert len(audio.clips(corpus)["blip"]) == 16_000
    with pytest.raises(SerlibError, match="^blip.wav has less than 0.1 s"):
        audio.heard(tmp_path / "blip.wav", trimmed=True)
    assert len(audio.heard(tmp_path / "blip.wav")) == 16_000


def test_bad_files_in_a_corpus_are_counted_and_leave_no_cache(tmp_path, own_cache):
    paths = [wav(tmp_path / "a.wav"), tmp_path / "b.wav", tmp_path / "c.wav"]
    zero_byte(paths[1])
    nan(paths[2])
    with pytest.raises(SerlibError, match="2 of 3 clips cannot be used, the first: .*b.wav is empty"):
        audio.clips(corpus_of(paths))
    assert not list(own_cache.rglob("*.npy")) and not list(own_cache.rglob("*.json"))
    with pytest.raises(SerlibError, match="no file .*d.wav for clip d"):
        audio.clips(corpus_of([tmp_path / "d.wav"]))
    with pytest.raises(SerlibError, match="has no clips"):
        audio.clips(corpus_of([]))


# What a kill or a full disk leaves behind

CACHE_FOLDER = """
import sys
from pathlib import Path
import pandas as pd
from serlib import errors
from serlib.data import audio
paths = sorted(Path(sys.argv[1]).glob("*.wav"))
corpus = pd.DataFrame({"path": map(str, paths)}, index=[path.stem for path in paths])
try:
    print(len(audio.clips(corpus)))
except errors.SerlibError as error:
    print("SerlibError:", error)
"""


@pytest.fixture
def long_folder(tmp_path) -> Path:
    """20 clips of 10 s (13 MB when decoded) that take the disk space of one."""
    (tmp_path / "long").mkdir()
    first = tmp_path / "long" / "000.wav"
    soundfile.write(first, np.random.default_rng(0).standard_normal(441_000) * 0.1, 44_100)
    for k in range(1, 20):
        os.link(first, first.with_name(f"{k:03d}.wav"))
    return tmp_path / "long"


@pytest.mark.slow
def test_a_kill_while_caching_leaves_nothing_that_is_taken_for_whole(long_folder, own_cache, killed_in_file):
    killed_in_file(1_000_000, CACHE_FOLDER, long_folder)
    assert not list((own_cache / "audio").glob("*.npy")) and not list((own_cache / "audio").glob("*.json"))
    assert list((own_cache / "audio").glob(".*.partial"))
    paths = sorted(long_folder.glob("*.wav"))
    clips = audio.clips(corpus_of(paths))
    assert sorted(path.suffix for path in (own_cache / "audio").iterdir()) == [".json", ".npy"], "leftovers are swept"
    assert len(clips) == 20 and np.array_equal(clips["019"], audio.read(paths[0]))


@pytest.mark.slow
@pytest.mark.parametrize("how", ["tmpfs", "limit"])
def test_a_full_disk_while_caching_is_said_and_leaves_nothing(long_folder, tmp_path, how):
    cache = tmp_path / "small"
    cache.mkdir()
    prepare = None
    if how == "tmpfs":
        mount = ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(cache)]
        if not shutil.which("mount") or subprocess.run(mount, capture_output=True).returncode:
            pytest.skip("this user may not mount a small disk")
    else:

        def prepare():
            resource.setrlimit(resource.RLIMIT_FSIZE, (3 << 20, 3 << 20))

    try:
        done = subprocess.run(
            [sys.executable, "-c", CACHE_FOLDER, str(long_folder)],
            env=os.environ | {"SERLIB_CACHE": str(cache)},
            capture_output=True,
            text=True,
            preexec_fn=prepare,
        )
        left = [path for path in (cache / "audio").rglob("*") if path.is_file()]
    finally:
        if how == "tmpfs":
            subprocess.run(["umount", str(cache)], check=True)
    assert done.stdout.startswith("SerlibError: there is no room on the disk"), done.stderr
    assert left == []


@pytest.mark.slow
@pytest.mark.parametrize("how", ["mount", "user", "file"])
def test_a_cache_that_cannot_be_written_is_said(tiny_dir, tmp_path, how):
    (tmp_path / "all").mkdir()
    for path in tiny_dir.rglob("*.wav"):
        shutil.copy(path, tmp_path / "all")
    cache = tmp_path / "closed"
    cache.mkdir()
    if how == "mount":
        mount = ["mount", "-t", "tmpfs", "-o", "ro", "tmpfs", str(cache)]
        if not shutil.which("mount") or subprocess.run(mount, capture_output=True).returncode:
            pytest.skip("this user may not mount a disk")
    elif how == "user":
        cache.chmod(0o555)
        if os.access(cache, os.W_OK):
            pytest.skip("this user may write everywhere")
    else:
        (cache / "sounds").write_text("a file where a folder should be")
    try:
        done = subprocess.run(
            [sys.executable, "-c", CACHE_FOLDER, str(tmp_path / "all")],
            env=os.environ | {"SERLIB_CACHE": str(cache)},
            capture_output=True,
            text=True,
        )
    finally:
        if how == "mount":
            subprocess.run(["umount", str(cache)], check=True)
    assert done.stdout.startswith("SerlibError: cannot ") and str(cache) in done.stdout, done.stderr
    assert "SERLIB_CACHE" in done.stdout


def test_a_whole_cache_needs_no_writing(tiny_corpus, own_cache, monkeypatch):
    """A class may share one that the teacher made and nobody else may write to."""
    monkeypatch.setattr(audio, "FRESH", 0)
    audio.clips(tiny_corpus)
    monkeypatch.setattr(audio, "sole_maker", None)
    monkeypatch.setattr(audio, "atomic_path", None)
    assert len(audio.clips(tiny_corpus)) == 16


@pytest.mark.slow
def test_two_processes_that_cache_at_once_both_get_it_right(tiny_dir, tmp_path, own_cache):
    (tmp_path / "all").mkdir()
    for path in tiny_dir.rglob("*.wav"):
        shutil.copy(path, tmp_path / "all")
    command = [sys.executable, "-c", CACHE_FOLDER, str(tmp_path / "all")]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    assert [process.communicate()[0].strip() for process in both] == ["16", "16"]
    assert len(list((own_cache / "audio").iterdir())) == 2


def test_all_of_ravdess_is_decoded_once(ravdess_dir, monkeypatch):
    from serlib.data.ravdess import ravdess

    corpus = ravdess(ravdess_dir)
    audio.clips(corpus)
    monkeypatch.setattr(audio, "decode", None)  # who decodes once more, fails
    clips = audio.clips(ravdess(ravdess_dir))
    total = sum(len(clips[clip]) for clip in clips)
    assert total / audio.RATE == pytest.approx(corpus["seconds"].sum(), rel=1e-3)
