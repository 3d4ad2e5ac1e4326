"""The embedded corpus: spoken alike every time, healthy sound, and the prosody that the table promises."""

import json
import multiprocessing
import os
import re
import shutil
import subprocess
import sys

import numpy as np
import parselmouth
import pytest
import soundfile

from serlib.data import synth
from serlib.data.ravdess import EMOTIONS, STATEMENTS, mini, parse_name
from serlib.errors import SerlibError
from serlib.files import cache_dir


def some_clips(actors=(1, 2), emotions=(3, 4, 8)) -> dict[str, dict]:
    names = [f"03-01-0{emotion}-01-01-01-{actor:02d}" for actor in actors for emotion in emotions]
    return {name: parse_name(name) for name in names}


def test_every_emotion_has_a_rule():
    assert set(synth.PROSODY) == set(EMOTIONS)
    assert synth.PROSODY["neutral"] == synth.Prosody()


def spoken_in(order: list[str], cores: int, folder, monkeypatch) -> dict[str, bytes]:
    """The bytes of each clip, spoken in this order by so many workers."""
    monkeypatch.setenv("SERLIB_CACHE", str(folder))
    monkeypatch.setattr("os.cpu_count", lambda: cores)
    clips = {name: parse_name(name) for name in order}
    return {path.stem: path.read_bytes() for path in synth.corpus_folder(clips, STATEMENTS).glob("*/*.wav")}


@pytest.mark.slow
def test_a_clip_depends_on_its_name_alone(monkeypatch, tmp_path):
    """In whatever company and order, by however many workers: once 1,360 of 1,440 clips differed from run to run."""
    names = sorted(some_clips())
    whole = spoken_in(names, 1, tmp_path / "one", monkeypatch)
    assert len(whole) == 6
    assert spoken_in(names[::-1], 3, tmp_path / "three", monkeypatch) == whole
    assert spoken_in(names[-1:], 1, tmp_path / "last", monkeypatch) == {names[-1]: whole[names[-1]]}


@pytest.mark.slow
def test_breath_depends_on_the_name_alone(monkeypatch, tmp_path):
    """Three voices draw their breath from the C library's random numbers, which outlast a clip as the flutter does."""
    breathy = [actor for actor in range(1, 25) if synth._actor_voice(actor).name in {"Female2", "Female3", "Female5"}]
    assert breathy, "no actor has such a voice any more: this test checks nothing"
    names = sorted(some_clips(actors=breathy[:2], emotions=(3, 4)))
    whole = spoken_in(names, 2, tmp_path / "two", monkeypatch)
    assert spoken_in(names[1::2] + names[::2], 1, tmp_path / "one", monkeypatch) == whole


@pytest.mark.slow
def test_another_language_has_a_folder_voices_and_words_of_its_own(monkeypatch, tmp_path):
    monkeypatch.setenv("SERLIB_CACHE", str(tmp_path))
    clips = some_clips(actors=(1,), emotions=(3, 4))
    spoken = {}
    for language in synth.LANGUAGES:
        folder = synth.corpus_folder(clips, synth.STATEMENTS.get(language, STATEMENTS), language)
        spoken[language] = {path.stem: path.read_bytes() for path in folder.glob("*/*.wav")}
    assert {path.name for path in tmp_path.glob("mini-*")} == {
        f"mini-v{synth.VERSION}", f"mini-v{synth.VERSION}-german", f"mini-v{synth.VERSION}-spanish",
    }  # fmt: skip
    assert all(set(files) == set(clips) for files in spoken.values())
    assert len({data for files in spoken.values() for data in files.values()}) == 6, "no clip is another's"
    voices = {synth._actor_voice(actor, language) for language in synth.LANGUAGES for actor in range(1, 13)}
    assert len(voices) == 36, "nobody speaks two languages"
    assert synth._actor_voice(7) == synth._actor_voice(7, "English")


