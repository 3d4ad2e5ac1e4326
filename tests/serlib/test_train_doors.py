"""What is of another kind than a verb of training or sound takes ends in a sentence, not in Python's own words."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from serlib.data.audio import clips, trim
from serlib.data.splits import stratified_split
from serlib.errors import SerlibError
from serlib.lesson import start
from serlib.train.backbones import backbone
from serlib.train.classify import classify
from serlib.train.planner import plan
from serlib.train.probing import layer_averages, probe
from serlib.train.recipes import Probe, Recipe
from serlib.train.sharing import model_card

ODD = [
    None, "text", 3, -1.5, float("nan"), b"x", True, object(), [], ["a"], [None], {}, {"a": 1}, set(), Path("nowhere"),
    np.zeros(5), np.zeros((2, 2)), np.array(["a", "b"]), pd.Series([1, 2]), pd.DataFrame(), pd.DataFrame({"a": [1]}),
    print,
]  # fmt: skip


@pytest.fixture
def doors(tiny_corpus, tmp_path) -> dict[str, tuple[Any, list[Any]]]:
    """Name -> function and arguments that fit."""
    split, twin = stratified_split(tiny_corpus, test_size=0.25, validation_size=0.2), backbone("hubert-base-mini")
    run = probe(twin, split, Probe(pooling="mean"), tmp_path)
    return {
        "classify": (classify, [run, list(split.test["path"][:1])]),
        "clips": (clips, [tiny_corpus]),
        "layer_averages": (layer_averages, [twin, split, Probe()]),
        "model_card": (model_card, [run]),
        "plan": (plan, [twin, Recipe(), "T4", split]),
        "start": (start, ["mini"]),
        "trim": (trim, [np.zeros(1000, np.float32)]),
    }


NAMES = ("classify", "clips", "layer_averages", "model_card", "plan", "start", "trim")


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_an_odd_argument_ends_in_a_sentence_or_a_result(doors, name, monkeypatch, tmp_path):
    monkeypatch.setenv("SERLIB_HOME", str(tmp_path))
    function, right = doors[name]
    function(*right)
    for place in range(len(right)):
        for odd in ODD:
            try:
                function(*right[:place], odd, *right[place + 1 :])
            except SerlibError as error:
                assert "\n" not in str(error) and len(str(error)) < 400, (place, odd)


@pytest.mark.parametrize("kind", [Recipe, Probe])
def test_an_odd_setting_is_named_on_one_line(kind):
    for odd in (*ODD, pd.DataFrame({"a": range(99)})):
        if isinstance(odd, (int, str)) and not isinstance(odd, bool):
            continue
        with pytest.raises(SerlibError) as caught:
            kind(seed=odd)
        assert "\n" not in str(caught.value) and len(str(caught.value)) < 200
