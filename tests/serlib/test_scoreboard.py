"""The running scoreboard: which systems are on it, which are not and why, and who is above the bar of notebook 02."""

import importlib.util
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
from scipy.stats import binomtest

from serlib import lesson as lessons
from serlib.data.ravdess import ravdess
from serlib.data.splits import Split, actor_folds, stratified_split
from serlib.errors import SerlibError
from serlib.judge import metrics, paper, predictions
from serlib.judge.scoreboard import System, scoreboard
from serlib.lesson import PROFILES, start
from serlib.train.kept import load_voter
from serlib.train.probing import probe
from serlib.train.run import NoRun, load_run, sound_of

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("SERLIB_HOME", str(tmp_path))
    monkeypatch.setattr(lessons, "SHIPPED", tmp_path / "shipped")
    return tmp_path


@pytest.fixture
def corpus(own_folder) -> pd.DataFrame:
    """16 clips whose files a test may change, as the embedded corpus."""
    corpus = ravdess(own_folder)
    corpus.attrs |= {"name": "mini", "synthetic": True}
    return corpus


@pytest.fixture
def split(corpus) -> Split:
    return stratified_split(corpus, test_size=0.5, validation_size=0.25)


def voter(split: Split, wrong: int = 0, parts: tuple[str, ...] = predictions.PARTS) -> pd.DataFrame:
    """Somebody who is wrong about the first few clips of each part."""
    frames = []
    for part in parts:
        rows = getattr(split, part)
        p = (rows["emotion"].to_numpy()[:, None] == np.array(split.labels)).astype(float)
        p[:wrong] = 1 - p[:wrong]
        frames.append(predictions.make(rows, p, split.labels, part))
    return pd.concat(frames, ignore_index=True)


