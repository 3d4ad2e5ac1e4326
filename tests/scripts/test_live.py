"""What the page that listens is built with: nothing where nothing is trained, else a threshold that can be defended."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from serlib.judge import predictions
from serlib.judge.voting import soft_vote
from serlib.train.backbones import SIX
from serlib.train.run import load_run

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "scripts" / "live.py"


@pytest.mark.slow
def test_where_nothing_is_trained_the_page_gets_no_voters(tmp_path, monkeypatch):
    monkeypatch.setenv("SERLIB_HOME", str(tmp_path))
    subprocess.run([sys.executable, SCRIPT, tmp_path / "live"], cwd=ROOT, check=True, capture_output=True)
    assert json.loads((tmp_path / "live" / "voters.json").read_text()) == {"voters": [], "clips": []}
    assert len(list((tmp_path / "live").iterdir())) == 1


def test_the_seventh_is_there_only_with_its_weights(tmp_path, monkeypatch):
    monkeypatch.setenv("SERLIB_HOME", str(tmp_path))
    monkeypatch.syspath_prepend(SCRIPT.parent)
    import live

    assert live.taught_by_people() is None
    name = "stratified/whisper-tiny.en-probe"
    home = tmp_path / "runs" / "laptop" / name
    shutil.copytree(ROOT / "results" / "laptop" / name, home)
    assert live.taught_by_people() is None  # predictions alone do not hear
    (home / "checkpoint").mkdir()
    found = live.taught_by_people()
    assert found.info["corpus"] == "ravdess" and not found.info["synthetic"]


def test_nine_of_ten_validation_answers_above_the_threshold_are_right(monkeypatch):
    monkeypatch.syspath_prepend(SCRIPT.parent)
    import live

    runs = [load_run(ROOT / "results" / "laptop" / "stratified" / f"{key}-mini") for key in SIX]
    cost = live.cost_of(runs)
    threshold = live.threshold_of(cost)
    rows = predictions.rows_of(soft_vote(runs), "validation")
    shares = predictions.probabilities(rows)
    labels = np.array(predictions.labels(rows))
    right = labels[shares.argmax(1)] == rows["emotion"]

    def score(least: float) -> float:
        return right[shares.max(1) >= least].mean()

    assert score(threshold) >= live.SURE > score(threshold - 0.05)
    assert cost["answered"][round(100 * threshold)] / cost["clips"] == (shares.max(1) >= threshold).mean()
    assert cost["clips"] == len(rows) and len(cost["answered"]) == len(cost["right"]) == 101
    for percent in (0, 45, 100):
        kept = shares.max(1) >= percent / 100
        assert (cost["answered"][percent], cost["right"][percent]) == (kept.sum(), right[kept].sum())


def test_the_clips_to_quarrel_about_have_the_most_different_answers(monkeypatch):
    monkeypatch.syspath_prepend(SCRIPT.parent)
    import live

    runs = [load_run(ROOT / "results" / "laptop" / "stratified" / f"{key}-mini") for key in SIX]
    said: dict[str, set[str]] = {}
    for run in runs:
        for row in run.predictions.query("part == 'validation'").itertuples():
            said.setdefault(row.clip, set()).add(row.predicted)
    chosen = live.split_on(runs)
    assert len(chosen) == live.SPLIT
    least = min(len(said[clip]) for clip in chosen)
    assert least >= max(len(names) for clip, names in said.items() if clip not in chosen) and least > 1
