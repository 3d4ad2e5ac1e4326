"""Other people's corpora: their real names on small files, the real recordings where they are, and several as one."""

import os
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile

import serlib as ser
from serlib.data.corpora import CORPORA, from_names, join, load_corpus
from serlib.data.corpus import COLUMNS
from serlib.data.ravdess import EMOTIONS
from serlib.errors import SerlibError

# A real name of each corpus, as its authors explain it: actor, sex, emotion, intensity, statement, repetition.
NAMES = {
    "ravdess": ("Actor_12/03-01-06-01-02-01-12", "12 female fearful normal", 2, 1),
    "ravdess-song": ("Actor_05/03-02-02-02-01-02-05", "05 male calm strong", 1, 2),
    "emodb": ("wav/03a01Fa", "03 male happy -", 1, 1),
    "crema-d": ("AudioWAV/1002_IEO_ANG_LO", "1002 female angry low", 1, 0),
    "savee": ("AudioData/DC/sa09", "DC male sad -", 9, 0),
    "tess": ("OAF_Pleasant_surprise/OAF_back_ps", "OAF female surprised -", 1, 0),
    "nemo": ("samples/WR0_happiness_64", "WR0 male happy -", 64, 0),
    "urdu": ("Angry/SM1_F10_A010", "SM1 male angry -", 0, 10),
    "mesd": ("Anger_C_A_abajo", "- child angry -", 1, 0),
}


def write(folder: Path, *names: str) -> Path:
    """Write half a second of noise for each name."""
    for number, name in enumerate(names):
        path = folder / f"{name}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, np.random.default_rng(number).uniform(-0.3, 0.3, 8_000), 16_000)
    return folder


def table(name: str, emotions: list[str], **columns: object) -> pd.DataFrame:
    """A corpus without files: two clips of each emotion by speakers 1 and 2."""
    rows = [(f"{emotion}{actor}.wav", emotion, str(actor)) for emotion in emotions for actor in (1, 2)]
    corpus = pd.DataFrame(rows, columns=["path", "emotion", "actor"]).assign(seconds=2.0, statement=1, **columns)
    corpus.attrs["name"] = name
    return corpus


def test_every_corpus_has_an_example():
    assert set(NAMES) == set(CORPORA)


@pytest.mark.parametrize("name", NAMES)
def test_a_real_name_says_what_its_authors_say(name, tmp_path):
    stem, said, statement, repetition = NAMES[name]
    corpus = load_corpus(name, write(tmp_path, stem))
    assert list(corpus.columns) == list(COLUMNS)
    row = corpus.iloc[0]
    assert [row[column] or "-" for column in ("actor", "sex", "emotion", "intensity")] == said.split()
    assert (row["statement"], row["repetition"], row["seconds"]) == (statement, repetition, 0.5)
    assert corpus.attrs["name"] == name and corpus.attrs["language"] == CORPORA[name].language
    assert not corpus.attrs["synthetic"] and corpus.attrs["terms"] == CORPORA[name].terms


@pytest.mark.parametrize("name", [name for name in CORPORA if CORPORA[name].pattern])
def test_every_code_has_a_word_of_the_book(name):
    words = {word for word in CORPORA[name].codes["emotion"].values()}
    assert words <= {*EMOTIONS, "bored"} and CORPORA[name].where.startswith(("Get", "Register"))


@pytest.mark.parametrize("name", [name for name in CORPORA if CORPORA[name].pattern])
def test_a_corpus_has_the_emotions_of_its_names_and_no_others(name):
    """Notebook 16 shows the codes as what each corpus has: nEMO has no disgust, and MESD no surprise."""
    [group] = re.findall(r"\(\?P<emotion>([^)]*)\)", CORPORA[name].pattern)
    codes = CORPORA[name].codes["emotion"]
    assert set(codes) == set(re.sub(r"\[(\w+)\]", lambda letters: "|".join(letters[1]), group).split("|"))


@pytest.mark.parametrize(
    ("name", "women", "men"), [("emodb", 5, 5), ("crema-d", 43, 48), ("savee", 0, 4), ("tess", 2, 0), ("nemo", 4, 5)]
)
def test_the_sexes_are_as_many_as_published(name, women, men):
    sexes = list(CORPORA[name].codes["sex"].values())
    assert (sexes.count("female"), sexes.count("male")) == (women, men)
    assert women + men == CORPORA[name].speakers


def test_all_letters_of_emodb(tmp_path):
    letters = dict(zip("WLEAFTN", "angry bored disgust fearful happy sad neutral".split(), strict=True))
    corpus = load_corpus("emodb", write(tmp_path, *(f"16b10{letter}b" for letter in letters)))
    assert corpus["emotion"].to_dict() == {f"16b10{letter}b": word for letter, word in letters.items()}


