"""The committed leaderboard, recomputed from the committed predictions by scikit-learn and plain pandas."""

import hashlib
import itertools
import json
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import soundfile
from sklearn.metrics import accuracy_score, log_loss, recall_score

from serlib.data.splits import stratified_split

ROOT = Path(__file__).parents[2]
LAPTOP = ROOT / "results" / "laptop"
WHOLE = pd.read_csv(LAPTOP / "leaderboard.csv")
BOARD = WHOLE[~WHOLE["protocol"].str.endswith("enrolled")]  # the others are for test_enrolled
sys.path[:0] = [str(ROOT / "scripts" / "leaderboard"), str(ROOT / "scripts")]

import board as leaderboard  # noqa: E402


def frame(folder: Path, key: str) -> pd.DataFrame:
    rows = pd.read_csv(folder / key / "predictions.csv")
    return rows.sort_values(["part", "clip"]).reset_index(drop=True)


def voted(folder: Path) -> pd.DataFrame:
    """The mean of the probabilities of the members whose mean has the lowest log loss on validation."""
    frames = [frame(folder, key) for key in leaderboard.ENTRIES if (folder / key).is_dir()]
    columns = [column for column in frames[0] if column.startswith("p_")]
    names = [column[2:] for column in columns]
    known = frames[0]["part"] == "validation"
    best = (np.inf, None)
    for size in range(2, len(frames) + 1):
        for jury in itertools.combinations(frames, size):
            mean = sum(member[columns] for member in jury)
            mean = mean.div(mean.sum(axis=1), axis=0)
            loss = log_loss(frames[0].loc[known, "emotion"], mean[known], labels=names)
            if loss < best[0] - 1e-12:
                best = loss, mean
    return frames[0].assign(predicted=np.array(names)[best[1].to_numpy().argmax(1)])


@pytest.mark.slow
@pytest.mark.parametrize("row", list(BOARD.itertuples()), ids=lambda row: f"{row.protocol}-{row.entry}")
def test_row_is_what_the_committed_predictions_say(row):
    folders = sorted(LAPTOP.glob(leaderboard.PROTOCOLS[row.protocol]))
    keys = {title: key for key, (title, *_) in leaderboard.ENTRIES.items()}
    frames = [voted(f) if row.entry == leaderboard.VOTE else frame(f, keys[row.entry]) for f in folders]
    test = pd.concat([f[f["part"] == "test"] for f in frames])
    assert len(test) == test["clip"].nunique() == row.clips and len(folders) == row.folds
    assert accuracy_score(test["emotion"], test["predicted"]) == pytest.approx(row.accuracy, abs=6e-7)
    assert recall_score(test["emotion"], test["predicted"], average="macro") == pytest.approx(row.UAR, abs=6e-7)
    assert round(row.accuracy * row.clips) == row.right
    assert row.accuracy_low < row.accuracy < row.accuracy_high and row.UAR_low < row.UAR < row.UAR_high


def test_every_entry_stands_on_every_protocol():
    entries = [title for title, *_ in leaderboard.ENTRIES.values()] + [leaderboard.VOTE]
    for protocol, rows in BOARD.groupby("protocol"):
        assert list(rows["entry"]) == [e for e in entries if e in set(rows["entry"])]
        slow = sum(protocol not in trained for trained in leaderboard.SLOW.values())
        assert len(rows) == len(entries) - slow or protocol == "one actor out"
    assert list(BOARD["protocol"].unique()) == list(leaderboard.PROTOCOLS)


@pytest.mark.slow
def test_table_is_made_in_seconds_and_is_the_committed_one(tmp_path):
    before = (LAPTOP / "leaderboard.csv").read_text()
    command = [sys.executable, str(ROOT / "scripts" / "leaderboard"), "--table"]
    printed = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path).stdout
    assert (LAPTOP / "leaderboard.csv").read_text() == before
    assert all(f"accuracy {row.accuracy:6.2%}" in printed for row in WHOLE.itertuples())


def test_members_are_chosen_without_the_test_part():
    """Whatever the test part says, the same members vote."""
    folder = LAPTOP / "stratified"
    runs = [leaderboard.ser.load_run(folder / key) for key in leaderboard.ENTRIES]
    for run in runs[1:]:  # every answer of these on test is another now
        test = run.predictions["part"] == "test"
        columns = [c for c in run.predictions if c.startswith("p_")]
        run.predictions.loc[test, columns] = np.roll(run.predictions.loc[test, columns].to_numpy(), 1, axis=1)
        run.predictions.loc[test, "predicted"] = np.array([c[2:] for c in columns])[
            run.predictions.loc[test, columns].to_numpy().argmax(1)
        ]
    honest = [leaderboard.ser.load_run(folder / key) for key in leaderboard.ENTRIES]
    assert leaderboard.vote(runs).members == leaderboard.vote(honest).members


def test_the_page_prints_the_committed_table():
    page = (ROOT / "book" / "leaderboard.md").read_text(encoding="utf-8")
    row = r"^\| ([^|]+?) \| ([^|]+?) \| ([\d.]+) % \(([\d.]+) to ([\d.]+)\) \| ([\d.]+) % \|$"
    printed = re.findall(row, page, re.MULTILINE)
    expected = [
        (row.protocol, row.entry, *(f"{100 * value:.1f}" for value in (row.accuracy, row.accuracy_low,
         row.accuracy_high, row.UAR)))
        for row in WHOLE.itertuples()
    ]  # fmt: skip
    assert printed == expected


