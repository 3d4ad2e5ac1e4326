"""RAVDESS by its names and found in folders; how it is downloaded is in test_downloads.py."""

import os
import shutil
import warnings
from pathlib import Path

import numpy as np
import pytest
import soundfile

from serlib import files
from serlib.data.audit import audit
from serlib.data.corpus import COLUMNS
from serlib.data.ravdess import parse_name, ravdess
from serlib.errors import SerlibError

# Names


def write(path: Path, seconds: float = 0.5, level: float = 0.3, seed: int = 0, rate: int = 16_000) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    samples = level * np.random.default_rng(seed).uniform(-1, 1, int(seconds * rate))
    soundfile.write(path, samples, rate)
    return path


def test_the_example_of_the_authors():
    """Livingstone and Russo explain 02-01-06-01-02-01-12; this is its audio-only sister."""
    assert parse_name("03-01-06-01-02-01-12") == {
        "actor": "12",
        "sex": "female",
        "emotion": "fearful",
        "intensity": "normal",
        "statement": 2,
        "repetition": 1,
    }


@pytest.mark.slow
def test_all_official_names_say_what_they_should(ravdess_names):
    for clip, row in ravdess_names.iterrows():
        assert parse_name(clip) == row.drop(["path", "seconds"]).to_dict()


@pytest.mark.parametrize(
    ("stem", "sentence"),
    [
        (None, "None is not a RAVDESS name"),
        (["03-01-06-01-02-01-12"], "not a RAVDESS name"),
        ("03-01-06-01-02-01", "not a RAVDESS name"),
        ("03-01-09-01-02-01-12", "not a RAVDESS name"),
        ("03-01-06-01-02-01-25", "not a RAVDESS name"),
        ("03-01-06-01-02-01-12 (1)", "not a RAVDESS name"),
        ("hello", "not a RAVDESS name"),
        ("03-01-01-02-02-01-12", "neutral has no strong"),
        ("03-02-06-01-02-01-12", "not an audio-only speech clip"),
        ("02-01-06-01-02-01-12", "not an audio-only speech clip"),
    ],
)
def test_other_names_are_refused(stem, sentence):
    with pytest.raises(SerlibError, match=sentence):
        parse_name(stem)


# Folders


def test_a_folder_becomes_a_corpus(tiny_dir):
    found = ravdess(tiny_dir)
    assert len(found) == 16 and found.index.name == "clip" and found.index.is_monotonic_increasing
    assert tuple(found.columns) == COLUMNS
    row = found.loc["03-01-03-01-01-02-04"]
    assert (row["actor"], row["sex"], row["emotion"], row["repetition"]) == ("04", "female", "happy", 2)
    assert row["seconds"] == pytest.approx(0.6)
    assert all(os.path.isabs(path) and os.path.isfile(path) for path in found["path"])
    assert found.attrs["name"] == "ravdess" and not found.attrs["synthetic"]


def test_the_environment_says_where(tiny_dir, monkeypatch):
    monkeypatch.setenv("RAVDESS_DIR", str(tiny_dir))
    assert len(ravdess()) == 16


def test_folders_are_written_as_people_write_them(own_folder, monkeypatch):
    """Relative to where one is, and from the home folder: what the page on troubleshooting promises."""
    monkeypatch.setenv("HOME", str(own_folder.parent))
    monkeypatch.chdir(own_folder.parent)
    whole = ravdess(own_folder)
    for way in (f"~/{own_folder.name}", own_folder.name, f"./{own_folder.name}/"):
        assert ravdess(way).equals(whole)
        monkeypatch.setenv("RAVDESS_DIR", way)
        assert ravdess().equals(whole)
    with pytest.raises(SerlibError, match="a path is text"):
        ravdess(3)
    with pytest.raises(SerlibError, match="no folder .*nowhere; give another folder"):
        ravdess("~/nowhere")
    monkeypatch.setenv("RAVDESS_DIR", "~/nowhere")
    with pytest.raises(SerlibError, match=f"no folder {own_folder.parent / 'nowhere'}; correct RAVDESS_DIR"):
        ravdess()


def test_a_cache_that_may_only_be_read_is_enough(tiny_dir, own_cache, monkeypatch):
    shutil.copytree(tiny_dir, own_cache / "ravdess")

    def refuse(*_, **__):
        raise PermissionError("read-only")

    monkeypatch.setattr(files, "FileLock", refuse)
    assert len(ravdess()) == 16


def test_the_cache_is_used_when_nothing_is_said(tiny_dir, own_cache):
    shutil.copytree(tiny_dir, own_cache / "ravdess")
    assert len(ravdess()) == 16


def test_flac_and_flat_folders_are_taken(tiny_dir, tmp_path):
    (tmp_path / "flat").mkdir()
    for path in tiny_dir.rglob("*.wav"):
        samples, rate = soundfile.read(path)
        soundfile.write(tmp_path / "flat" / f"{path.stem}.flac", samples, rate)
    assert ravdess(tmp_path / "flat").index.equals(ravdess(tiny_dir).index)


