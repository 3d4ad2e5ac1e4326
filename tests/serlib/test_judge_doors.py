"""Whatever is handed to a public function of judging: a result or one readable sentence, and never a bare traceback."""

import inspect
import re
from collections.abc import Callable
from functools import cache
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

import serlib as ser
from serlib import judge
from serlib.data.ravdess import EMOTIONS
from serlib.errors import SerlibError
from serlib.judge import paper, predictions, voting

INNER = {"cells_of", "named", "of_clips", "hits", "draws"}  # they get what one of the doors has looked at
MODULES = [import_module(f"serlib.judge.{name}") for name in judge.__all__]
DOORS = {
    name: function
    for module in MODULES
    for name, function in inspect.getmembers(module, inspect.isfunction)
    if function.__module__ == module.__name__ and not name.startswith("_") and name not in INNER
}
FLAGS = {"normalize", "logits"}  # whatever is true or false will do


def corpus() -> pd.DataFrame:
    names = [f"03-01-{i % 8 + 1:02d}-01-01-{i // 8 % 2 + 1:02d}-{i % 5 + 1:02d}" for i in range(80)]
    columns = {"path": names, "emotion": [EMOTIONS[i % 8] for i in range(80)], "sex": "male",
               "actor": [f"{i % 5 + 1:02d}" for i in range(80)]}  # fmt: skip
    frame = pd.DataFrame(columns, index=[f"{name}-{i}" for i, name in enumerate(names)])
    frame.attrs = {"name": "ravdess", "synthetic": False}
    return frame


def voter(seed: int) -> SimpleNamespace:
    info = {"synthetic": False, "corpus": "ravdess", "original": "hubert-base", "clips": {"test": 40}, "best_step": 1,
            "seconds": 60.0, "disk_mb": 1.0}  # fmt: skip
    return SimpleNamespace(name=f"voter {seed}", predictions=predictions_of(seed), info=info)


@cache
def predictions_of(seed: int) -> pd.DataFrame:
    random = np.random.default_rng(seed)
    sheets = [
        predictions.make(rows, random.dirichlet(np.ones(8), size=40), EMOTIONS, part)
        for rows, part in ((corpus()[:40], "validation"), (corpus()[40:], "test"))
    ]
    return pd.concat(sheets, ignore_index=True)


def good(folder: Path) -> dict:
    """Arguments that every function takes, by the name of its parameter."""
    file = predictions.write(voter(1).predictions, folder / "predictions.csv")
    return {
        "voter": voter(1), "voters": [voter(1), voter(2), voter(3)], "a": voter(1), "b": voter(2), "against": voter(4),
        "run": voter(1), "frame": voter(1).predictions, "part": "test", "groups": "actor", "corpus": corpus(),
        "rows": corpus(), "probabilities": np.full((80, 8), 1 / 8), "path": file, "successes": 3, "n": 8,
        "confidence": 0.9, "unit": "actor", "n_resamples": 20, "random_state": 0, "n_bins": 5, "p_values": [0.1, 0.2],
        "tie": "first", "name": "mine", "weights": [1, 2, 3], "sizes": (2, 3), "k": 3, "p": 0.6, "correlation": 0.1,
        "n_classes": 8, "clips": {clip: clip for clip in corpus().index},
        "said": [1, 2], "true": [1, 3],
        "scores": np.eye(3), "truth": [0, 1, 1], "predicted": [0, 1, 0], "bounds": (0.1, 10),
        "listeners": pd.DataFrame({"share": 0.5}, corpus().index),
        "table": pd.DataFrame(np.full((80, 8), 1 / 8), corpus().index, EMOTIONS),
    }  # fmt: skip


def parameters_of(function: Callable) -> list[str]:
    return list(inspect.signature(function).parameters)


def given_to(function, folder: Path) -> dict:
    arguments = {name: value for name, value in good(folder).items() if name in parameters_of(function)}
    if function is predictions.make:
        arguments |= {"labels": EMOTIONS, "corpus": "ravdess"}
    if function is ser.import_predictions:
        arguments["labels"] = {"calm": "calm"}
    if function is ser.pool:
        arguments["voters"] = [voter(1)]
    return arguments


ODD = {
    "None": None, "text": "hubert", "no text": "", "number": 3, "negative": -1, "fraction": 2.5, "nan": float("nan"),
    "empty list": [], "empty dict": {}, "list of text": ["a", "b"], "list of None": [None], "list of lists": [[3]],
    "array": np.zeros(3), "object": object(), "class": SimpleNamespace, "generator of text": None,
    "corpus": corpus(), "column": corpus()["emotion"], "numbered column": pd.Series([1.0, np.nan]),
    "empty table": pd.DataFrame(), "frame": voter(5).predictions, "run": voter(5), "list of runs": [voter(5)],
    "split": SimpleNamespace(train=corpus(), validation=corpus(), test=corpus(), labels=EMOTIONS, name="stratified"),
    "run without predictions": SimpleNamespace(name="x", predictions=None, info={}), "bytes": b"a", "set": {"test"},
}  # fmt: skip
CASES = [
    (name, parameter)
    for name, function in DOORS.items()
    for parameter in parameters_of(function)
    if parameter not in FLAGS
]