def test_the_sentences_of_the_page_agree_with_the_table():
    page = " ".join((ROOT / "book" / "leaderboard.md").read_text(encoding="utf-8").split())
    by = BOARD.set_index(["protocol", "entry"])
    paper, folds = (by.loc[protocol, leaderboard.VOTE] for protocol in list(leaderboard.PROTOCOLS)[:2])
    said = re.search(
        r"the vote has ([\d.]+) %, ([\d.]+) points below the first goal \((\d+) of (\d+) clips, against 279\), "
        r"and ([\d.]+) %, ([\d.]+) points below the second",
        page,
    ).groups()
    assert said == (
        f"{100 * paper.accuracy:.1f}", f"{96.88 - 100 * paper.accuracy:.1f}",
        f"{paper.right:.0f}", f"{paper.clips:.0f}",
        f"{100 * folds.accuracy:.1f}", f"{82 - 100 * folds.accuracy:.1f}",
    )  # fmt: skip
    ridge, loudness = (
        by.loc["one statement out", leaderboard.ENTRIES[key][0]].accuracy for key in leaderboard.QUICK[:2]
    )
    assert f"{100 * loudness:.1f} against {100 * ridge:.1f} % with only the statement new" in page


@pytest.mark.slow
def test_luck_is_thirty_splits_of_288_clips_each_and_not_the_books_own(ravdess_names):
    said = pd.read_csv(LAPTOP / "answers" / "luck.csv", index_col="clip")
    asked = [(system, state) for system in leaderboard.luck.SYSTEMS for state in leaderboard.luck.SPLITS]
    assert list(said) == ["actor", "emotion", *(f"{system}, split {state}" for system, state in asked)]
    assert len(asked) == 30 * len(leaderboard.luck.SYSTEMS)
    tested = {}
    for state in leaderboard.luck.SPLITS:
        tested[state] = frozenset(stratified_split(ravdess_names, random_state=state).test.index)
    assert {len(clips) for clips in tested.values()} == {288} and len(set(tested.values())) == 30
    for system, state in asked:
        assert set(said.index[said[f"{system}, split {state}"].notna()]) == tested[state]
    assert frozenset(stratified_split(ravdess_names).test.index) not in tested.values()


def test_the_luck_on_the_page_is_that_of_the_committed_answers():
    page = " ".join((ROOT / "book" / "leaderboard.md").read_text(encoding="utf-8").split())
    said = pd.read_csv(LAPTOP / "answers" / "luck.csv", index_col="clip")
    for system, name in (("kernel ridge", "tiny.en"), ("kernel ridge, Whisper base", "base")):
        scores = []
        for split in range(1, 31):
            told = said[f"{system}, split {split}"].dropna()
            scores.append(100 * accuracy_score(said.loc[told.index, "emotion"], told))
        scores = pd.Series(scores)
        spread = f"standard deviation {scores.std():.1f}, {scores.min():.1f} to {scores.max():.1f}"
        assert f"{name} {scores.mean():.1f} ({spread})" in page


def test_answers_are_given_again_only_where_something_changed(tmp_path):
    """An hour of answers is not computed anew for nothing, and never kept where sound, settings or file are others."""
    for name, loudness in (("a", 0.1), ("b", 0.2)):
        soundfile.write(tmp_path / f"{name}.wav", np.full(1600, loudness), 16_000)
    paths = [str(tmp_path / f"{name}.wav") for name in "ab"]
    corpus = pd.DataFrame({"path": paths, "actor": "1", "emotion": ["sad", "calm"]}, pd.Index(["a", "b"], name="clip"))
    asked = []

    def answers(clips):
        asked.append(len(clips))
        return pd.DataFrame({"said": "calm"}, clips.index)

    depends = {"code": 1, "encoders": ["hubert-base-mini"]}
    module, path = SimpleNamespace(answers=answers, DEPENDS=depends), tmp_path / "answers" / "luck.csv"
    for _ in range(2):
        leaderboard.answer(corpus, module, path)
    assert len(asked) == 1 and pd.read_csv(path)["said"].tolist() == ["calm", "calm"]
    depends["code"] = 2
    leaderboard.answer(corpus, module, path)
    assert len(asked) == 2
    soundfile.write(paths[0], np.full(1600, 0.3), 16_000)
    leaderboard.answer(corpus, module, path)
    assert len(asked) == 3
    whole = path.read_text()
    path.write_text(whole.replace("calm", "sad"))
    leaderboard.answer(corpus, module, path)
    assert len(asked) == 4 and path.read_text() == whole
    path.unlink()
    leaderboard.answer(corpus, module, path)
    leaderboard.answer(corpus, module, path)
    assert len(asked) == 5
    for column, value in (("emotion", "angry"), ("actor", "2")):
        corpus = corpus.assign(**{column: value})
        leaderboard.answer(corpus, module, path)
    assert len(asked) == 7 and pd.read_csv(path)["emotion"].tolist() == ["angry", "angry"]
    assert [file.name for file in path.parent.iterdir() if file != path] == ["keys.json"]


def test_committed_answers_have_their_keys():
    kept = json.loads((LAPTOP / "answers" / "keys.json").read_text())
    files = {file.stem for file in (LAPTOP / "answers").glob("*.csv")}
    others = ("rooms-", "networks-", "corpora")  # made by scripts of those names
    assert set(kept) == {name for name in files if not name.startswith(others)}
    for name, note in kept.items():
        assert note["sha256"] == hashlib.sha256((LAPTOP / "answers" / f"{name}.csv").read_bytes()).hexdigest()