def test_a_missing_or_empty_folder_is_refused(tmp_path):
    with pytest.raises(SerlibError, match="no folder .*nowhere"):
        ravdess(tmp_path / "nowhere")
    with pytest.raises(SerlibError, match="holds no speech clips"):
        ravdess(tmp_path)
    (tmp_path / "Actor_01").mkdir()
    with pytest.raises(SerlibError, match="holds no speech clips"):
        ravdess(tmp_path)


def test_song_video_and_hidden_files_are_passed_over(own_folder):
    write(own_folder / "Actor_01" / "03-02-03-01-01-01-01.wav")
    (own_folder / "Actor_01" / "01-01-03-01-01-01-01.mp4").write_bytes(b"video")
    (own_folder / "Actor_01" / "._03-01-03-01-01-01-01.wav").write_bytes(b"what a Mac leaves behind")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(ravdess(own_folder)) == 16


def test_a_misnamed_file_is_left_out_and_said(own_folder):
    write(own_folder / "Actor_01" / "03-01-03-01-01-01-99.wav")
    with pytest.warns(UserWarning, match="1 misnamed file.*03-01-03-01-01-01-99.wav"):
        found = ravdess(own_folder)
    assert len(found) == 16
    assert audit(found).misnamed == (str(own_folder / "Actor_01" / "03-01-03-01-01-01-99.wav"),)


@pytest.mark.parametrize("harm", ["zero bytes", "cut off", "no sound"])
def test_an_unreadable_file_is_left_out_and_said(own_folder, harm):
    path = own_folder / "Actor_02" / "03-01-04-01-01-01-02.wav"
    data = path.read_bytes()
    path.write_bytes({"zero bytes": b"", "cut off": data[:5_000], "no sound": b"hello" * 1000}[harm])
    with pytest.warns(UserWarning, match="1 unreadable file.*03-01-04-01-01-01-02.wav"):
        found = ravdess(own_folder)
    assert len(found) == 15 and audit(found).unreadable == (str(path),)


def test_a_folder_of_nothing_but_broken_files_is_refused(own_folder):
    for path in own_folder.rglob("*.wav"):
        path.write_bytes(b"")
    with (
        pytest.warns(UserWarning, match="16 unreadable"),
        pytest.raises(SerlibError, match="none of the 16 clips"),
    ):
        ravdess(own_folder)


def test_two_copies_of_a_clip_are_refused(own_folder):
    shutil.copy(own_folder / "Actor_01" / "03-01-03-01-01-01-01.wav", own_folder / "Actor_02")
    with pytest.raises(SerlibError, match="1 clip.* twice, the first as .*Actor_01.* and .*Actor_02"):
        ravdess(own_folder)


def test_a_second_copy_in_an_inner_folder_does_no_harm(own_folder, tiny_dir):
    shutil.copytree(tiny_dir, own_folder / "audio_speech_actors_01-24")
    assert len(ravdess(own_folder)) == 16
    shutil.rmtree(own_folder / "audio_speech_actors_01-24")
    (own_folder.parent / "outer").mkdir()
    own_folder.rename(own_folder.parent / "outer" / "inner")
    assert len(ravdess(own_folder.parent / "outer")) == 16


def test_actors_in_further_folders_are_found(own_folder, tmp_path):
    """Archives unpacked side by side or into one another: each clip counts once, the upper one."""
    whole = ravdess(own_folder)
    (own_folder / "more" / "still more").mkdir(parents=True)
    (own_folder / "Actor_03").rename(own_folder / "more" / "Actor_03")
    (own_folder / "Actor_04").rename(own_folder / "more" / "still more" / "Actor_04")
    columns = whole.columns.drop("path")
    assert ravdess(own_folder)[columns].equals(whole[columns])
    (own_folder / "Actor_02").rename(own_folder / "Actor_01" / "Actor_02")
    assert ravdess(own_folder)[columns].equals(whole[columns])
    (own_folder / ".trash").mkdir()
    shutil.copytree(own_folder / "Actor_01", own_folder / ".trash" / "Actor_01")
    assert len(ravdess(own_folder)) == 16 and not ravdess(own_folder)["path"].str.contains("trash").any()


@pytest.mark.skipif(os.name == "nt", reason="links need rights on Windows")
def test_folders_may_be_links(tiny_dir, tmp_path):
    for actor in ("Actor_01", "Actor_02"):
        (tmp_path / actor).symlink_to(tiny_dir / actor)
    (tmp_path / "Actor_03").mkdir()
    (tmp_path / "Actor_03" / "up").symlink_to(tmp_path)  # a ring
    found = ravdess(tmp_path)
    assert sorted(found["actor"].unique()) == ["01", "02"] and found["path"].str.startswith(str(tmp_path)).all()


def test_the_real_folder_is_whole_and_read_by_headers_alone(ravdess_dir, ravdess_names, monkeypatch):
    monkeypatch.setattr("serlib.data.audio.decode", lambda path: pytest.fail(f"{path} was decoded"))
    found = ravdess(ravdess_dir)
    assert list(found.index) == sorted(ravdess_names.index)
    columns = list(COLUMNS[1:-1])
    assert found[columns].equals(ravdess_names.sort_index()[columns])
    assert found["seconds"].sum() / 3600 == pytest.approx(1.48, abs=0.005)
