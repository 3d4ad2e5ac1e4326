"""The committed answers of voices through distortions: whose clips they are, and that every column is there."""

import importlib
import math
from pathlib import Path

import pandas as pd
import pytest

from serlib.data import distortions
from serlib.data.splits import actor_folds, stratified_split
from serlib.judge.metrics import accuracy
from serlib.lesson import start
from serlib.train.run import load_run

ROOT = Path(__file__).parents[2]
LAPTOP, MINI = (ROOT / "results" / profile for profile in ("laptop", "mini"))
TAUGHT = ("clean", "noise", "room", "tanh", "noise + room + tanh")


@pytest.fixture(params=["known", "new"])
def protocol(request) -> str:
    return request.param


@pytest.fixture
def said(protocol) -> pd.DataFrame:
    return pd.read_csv(LAPTOP / "answers" / f"rooms-{protocol}.csv", index_col="clip", dtype=str)


def test_the_clips_are_those_of_the_test_part_and_their_truth_is_in_their_names(said, protocol, ravdess_names):
    if protocol == "known":
        asked = stratified_split(ravdess_names, test_size=0.2, random_state=101).test
    else:
        fold = actor_folds(ravdess_names, "luna-jimenez")[0]
        asked = fold.test[fold.test["repetition"] == 1]
        assert not set(said["actor"]) & {*fold.train["actor"], *fold.validation["actor"]}
    assert set(said.index) == set(asked.index)
    assert said["emotion"].equals(ravdess_names.loc[said.index, "emotion"].rename_axis("clip"))


def test_both_voters_were_asked_through_every_distortion_of_the_notebook(said, ravdess_names):
    ways = ["clean"]
    ways += [f"{family}, {name}" for family, settings in distortions.everyday([]).items() for name in settings]
    wanted = [f"{voter} | {taught} | {way}" for taught in TAUGHT for way in ways for voter in ("SVM", "probe")]
    assert sorted(said.columns[2:]) == sorted(wanted)
    assert said.notna().all(axis=None) and set(said[wanted].stack()) <= set(ravdess_names["emotion"])


def test_clean_clips_of_known_voices_are_read_as_the_committed_run_reads_them():
    """Trained again on another machine: within four clips of 288."""
    said = pd.read_csv(LAPTOP / "answers" / "rooms-known.csv", index_col="clip", dtype=str)
    own = (said["probe | clean | clean"] == said["emotion"]).mean()
    assert own == pytest.approx(accuracy(load_run(LAPTOP / "stratified" / "whisper-tiny.en-probe")), abs=4 / 288)


@pytest.fixture
def rooms_twin(monkeypatch):
    """The script, which knows its neighbor by name."""
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    return importlib.import_module("rooms_twin")


@pytest.fixture
def of_twin(protocol) -> pd.DataFrame:
    return pd.read_csv(MINI / "answers" / f"rooms-{protocol}.csv", index_col="clip", dtype=str)


def test_the_twin_was_asked_about_every_test_clip_after_every_way_of_teaching(
    rooms_twin, of_twin, protocol, ravdess_names
):
    """mini has the names of RAVDESS."""
    fold = actor_folds(ravdess_names, "luna-jimenez")[0]
    split = stratified_split(ravdess_names) if protocol == "known" else fold
    assert set(of_twin.index) == set(split.test.index)
    assert of_twin["emotion"].equals(ravdess_names.loc[of_twin.index, "emotion"].rename_axis("clip"))
    ways = ["clean", *(f"{family}, {name}" for family, name in rooms_twin.HEARD)]
    taught = [" + ".join(names) or "clean" for names in rooms_twin.TAUGHT]
    assert sorted(of_twin.columns[2:]) == sorted(f"twin | {name} | {way}" for name in taught for way in ways)
    assert of_twin.notna().all(axis=None) and set(of_twin.iloc[:, 2:].stack()) <= set(ravdess_names["emotion"])


def test_every_way_of_teaching_takes_the_same_steps_and_only_some_hide_frames(rooms_twin, monkeypatch, ravdess_names):
    """The step that is kept is the last that every one of them has, and at most one was left over."""
    lesson, seen = start("mini"), {}

    def note(backbone, taught, recipe, runs, name):
        seen[name] = (*taught, recipe)

    monkeypatch.setattr(rooms_twin.ser, "with_copies", lambda split, how, folder: (split, how))
    monkeypatch.setattr(rooms_twin.ser, "fine_tune", note)
    for split in (stratified_split(ravdess_names), actor_folds(ravdess_names, "luna-jimenez")[0]):
        for names in rooms_twin.TAUGHT:
            rooms_twin.trained(split, names, lesson, Path("nowhere"))
        for name, (part, how, recipe) in seen.items():
            an_epoch = math.ceil(len(part.train) * (1 + len(how)) / recipe.batch_size)
            steps = an_epoch * recipe.epochs
            assert recipe.eval_every <= steps <= recipe.eval_every + 1, name
            assert steps < 2 * recipe.eval_every  # judged once, so nothing is chosen
            assert (recipe.masking > 0) == ("SpecAugment" in name)
            assert set(how) == set(name.removeprefix("taught ").split(" + ")) & {"noise", "room", "tanh"}


def test_what_notebook_14_says_of_the_twin_is_what_it_answered(of_twin, protocol):
    right = of_twin.iloc[:, 2:].eq(of_twin["emotion"], axis=0).mean()
    right.index = pd.MultiIndex.from_tuples([tuple(column.split(" | ")[1:]) for column in right.index])
    won = 100 * (right.unstack().drop("clean") - right["clean"])
    noise, room, tanh, hidden, every = (
        won.loc[name] for name in ("noise", "room", "tanh", "SpecAugment", "noise + room + tanh + SpecAugment")
    )
    in_noise, in_room = ["white noise, 10 dB", "white noise, 0 dB"], "room, 0.4 s, 2 m"
    assert noise.idxmax() in in_noise and noise[in_noise].min() > 20 and noise[in_room] < 5
    assert room.idxmax() == in_room and room[in_room] > 15 and room[in_noise].max() < 5
    assert (room["clean"] < -2) == (protocol == "new")
    assert tanh[in_room] > 0 and tanh["recorder, tanh, 20 dB over"] > 0
    assert hidden.abs().max() < 10
    assert every["clean"] < min(-5, noise["clean"], room["clean"], tanh["clean"], hidden["clean"])
    assert every[[*in_noise, in_room]].min() > 20 and (every[in_noise] < noise[in_noise]).all()