def test_saves_flat_names_are_read_like_its_folders(tmp_path):
    flat = load_corpus("savee", write(tmp_path / "flat", "ALL/JK_su15", "ALL/JK_d01"))
    deep = load_corpus("savee", write(tmp_path / "deep", "AudioData/JK/su15", "AudioData/JK/d01"))
    pd.testing.assert_frame_equal(flat.drop(columns="path"), deep.drop(columns="path"))


def test_the_file_of_tess_that_lost_a_letter(tmp_path):
    corpus = load_corpus("tess", write(tmp_path, "OAF_neutral/OA_bite_neutral", "OAF_neutral/OAF_book_neutral"))
    assert set(corpus["actor"]) == {"OAF"}


def test_songs_are_no_speech_and_speech_is_no_song(tmp_path):
    write(tmp_path, "03-01-06-01-02-01-12", "03-02-06-01-02-01-12")
    assert list(load_corpus("ravdess", tmp_path).index) == ["03-01-06-01-02-01-12"]
    assert list(load_corpus("ravdess-song", tmp_path).index) == ["03-02-06-01-02-01-12"]


def test_what_is_misnamed_is_left_out_and_said(tmp_path):
    write(tmp_path, "03a01Fa", "03a01Xa", "readme")
    with pytest.warns(UserWarning, match=r"left out 2 misnamed file\(s\), the first: .*03a01Xa.wav"):
        corpus = load_corpus("emodb", tmp_path)
    assert len(corpus) == 1 and len(corpus.attrs["misnamed"]) == 2


def test_where_corpora_dir_points(monkeypatch, tmp_path):
    monkeypatch.setenv("CORPORA_DIR", str(tmp_path))
    write(tmp_path / "emodb", "03a01Fa")
    assert len(load_corpus("emodb")) == 1
    with pytest.raises(SerlibError, match="URDU is not on this machine: .*urdu-dataset"):
        load_corpus("urdu")


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("emo-db", "there is no corpus named 'emo-db'; did you mean emodb"),
        (["emodb"], r"there is no corpus named \['emodb'\]; did you mean emodb"),
        ("savee", "Register at http"),
    ],
)
def test_a_corpus_that_is_not_there(name, sentence, tmp_path):
    with pytest.raises(SerlibError, match=sentence):
        load_corpus(name, tmp_path)


# The real recordings


def real(name: str) -> pd.DataFrame:
    folder = os.environ.get("CORPORA_DIR")
    if not folder or not (Path(folder) / name).is_dir():
        pytest.skip(f"needs real recordings: set CORPORA_DIR to the folder that holds {name}")
    return load_corpus(name)


@pytest.mark.slow
def test_the_real_emodb():
    """Burkhardt et al. (2005) and every article since: 535 clips, ten speakers, seven emotions."""
    corpus = real("emodb")
    counts = dict(angry=127, bored=81, disgust=46, fearful=69, happy=71, neutral=79, sad=62)
    assert corpus["emotion"].value_counts().to_dict() == counts and len(corpus) == CORPORA["emodb"].clips
    assert corpus.groupby("sex")["actor"].nunique().to_dict() == {"female": 5, "male": 5}
    assert set(corpus["statement"]) == set(range(1, 11)) and not corpus.attrs["misnamed"]


@pytest.mark.slow
def test_the_real_urdu():
    corpus = real("urdu")
    assert corpus["emotion"].value_counts().to_dict() == dict.fromkeys(["angry", "happy", "neutral", "sad"], 100)
    assert corpus["actor"].nunique() == CORPORA["urdu"].speakers and not corpus.attrs["misnamed"]


# Any folder


PATTERN = r"(?P<actor>\w+)-(?P<emotion>\w+)-(?P<statement>\w+)"


def test_a_folder_of_ones_own(tmp_path):
    write(tmp_path, "ada-joy-hello", "ben-joy-bye", "ben-rage-hello")
    codes = {"emotion": {"joy": "happy", "rage": None}, "sex": {"ada": "female"}}
    corpus = from_names(tmp_path, PATTERN, codes)
    assert corpus["emotion"].to_dict() == {"ada-joy-hello": "happy", "ben-joy-bye": "happy"}
    assert corpus["sex"].to_list() == ["female", ""] and corpus["statement"].to_list() == [2, 1]
    assert corpus.attrs["name"] == tmp_path.name and corpus.attrs["synthetic"] is False