def system(title: str, notebook: str, right: int, n: int = 40, known: bool = True, first: int = 0) -> System:
    """A system that has ``right`` of n clips right, counted from clip number ``first`` on."""
    rows = pd.DataFrame({"emotion": ["happy", "sad"] * (n // 2), "actor": [f"{i % 4}" for i in range(n)]})
    rows = rows.set_index(pd.Index([f"clip-{i:03}" for i in range(n)]))
    hit = np.isin(np.arange(n), (np.arange(right) + first) % n)
    happy = (rows["emotion"].to_numpy() == "happy") == hit
    frame = predictions.make(rows, np.column_stack([happy, ~happy]), ["happy", "sad"], "test")
    return System(notebook, title, frame, "known" if known else "new", known, "something")


# --- keeping a voter ---------------------------------------------------------------------------------------------


def test_what_is_kept_comes_back_and_knows_what_it_heard(home, corpus, split):
    lesson, said = start("mini"), voter(split, wrong=1)
    lesson.keep(said, "stratified/svm", corpus)
    folder = home / "runs" / "mini" / "stratified" / "svm"
    kept = load_voter(folder)
    pd.testing.assert_frame_equal(kept, said.assign(profile="mini"), check_like=True)
    with pytest.raises(SerlibError, match="svm is of profile mini; keep it in a lesson of that profile, not of laptop"):
        start("laptop").keep(kept, "stratified/svm", corpus)
    assert kept.attrs == {
        "name": "svm",
        "sounds": {"validation": sound_of(split.validation), "test": sound_of(split.test)},
    }
    run = probe(lesson.backbone("frozen"), split, lesson.probe_recipe, lesson.runs)
    assert kept.attrs["sounds"]["test"] == run.info["sounds"]["test"]
    lesson.keep(voter(split), "stratified/svm", corpus)
    assert metrics.accuracy(load_voter(folder)) == 1 and len(list(folder.iterdir())) == 2
    with pytest.raises(SerlibError, match="holds a run; keep predictions under another name"):
        lesson.keep(said, f"stratified/{run.folder.name}", corpus)


@pytest.mark.parametrize("odd", ["svm", "a/b/c", "/svm", "stratified/", None, 3, ["stratified/svm"]])
def test_a_name_without_two_halves_is_refused(corpus, split, odd):
    with pytest.raises(SerlibError, match="is no name for a voter; give a split and a name"):
        start("mini").keep(voter(split), odd, corpus)


def test_a_name_cannot_leave_the_folder_of_runs(home, corpus, split):
    start("mini").keep(voter(split), "../..", corpus)
    assert len(list((home / "runs" / "mini").glob("*/*/voter.json"))) == 1


def test_a_voter_of_another_corpus_is_not_kept(home, corpus, split):
    said = voter(split)
    other = corpus.iloc[:4].copy()
    with pytest.raises(SerlibError, match="clips of predictions are not in the corpus"):
        start("mini").keep(said, "stratified/svm", other)
    other.attrs["name"] = "ravdess"
    with pytest.raises(SerlibError, match="heard mini, and this corpus is ravdess"):
        start("mini").keep(said, "stratified/svm", other)
    assert not (home / "runs").exists()


def test_a_damaged_voter_is_said_and_a_missing_one_is_none(home, corpus, split):
    lesson, folder = start("mini"), home / "runs" / "mini" / "stratified" / "svm"
    with pytest.raises(NoRun, match="No voter is kept in mini/stratified/svm"):
        load_voter(folder)
    lesson.keep(voter(split), "stratified/svm", corpus)
    table = folder / "predictions.csv"
    table.write_text("".join(table.read_text().splitlines(keepends=True)[:-1]))
    for _ in range(2):
        with pytest.raises(SerlibError, match="svm is damaged .*delete the folder"):
            lesson.scoreboard(split, "02")
        (folder / "voter.json").write_text("{}")


# --- who is on it ------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_every_system_that_is_there_has_a_row_and_the_others_are_said(home, corpus, split):
    lesson = start("mini")
    lesson.keep(voter(split, wrong=2), "stratified/svm", corpus)
    run = probe(lesson.backbone("frozen"), split, lesson.probe_recipe, lesson.runs)
    board = lesson.scoreboard(split, "03")
    assert list(board.table.index) == ["SVM on hand-made features", run.name]
    row = board.table.iloc[0]
    n = len(split.test)
    assert (row["notebook"], row["clips"], row["accuracy"]) == ("02", n, (n - 2) / n)
    assert (row["low"], row["high"]) == metrics.wilson_interval(n - 2, n)
    assert board.table.at[run.name, "UAR"] == metrics.unweighted_average_recall(run)
    [missing] = [sentence for sentence in board.sentences if sentence.startswith("Not yet")]
    for name in (
        "no ears (02)",
        "mel bands (02)",
        "frozen, not pre-trained (02)",
        "wav2vec 2.0 large (mini twin) (03)",
    ):
        assert name in missing
    assert "SVM" not in missing and "XLSR" not in missing


@pytest.mark.slow
def test_results_stand_in_for_what_was_not_run_here(home, corpus, split):
    """A page says the same whether its notebooks ran here, or what others committed is all there is."""
    lesson = start("mini")
    lesson.keep(voter(split, wrong=2), "stratified/svm", corpus)
    probe(lesson.backbone("frozen"), split, lesson.probe_recipe, lesson.runs)
    before = str(lesson.scoreboard(split, "02"))
    (home / "shipped").mkdir()
    shutil.move(home / "runs" / "mini", home / "shipped" / "mini")
    assert str(lesson.scoreboard(split, "02")) == before
    lesson.keep(voter(split), "stratified/svm", corpus)  # one's own comes first
    assert lesson.scoreboard(split, "02").table["accuracy"].iloc[0] == 1


def test_who_heard_other_recordings_is_left_out_and_said(corpus, split):
    lesson = start("mini")
    lesson.keep(voter(split), "stratified/svm", corpus)
    path = split.test["path"].iloc[0]
    soundfile.write(path, np.zeros(9_600), 16_000)
    board = lesson.scoreboard(split, "02")
    assert board.table.empty
    assert "Left out, because it heard other clips or recordings: SVM on hand-made features (02)." in board.sentences
    assert "sets the bar, and nothing of it is here yet" in board.sentences[0]


def test_who_heard_other_clips_is_left_out_and_said(corpus, split):
    lesson = start("mini")
    other = stratified_split(corpus, test_size=0.5, validation_size=0.25, random_state=7)
    assert set(other.test.index) != set(split.test.index)
    lesson.keep(voter(split), "stratified/svm", corpus)
    lesson.keep(voter(replace(other, name="mine")), "mine/svm", corpus)
    assert "Left out" in str(lesson.scoreboard(other, "02"))
    assert list(lesson.scoreboard(replace(other, name="mine"), "02").table.index) == ["SVM on hand-made features"]


def test_new_voices_join_with_clips_of_their_own(corpus, split):
    """They are pooled over folds, so that they are no part of the split, and yet of its recordings."""
    lesson = start("mini")
    lesson.keep(voter(split), "stratified/svm", corpus)
    folds = actor_folds(corpus, [["01", "02"], ["03", "04"]])
    pooled = predictions.pool([voter(fold, wrong=1, parts=("test",)) for fold in folds], "pooled")
    lesson.keep(pooled, "prices/svm-new-voices", corpus)
    assert list(lesson.scoreboard(split, "10").table["voices"]) == ["known"]
    board = lesson.scoreboard(split, "11")
    row = board.table.loc["SVM, new voices"]
    assert (row["clips"], row["accuracy"]) == (16, 14 / 16)
    assert list(row[["low", "high"]]) == list(metrics.intervals(pooled).loc["accuracy", ["low", "high"]])
    assert board.sentences[-1] == "These clips are not RAVDESS, so no published number stands here."


@pytest.mark.parametrize("odd", ["01", "12", "2", 2, None, ["02"]])
def test_a_notebook_that_adds_nothing_is_refused(split, odd):
    with pytest.raises(SerlibError, match="adds to the scoreboard; those that do are 02, 03"):
        start("mini").scoreboard(split, odd)


def test_what_is_no_split_is_refused(corpus):
    with pytest.raises(SerlibError, match="The split is a DataFrame; make one with"):
        start("mini").scoreboard(corpus, "02")


@pytest.mark.parametrize("profile", PROFILES)
def test_every_profile_has_a_name_for_every_system(profile, split):
    [_, missing, *_] = start(profile).scoreboard(split, "11").sentences
    assert "{" not in missing and missing.count("(") >= 17


# --- what it says ------------------------------------------------------------------------------------------------


def test_the_bar_is_the_best_of_notebook_02_and_each_later_system_is_tested_against_it():
    board = scoreboard([
        system("no ears", "02", 5), system("frozen", "02", 30), system("better", "03", 40),
        system("alike", "04", 31), system("worse", "05", 12),
        system("new", "11", 40, known=False),
    ])  # fmt: skip
    assert board.sentences == (
        "The bar is frozen, with 75.0% the best of notebook 02 on these clips.",
        "Above it by more than luck: better (+25.0 points, p = 0.004).",  # 10 clips to none, and so twice 0.002
        "Too close to call: alike (+2.5 points, p = 1.000).",
        "Below it by more than luck: worse (-45.0 points, p < 0.001).",
    )
    assert round(2 * binomtest(10, 10).pvalue, 3) == 0.004


def test_p_grows_with_the_number_of_systems():
    """Six clips to none are more than luck for one system, and not for the luckiest of three."""
    bar = system("bar", "02", 30)
    assert "Above it by more than luck: a (" in scoreboard([bar, system("a", "03", 36)]).sentences[1]
    three = scoreboard([bar, system("a", "03", 36), system("b", "04", 30), system("c", "05", 31)])
    assert three.sentences[1] == "Above it by more than luck: none."


def test_equal_accuracies_on_other_clips_are_too_close_to_call():
    board = scoreboard([system("bar", "02", 30), system("other", "03", 30, first=10)])
    assert board.sentences[2] == "Too close to call: other (+0.0 points, p = 1.000)."


def test_without_a_later_system_the_bar_alone_is_named():
    board = scoreboard([system("bar", "02", 30)], notes=["Not yet: all."])
    assert board.sentences[1:] == ("Not yet: all.",)
    assert scoreboard([]).table.empty and "75.0%" in str(board) and str(scoreboard([]))


def test_published_numbers_follow_only_when_asked_for():
    own = [system("bar", "02", 30)]
    assert len(scoreboard(own).table) == 1
    table = scoreboard(own, published=True).table
    assert list(table.index[1:7]) == [f"{title} (paper)" for title in paper.models()["title"]]
    vote = table.loc["vote of 5 (paper)"]
    assert (vote["clips"], vote["low"]) == (288, metrics.wilson_interval(279, 288)[0])
    people = table.loc["people, strong intensity"]
    assert people["accuracy"] == 0.67 and people["voices"] == "listening test"
    frozen = table.loc["XLS-R-300M, frozen, logistic regression"]  # whose interval is of its UAR
    assert frozen["UAR"] == 0.819 and np.isnan(frozen["accuracy"]) and np.isnan(frozen["low"])
    assert frozen["voices"].startswith("new, ") and not table.index.str.contains("IEMOCAP").any()
    assert "nan" not in str(scoreboard(own, published=True)).lower()


def test_only_recorded_ravdess_stands_beside_the_paper(corpus, split):
    """Neither a corpus of one's own in a profile of RAVDESS, nor the embedded one."""
    for profile, name, there in (("laptop", "ravdess", True), ("laptop", "mine", False), ("mini", "mini", False)):
        named = [frame.copy() for _, frame in split.parts()]
        for frame in named:
            frame.attrs["name"] = name
        board = start(profile).scoreboard(Split("stratified", *named), "11")
        assert board.table.index.str.contains("paper").any() == there
        assert ("no published number" in str(board)) != there


def test_without_a_split_the_committed_voters_of_the_profile_stand_there(home, corpus, split, monkeypatch):
    """No recording is read, and nothing in runs/ counts."""
    monkeypatch.delenv("RAVDESS_DIR", raising=False)
    monkeypatch.setattr(lessons, "SHIPPED", ROOT / "results")
    start("laptop").keep(voter(split, wrong=1), "stratified/svm", corpus)
    board = start("laptop").scoreboard(None, "11")
    committed = ROOT / "results" / "laptop" / "stratified"
    for name, title in (("svm", "SVM on hand-made features"), ("whisper-tiny.en-probe", "Whisper tiny.en, frozen")):
        sheet = pd.read_csv(committed / name / "predictions.csv").query("part == 'test'")
        assert board.table.loc[title, "accuracy"] == (sheet["predicted"] == sheet["emotion"]).mean()
    assert board.table.index.str.contains("paper").any() and not start("mini").scoreboard(None, "11").table.empty


# --- committing it -----------------------------------------------------------------------------------------------


def test_make_results_copies_kept_voters_and_of_mini_no_prices(home, corpus, split, monkeypatch):
    spec = importlib.util.spec_from_file_location("results", ROOT / "scripts" / "results.py")
    results = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(results)
    monkeypatch.setattr(results, "ROOT", home)
    for profile in ("mini", "laptop"):
        for name in ("stratified/svm", "prices/svm"):
            start(profile).keep(voter(split, wrong=1), name, corpus)
        results.main(profile)
    found = sorted(
        path.parent.relative_to(home / "results").as_posix() for path in home.glob("results/*/*/*/voter.json")
    )
    assert found == ["laptop/prices/svm", "laptop/stratified/svm", "mini/stratified/svm"]
    said = voter(split, wrong=1).assign(profile="laptop")
    pd.testing.assert_frame_equal(start("laptop").committed("prices/svm"), said, check_like=True)
    assert load_voter(home / "results" / "mini" / "stratified" / "svm").attrs["sounds"]


@pytest.mark.parametrize("profile", ["mini", "laptop"])
def test_committed_voters_are_whole_and_heard_what_the_runs_beside_them_heard(profile):
    shelf = ROOT / "results" / profile / "stratified"
    heard = load_run(shelf / "hubert-base-mini").info["sounds"]
    found = {record.parent.name: load_voter(record.parent) for record in shelf.glob("*/voter.json")}
    assert set(found) == {"no-ears", "svm", "mel-bands", "vote", "vote-of-5", "vote-of-3"}
    for name, frame in found.items():
        assert frame.attrs["sounds"] == {part: heard[part] for part in predictions.PARTS}, name
    for record in shelf.parent.glob("prices/*/voter.json"):
        load_voter(record.parent)
