"""Starting a lesson: the right profile, the right backbones, runs found in runs/ before results/."""

import os
import shutil
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from serlib import lesson as profiles
from serlib.data.splits import stratified_split
from serlib.errors import SerlibError
from serlib.judge import predictions
from serlib.lesson import PROFILES, start
from serlib.train.backbones import SIX
from serlib.train.probing import probe
from serlib.train.recipes import Recipe


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("SERLIB_HOME", str(tmp_path))
    monkeypatch.setattr(profiles, "SHIPPED", tmp_path / "shipped")  # a clone has results of its own
    return tmp_path


@pytest.mark.slow
def test_results_are_found_wherever_runs_are_kept(program):
    """SERLIB_HOME moves runs/; in a clone, what others committed was lost with it."""
    done = program("import serlib as ser; print(len(ser.start('laptop').leaderboard()))")
    assert done.returncode == 0 and int(done.stdout.split()[-1]) > 10, done.stderr


def test_auto_is_mini_without_a_gpu(capsys):
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    assert start("auto").profile == "mini"
    assert "synthetic" in capsys.readouterr().out


def test_unknown_profile_offers_the_nearest():
    with pytest.raises(SerlibError, match="did you mean laptop"):
        start("labtop")


@pytest.mark.parametrize("odd", [None, 3, ["mini"], "MINI"])
def test_what_is_no_profile_is_said(odd):
    with pytest.raises(SerlibError, match="no profile called"):
        start(odd)


@pytest.mark.parametrize("odd", [0, -1, 2.5, "two", "2", True])
def test_odd_numbers_of_epochs_are_refused(odd):
    """0 was taken for None, and text ended raw."""
    with pytest.raises(SerlibError, match=f"epochs is {odd!r}; it must be a whole number, 1 or more"):
        start("mini", epochs=odd)


def test_the_home_of_runs_may_be_written_from_the_home_folder(home, monkeypatch):
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("SERLIB_HOME", "~/mine")
    assert start("mini").home == home / "mine"