@pytest.mark.parametrize(
    ("pattern", "codes", "sentence"),
    [
        (
            PATTERN,
            {"emotion": {"joy": "happy"}},
            "codes says nothing of the emotion rage in .*; give it a word, or None",
        ),
        (PATTERN, {"emotion": {"joy": None, "rage": None}}, "codes leaves out every clip"),
        (PATTERN, {"feeling": {}}, "a corpus has no column feeling"),
        (PATTERN, ["joy"], "The codes is a list"),
        (r"(?P<actor>\w+)-.*", None, r"has no group \(\?P<emotion>"),
        (r"(?P<emotion>\w+)-(?P<who>.*)", None, "a corpus has no column who"),
        (r"(?P<emotion>", None, "is no regular expression"),
        (r"(?P<emotion>\d+)", None, "holds no names that fit the pattern"),
        (PATTERN.encode(), None, "is made of bytes; write it as text"),
        (PATTERN, {"emotion": "joy"}, "The table of emotion in codes is a str; write one like"),
        (PATTERN, {"emotion": {"joy": 3, "rage": None}}, "the codes of emotion make 3 of 'joy'; give a word in quotes"),
        (PATTERN, {3: {}}, "a corpus has no column 3"),
    ],
)
def test_a_pattern_that_cannot_be(pattern, codes, sentence, tmp_path):
    write(tmp_path, "ada-joy-hello", "ben-rage-hello")
    with pytest.raises(SerlibError, match=sentence):
        from_names(tmp_path, pattern, codes)


# Several as one


def test_joined_corpora_keep_what_they_are(capsys):
    ours, theirs = table("ours", ["happy", "sad"], sex="female"), table("theirs", ["angry", "happy", "sad"])
    ours.attrs["language"], theirs.attrs["terms"] = "Urdu", "CC BY 4.0"
    joined = join([ours, theirs])
    assert joined.attrs["name"] == "ours and theirs" and joined.attrs["corpora"]["theirs"]["terms"] == "CC BY 4.0"
    assert set(joined.columns) == {*COLUMNS, "corpus", "language"}
    assert joined.groupby("corpus")["language"].first().to_dict() == {"ours": "Urdu", "theirs": ""}
    assert len(joined) == 8 and not joined.index.has_duplicates
    assert set(joined["actor"]) == {"ours-1", "ours-2", "theirs-1", "theirs-2"}, "speaker 1 of one is not the other's"
    assert joined.groupby("corpus")["statement"].unique().str[0].to_dict() == {"ours": 1, "theirs": 2}
    said = "ours and theirs share 2 emotions: happy, sad; left out: 2 clips (theirs angry 2).\n"
    assert capsys.readouterr().out == said


def test_labels_of_ones_own(capsys):
    corpora = [table("ours", ["happy", "sad"]), table("theirs", ["angry", "happy", "bored"])]
    joined = join(corpora, {"happy": "positive", "sad": "negative", "angry": "negative", "bored": None})
    assert joined["emotion"].value_counts().to_dict() == {"positive": 4, "negative": 4}
    assert "left out: 2 clips (theirs bored 2)" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("corpora", "labels", "sentence"),
    [
        ([table("a", ["happy", "sad"])], None, "join takes a list of two corpora"),
        (table("a", ["happy", "sad"]), None, "join takes a list of two corpora"),
        ([table("a", ["happy", "sad"])] * 2, None, "two of the corpora are called a"),
        (
            [table("a", ["happy", "sad"]), table("b", ["happy", "bored"])],
            None,
            "share 1 emotion.*a has happy, sad; b has",
        ),
        (
            [table("a", ["happy", "sad"]), table("b", ["happy", "bored"])],
            {"happy": "good", "sad": "bad"},
            r"labels leaves out bored, of which b has 2 clip\(s\)",
        ),
        (
            [table("a", ["happy", "sad"]), table("b", ["happy", "bored"])],
            {"happy": "good", "sad": "bad", "bored": None},
            r"the corpora share 1 emotion\(s\) \(good\)",
        ),
        ([table("a", ["happy", "sad"]), table("b", ["sad", "happy"])], ["happy"], "The labels is a list"),
        (
            [table("a", ["happy", "sad"]), table("b", ["sad", "happy"])],
            {"happy": 1, "sad": 2},
            "the labels make 1 of 'happy'; give a word in quotes, or None",
        ),
        (
            [table("a", ["happy", "sad"]), table("b", ["sad", "happy"])],
            {"happy": "good", "sad": ""},
            "labels has an empty word",
        ),
    ],
)
def test_what_cannot_be_joined(corpora, labels, sentence):
    with pytest.raises(SerlibError, match=sentence):
        join(corpora, labels)


def test_nobody_becomes_two_people_by_joining_twice():
    ours, theirs = table("ours", ["happy", "sad"]), table("theirs", ["happy", "sad"])
    with pytest.raises(SerlibError, match="ours is given twice, once within a joined corpus; join each corpus once"):
        join([join([ours, theirs]), ours])


