"""Reading sines whose samples are known, bad files of every kind, a cache that is whole or not there."""

import json
import os
import pickle
import resource
import shutil
import signal
import struct
import subprocess
import sys
import time
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
    truncated_flac: "cut off|damaged",
    truncated_mp3: "cut off after",
    damaged_flac: "cut off|damaged",
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


def test_wavs_with_other_chunks_and_of_unknown_length_are_whole(tmp_path):
    plain = wav(tmp_path / "plain.wav").read_bytes()
    at = plain.index(b"data")
    odd = b"LIST" + struct.pack("<I", 5) + b"INFOx" + b"\0"
    (tmp_path / "list.wav").write_bytes(plain[:at] + odd + plain[at:])
    (tmp_path / "pipe.wav").write_bytes(plain[: at + 4] + b"\xff" * 4 + plain[at + 8 :])
    for name in ("list", "pipe"):
        assert np.array_equal(audio.read(tmp_path / f"{name}.wav"), audio.read(tmp_path / "plain.wav"))


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


def test_silence_is_left_alone():
    assert audio.active_span(np.zeros(16_000)) == (0, 0)
    assert len(audio.trim(np.zeros(16_000, np.float32))) == 16_000


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


@pytest.mark.parametrize("harm", ["cut samples", "no samples", "cut index", "other index"])
def test_a_damaged_cache_is_made_again(tiny_corpus, own_cache, harm):
    before = np.array(audio.clips(tiny_corpus)[tiny_corpus.index[-1]])
    samples, index = (next((own_cache / "audio").glob(f"*.{suffix}")) for suffix in ("npy", "json"))
    if harm == "cut samples":
        samples.write_bytes(samples.read_bytes()[:-4_000])
    elif harm == "no samples":
        samples.unlink()
    elif harm == "cut index":
        index.write_text(index.read_text()[:100])
    else:
        index.write_text(json.dumps({"clips": [["a", 0, 10]]}))
    assert np.array_equal(audio.clips(tiny_corpus)[tiny_corpus.index[-1]], before)


def test_bad_files_in_a_corpus_are_counted_and_leave_no_cache(tmp_path, own_cache):
    paths = [wav(tmp_path / "a.wav"), tmp_path / "b.wav", tmp_path / "c.wav"]
    zero_byte(paths[1])
    nan(paths[2])
    with pytest.raises(SerlibError, match="2 of 3 clips cannot be read, the first: .*b.wav is empty"):
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
    """200 clips of 10 s (128 MB when decoded) that take the disk space of one."""
    (tmp_path / "long").mkdir()
    first = tmp_path / "long" / "000.wav"
    soundfile.write(first, np.random.default_rng(0).standard_normal(441_000) * 0.1, 44_100)
    for k in range(1, 200):
        os.link(first, first.with_name(f"{k:03d}.wav"))
    return tmp_path / "long"


def test_a_kill_while_caching_leaves_nothing_that_is_taken_for_whole(long_folder, own_cache):
    process = subprocess.Popen([sys.executable, "-c", CACHE_FOLDER, str(long_folder)])
    deadline = time.monotonic() + 60
    while not any(path.stat().st_size > 1_000_000 for path in own_cache.rglob("*.npy")):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert not list((own_cache / "audio").glob("*.npy")) and not list((own_cache / "audio").glob("*.json"))
    paths = sorted(long_folder.glob("*.wav"))
    clips = audio.clips(corpus_of(paths))
    assert len(clips) == 200 and np.array_equal(clips["199"], audio.read(paths[0]))


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


def test_two_processes_that_cache_at_once_both_get_it_right(tiny_dir, tmp_path, own_cache):
    (tmp_path / "all").mkdir()
    for path in tiny_dir.rglob("*.wav"):
        shutil.copy(path, tmp_path / "all")
    command = [sys.executable, "-c", CACHE_FOLDER, str(tmp_path / "all")]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    assert [process.communicate()[0].strip() for process in both] == ["16", "16"]
    assert len(list((own_cache / "audio").iterdir())) == 2


def test_all_of_ravdess_within_the_time_promised(ravdess_dir):
    from serlib.data.ravdess import ravdess

    corpus = ravdess(ravdess_dir)
    start = time.perf_counter()
    audio.clips(corpus)
    decoding = time.perf_counter() - start
    start = time.perf_counter()
    clips = audio.clips(ravdess(ravdess_dir))
    total = sum(len(clips[clip]) for clip in clips)
    loading = time.perf_counter() - start
    print(f"decoded {len(corpus):,} clips in {decoding:.1f} s, loaded them again in {loading:.2f} s")
    assert total / audio.RATE == pytest.approx(corpus["seconds"].sum(), rel=1e-3)
    assert decoding < 15 and loading < 1
