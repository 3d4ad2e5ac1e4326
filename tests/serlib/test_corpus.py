"""Corpora from CSVs with faults, and the paper's bookkeeping."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile

from serlib.data.audit import audit
from serlib.data.corpus import COLUMNS, as_corpus, from_csv, regroup_by_emotion
from serlib.data.ravdess import EMOTIONS, ravdess
from serlib.data.splits import stratified_split, write_split_csvs
from serlib.errors import SerlibError


def write(path: Path, seconds: float = 0.5, level: float = 0.3, seed: int = 0, rate: int = 16_000) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    samples = level * np.random.default_rng(seed).uniform(-1, 1, int(seconds * rate))
    soundfile.write(path, samples, rate)
    return path


# CSVs


@pytest.fixture
def table(tmp_path) -> Path:
    """A CSV of four clips of two strangers, with two labels that nobody foresaw."""
    lines = ["path,emotion,actor"]
    for k, (emotion, actor) in enumerate([("bored", "ann"), ("Tired", "ann"), ("bored", "bob"), ("Tired", "bob")]):
        write(tmp_path / "sounds" / f"{k}.wav", seed=k, rate=(8_000, 22_050, 44_100, 48_000)[k])
        lines.append(f"sounds/{k}.wav,{emotion},{actor}")
    (tmp_path / "mine.csv").write_text("\n".join(lines) + "\n")
    return tmp_path / "mine.csv"


def test_a_csv_becomes_a_corpus(table):
    found = from_csv(table)
    assert tuple(found.columns) == COLUMNS and list(found.index) == list("0123")
    assert found["emotion"].to_list() == ["bored", "Tired", "bored", "Tired"]
    assert found["actor"].to_list() == ["ann", "ann", "bob", "bob"]
    assert found["seconds"].to_list() == pytest.approx([0.5] * 4)
    assert (found["statement"] == 0).all() and (found["sex"] == "").all()
    assert found.attrs["name"] == "mine" and not found.attrs["synthetic"]
    assert found.at["2", "path"] == str(table.parent / "sounds" / "2.wav")
    assert "1.0" not in str(audit(found)) and len(audit(found).clips) == 4


@pytest.mark.parametrize("separator", [";", "\t"])
def test_what_spreadsheets_write_is_read(table, separator):
    text = "\ufeff" + table.read_text().replace(",", separator).replace("\n", "\r\n").replace("bored", " bored ")
    table.write_bytes(text.encode())
    assert from_csv(table)["emotion"].to_list() == ["bored", "Tired", "bored", "Tired"]


def test_a_label_or_actor_named_na_is_a_name(table):
    table.write_text(table.read_text().replace("bored", "NA").replace("ann", "null"))
    found = from_csv(table)
    assert found["emotion"].to_list()[0] == "NA" and found["actor"].to_list()[0] == "null"


def test_files_of_the_same_name_take_their_folder_along(tmp_path):
    for folder in ("ann", "bob"):
        write(tmp_path / folder / "1.wav", seed=ord(folder[0]))
    (tmp_path / "a.csv").write_text("path,emotion\nann/1.wav,sad\nbob/1.wav,glad\n")
    assert list(from_csv(tmp_path / "a.csv").index) == ["ann_1", "bob_1"]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (
            lambda text: text.replace("emotion", "feeling"),
            r"no column named emotion \(it has path, feeling, actor\)",
        ),
        (lambda text: text.replace("path", "file"), "no column named path"),
        (lambda text: text.replace("Tired", "bored"), "one emotion only"),
        (lambda text: text.replace("Tired,ann", ",ann"), "line 3 .*has no emotion"),
        (lambda text: text.replace("Tired,bob", "tired,bob"), "writes Tired also as tired"),
        (
            lambda text: text.replace("2.wav", "9.wav"),
            "1 of 4 files .* the first at line 4: there is no file",
        ),
        (lambda text: text.replace("3.wav", "1.wav"), "line 5 .* again"),
        (lambda text: text.replace("actor", "statement"), "statement .* whole numbers"),
        (lambda text: text.splitlines()[0], "lists no clips"),
        (lambda text: "", "cannot be read as a CSV"),
    ],
)
def test_faulty_csvs_are_refused_in_one_sentence(table, change, sentence):
    table.write_text(change(table.read_text()))
    with pytest.raises(SerlibError, match=sentence) as caught:
        from_csv(table)
    assert "\n" not in str(caught.value)


def test_other_faults_of_a_csv(table):
    with pytest.raises(SerlibError, match="line 2 .* unknown emotion bored; known names are happy, sad"):
        from_csv(table, labels=["happy", "sad"])
    with pytest.raises(SerlibError, match="did you mean tired"):
        from_csv(table, labels=["bored", "tired"])
    with pytest.raises(SerlibError, match="no file"):
        from_csv(table.with_name("other.csv"))
    (table.parent / "sounds" / "1.wav").write_bytes(b"")
    with pytest.raises(SerlibError, match="line 3: .*is empty"):
        from_csv(table)
    table.write_bytes("path,emotion\na.wav,müde\n".encode("latin-1"))
    with pytest.raises(SerlibError, match="UTF-8"):
        from_csv(table)


# The paper's bookkeeping


def test_regrouping_by_emotion(tiny_dir, tmp_path):
    tiny = ravdess(tiny_dir)
    listed = regroup_by_emotion(tiny, tmp_path / "by_emotion")
    assert sorted(path.name for path in (tmp_path / "by_emotion").iterdir()) == ["happy", "labels.csv", "sad"]
    assert pd.read_csv(listed).columns.to_list() == ["path", "emotion"]
    back = from_csv(listed)
    assert back.index.equals(tiny.index) and back["emotion"].equals(tiny["emotion"])
    for clip in tiny.index:
        assert Path(back.at[clip, "path"]).read_bytes() == Path(tiny.at[clip, "path"]).read_bytes()
        assert Path(back.at[clip, "path"]).parent.name == tiny.at[clip, "emotion"]
    assert ravdess(tmp_path / "by_emotion").index.equals(tiny.index)

    stamps = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.wav")}
    (tmp_path / "by_emotion" / "sad" / "03-01-04-01-01-01-01.wav").write_bytes(b"half")
    regroup_by_emotion(tiny, tmp_path / "by_emotion")
    changed = [path for path in tmp_path.rglob("*.wav") if path.stat().st_mtime_ns != stamps[path]]
    assert [path.stem for path in changed] == ["03-01-04-01-01-01-01"] and changed[0].stat().st_size > 10_000


def test_a_label_cannot_leave_the_folder(table, tmp_path):
    found = from_csv(table).assign(emotion=["../../up", "a/b"] * 2)
    regroup_by_emotion(found, tmp_path / "safe")
    assert sorted(path.name for path in (tmp_path / "safe").iterdir()) == [
        "a_b-c14cddc0",
        "labels.csv",
        "up-29b18949",
    ]


def test_split_csvs_as_the_paper_had_them(ravdess_names, tiny_corpus, tmp_path):
    folder = write_split_csvs(stratified_split(ravdess_names.assign(path=ravdess_names.index)), tmp_path)
    train, test = (pd.read_csv(folder / f"{part}.csv") for part in ("train", "test"))
    assert (len(train), len(test)) == (1152, 288) and list(train.columns) == ["path", "emotion"]
    assert test["emotion"].value_counts()["neutral"] == 19
    assert not set(train["path"]) & set(test["path"])

    write_split_csvs(stratified_split(tiny_corpus, test_size=0.25, validation_size=0.25), tmp_path)
    again = from_csv(tmp_path / "test.csv", labels=EMOTIONS)
    assert len(again) == 4 and again.attrs["synthetic"], "what is made from synthetic speech goes on saying so"


# Any table


def test_a_corpus_stays_what_it_is(tiny_corpus):
    assert as_corpus(tiny_corpus) is tiny_corpus


def test_path_and_emotion_are_enough(tiny_corpus):
    plain = tiny_corpus[["path", "emotion"]].reset_index(drop=True)
    plain.attrs = {}
    found = as_corpus(plain)
    assert list(found.index) == list(tiny_corpus.index) and found.index.name == "clip"
    assert set(found["actor"]) == {""} and found["seconds"].tolist() == [0.6] * 16
    assert found.attrs["name"] == "unnamed" and found.attrs["synthetic"] is False
    assert list(plain.columns) == ["path", "emotion"], "the reader's own table is left alone"


def test_what_concat_has_lost_is_given_back(tiny_corpus):
    """pandas drops attrs when it joins tables, and once that ended a training after all its work."""
    mine = tiny_corpus.drop(columns=["actor", "sex", "statement"]).rename(index="mine-{}".format)
    mine.attrs = {"name": "mine", "synthetic": False}
    both = as_corpus(pd.concat([tiny_corpus, mine]))
    assert both.attrs["name"] == "unnamed" and both["statement"].tolist()[-1] == 0 and both["actor"].iloc[-1] == ""
    split = stratified_split(both, test_size=0.25, validation_size=0.25)
    assert split.attrs["name"] == "unnamed" and split.attrs["synthetic"] is False


def test_an_unnamed_emotion_or_a_name_twice_is_said(tiny_corpus):
    with pytest.raises(SerlibError, match=f"clip {tiny_corpus.index[2]} has no emotion"):
        as_corpus(tiny_corpus.assign(emotion=["happy", "sad", None, *["sad"] * 13]))
    with pytest.raises(SerlibError, match="is in the corpus twice"):
        as_corpus(pd.concat([tiny_corpus, tiny_corpus]))
