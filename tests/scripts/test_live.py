"""What the page that listens is built with: nothing where nothing is trained, else a threshold that can be defended."""

import json
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


def test_nine_of_ten_validation_answers_above_the_threshold_are_right(monkeypatch):
    monkeypatch.syspath_prepend(SCRIPT.parent)
    import live

    runs = [load_run(ROOT / "results" / "laptop" / "stratified" / f"{key}-mini") for key in SIX]
    threshold, answered = live.threshold_of(runs)
    rows = predictions.rows_of(soft_vote(runs), "validation")
    shares = predictions.probabilities(rows)
    labels = np.array(predictions.labels(rows))
    right = labels[shares.argmax(1)] == rows["emotion"]

    def score(least: float) -> float:
        return right[shares.max(1) >= least].mean()

    assert score(threshold) >= live.SURE > score(threshold - 0.05)
    assert answered == (shares.max(1) >= threshold).mean()