@pytest.mark.slow
@pytest.mark.parametrize("name, parameter", CASES, ids=lambda text: text)
def test_an_odd_argument_ends_in_a_sentence_or_a_result(name, parameter, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    refused, fitting = 0, given_to(DOORS[name], tmp_path)
    for kind, odd in ODD.items():
        if kind == "generator of text":
            odd = iter("ab")  # a new one for each
        try:
            DOORS[name](**fitting | {parameter: odd})
        except SerlibError as error:
            refused += 1
            text = str(error)
            assert text.endswith((".", "?")) and "\n" not in text and len(text) < 400, (kind, text)
        except Exception as error:
            raise AssertionError(f"{name}({parameter}={kind}) ended in {type(error).__name__}: {error}") from error
    assert refused or name == "name_of"


@pytest.mark.slow
@pytest.mark.parametrize("name", DOORS)
def test_what_fits_is_taken(name, tmp_path):
    """Or the tests above would prove nothing."""
    assert DOORS[name](**given_to(DOORS[name], tmp_path)) is not None


LISTS = [name for name, function in DOORS.items() if "voters" in parameters_of(function)]


@pytest.mark.slow
@pytest.mark.parametrize("name", LISTS)
@pytest.mark.parametrize("kind", [iter, tuple, pd.Series, lambda voters: dict(enumerate(voters)).values()])
def test_voters_may_come_in_anything_that_can_be_gone_through(name, kind, tmp_path):
    arguments = given_to(DOORS[name], tmp_path)
    expected = DOORS[name](**arguments)
    again = DOORS[name](**arguments | {"voters": kind(arguments["voters"])})
    if isinstance(expected, voting.Vote):
        expected, again = expected.predictions, again.predictions
    if isinstance(expected, list) and name == "listed":  # the voters themselves
        expected, again = ([one.predictions for one in found] for found in (expected, again))
    if isinstance(expected, list):
        expected, again = pd.concat(expected), pd.concat(again)
    pd.testing.assert_frame_equal(again, expected)


@pytest.mark.parametrize("name", LISTS)
def test_one_voter_is_no_list_and_no_voter_is_none(name, tmp_path):
    arguments = given_to(DOORS[name], tmp_path)
    for lone in (voter(1), voter(1).predictions):
        with pytest.raises(SerlibError, match=r"give the voters as a list, like \[run_a, run_b, run_c\]"):
            DOORS[name](**arguments | {"voters": lone})
    for none in ([], iter([])):
        with pytest.raises(SerlibError, match="there are no voters"):
            DOORS[name](**arguments | {"voters": none})
    with pytest.raises(SerlibError, match="a str is no list of voters"):
        DOORS[name](**arguments | {"voters": "hubert-base"})
    with pytest.raises(SerlibError, match="a str has no predictions"):
        DOORS[name](**arguments | {"voters": ["hubert-base"]})
    with pytest.raises(SerlibError, match="a corpus has no predictions"):
        DOORS[name](**arguments | {"voters": [corpus()]})


def test_the_table_beside_the_paper_is_of_runs_on_ravdess(capsys):
    run = voter(1)
    assert list(ser.beside_paper(run)) == ["paper", "voter 1"]
    for change, said in (({"synthetic": True}, "synthetic speech"), ({"corpus": "mine"}, "of mine and not of RAVDESS")):
        run.info = voter(1).info | change
        assert ser.beside_paper(run) is None and said in capsys.readouterr().out
    run.info = voter(1).info | {"original": None, "title": "Whisper tiny.en"}
    with pytest.raises(SerlibError, match="the paper has no model Whisper tiny.en; "):
        ser.beside_paper(run)
    theirs = voter(1).predictions.assign(corpus="ravdess")
    theirs.attrs["name"] = "another group's"
    with pytest.raises(
        SerlibError, match="another group's has no record of its training; say which model of the paper"
    ):
        ser.beside_paper(theirs)
    table = ser.beside_paper(theirs, "hubert-base")
    assert list(table.index) == ["accuracy", "its interval", "UAR"] and list(table) == ["paper", "another group's"]
    assert table.loc["accuracy", "another group's"] == f"{ser.accuracy(theirs):.1%}"
    with pytest.raises(SerlibError, match="the paper has no model 'hubert-bas'; .*hubert-base"):
        ser.beside_paper(theirs, "hubert-bas")
    assert (
        ser.beside_paper(theirs.assign(corpus="mine"), "hubert-base") is None and "of mine" in capsys.readouterr().out
    )
    assert paper.references()["source"].ne("").all()


@pytest.mark.slow
def test_a_type_checker_knows_what_a_voter_is(tmp_path):
    """Runs and votes are such by their shape, and a split or some text is not."""
    api = pytest.importorskip("mypy.api")
    script = tmp_path / "voters.py"
    script.write_text(
        "from serlib.data.splits import Split\n"
        "from serlib.judge.predictions import Voter\n"
        "from serlib.judge.voting import Vote\n"
        "from serlib.train.run import Run\n"
        "def fit(run: Run, vote: Vote) -> list[Voter]:\n"
        "    return [run, vote]\n"
        "def unfit(split: Split) -> Voter:\n"
        "    return split\n"
        "text: Voter = 'hubert-base'\n"
    )
    config = Path(ser.__file__).parents[1] / "pyproject.toml"
    said, trouble, _ = api.run(["--config-file", str(config), "--cache-dir", str(tmp_path), str(script)])
    lines = re.findall(r"voters\.py:(\d+): error: (.*?) \(", said)
    assert [line for line, _ in lines] == ["8", "9"] and not trouble, said
