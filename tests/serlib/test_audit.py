"""The audit of real recordings, and of folders with faults."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile

from serlib.data.audit import audit
from serlib.data.ravdess import ravdess
from serlib.errors import SerlibError


def write(path: Path, seconds: float = 0.5, level: float = 0.3, seed: int = 0, rate: int = 16_000) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    samples = level * np.random.default_rng(seed).uniform(-1, 1, int(seconds * rate))
    soundfile.write(path, samples, rate)
    return path


def test_audit_of_the_real_recordings(ravdess_dir):
    """The facts were measured by somebody else, with other programs, before this one was written."""
    found = audit(ravdess(ravdess_dir))
    assert found.counts.shape == (24, 8) and len(found.clips) == 1440
    assert (found.counts["neutral"] == 4).all() and (found.counts.drop(columns="neutral") == 8).all(axis=None)
    assert set(found.stereo) == {
        "03-01-02-01-01-02-01",
        "03-01-08-01-02-02-01",
        "03-01-02-01-02-02-05",
        "03-01-03-01-02-01-20",
        "03-01-06-01-01-02-20",
    }
    assert found.clips.loc[list(found.stereo), "same_channels"].all()
    assert found.identical == (("03-01-03-01-02-01-07", "03-01-03-01-02-02-07"),)
    assert found.clips[["before", "active", "after"]].mean().to_list() == pytest.approx([0.92, 1.87, 0.90], abs=0.03)
    assert round(found.clips["peak"].min(), 3) == 0.006 and round(found.clips["peak"].max(), 3) == 0.999
    assert not (found.silent or found.short or found.misnamed or found.unreadable)
    assert "1,440, 1.48 hours" in str(found) and "192 angry" in str(found)


def test_audit_finds_what_is_wrong(own_folder):
    first = own_folder / "Actor_01" / "03-01-03-01-01-01-01.wav"
    samples, rate = soundfile.read(first, dtype="int16")
    spoil = own_folder / "Actor_02"
    # The same recording, once more in stereo; one silent, one of 50 ms, one whose NaN only decoding shows.
    soundfile.write(spoil / "03-01-03-01-01-01-02.wav", np.stack([samples, samples], axis=1), rate)
    soundfile.write(spoil / "03-01-03-01-01-02-02.wav", np.zeros(8_000), rate)
    write(spoil / "03-01-04-01-01-01-02.wav", seconds=0.05)
    soundfile.write(spoil / "03-01-04-01-01-02-02.wav", np.full(8_000, np.nan), rate, subtype="FLOAT")
    found = audit(ravdess(own_folder))
    assert found.stereo == ("03-01-03-01-01-01-02",)
    assert found.identical == (("03-01-03-01-01-01-01", "03-01-03-01-01-01-02"),)
    assert found.silent == ("03-01-03-01-01-02-02",)
    assert found.short == ("03-01-04-01-01-01-02",)
    assert [Path(path).stem for path in found.unreadable] == ["03-01-04-01-01-02-02"]
    assert found.counts.loc["02"].to_dict() == {"happy": 2, "sad": 1}
    html = found._repr_html_()
    assert "<table" in html and "03-01-03-01-01-01-01 = 03-01-03-01-01-01-02" in html
    assert str(own_folder) not in html + str(found), "a published page shows no path of this machine"


def test_audit_says_synthetic(tiny_corpus):
    assert "tiny (synthetic speech)" in str(audit(tiny_corpus))


def test_audit_measures_silence_by_hand(tmp_path):
    tone = 0.5 * np.sin(2 * np.pi * 200 * np.arange(16_000) / 16_000)
    clip = np.concatenate([np.zeros(8_000), tone, np.zeros(4_000)])
    path = tmp_path / "Actor_01" / "03-01-03-01-01-01-01.wav"
    path.parent.mkdir()
    soundfile.write(path, clip, 16_000)
    row = audit(ravdess(tmp_path)).clips.iloc[0]
    assert [row["before"], row["active"], row["after"]] == pytest.approx([0.5, 1.0, 0.25], abs=0.05)
    assert row["peak"] == pytest.approx(0.5, abs=1e-4)


def test_audit_of_nothing(tiny_corpus):
    with pytest.raises(SerlibError, match="no clips"):
        audit(tiny_corpus[:0])


def test_audit_of_nothing_but_silence(tmp_path):
    """A constant is no sound; and there are no numbers of what nobody said."""
    paths = [tmp_path / "zeros.wav", tmp_path / "constant.wav"]
    for path, level in zip(paths, (0, 0.25), strict=True):
        soundfile.write(path, np.full(8_000, float(level)), 16_000)
    found = audit(pd.DataFrame({"path": paths, "emotion": ["calm", "sad"]}))
    assert set(found.silent) == {"zeros", "constant"}
    assert found.findings["silence at -30 dB"] == "nothing else" and found.findings["peak level"] == "none"
    assert "nan" not in str(found)


def test_audit_of_any_table_of_paths_and_emotions(tmp_path):
    """As pandas leaves it after concat and merge: no attrs, no other column, numbers for an index."""
    paths = [write(tmp_path / f"{name}.wav", seconds=0.5, seed=n) for n, name in enumerate("abc")]
    found = audit(pd.DataFrame({"path": paths, "emotion": ["calm", "sad", "sad"]}))
    assert list(found.clips.index) == ["a", "b", "c"] and not found.synthetic
    assert found.seconds == pytest.approx(1.5) and found.findings["actors"] == "unknown"
    some = audit(pd.DataFrame({"path": paths, "emotion": ["calm", "sad", "sad"], "actor": ["Ann", "Ben", None]}))
    assert some.findings["actors"] == "2, with 1 clips each; unknown for 1 clips"


def test_names_are_text_in_the_tables_of_an_audit(tmp_path):
    hostile = "<script>alert(1)</script>"
    paths = [write(tmp_path / f"{n}.wav", seconds=0.1, seed=n) for n in (0, 1)] + [tmp_path / "<img src=x>.wav"]
    paths[2].write_text("no sound")
    frame = pd.DataFrame({"path": paths, "emotion": hostile, "actor": hostile, "seconds": 0.1})
    frame = frame.set_axis([f"{hostile} {n}" for n in range(3)])
    frame.attrs = {"name": hostile, "misnamed": [f"/srv/x/{hostile}"]}
    html = audit(frame)._repr_html_()
    assert "<script" not in html and "<img" not in html
    assert html.count("&lt;script&gt;") >= 5 and "&lt;img src=x&gt;.wav" in html
    assert "..." not in html, "no answer is cut"
