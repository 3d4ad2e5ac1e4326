"""Corpora from CSVs with faults, and the paper's bookkeeping."""

import os
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


def test_what_excel_says_of_its_separator_is_heard(table):
    """A first line sep=; is no header, and lines are counted as an editor counts them."""
    table.write_text("sep=;\n" + table.read_text().replace(",", ";"))
    assert from_csv(table)["emotion"].to_list() == ["bored", "Tired", "bored", "Tired"]
    table.write_text(table.read_text().replace("Tired;bob", ";bob"))
    with pytest.raises(SerlibError, match="line 6 .* no emotion"):
        from_csv(table)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-8-sig"])
def test_the_encodings_of_excel_are_read(table, encoding):
    table.write_text(table.read_text().replace(",", "\t").replace("bored", "müde"), encoding=encoding)
    assert from_csv(table)["emotion"].to_list() == ["müde", "Tired", "müde", "Tired"]


def test_text_of_other_encodings_is_refused_with_its_line(table):
    table.write_text(table.read_text(), encoding="utf-16-le")  # without the mark that tells it
    with pytest.raises(SerlibError, match="no text in UTF-8; save it again"):
        from_csv(table)


def test_commas_at_the_end_of_rows_do_not_shift_the_columns(table):
    """pandas takes the first column for an index where every row is longer than the header."""
    whole, text = from_csv(table), table.read_text()
    rows = text.replace("\n", ",\n").replace("actor,\n", "actor\n")
    for changed in (rows, text.replace("\n", ",,\n"), text.replace("ann\n", "ann,\n"), text + ",,\n\n"):
        table.write_text(changed)
        assert from_csv(table).equals(whole)


def test_a_row_with_too_many_cells_is_named(table):
    table.write_text(table.read_text().replace("sounds/2.wav", "sounds/2, the second.wav"))
    with pytest.raises(SerlibError, match="line 4 .* has 4 cells, and its header has 3; .* holds a comma"):
        from_csv(table)
    table.write_text(table.read_text().replace("sounds/2, the second.wav", '"sounds/2.wav'))
    with pytest.raises(SerlibError, match="line 5 .* cannot be read as a CSV"):
        from_csv(table)


def test_a_speaker_is_an_actor_and_what_is_left_out_is_said(table):
    whole = from_csv(table)
    table.write_text(table.read_text().replace("path,emotion,actor", "Path,Emotion,Speaker"))
    assert from_csv(table).equals(whole)
    table.write_text(table.read_text().replace("Speaker", "mood").replace("ann", "fine"))
    with pytest.warns(UserWarning, match="left out columns of .*mine.csv that a corpus does not know: mood"):
        assert set(from_csv(table)["actor"]) == {""}
    table.write_text(table.read_text().replace("mood", "emotion"))
    with pytest.raises(SerlibError, match="two columns named emotion"):
        from_csv(table)


def test_a_corpus_that_was_written_comes_back(table):
    whole = from_csv(table).rename(index="clip {}".format)
    whole.to_csv(table.with_name("again.csv"))
    pd.testing.assert_frame_equal(from_csv(table.with_name("again.csv")), whole)
    table.with_name("again.csv").write_text("path,emotion,clip\nsounds/1.wav,sad,a\nsounds/2.wav,glad,a\n")
    with pytest.raises(SerlibError, match="line 3 of .* is clip a again"):
        from_csv(table.with_name("again.csv"))


def test_paths_are_written_as_people_write_them(table, tmp_path, monkeypatch):
    """From the home folder, as Windows does, absolute; the file of the CSV itself too."""
    monkeypatch.setenv("HOME", str(tmp_path))
    whole, text = from_csv(table), table.read_text()
    ways = ["~/sounds/", "sounds\\", "~\\sounds\\", ".\\sounds\\", f"{tmp_path}/sounds/", "sounds/../sounds/"]
    for way in ways:
        table.write_text(text.replace("sounds/", way))
        assert from_csv(table).equals(whole)
    assert from_csv("~/mine.csv").equals(whole)