def test_the_sentences_of_another_language_are_as_many_as_those_of_english():
    assert set(synth.STATEMENTS) == set(synth.LANGUAGES) - {"English"}
    assert all(len(said) == len(STATEMENTS) for said in synth.STATEMENTS.values())


def test_a_language_that_mini_does_not_speak():
    with pytest.raises(SerlibError, match="mini does not speak Germam; did you mean German"):
        mini("Germam")


@pytest.mark.slow
def test_speech_is_the_same_after_other_speech():
    """What this process has said before is of no account to ``recite``."""
    before = [utterance.samples for utterance in synth.recite(3)]
    for _ in range(3):
        synth.say(STATEMENTS[1], synth._actor_voice(7), synth.PROSODY["sad"], np.random.default_rng(1))
    for old, new in zip(before, synth.recite(4), strict=False):
        np.testing.assert_array_equal(old, new.samples)


@pytest.mark.slow
def test_the_manifest_counts_and_sums(tmp_path):
    folder = synth.corpus_folder(some_clips(actors=(1,)), STATEMENTS)
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["clips"] == 3 and len(manifest["sha256"]) == 64
    assert not synth.is_the_books(folder), "three clips are not the corpus"


def test_the_book_names_the_digest_of_its_corpus():
    assert re.fullmatch("[0-9a-f]{64}", synth.SPOKEN)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written_is_named(monkeypatch, tmp_path):
    tmp_path.chmod(0o500)
    monkeypatch.setenv("SERLIB_CACHE", str(tmp_path / "cache"))
    with pytest.raises(SerlibError, match="SERLIB_CACHE"):
        synth.corpus_folder(some_clips(), STATEMENTS)


@pytest.mark.slow
def test_speaking_sweeps_its_own_leftovers_and_no_others(monkeypatch, tmp_path):
    """What is being unpacked beside the corpus has a lock of its own, and was once swept away half made."""
    monkeypatch.setenv("SERLIB_CACHE", str(tmp_path))
    killed, others = tmp_path / f".mini-v{synth.VERSION}.abc.partial", tmp_path / ".ravdess.abc.partial"
    killed.mkdir()
    others.mkdir()
    synth.corpus_folder(some_clips(actors=(1,)), STATEMENTS)
    assert not killed.exists() and others.is_dir()


def test_a_whole_corpus_needs_no_lock_and_speaking_one_does(monkeypatch, tmp_path):
    monkeypatch.setenv("SERLIB_CACHE", str(tmp_path))
    clips = some_clips(actors=(1,))
    folder = synth.corpus_folder(clips, STATEMENTS)
    shutil.rmtree(tmp_path / "locks")
    (tmp_path / "locks").write_text("no folder, so nothing can be locked, not even by root")
    assert synth.corpus_folder(clips, STATEMENTS) == folder
    (folder / "manifest.json").unlink()
    with pytest.raises(SerlibError, match=re.escape(str(folder))):
        synth.corpus_folder(clips, STATEMENTS)


def test_clips_are_neither_silent_nor_clipped(spoken_dir):
    for path in spoken_dir.glob("Actor_*/*.wav"):
        samples, rate = soundfile.read(path)
        assert rate == 16_000
        assert 0.8 < len(samples) / rate < 7
        level = 20 * np.log10(np.sqrt(np.mean(samples**2)))
        assert -55 < level < -8, path.name
        assert np.mean(np.abs(samples) > 0.99) < 1e-3, path.name


@pytest.mark.slow
def test_a_damaged_clip_is_spoken_anew():
    clips = some_clips(actors=(3,))
    folder = synth.corpus_folder(clips, STATEMENTS)
    victim = sorted(folder.glob("Actor_*/*.wav"))[0]
    whole = victim.read_bytes()
    victim.write_bytes(whole[:200])
    assert synth.corpus_folder(clips, STATEMENTS) == folder
    assert victim.read_bytes() == whole