@pytest.mark.slow
def test_small_products_take_one_thread_after_a_lesson_begins(home):
    """In a process of its own, where scikit-learn comes later; what torch multiplies with stays as it was."""
    code = (
        "import numpy, serlib as ser, threadpoolctl, torch\n"
        "before = torch.get_num_threads()\n"
        "ser.start('mini')\n"
        "import sklearn.linear_model\n"
        "found = [pool['num_threads'] for pool in threadpoolctl.threadpool_info() if pool['user_api'] == 'blas']\n"
        "assert set(found) <= {1}, found\n"
        "assert torch.get_num_threads() == before\n"
    )
    threads = {name: "2" for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS")}
    environment = {**os.environ, **threads, "SERLIB_HOME": str(home), "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("profile", PROFILES)
def test_each_profile_knows_its_six(profile):
    lesson = start(profile)
    keys = [lesson.backbone(key).key for key in SIX]
    assert keys == [f"{key}-mini" if PROFILES[profile].twins else key for key in SIX]
    assert lesson.runs.folder.name == lesson.runs.profile == profile


def test_paper_profile_is_the_papers_recipe():
    stock = {"precision": "fp32", "layerdrop": None, "bucketing": False}
    assert start("paper").recipe == Recipe(10, 4, 2, 1e-4, pooling="mean", eval_every=100, **stock)


def test_a_backbone_may_have_a_recipe_of_its_own():
    lesson = start("best", epochs=3)
    assert lesson.recipe_for(lesson.backbone("hubert-base")) == lesson.recipe
    assert not lesson.recipe.gradient_checkpointing
    large = lesson.recipe_for(lesson.backbone("hubert-xlarge"))
    assert large.gradient_checkpointing and large.epochs == 3


def test_all_six_have_one_recipe_on_a_t4():
    lesson = start("t4")
    assert {lesson.recipe_for(lesson.backbone(key)) for key in SIX} == {lesson.recipe}


def test_epochs_change_the_recipe_and_none_keeps_it():
    assert start("mini", epochs=2).recipe.epochs == 2
    assert start("mini", epochs=None).recipe == PROFILES["mini"].recipe


def test_the_first_line_counts_no_recordings_and_a_copy_that_lacks_some_says_so(tiny_dir, monkeypatch, capsys):
    monkeypatch.setenv("RAVDESS_DIR", str(tiny_dir))
    lesson = start("laptop")
    assert "profile laptop - recordings of RAVDESS, mini twins" in capsys.readouterr().out
    assert len(lesson.corpus()) == 16
    assert (
        capsys.readouterr().out == "This copy of RAVDESS has 16 clips of 4 of its 24 actors, and all of it has 1,440.\n"
    )


def test_runs_are_found_in_runs_then_in_results(home, spoken):
    lesson = start("mini")
    with pytest.raises(SerlibError, match="no finished run in mini/stratified/hubert-base-mini"):
        lesson.run("hubert-base")
    assert lesson.finished() == []
    split = stratified_split(spoken, test_size=0.25, validation_size=0.2)
    run = probe(lesson.backbone("frozen"), split, lesson.probe_recipe, lesson.runs)
    assert lesson.run("frozen").folder == run.folder
    shelf = home / "results" / "mini" / "stratified" / "hubert-base-mini-probe"
    shelf.parent.mkdir(parents=True)
    shutil.move(run.folder, shelf)
    assert lesson.run("frozen").folder == shelf
    assert [found.folder for found in lesson.finished()] == [shelf]


def test_a_run_is_found_whatever_its_split_is_called(spoken):
    """Its folder has a safe name, which is not always that of the split."""
    lesson = start("mini")
    split = replace(stratified_split(spoken, test_size=0.25, validation_size=0.2), name="Ann/../..")
    run = probe(lesson.backbone("frozen"), split, lesson.probe_recipe, lesson.runs)
    assert run.folder.parents[1] == lesson.runs.folder
    assert lesson.run("frozen", "Ann/../..").folder == run.folder


def test_a_run_on_other_clips_is_not_the_splits(home, spoken):
    """A reader with four actors has splits of the same names as the results of all."""
    lesson = start("mini")
    whole = stratified_split(spoken, test_size=0.25, validation_size=0.2)
    half = stratified_split(spoken.query("actor > '03'"), test_size=0.25, validation_size=0.2)
    run = probe(lesson.backbone("frozen"), half, lesson.probe_recipe, lesson.runs)
    assert lesson.run("frozen", half).folder == run.folder and [r.folder for r in lesson.finished(half)] == [run.folder]
    with pytest.raises(SerlibError, match="heard other clips than split stratified has"):
        lesson.run("frozen", whole)
    assert lesson.finished(whole) == [] and len(lesson.finished()) == 1
    shelf = home / "results" / "mini" / "stratified" / run.folder.name
    shelf.parent.mkdir(parents=True)
    shutil.move(run.folder, shelf)
    other = probe(lesson.backbone("frozen"), whole, lesson.probe_recipe, lesson.runs)
    assert [lesson.run("frozen", split).folder for split in (half, whole)] == [shelf, other.folder]


def test_runs_live_on_drive_where_it_is_mounted(tmp_path, monkeypatch, capsys):
    """On Colab nothing else outlives the session; a clone's own folder and SERLIB_HOME go before it."""
    drive, session = tmp_path / "drive" / "MyDrive", tmp_path / "content"
    session.mkdir()
    monkeypatch.chdir(session)
    monkeypatch.setattr(profiles, "DRIVE", drive)
    assert start("mini").runs.folder.is_relative_to(tmp_path) and "Drive" not in capsys.readouterr().out
    monkeypatch.delenv("SERLIB_HOME")
    assert start("mini").home == session
    drive.mkdir(parents=True)
    assert start("mini").runs.folder == drive / "ser-book" / "runs" / "mini"
    assert "runs are kept on Drive" in capsys.readouterr().out
    (session / "_toc.yml").touch()
    assert start("mini").home == session


def test_the_leaderboard_is_found_or_said_to_be_missing(home, monkeypatch):
    monkeypatch.setattr(profiles, "SHIPPED", home / "shipped")
    with pytest.raises(SerlibError, match="no leaderboard of profile mini"):
        start("mini").leaderboard()
    for shelf, right in (("shipped", 258), ("results", 259)):  # one's own comes before what serlib brings
        (home / shelf / "laptop").mkdir(parents=True)
        (home / shelf / "laptop" / "leaderboard.csv").write_text(f"protocol,right\nrandom,{right}\n")
        assert start("laptop").leaderboard()["right"].tolist() == [right]


def test_committed_predictions_are_ones_own_or_those_that_serlib_brings(home, monkeypatch):
    monkeypatch.setattr(profiles, "SHIPPED", home / "shipped")
    with pytest.raises(SerlibError, match="no predictions at .*prices/svm"):
        start("laptop").committed("prices/svm")
    for shelf, labels in (("shipped", ("calm", "sad")), ("results", ("angry", "happy"))):
        rows = pd.DataFrame({"actor": "01", "emotion": labels}, index=["clip-1", "clip-2"])
        frame = predictions.make(rows, np.eye(2), labels, "test")
        predictions.write(frame, home / shelf / "laptop" / "prices" / "svm" / "predictions.csv")
        voter = start("laptop").committed("prices/svm")
        assert list(voter["predicted"]) == list(labels) and voter.attrs["name"] == "svm"