@pytest.mark.skipif(os.name == "nt", reason="no file name of Windows holds a backslash")
def test_a_backslash_in_a_name_is_a_name_first(tmp_path):
    write(tmp_path / "a\\b.wav", seed=1)
    write(tmp_path / "a" / "b.wav", seed=2)
    (tmp_path / "a.csv").write_text("path,emotion\na\\b.wav,sad\na/b.wav,glad\n")
    assert from_csv(tmp_path / "a.csv")["path"].to_list() == [str(tmp_path / "a\\b.wav"), str(tmp_path / "a" / "b.wav")]


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
        (
            lambda text: text.replace("actor", "statement"),
            "statement in line 2 of .* is 'ann'; .* whole number",
        ),
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
    with pytest.raises(SerlibError, match="line 2 of .* is not in UTF-8"):
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


def test_regrouping_again_copies_what_sounds_otherwise(tiny_dir, tmp_path):
    """Another recording of the same name and length is another recording."""
    tiny = ravdess(tiny_dir)
    regroup_by_emotion(tiny, tmp_path)
    other = tmp_path / "by hand.wav"
    source = Path(tiny["path"].iloc[0])
    other.write_bytes(source.read_bytes()[::-1])
    regroup_by_emotion(tiny.assign(path=[str(other), *tiny["path"].iloc[1:]]), tmp_path)
    (copied,) = tmp_path.glob(f"*/{tiny.index[0]}.wav")
    assert copied.read_bytes() == other.read_bytes()
    with pytest.raises(SerlibError, match=f"no file {tmp_path / 'gone.wav'} for clip {tiny.index[0]}"):
        regroup_by_emotion(tiny.assign(path=[str(tmp_path / "gone.wav"), *tiny["path"].iloc[1:]]), tmp_path)


def test_names_that_differ_in_case_only_go_to_two_places(table, tmp_path):
    found = from_csv(table).assign(emotion=["Sad", "sad", "Happy", "sad"])
    regroup_by_emotion(found, tmp_path / "safe")
    groups = sorted(path.name for path in (tmp_path / "safe").iterdir())
    assert groups == ["Happy", "Sad-" + groups[1][-8:], "labels.csv", "sad"]


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


def test_the_speech_that_serlib_speaks_says_so_even_where_pandas_forgot(spoken, tiny_corpus, tmp_path):
    both = pd.concat([spoken, tiny_corpus])
    assert both.attrs == {} or not both.attrs["synthetic"]
    both.attrs = {}
    assert as_corpus(both).attrs["synthetic"] is True
    both.reset_index()[["path", "emotion"]].to_csv(tmp_path / "both.csv", index=False)
    assert from_csv(tmp_path / "both.csv").attrs["synthetic"] is True


def test_columns_are_made_what_the_verbs_expect(tiny_corpus, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(Path(tiny_corpus["path"].iloc[0]).parents[1]))
    odd = tiny_corpus.assign(
        path=[f"~/{Path(path).parent.name}/{Path(path).name}" for path in tiny_corpus["path"]],
        emotion=pd.Categorical(tiny_corpus["emotion"], ["happy", "sad", "bored"]),
        actor=[1.0, None] * 8,
        statement=[1.0, np.nan] * 8,
        repetition=["2", ""] * 8,
        seconds=[None, 0.6] * 8,
    )
    found = as_corpus(odd)
    assert found["path"].to_list() == tiny_corpus["path"].to_list()
    assert found["emotion"].to_list() == tiny_corpus["emotion"].to_list() and set(found["emotion"]) == {"happy", "sad"}
    assert found["actor"].to_list() == ["1", ""] * 8 and found["seconds"].to_list() == [0.6] * 16
    assert found["statement"].to_list() == [1, 0] * 8 and found["repetition"].to_list() == [2, 0] * 8
    assert as_corpus(found) is found
    told = tiny_corpus.drop(columns="actor").assign(speaker=tiny_corpus["actor"])
    assert as_corpus(told)["actor"].equals(tiny_corpus["actor"])
    told.attrs |= {"name": 7, "synthetic": np.True_}
    assert as_corpus(told).attrs["name"] == "7" and as_corpus(told).attrs["synthetic"] is True
    numbers = as_corpus(tiny_corpus.assign(emotion=(tiny_corpus["emotion"] == "sad").astype(int)))
    assert set(numbers["emotion"]) == {"0", "1"}