def test_unknown_speakers_stay_unknown():
    joined = join([table("a", ["happy", "sad"], sex="").assign(actor=""), table("b", ["happy", "sad"])])
    assert set(joined["actor"]) == {"", "b-1", "b-2"}
    with pytest.raises(SerlibError, match="some clips of the corpus have no actor"):
        ser.actor_split(joined)


# Learned on one, tested on another


def small(name: str, folder: Path, speakers: int = 6, seed: int = 0) -> pd.DataFrame:
    """A corpus of tones (happy) and noises (sad) on the disk, each speaker at a pitch of its own."""
    folder.mkdir()
    time, rows = np.arange(8_000) / 16_000, []
    for actor in range(speakers):
        random = np.random.default_rng([seed, actor])
        sounds = {"happy": np.sin(2 * np.pi * (150 + 20 * actor + seed) * time), "sad": random.standard_normal(8_000)}
        for emotion, samples in sounds.items():
            for take in (1, 2):
                path = folder / f"{actor}-{emotion}-{take}.wav"
                soundfile.write(path, 0.1 * take * samples / 4, 16_000)
                rows.append((str(path), emotion, f"{actor}"))
    corpus = pd.DataFrame(rows, columns=["path", "emotion", "actor"])
    corpus.attrs["name"] = name
    return corpus


@pytest.fixture
def two(tmp_path) -> list[pd.DataFrame]:
    return [small("ours", tmp_path / "ours"), small("theirs", tmp_path / "theirs", seed=7)]


def test_each_row_of_the_matrix_tests_every_clip_once_and_nobody_it_has_heard(two):
    joined = join(two)
    splits = ser.corpus_splits(joined, n_folds=3)
    assert list(splits) == ["ours", "theirs", "all", "all but the tested"]
    for learned, row in splits.items():
        tested = [clip for split in row for clip in split.test.index]
        assert sorted(tested) == sorted(joined.index), learned
        for split in row:
            heard = pd.concat([split.train, split.validation])
            assert not set(heard["actor"]) & set(split.test["actor"])
            if learned in ("ours", "theirs"):
                assert set(heard["corpus"]) == {learned}
            if learned == "all but the tested":
                assert not set(heard["corpus"]) & set(split.test["corpus"])


@pytest.mark.parametrize("n_folds", [1, 7, 2.0, True])
def test_folds_that_cannot_be(two, n_folds):
    with pytest.raises(SerlibError, match="n_folds is"):
        ser.corpus_splits(join(two), n_folds)


def test_splits_of_what_was_not_joined(two):
    with pytest.raises(SerlibError, match="corpora that ser.join has made one"):
        ser.corpus_splits(two[0])


@pytest.mark.slow
def test_the_diagonal_is_the_run_within_the_corpus(two, tmp_path, capsys):
    """A fold of joined corpora and the same fold of the corpus alone: the same clips, and the same probabilities."""
    backbone, recipe = ser.backbone("hubert-base-mini"), ser.Probe()
    for split in ser.corpus_splits(join(two), n_folds=3)["theirs"][:-1]:
        across = ser.probe(backbone, split, recipe, tmp_path / "across")
        alone = ser.corpus.as_corpus(two[1])
        own = [alone.loc[part.index.str.removeprefix("theirs-")] for _, part in split.parts()]
        within = ser.probe(backbone, ser.splits.Split(split.name, *own), recipe, tmp_path / "within")
        columns = ["emotion", "predicted", "part", "p_happy", "p_sad"]
        pd.testing.assert_frame_equal(across.predictions[columns], within.predictions[columns])


@pytest.mark.slow
def test_joined_corpora_train_a_probe_and_a_network(two, tmp_path):
    """``pandas.concat`` lost what they were called, and training ended in a KeyError after all the work."""
    joined = join(two)
    split = ser.actor_split(joined)
    backbone = ser.backbone("hubert-base-mini")
    probed = ser.probe(backbone, split, ser.Probe(), tmp_path)
    recipe = ser.Recipe(epochs=1, batch_size=8, accumulation=1, precision="fp32")
    tuned = ser.fine_tune(backbone, split, recipe, tmp_path)
    for run in (probed, tuned):
        assert run.info["corpus"] == "ours and theirs" and set(run.predictions["clip"]) <= set(joined.index)
        assert ser.load_run(run.folder).predictions.equals(run.predictions)


@pytest.mark.parametrize("place", ["mini-v2", "mini-v2-german"])
def test_clips_that_serlib_spoke_say_so_in_any_language(place):
    paths = [f"/cache/{place}/Actor_01/{name}.wav" for name in "ab"]
    frame = pd.DataFrame({"path": paths, "emotion": ["sad", "calm"], "seconds": 2.0})
    assert ser.corpus.as_corpus(frame).attrs["synthetic"] is True
