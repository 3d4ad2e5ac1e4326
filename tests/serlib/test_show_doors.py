"""Every figure and player answers what it cannot show in one sentence: no error of Python, no figure left behind.

What ``part`` may be, and what a voter is, judge asks: its own doors are tested beside it.
"""

import inspect
import warnings
from collections.abc import Callable
from types import SimpleNamespace

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import soundfile

from serlib.data.ravdess import EMOTIONS
from serlib.data.splits import Split
from serlib.errors import SerlibError
from serlib.judge import metrics, paper, predictions, voting
from serlib.show import players, plots

RATE = 16_000
TONE = 0.3 * np.sin(2 * np.pi * 200 * np.arange(RATE // 10) / RATE)  # which is nine minutes at 3 Hz
DOORS = [
    function
    for module in (plots, players)
    for name, function in inspect.getmembers(module, inspect.isfunction)
    if function.__module__ == module.__name__ and not name.startswith("_")
]
TEXTS = {"title", "emotion", "truth", "label", "caption"}  # whatever it is, it is shown as text


@pytest.fixture(autouse=True)
def no_figures():
    yield
    plt.close("all")


@pytest.fixture
def corpus(tmp_path) -> pd.DataFrame:
    """A clip an emotion of three actors, 24 names for one sound."""
    soundfile.write(tmp_path / "tone.wav", TONE, RATE)
    names = [f"03-01-{e:02d}-01-01-01-{actor:02d}" for actor in (1, 2, 3) for e in range(1, 9)]
    emotions = ["neutral", "calm", "happy", "sad", "angry", "fearful", "disgust", "surprised"] * 3
    rows = {"path": str(tmp_path / "tone.wav"), "emotion": emotions, "actor": [name[-2:] for name in names]}
    return pd.DataFrame(rows | {"sex": "male", "pitch": 1.0}, index=pd.Index(names, name="clip"))


def run_on(corpus: pd.DataFrame, seed: int) -> SimpleNamespace:
    """Return a run of 24 random answers with all that a figure may ask of one."""
    p = np.random.default_rng(seed).dirichlet(np.ones(8), len(corpus))
    frame = predictions.make(corpus, p, EMOTIONS, "test")
    history = pd.DataFrame({"step": [1, 2], "loss": [2.0, 1], "eval_loss": [2.0, 1], "eval_accuracy": [0.2, 0.4]})
    info = {"synthetic": False, "best_step": 2, "labels": list(EMOTIONS)}
    return SimpleNamespace(name=f"run {seed}", predictions=frame, history=history, info=info)


@pytest.fixture
def right(corpus, tmp_path) -> dict[Callable, list]:
    """What each door takes, all arguments in their order."""
    runs = [run_on(corpus, seed) for seed in range(3)]
    vote = voting.majority_vote(runs, name="vote of 3")
    subsets = pd.DataFrame({"size": [1, 1, 2], "validation_accuracy": 0.5, "test_accuracy": [0.4, 0.5, 0.6]})
    intervals = pd.DataFrame({"accuracy": [0.5], "low": [0.4], "high": [0.6]}, index=["one"])
    through = pd.DataFrame({"start": [0, 1], "end": [3, 4], "heard": "sad", "p_sad": 0.7, "p_calm": 0.3})
    jury = pd.DataFrame({"three": [0.9, 0.8]}, index=[0.0, 1.0])
    distorted = pd.DataFrame({"voter": "SVM", "family": ["clean", "noise"], "setting": ["clean", "20 dB"]})
    distorted = distorted.assign(accuracy=0.5, low=0.4, high=0.6)
    return {
        plots.colors: [["sad"]],
        plots.plot_waveform: [TONE, RATE, "a tone", "sad", None],
        plots.plot_spectrogram: [TONE, RATE, "a tone", None],
        plots.plot_pitch: [TONE, RATE, "a tone", "sad", None],
        plots.plot_balance: [corpus, None],
        plots.plot_prosody: [corpus, "pitch", None],
        plots.plot_distortions: [distorted],
        plots.plot_through: [through, None],
        plots.plot_history: [runs[0]],
        plots.plot_confusion: [runs[0], "test"],
        plots.plot_probabilities: [pd.Series({"sad": 0.4, "calm": 0.6}), "sad", None],
        plots.plot_votes: [runs, vote, "test", None],
        plots.plot_subsets: [subsets, None],
        plots.plot_per_actor: [runs[0], "test", None],
        plots.plot_listeners: [runs[0], pd.DataFrame({"share": 0.5}, corpus.index), 0.3, 0.9, "test", None],
        plots.plot_against_paper: [{"hubert-base": runs[0]}, paper.models(), None],
        plots.plot_agreement: [runs, "test", None],
        plots.plot_intervals: [intervals, "accuracy", "accuracy", False, True, None],
        plots.plot_reliability: [{"one": metrics.reliability(runs[0])}],
        plots.plot_jury: [jury, 0.9, None],
        players.player: [TONE, "a tone", RATE],
        players.listen: [corpus, 2, ["emotion"], "clips"],
        players.browse: [corpus, ["emotion"], "clips"],
        players.listen_confusion: [runs[0], corpus, "test"],
        players.listening_test: [corpus, "a caption"],
        players.explorable: ["jury"],
        players.microphone: [print, tmp_path],
    }


def odd_things(corpus: pd.DataFrame) -> list:
    run = run_on(corpus, 0)
    return [
        None, "abc", "", b"abc", 3, -1.5, True, float("nan"), 10**400, 3 + 4j, [], [1], ["a"], [None], {}, {"a": 1},
        set(), object(), lambda: 1, plots, iter([1]), range(2), np.zeros(3), np.zeros((2, 2)), np.array(["a"]),
        pd.DataFrame(), pd.DataFrame({"a": [1]}), pd.Series([1, 2]), pd.Series(dtype=float), corpus, corpus.iloc[:0],
        Split("odd", corpus.iloc[:8], corpus.iloc[8:16], corpus.iloc[16:]), run, [run], run.predictions,
        run.predictions.iloc[:0], SimpleNamespace(name="x", predictions=None, info={}),
        SimpleNamespace(name="x", predictions=corpus, info={}),
    ]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("door", DOORS, ids=lambda door: door.__name__)
def test_a_door_takes_what_it_shows_or_says_in_a_sentence_why_not(door, right, corpus):
    plt.close("all")  # another file's tests in this process may have left some
    refused = []
    for place, name in enumerate(inspect.signature(door).parameters):
        if name == "part":
            continue
        for odd in odd_things(corpus):
            arguments = [odd if n == place else argument for n, argument in enumerate(right[door])]
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("error")
                    door(*arguments)
            except SerlibError as error:
                refused.append(name)
                assert 20 < len(str(error)) < 400 and "\n" not in str(error), (name, odd)
                assert not plt.get_fignums(), (name, odd)
            except Exception as error:
                raise AssertionError(f"{name}={odd!r:.200}") from error
            plt.close("all")
    asked = set(inspect.signature(door).parameters) - TEXTS - {"part"}
    assert set(refused) == asked, "some odd thing is refused for each argument that is no text"


def test_the_doors_are_all_of_them(right):
    assert set(DOORS) == set(right)