def test_clips_without_names_are_named_after_their_files(tmp_path):
    files = [write(tmp_path / folder / "1.wav", seed=k) for k, folder in enumerate(("ann", "bob"))]
    found = as_corpus(pd.DataFrame({"path": files, "emotion": ["sad", "glad"]}, index=["by hand", None]))
    assert list(found.index) == ["by hand", "bob_1"] and found["path"].to_list() == list(map(str, files))
    with pytest.raises(SerlibError, match="clip ann_1 is in the corpus twice"):
        as_corpus(pd.DataFrame({"path": [files[0], *files], "emotion": ["sad", "glad", "sad"]}))


def test_a_corpus_passes_at_once(ravdess_names):
    """Every verb asks again, so nothing may be looked at clip by clip: no file, no loop over rows."""
    corpus = as_corpus(ravdess_names)
    with pytest.MonkeyPatch.context() as patch:
        for name in ("_seconds_of", "_as_name", "_as_whole", "given_path", "_clip_names"):
            patch.setattr(f"serlib.data.corpus.{name}", lambda *_: pytest.fail("a corpus was taken for another table"))
        assert as_corpus(corpus) is corpus


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda c: None, "this is a NoneType"),
        (lambda c: "ravdess", "this is a str"),
        (lambda c: [c], "this is a list"),
        (lambda c: c["path"], "this is a Series"),
        (lambda c: (row for row in c.index), "this is a generator"),
        (lambda c: pd.DataFrame(), "this table has no columns"),
        (lambda c: c.drop(columns="path"), "needs the columns path and emotion, and this table has actor"),
        (lambda c: c.iloc[:0], "has no clips"),
        (lambda c: pd.concat([c, c["actor"]], axis=1), "two columns named actor"),
        (lambda c: c.assign(path=None), "clip 03-01-03-01-01-01-01 has no path"),
        (lambda c: c.assign(path=7), "a path is text .* and this is 7"),
        (lambda c: c.assign(emotion=""), "clip 03-01-03-01-01-01-01 has no emotion"),
        (lambda c: c.assign(statement="kids"), "statement of clip 03-01-03-01-01-01-01 is 'kids'; .* whole number"),
        (lambda c: c.assign(repetition=np.inf), "repetition of clip .* is inf"),
        (lambda c: c.assign(path="gone.wav", seconds=None), "no file .*gone.wav"),
    ],
)
def test_what_is_no_corpus_is_said_in_one_sentence(tiny_corpus, change, sentence):
    with pytest.raises(SerlibError, match=sentence) as caught:
        as_corpus(change(tiny_corpus))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("odd", [None, 3, ["a.csv"]])
def test_what_is_no_path_is_said(tiny_corpus, odd):
    for door in (from_csv, lambda path: regroup_by_emotion(tiny_corpus, path)):
        with pytest.raises(SerlibError, match="a path is text"):
            door(odd)
    with pytest.raises(SerlibError, match="labels are a list"):
        from_csv("a.csv", labels="happy")


def test_an_unnamed_emotion_or_a_name_twice_is_said(tiny_corpus):
    with pytest.raises(SerlibError, match=f"clip {tiny_corpus.index[2]} has no emotion"):
        as_corpus(tiny_corpus.assign(emotion=["happy", "sad", None, *["sad"] * 13]))
    with pytest.raises(SerlibError, match="is in the corpus twice"):
        as_corpus(pd.concat([tiny_corpus, tiny_corpus]))