def test_clips_are_listened_to_once(monkeypatch):
    """Ever after size and times of change are asked, unless these are so new that they may not tell."""
    monkeypatch.setattr(synth, "FRESH", 10**18)
    clips = some_clips(actors=(3,))
    folder = synth.corpus_folder(clips, STATEMENTS)
    heard = []
    listen = synth._digest
    monkeypatch.setattr(synth, "_digest", lambda folder: heard.append(folder) or listen(folder))
    for _ in range(2):
        synth.corpus_folder(clips, STATEMENTS)
    assert len(heard) == 2, "spoken just now"
    monkeypatch.setattr(synth, "FRESH", -(10**18))
    for _ in range(3):
        assert synth.corpus_folder(clips, STATEMENTS) == folder
    assert len(heard) == 3
    monkeypatch.setattr(synth, "_in_fresh_processes", lambda *_: pytest.fail("nothing is to be spoken"))
    note = cache_dir() / "digests" / f"{folder.name}.json"
    for spoiled in ("", "[]", json.dumps({"files": "0" * 16, "sha256": "0" * 64})):
        note.write_text(spoiled)
        synth.corpus_folder(clips, STATEMENTS)
    assert len(heard) == 6


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no time of change that a copy cannot set")
def test_a_clip_of_another_sound_is_spoken_anew_whatever_its_times(monkeypatch):
    monkeypatch.setattr(synth, "FRESH", -(10**18))
    clips = some_clips(actors=(3,))
    folder = synth.corpus_folder(clips, STATEMENTS)
    for _ in range(2):
        synth.corpus_folder(clips, STATEMENTS)
    victim = sorted(folder.glob("Actor_*/*.wav"))[0]
    whole, stat = victim.read_bytes(), victim.stat()
    victim.write_bytes(whole[:-2000] + bytes(2000))
    os.utime(victim, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    synth.corpus_folder(clips, STATEMENTS)
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


@pytest.mark.slow
def test_a_script_without_a_guard_speaks_once(tmp_path):
    script = tmp_path / "plain.py"
    script.write_text(
        "from serlib.data import synth\nprint('begun')\nprint(len(synth.recite(3)), __file__, __spec__)\n"
    )
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True)
    assert done.stdout.splitlines() == ["begun", f"3 {script} None"], done.stderr


TWO_AT_ONCE = """
import threading
from serlib.data import synth
print("begun")
kept, spoken = (__file__, __spec__), {}
threads = [threading.Thread(target=lambda n=n: spoken.update({n: synth.recite(n)})) for n in (2, 3)]
for thread in threads:
    thread.start()
seen = set()
while any(thread.is_alive() for thread in threads):
    seen.add((globals().get("__file__"), __spec__))
print(sorted(map(len, spoken.values())), seen <= {kept}, (__file__, __spec__) == kept)
"""

POOL_OF_ONES_OWN = """
import multiprocessing
import threading
from serlib.data import synth
def double(x):
    return 2 * x
def own(method):
    with multiprocessing.get_context(method).Pool(1) as pool:
        print(pool.map(double, [21]))
if __name__ == "__main__":
    for method in multiprocessing.get_all_start_methods():
        with synth.main_out_of_sight():  # as long as a worker of serlib is started
            thread = threading.Thread(target=own, args=(method,))
            thread.start()
            thread.join()
    print(len(synth.recite(1)), multiprocessing.spawn.get_preparation_data.__module__)
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    "code, said",
    [
        (TWO_AT_ONCE, ["begun", "[2, 3] True True"]),
        (POOL_OF_ONES_OWN, ["[42]"] * len(multiprocessing.get_all_start_methods()) + ["1 multiprocessing.spawn"]),
    ],
    ids=["two at once", "a pool of one's own"],
)
def test_threads_of_a_script_do_not_disturb_each_other(tmp_path, code, said):
    script = tmp_path / "threads.py"
    script.write_text(code)
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True)
    assert done.stdout.splitlines() == said, done.stderr
