"""Public functions that take a path take it as people write it, and say in a sentence where it leads nowhere."""

import shutil
from pathlib import Path

import pytest

from serlib.data import audio
from serlib.data.corpus import from_csv, regroup_by_emotion
from serlib.data.ravdess import ravdess
from serlib.data.splits import stratified_split, write_split_csvs
from serlib.errors import SerlibError
from serlib.show.players import player
from serlib.train.backbones import TWINS, backbone, weights_of
from serlib.train.finetuning import fine_tune
from serlib.train.probing import probe
from serlib.train.recipes import Probe, Recipe
from serlib.train.run import load_run

SHARES = {"test_size": 0.25, "validation_size": 0.2}


@pytest.fixture
def home(tmp_path, monkeypatch, own_folder) -> Path:
    """A home folder with recordings, a table of them and a checkpoint in it."""
    for variable in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(variable, str(tmp_path))
    table = ravdess(own_folder).reset_index()[["path", "emotion", "actor"]]
    table.to_csv(tmp_path / "clips.csv", index=False)
    shutil.copytree(TWINS / "hubert-base", tmp_path / "mine")
    shutil.copy(table["path"][0], tmp_path / "one.wav")
    return tmp_path


DOORS = {
    "~/recordings": ravdess,
    "~/clips.csv": from_csv,
    "~/one.wav": audio.read,
    "~/./one.wav": audio.header,
    "~/recordings/../one.wav": lambda path: audio.heard(path, trimmed=True),
    "~//one.wav": lambda path: player(path, "one"),
    "~/mine": backbone,
    "~/grouped": lambda path: regroup_by_emotion(ravdess("~/recordings"), path),
    "~/tables": lambda path: write_split_csvs(stratified_split(ravdess("~/recordings"), **SHARES), path),
    "~/runs": lambda path: train(probe, Probe(), path),
}


def train(verb, recipe, folder):
    return verb(backbone("hubert-base-mini"), stratified_split(ravdess("~/recordings"), **SHARES), recipe, folder)


@pytest.mark.slow
@pytest.mark.parametrize("way", DOORS)
def test_a_path_may_begin_in_the_home_folder(home, monkeypatch, tmp_path_factory, way):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    monkeypatch.chdir(elsewhere)
    for path in (way, Path(way)):
        DOORS[way](path)
    assert not list(elsewhere.iterdir()), "nothing lies in a folder called ~"


def test_a_run_is_loaded_from_the_home_folder(home):
    run = train(probe, Probe(), "~/runs")
    assert run.folder.is_relative_to(home)
    assert load_run(f"~/{run.folder.relative_to(home)}").predictions.equals(run.predictions)


@pytest.mark.parametrize("odd", ["~nobody-here/x", "~nobody-here", None, 3, ["a"], "a\0b"])
@pytest.mark.parametrize("door", [*DOORS.values(), load_run, lambda path: train(fine_tune, Recipe(), path)])
def test_a_path_that_leads_nowhere_is_said(home, door, odd):
    if door is ravdess and odd is None:
        return  # which asks for the usual places
    with pytest.raises(SerlibError) as error:
        door(odd)
    assert 20 < len(str(error.value)) < 300 and "\n" not in str(error.value)
    if isinstance(odd, str) and odd.startswith("~"):
        assert "there is no home folder ~nobody-here" in str(error.value)


def test_the_home_of_nobody_in_a_table_and_in_the_environment(home, monkeypatch):
    (home / "lost.csv").write_text("path,emotion\n~nobody-here/a.wav,sad\n~nobody-here/b.wav,calm\n")
    with pytest.raises(SerlibError, match="nobody-here"):
        from_csv("~/lost.csv")
    for variable, door in (("SERLIB_MODELS", lambda: weights_of("openai/whisper-tiny")), ("RAVDESS_DIR", ravdess)):
        monkeypatch.setenv(variable, "~nobody-here/x")
        with pytest.raises(SerlibError, match=f"{variable} names no folder: there is no home folder ~nobody-here"):
            door()
