"""The committed answers of three corpora about each other: whose clips they are, and that every question is there."""

import os
import re
from pathlib import Path

import pandas as pd
import pytest

import serlib as ser
from serlib.data.corpora import CORPORA

ANSWERS = Path(__file__).parents[2] / "results" / "laptop" / "answers" / "corpora.csv"
NAMES, EMOTIONS = ("ravdess", "emodb", "urdu"), {"angry", "happy", "neutral", "sad"}
LEARNED = (*NAMES, "all", "all but the tested")


@pytest.fixture
def said() -> pd.DataFrame:
    return pd.read_csv(ANSWERS, index_col="clip", dtype=str)


def test_the_clips_are_those_of_the_shared_emotions_and_their_truth_is_in_their_names(said):
    """Every fourth of RAVDESS's names by its own reading, EmoDB's and URDU's by the letter in theirs."""
    counts = said.index.str.split("-", n=1).str[0].value_counts().to_dict()
    assert counts == {"ravdess": 672, "emodb": 127 + 71 + 79 + 62, "urdu": 400}
    for clip, row in said.iterrows():
        name, stem = clip.split("-", 1)
        if name == "ravdess":
            fields = ser.parse_name(stem)
        else:
            match = re.fullmatch(CORPORA[name].pattern, stem)
            fields = match.groupdict() | {"emotion": CORPORA[name].codes["emotion"][match["emotion"]]}
        assert (row["actor"], row["emotion"]) == (f"{name}-{fields['actor']}", fields["emotion"])


def test_every_question_was_asked_of_both_encoders_and_answered(said):
    ways = [f"{learned}{way}" for learned in LEARNED for way in ("", " | known shares", " | own scale")]
    wanted = [*ways, "its own, at random", "which corpus", "which corpus | own scale"]
    columns = [f"{size} | {question}" for size in ("tiny.en", "base") for question in wanted]
    assert sorted(said.columns[2:]) == sorted(columns) and said.notna().all(axis=None)
    for column in columns:
        assert set(said[column]) <= (set(NAMES) if "which corpus" in column else EMOTIONS)


@pytest.mark.slow
def test_the_real_corpora_have_these_clips(said, monkeypatch, ravdess_dir):
    folder = os.environ.get("CORPORA_DIR")
    if not folder or not all((Path(folder) / name).is_dir() for name in ("emodb", "urdu")):
        pytest.skip("needs real recordings: set CORPORA_DIR to the folder that holds emodb and urdu")
    monkeypatch.setenv("RAVDESS_DIR", str(ravdess_dir))
    joined = ser.join([ser.load_corpus(name) for name in NAMES])
    pd.testing.assert_frame_equal(joined[["actor", "emotion"]], said[["actor", "emotion"]])
