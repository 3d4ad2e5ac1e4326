"""Figures: they draw what they were given, in colors that all can tell apart, with nothing cut off."""

import os
import subprocess
import sys
from types import SimpleNamespace

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib import mathtext
from matplotlib.colors import to_hex, to_rgb

from serlib.data.ravdess import EMOTIONS, parse_name
from serlib.errors import SerlibError
from serlib.judge import metrics, paper, predictions, voting
from serlib.show import plots

CODES = {
    "neutral": 1,
    "calm": 2,
    "happy": 3,
    "sad": 4,
    "angry": 5,
    "fearful": 6,
    "disgust": 7,
    "surprised": 8,
}


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def corpus() -> pd.DataFrame:
    """Six actors of RAVDESS by name: 8 emotions, one statement, both takes; no strong neutral."""
    stems = [
        f"03-01-{CODES[emotion]:02d}-{intensity:02d}-01-{take:02d}-{actor:02d}"
        for actor in range(1, 7)
        for emotion in EMOTIONS
        for intensity in (1, 2)
        for take in (1, 2)
        if not (emotion == "neutral" and intensity == 2)
    ]
    return pd.DataFrame([{"clip": stem, **parse_name(stem)} for stem in stems]).set_index("clip")


def voter(name: str, skill: float, seed: int, synthetic: bool = False) -> SimpleNamespace:
    """Return a run with random probabilities; the greater its skill (0 to 4), the more often it is right."""
    rows = corpus()
    random = np.random.default_rng(seed)
    scores = random.normal(size=(len(rows), 8))
    scores[np.arange(len(rows)), [EMOTIONS.index(e) for e in rows["emotion"]]] += skill
    p = np.exp(scores)
    p /= p.sum(axis=1, keepdims=True)
    test = np.arange(len(rows)) % 3 > 0
    frame = pd.concat(
        predictions.make(rows[part], p[part], EMOTIONS, name) for part, name in [(~test, "validation"), (test, "test")]
    ).reset_index(drop=True)
    info = {"synthetic": synthetic, "best_step": 300, "labels": list(EMOTIONS)}
    return SimpleNamespace(name=name, predictions=frame, info=info)


RUNS = [voter(title, 1.5 + i / 5, i) for i, title in enumerate(paper.models()["title"])]
VOTE = voting.majority_vote(RUNS[1:], name="vote of 5")


def shown(axes) -> list[str]:
    """Return all text in the figure of some Axes, after drawing it without a warning."""
    figure = np.atleast_1d(axes).ravel()[0].figure
    figure.canvas.draw()
    return [text.get_text() for text in figure.findobj(plt.Text) if text.get_visible() and text.get_text()]


def assert_nothing_cut(axes):
    """Every visible text lies within the figure, and the figure is white and as wide as a page."""
    figure = np.atleast_1d(axes).ravel()[0].figure
    figure.canvas.draw()
    assert figure.get_facecolor() == (1, 1, 1, 1)
    assert figure.get_figwidth() == plots.PAGE
    page = figure.bbox
    for ax in figure.axes:
        if not ax.get_visible():
            continue
        box = ax.get_tightbbox()
        assert box.x0 >= -1 and box.y0 >= -1
        assert box.x1 <= page.x1 + 1 and box.y1 <= page.y1 + 1


# ---------------------------------------------------------------- colors

# Machado, Oliveira and Fernandes 2009, full strength, for linear RGB
DEFICIENCIES = {
    "none": np.eye(3),
    "protanopia": [[0.1523, 1.0526, -0.2049], [0.1145, 0.7863, 0.0992], [-0.0039, -0.0481, 1.0520]],
    "deuteranopia": [[0.3673, 0.8606, -0.2280], [0.2801, 0.6725, 0.0474], [-0.0118, 0.0429, 0.9689]],
}  # fmt: skip


def linear(color: str) -> np.ndarray:
    rgb = np.array(to_rgb(color))
    return np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)


def oklab(rgb: np.ndarray) -> np.ndarray:
    to_lms = [[0.4122, 0.5363, 0.0514], [0.2119, 0.6807, 0.1074], [0.0883, 0.2817, 0.6300]]
    to_lab = [[0.2105, 0.7936, -0.0041], [1.9780, -2.4286, 0.4506], [0.0259, 0.7828, -0.8087]]
    return np.array(to_lab) @ np.cbrt(np.array(to_lms) @ np.clip(rgb, 0, 1))


@pytest.mark.parametrize("sight", DEFICIENCIES)
def test_any_two_emotions_stay_apart(sight):
    seen = [oklab(np.array(DEFICIENCIES[sight]) @ linear(c)) for c in plots.EMOTION_COLORS.values()]
    apart = [np.linalg.norm(a - b) for i, a in enumerate(seen) for b in seen[:i]]
    assert min(apart) > 0.09  # about four just noticeable differences; Okabe and Ito's eight reach 0.03


def test_every_color_stands_out_on_white():
    for color in [*plots.EMOTION_COLORS.values(), *plots.OTHER_COLORS, plots.INK, plots.GRAY, plots.ACCENT]:
        assert 1.05 / (linear(color) @ [0.2126, 0.7152, 0.0722] + 0.05) > 2.9


@pytest.mark.parametrize("sight", DEFICIENCIES)
def test_labels_of_another_corpus_stay_apart_from_each_emotion_and_from_each_other(sight):
    def seen(colors):
        return np.array([oklab(np.array(DEFICIENCIES[sight]) @ linear(c)) for c in colors])

    others = [f"label {i}" for i in range(12)]
    found = seen(plots.colors([*EMOTIONS, *others])[name] for name in others)
    emotions = seen([*plots.EMOTION_COLORS.values(), plots.ACCENT])
    assert np.linalg.norm(found[:, None] - emotions, axis=-1).min() > 0.06  # twice what Okabe and Ito's eight reach
    assert min(np.linalg.norm(a - b) for i, a in enumerate(found) for b in found[:i]) > 0.06


def test_no_label_has_the_color_of_an_emotion_that_it_is_not():
    """Also where the emotions themselves are absent, and for more labels than there are colors to tell apart."""
    found = plots.colors(f"label {i}" for i in range(40))
    assert len(set(found.values())) == 40 and not set(found.values()) & set(plots.EMOTION_COLORS.values())
    assert plots.colors(["anger", "sad"])["anger"] != plots.EMOTION_COLORS["angry"]
    ax = plots.plot_balance(corpus().assign(emotion="anger"))
    assert {to_rgb(bar.get_facecolor()) for bar in ax.patches} == {to_rgb(plots.colors(["anger"])["anger"])}


def test_a_clip_of_an_unknown_emotion_has_the_color_of_none():
    """Alone it has no place among the labels of its corpus, where it may have any of the other colors."""
    assert plots.plot_waveform(TONE, RATE, emotion="anger").lines[0].get_color() == plots.ACCENT
    assert plots.plot_pitch(TONE, RATE, emotion="anger").lines[0].get_color() == plots.ACCENT


def test_colors_are_fixed_per_emotion_and_distinct_for_others():
    assert plots.colors(["sad", "angry"]) == {
        "sad": plots.EMOTION_COLORS["sad"],
        "angry": plots.EMOTION_COLORS["angry"],
    }
    mixed = plots.colors(["bored", "sad", *(f"label {i}" for i in range(12))])
    assert mixed["sad"] == plots.EMOTION_COLORS["sad"]
    assert len(set(mixed.values())) == 14
    assert tuple(plots.EMOTION_COLORS) == EMOTIONS


# ---------------------------------------------------------------- one clip

RATE = 16_000
TIME = np.arange(RATE) / RATE
TONE = (0.4 * sum(np.sin(2 * np.pi * 200 * k * TIME) / k for k in range(1, 6))).astype(np.float32)


def test_waveform_draws_the_samples_over_seconds():
    ax = plots.plot_waveform(TONE, RATE, "a tone", emotion="happy")
    line = ax.lines[0]
    np.testing.assert_array_equal(line.get_ydata(), TONE)
    assert line.get_xdata()[-1] == pytest.approx(1 - 1 / RATE)
    assert line.get_color() == plots.EMOTION_COLORS["happy"]
    assert ax.get_title(loc="left") == "a tone" and ax.get_xlabel() == "time (s)"
    assert_nothing_cut(ax)


def test_given_axes_are_used():
    _, (one, two, three) = plt.subplots(3, 1)
    assert plots.plot_waveform(TONE, RATE, ax=one) is one
    assert plots.plot_spectrogram(TONE, RATE, ax=two) is two
    assert plots.plot_pitch(TONE, RATE, ax=three) is three
    assert len(plt.get_fignums()) == 1


def test_spectrogram_shows_a_tone_at_its_frequency():
    ax = plots.plot_spectrogram(np.sin(2 * np.pi * 1000 * TIME), RATE)
    mesh = ax.collections[0]
    level = mesh.get_array().reshape(80, -1)
    loudest = level[:, 40].argmax()
    ticks = dict(zip(shown_ticks(ax), ax.yaxis.get_major_locator()(), strict=True))
    assert abs(loudest - ticks["1,000"]) <= 1
    assert level.max() == pytest.approx(0, abs=0.01) and level.min() >= -80
    assert "level (dB)" in shown(ax) and "frequency (Hz)" in shown(ax)
    assert_nothing_cut(ax)


def shown_ticks(ax) -> list[str]:
    ax.figure.canvas.draw()
    return [label.get_text() for label in ax.get_yticklabels()]


def test_spectrogram_of_silence_is_flat():
    ax = plots.plot_spectrogram(np.zeros(RATE), RATE)
    assert np.ptp(ax.collections[0].get_array()) == 0


def test_pitch_follows_the_tone_and_leaves_gaps():
    half = np.where(TIME < 0.5, TONE, 0)
    ax = plots.plot_pitch(half, RATE)
    seconds, pitch = ax.lines[0].get_data()
    assert np.nanmedian(pitch[seconds < 0.4]) == pytest.approx(200, rel=0.02)
    assert np.isnan(pitch[seconds > 0.6]).all()
    assert_nothing_cut(ax)


def test_pitch_of_silence_says_so():
    assert "nothing voiced in this clip" in shown(plots.plot_pitch(np.zeros(RATE), RATE))


@pytest.mark.parametrize("rate", [None, 0, -1, 1, "16000", float("nan"), float("inf"), True])
def test_a_rate_is_samples_a_second(rate):
    for plot in (plots.plot_waveform, plots.plot_spectrogram, plots.plot_pitch):
        if (plot, rate) != (plots.plot_waveform, 1):  # an envelope may have one a second, a voice has not
            with pytest.raises(SerlibError, match="in Hz"):
                plot(TONE, rate)


# ---------------------------------------------------------------- a corpus


def test_balance_counts_every_clip_once():
    ax = plots.plot_balance(corpus())
    assert sum(bar.get_width() for bar in ax.patches) == len(corpus())
    assert sum(bar.get_width() for bar in ax.patches if bar.get_hatch()) == 7 * 2 * 6  # no strong neutral
    text = shown(ax)
    assert {"normal", "strong", *EMOTIONS} <= set(text)
    assert " 12 female" in text and " 6 male" in text
    assert_nothing_cut(ax)


def test_balance_of_a_corpus_that_knows_only_emotions():
    bare = corpus().assign(sex="", intensity="", emotion=lambda c: c["emotion"].str.upper())
    bare.attrs["synthetic"] = True
    ax = plots.plot_balance(bare)
    assert len(ax.patches) == 8 and ax.get_legend() is None
    assert "synthetic speech" in shown(ax)


def test_balance_counts_clips_of_any_sex_and_intensity_or_of_none():
    """Whatever a corpus calls them, and where it has no such columns at all: no clip is left out."""
    odd = corpus().assign(sex=["f", "m", None, "", 3, "other"] * 30, intensity=["loud", "strong", None] * 60)
    ax = plots.plot_balance(odd)
    assert sum(bar.get_width() for bar in ax.patches) == len(odd)
    assert sum(bar.get_width() for bar in ax.patches if bar.get_hatch()) == 60
    bare = plots.plot_balance(corpus()[["emotion"]])
    assert sum(bar.get_width() for bar in bare.patches) == len(corpus()) and len(bare.patches) == 8


def test_prosody_draws_each_clip_and_the_median():
    table = corpus().assign(f0_mean=lambda c: np.arange(len(c), dtype=float))
    ax = plots.plot_prosody(table, "f0_mean")
    dots = [c.get_offsets() for c in ax.collections]
    assert sum(map(len, dots)) == len(table)
    angry = table.loc[table["emotion"] == "angry", "f0_mean"]
    assert np.sort(dots[0][:, 0]).tolist() == sorted(angry)
    assert any(np.allclose(line.get_xdata(), angry.median()) for line in ax.lines)
    assert "f0 mean" in shown(ax)
    assert_nothing_cut(ax)
    with pytest.raises(SerlibError, match="jitter"):
        plots.plot_prosody(table, "jitter")


# ---------------------------------------------------------------- a run


def run_with_history(synthetic: bool = False) -> SimpleNamespace:
    run = voter("HuBERT base", 2, 1, synthetic)
    run.history = pd.DataFrame(
        {
            "step": [50, 100, 150, 200, 250, 300, 400],
            "loss": [2.0, np.nan, 1.5, np.nan, 1.0, np.nan, np.nan],
            "eval_loss": [np.nan, 1.9, np.nan, 1.4, np.nan, 0.9, 0.95],
            "eval_accuracy": [np.nan, 0.3, np.nan, 0.5, np.nan, 0.8, 0.7],
        }
    )
    return run


def test_history_marks_the_best_step_and_chance():
    left, right = axes = plots.plot_history(run_with_history())
    losses = {line.get_label(): line.get_data() for line in left.lines}
    np.testing.assert_array_equal(losses["training"], [[50, 150, 250], [2.0, 1.5, 1.0]])
    np.testing.assert_array_equal(losses["validation"], [[100, 200, 300, 400], [1.9, 1.4, 0.9, 0.95]])
    np.testing.assert_array_equal(right.lines[0].get_data(), [[100, 200, 300, 400], [0.3, 0.5, 0.8, 0.7]])
    assert all(any(np.allclose(line.get_xdata(), 300) for line in ax.lines) for ax in axes)
    text = shown(axes)
    assert "best step 300: 80.0%" in text and "chance 12.5%" in text and "HuBERT base" in text
    assert_nothing_cut(axes)


@pytest.mark.slow
def test_synthetic_runs_say_so():
    run = run_with_history(synthetic=True)
    assert "HuBERT base (synthetic speech)" in shown(plots.plot_history(run))
    assert any("(synthetic speech)" in text for text in shown(plots.plot_confusion(run)))


def test_history_of_a_probe_shows_trials_of_c():
    run = run_with_history()
    run.info["regularization"] = 0.01
    text = shown(plots.plot_history(run))
    assert "best C 0.01: 80.0%" in text and "trial, from small C to large" in text and "step" not in text


def test_no_history_is_refused():
    run = run_with_history()
    for nothing in (None, run.history.head(0)):
        run.history = nothing
        with pytest.raises(SerlibError, match="no training history"):
            plots.plot_history(run)


@pytest.mark.slow
def test_confusion_shows_counts_and_percent():
    axes = plots.plot_confusion(RUNS[0])
    counts = metrics.confusion(RUNS[0]).to_numpy()
    for ax, matrix in zip(axes, [counts, 100 * counts / counts.sum(axis=1, keepdims=True)], strict=True):
        np.testing.assert_allclose(ax.collections[0].get_array().reshape(8, 8), matrix)
    written = [text.get_text() for text in axes[0].texts]
    assert written == [str(n) if n else "" for n in counts.ravel()]
    assert [label.get_text() for label in axes[0].get_yticklabels()] == list(EMOTIONS)
    assert_nothing_cut(axes)


@pytest.mark.slow
def test_confusion_of_another_part():
    ax = plots.plot_confusion(VOTE, part="validation")[0]
    assert ax.collections[0].get_array().sum() == (VOTE.predictions["part"] == "validation").sum()


def test_probabilities_of_one_voter():
    p = pd.Series([0.05, 0.0, 0.1, 0.05, 0.1, 0.1, 0.4, 0.2], index=EMOTIONS)
    ax = plots.plot_probabilities(p, truth="happy")
    assert [bar.get_width() for bar in ax.patches[:8]] == p.tolist()
    assert [to_rgb(bar.get_facecolor()[:3]) for bar in ax.patches[:8]] == [
        to_rgb(c) for c in plots.EMOTION_COLORS.values()
    ]
    assert "happy (truth)" in shown_ticks(ax)
    assert [t.get_text() for t in ax.texts if t.get_fontweight() == "bold"] == ["40%"]
    assert_nothing_cut(ax)


@pytest.mark.slow
@pytest.mark.parametrize("n", [1, 2, 5, 7])
def test_probabilities_of_many_voters(n):
    p = pd.Series(np.full(8, 1 / 8), index=EMOTIONS)
    axes = plots.plot_probabilities({f"UniSpeech large {i}": p for i in range(n)}, truth="unknown")
    assert len(axes) == n and not any("truth" in text for text in shown(axes))
    assert_nothing_cut(axes)


def test_probabilities_of_nobody():
    with pytest.raises(SerlibError, match="at least one"):
        plots.plot_probabilities({})


# ---------------------------------------------------------------- votes and comparisons


def test_votes_draw_each_model_apart_and_the_vote_as_a_bar():
    ax = plots.plot_votes(RUNS, VOTE)
    singles = [line for line in ax.lines if len(line.get_xdata()) == 8]
    assert len({(line.get_color(), line.get_marker()) for line in singles}) == len(RUNS)
    assert {line.get_linestyle() for line in singles} == {"None"}  # emotions have no order that a line could show
    for run, line in zip(RUNS, singles, strict=True):
        np.testing.assert_allclose(line.get_ydata(), metrics.report(run).loc[list(EMOTIONS), "recall"].to_numpy(float))
    # Side by side in one order, within the place of the emotion.
    sides = np.array([line.get_xdata() - np.arange(8) for line in singles])
    assert (np.diff(sides, axis=0) > 0.05).all() and (np.abs(sides) < 0.4).all()
    (bars,) = ax.collections
    heights = [segment[0, 1] for segment in bars.get_segments()]
    np.testing.assert_allclose(heights, metrics.report(VOTE).loc[list(EMOTIONS), "recall"].to_numpy(float))
    assert {"vote of 5", *(run.name for run in RUNS)} <= set(shown(ax))
    assert_nothing_cut(ax)


def test_votes_leave_out_a_class_without_clips():
    frame = VOTE.predictions
    some = frame[(frame["part"] == "validation") | (frame["emotion"] != "calm")]
    ax = plots.plot_votes([some], some)
    assert np.isnan(ax.lines[0].get_ydata()).tolist() == [emotion == "calm" for emotion in EMOTIONS]


def test_subsets_draw_every_vote_and_ring_the_validation_choice():
    table = voting.every_vote(RUNS, sizes=(1, 3, 5))
    ax = plots.plot_subsets(table)
    *dots, ring = sorted(ax.collections, key=lambda c: c.get_sizes()[0])
    drawn = np.concatenate([c.get_offsets()[:, 1] for c in dots])
    np.testing.assert_allclose(np.sort(drawn), np.sort(table["test_accuracy"]))
    chosen = table.loc[table["validation_accuracy"].idxmax()]
    assert ring.get_offsets()[0, 1] == chosen["test_accuracy"]
    means = table.groupby("size")["test_accuracy"].mean()
    named = {1: "6 single\nmodels", 3: "20 votes\nof 3", 5: "6 votes\nof 5"}
    assert {f"{name}\n{means[size]:.1%}" for size, name in named.items()} <= set(shown(ax))
    assert_nothing_cut(ax)


def test_subsets_without_validation_ring_nothing():
    table = voting.every_vote(RUNS).assign(validation_accuracy=np.nan)
    assert "chosen on validation" not in shown(plots.plot_subsets(table))


def test_per_actor_marks_sex_and_mean():
    ax = plots.plot_per_actor(RUNS[3])
    by_label = {c.get_label(): c.get_offsets() for c in ax.collections if not c.get_label().startswith("_")}
    assert {name: len(dots) for name, dots in by_label.items()} == {"female": 3, "male": 3}
    frame = predictions.rows_of(RUNS[3])
    share = (frame["predicted"] == frame["emotion"]).groupby(frame["actor"]).mean()
    drawn = np.concatenate([dots[:, 1] for dots in by_label.values()])
    np.testing.assert_allclose(np.sort(drawn), np.sort(share))
    assert f"mean {share.mean():.1%}" in shown(ax)
    assert_nothing_cut(ax)


def test_per_actor_of_a_corpus_with_other_names():
    frame = RUNS[0].predictions.assign(clip=lambda f: "clip " + f.index.astype(str))
    assert "female" not in shown(plots.plot_per_actor(frame))
    with pytest.raises(SerlibError, match="which actor"):
        plots.plot_per_actor(frame.assign(actor=""))


def test_listeners_are_drawn_beside_the_model_and_two_corners_counted():
    frame = predictions.rows_of(RUNS[0])
    right = (frame["predicted"] == frame["emotion"]).to_numpy()
    heard = pd.DataFrame({"share": np.resize([0.2, 0.6, 1.0], len(frame))}, index=frame["clip"])
    ax = plots.plot_listeners(RUNS[0], heard, unsure=0.2, sure=1)  # both ends belong to them
    unsure, sure = (heard["share"] == 0.2).to_numpy(), (heard["share"] == 1).to_numpy()
    counts = {"model right, people unsure": (right & unsure).sum(), "people sure, model wrong": (~right & sure).sum()}
    assert all(counts.values()) and {f"{name}: {n}" for name, n in counts.items()} <= {t.get_text() for t in ax.texts}
    dots = [c for c in ax.collections if len(c.get_offsets())]
    assert sum(len(c.get_offsets()) for c in dots) == len(frame)
    dark = [len(c.get_offsets()) for c in dots if to_hex(c.get_facecolor()[0]) == plots.ACCENT]
    assert sorted(dark) == sorted(counts.values())
    drawn = np.concatenate([c.get_offsets() for c in dots])
    probability = [row[f"p_{row['emotion']}"] for _, row in frame.iterrows()]
    np.testing.assert_allclose(np.sort(drawn[:, 1]), np.sort(probability))
    assert np.abs(np.sort(drawn[:, 0]) - np.sort(heard["share"])).max() <= 0.01 * 0.8
    assert_nothing_cut(ax)
    for pair in ((0.9, 0.3), (0.5, 0.5), (-0.1, 0.5), (0.5, 1.1), (None, 0.5), (True, 1)):
        with pytest.raises(SerlibError, match="no pair of shares"):
            plots.plot_listeners(RUNS[0], heard, *pair)


def test_agreement_counts_different_labels():
    ax = plots.plot_agreement(RUNS[:3])
    a, b, c = ((predictions.rows_of(run)["predicted"]).to_numpy() for run in RUNS[:3])
    expected = [np.mean(a != b) * 100, np.mean(a != c) * 100, np.mean(b != c) * 100]
    np.testing.assert_allclose(np.ma.compressed(ax.collections[0].get_array()), expected)
    assert_nothing_cut(plots.plot_agreement([*RUNS, VOTE]))
    with pytest.raises(SerlibError, match="two at least"):
        plots.plot_agreement(RUNS[:1])


# ---------------------------------------------------------------- the paper

PAPER = pd.concat([paper.models(), paper.votes()])
KEYS = list(paper.models().index)


def test_paper_beside_ours_with_intervals():
    ax = plots.plot_against_paper({**dict(zip(KEYS, RUNS, strict=True)), "vote of 5": VOTE}, PAPER)
    points = [line.get_xdata()[0] for line in ax.lines if len(line.get_xdata()) == 1]
    np.testing.assert_allclose(points[::2], [0.90, 0.93, 0.92, 0.90, 0.91, 0.92, 0.9688])
    np.testing.assert_allclose(points[1::2], [metrics.accuracy(v) for v in [*RUNS, VOTE]])
    spans = [line.get_xdata() for line in ax.lines if len(line.get_xdata()) == 2]
    np.testing.assert_allclose(spans[-2], [0.942, 0.984], atol=0.0006)  # 279 of 288
    np.testing.assert_allclose(spans[0], metrics.wilson_interval(259, 288))  # 0.90 x 288 = 259.2
    text = shown(ax)
    assert "90%" in text and "96.88%" in text and "paper (288 clips)" in text
    assert_nothing_cut(ax)


def test_another_model_in_the_papers_row_is_named():
    run = voter("HuBERT base mini", 2, 0)
    assert "HuBERT base\n(ours: HuBERT base mini)" in shown_ticks(plots.plot_against_paper({"hubert-base": run}, PAPER))


def test_synthetic_numbers_never_stand_beside_the_papers():
    synthetic = voter("HuBERT base", 2, 0, synthetic=True)
    silent = voter("HuBERT base", 2, 0)
    del silent.info["synthetic"]
    for run in (synthetic, silent):
        with pytest.raises(SerlibError, match="synthetic"):
            plots.plot_against_paper({"hubert-base": run}, PAPER)
    vote = voting.majority_vote([synthetic, RUNS[0]], name="vote of 3")
    with pytest.raises(SerlibError, match="give its runs too"):
        plots.plot_against_paper({"vote of 3": vote, "wav2vec2-large": RUNS[0]}, PAPER)
    with pytest.raises(SerlibError, match="synthetic"):
        plots.plot_against_paper({"vote of 3": vote, "wav2vec2-large": RUNS[0], "hubert-base": synthetic}, PAPER)
    with pytest.raises(SerlibError, match="nothing says what"):
        plots.plot_against_paper({"hubert-base": RUNS[0].predictions}, PAPER)
    assert not plt.get_fignums()


def test_nor_do_numbers_of_another_corpus():
    run = voter("HuBERT base", 2, 0)
    run.predictions["clip"] = [f"take {i}" for i in range(len(run.predictions))]
    with pytest.raises(SerlibError, match="no clip of RAVDESS"):
        plots.plot_against_paper({"hubert-base": run}, PAPER)


def test_unknown_row_of_the_paper():
    with pytest.raises(SerlibError, match="did you mean hubert-base"):
        plots.plot_against_paper({"hubert_base": RUNS[2]}, PAPER)
    with pytest.raises(SerlibError, match="at least one run"):
        plots.plot_against_paper({}, PAPER)


def test_intervals_draw_a_dot_and_its_ends_and_say_where_zero_lies():
    table = pd.DataFrame({"points": [2.0, -1.0], "low": [1.0, -3.0], "high": [3.0, 1.5]}, index=["a", "b"])
    ax = plots.plot_intervals(table, "points", "points", zero=True, percent=False)
    lines = [line.get_xdata() for line in ax.lines]
    assert list(lines[0]) == [1, 3] and list(lines[2]) == [-3, 1.5]
    assert [line.get_markerfacecolor() for line in ax.lines[1:4:2]] == [plots.ACCENT, "white"]
    assert [text.get_text() for text in ax.texts] == ["+2.0", "-1.0"]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["a", "b"] and ax.yaxis_inverted()
    assert [text.get_text() for text in plots.plot_intervals(table / 10, "points", "x").texts] == ["20.0%", "-10.0%"]


def test_distortions_draw_a_panel_a_family_and_every_line_begins_with_the_clean_clips():
    rows = [
        ("a", "clean", "clean", 0.9, 0.8, 1.0), ("b", "clean", "clean", 0.7, np.nan, np.nan),
        ("a", "noise", "20 dB", 0.5, 0.4, 0.6), ("b", "noise", "20 dB", 0.6, np.nan, np.nan),
        ("a", "noise", "0 dB", 0.2, 0.1, 0.3), ("b", "noise", "0 dB", 0.1, np.nan, np.nan),
        ("a", "line", "telephone", 0.4, 0.3, 0.5), ("b", "line", "telephone", 0.3, np.nan, np.nan),
    ]  # fmt: skip
    table = pd.DataFrame(rows, columns=["voter", "family", "setting", "accuracy", "low", "high"])
    axes = plots.plot_distortions(table)
    assert [ax.get_title(loc="left") for ax in axes] == ["noise", "line"]
    assert shown_ticks(axes[0]) and [t.get_text() for t in axes[1].get_xticklabels()] == ["clean", "telephone"]
    drawn = [[line.lines[0].get_ydata().tolist() for line in ax.containers] for ax in axes]
    assert drawn == [[[0.9, 0.5, 0.2], [0.7, 0.6, 0.1]], [[0.9, 0.4], [0.7, 0.3]]]
    ends = axes[0].containers[0].lines[2][0].get_segments()[1][:, 1]
    np.testing.assert_allclose(ends, [0.4, 0.6])
    assert [text.get_text() for text in axes[0].figure.legends[0].get_texts()] == ["a", "b"]
    with pytest.raises(SerlibError, match="no clean clips"):
        plots.plot_distortions(table[table["family"] != "clean"])


def test_the_markers_of_four_voters_stand_side_by_side():
    """In the panels of notebook 14: three in a line, with the clean clips and three settings."""
    places = [("clean", "clean"), *((family, setting) for family in ("noise", "babble", "room") for setting in "123")]
    rows = [(voter, *place, 0.5, 0.4, 0.6) for place in places for voter in "abcd"]
    table = pd.DataFrame(rows, columns=["voter", "family", "setting", "accuracy", "low", "high"])
    ax = plots.plot_distortions(table)[0]
    ax.figure.canvas.draw()
    lines = [drawn.lines[0] for drawn in ax.containers]
    first = [ax.transData.transform(line.get_xydata()[:1])[0, 0] for line in lines]
    assert np.diff(first).min() > lines[0].get_markersize() * ax.figure.dpi / 72


def test_a_long_recording_is_stacked_to_one_with_a_gap_in_silence_and_a_strip_of_what_was_said():
    rows = [(0, 2, "sad", 0.25, 0.75), (1, 3, "not sure", 0.5, 0.5), (2, 4, "silence", None, None)]
    table = pd.DataFrame(rows, columns=["start", "end", "heard", "p_happy", "p_sad"])
    ax = plots.plot_through(table)
    happy, sad = (area.get_paths()[0].vertices for area in ax.collections[:2])
    assert happy[:, 1].max() == 0.5 and sad[:, 1].max() == 1 and sad[:, 0].max() == 2, "nothing is drawn at 3 s"
    strips = [(bar.get_x(), bar.get_x() + bar.get_width(), to_hex(bar.get_facecolor())) for bar in ax.patches]
    assert strips == [(0, 1.5, plots.EMOTION_COLORS["sad"]), (1.5, 2.5, "#c4c7cc")]
    assert ax.get_xlim() == (0, 4)
    assert_nothing_cut(ax)
    with pytest.raises(SerlibError, match="no probabilities"):
        plots.plot_through(table[["start", "end", "heard"]])


def test_reliability_draws_one_panel_each_with_a_diagonal():
    table = metrics.reliability(voter("v", 0.6, 0))
    axes = plots.plot_reliability({"before": table, "after": table})
    assert [ax.get_title(loc="left") for ax in axes] == ["before", "after"]
    dots = axes[0].collections[0].get_offsets()
    assert np.allclose(dots, table[["confidence", "accuracy"]])
    with pytest.raises(SerlibError, match="no table of reliability"):
        plots.plot_reliability({})


def test_jury_draws_a_line_each_and_marks_the_goal():
    curves = pd.DataFrame({"three": [0.9, 0.8], "five": [1.0, 0.8]}, index=[0.0, 1.0])
    ax = plots.plot_jury(curves, goal=0.85)
    assert [line.get_label() for line in ax.lines[:2]] == ["three", "five"]
    assert [text.get_text() for text in ax.texts] == ["85.0%"]


# ---------------------------------------------------------------- names that mean something to matplotlib

NAMES = ("$a_b$", r"$\nosuch{$", "_under", "100 % {x}", "$", r"back\slash $", "^ & # ~", "two\nlines")


def renamed(frame: pd.DataFrame) -> pd.DataFrame:
    """Predictions whose eight emotions and actors have the names above."""
    new = dict(zip(EMOTIONS, NAMES, strict=True))
    frame = frame.replace({"emotion": new, "predicted": new})
    frame = frame.rename(columns={f"p_{old}": f"p_{name}" for old, name in new.items()})
    return frame.assign(actor=[NAMES[int(actor)] for actor in frame["actor"]])


def voter_named(name: str, seed: int) -> SimpleNamespace:
    run = voter(name, 2, seed)
    run.predictions = renamed(run.predictions)
    return run


ODD = [voter_named(name, i) for i, name in enumerate(NAMES)]
ODD_CORPUS = corpus().replace({"emotion": dict(zip(EMOTIONS, NAMES, strict=True))})
INTERVALS = pd.DataFrame({"points": 0.1, "low": 0.0, "high": 0.2}, index=NAMES)
HEARD = pd.DataFrame({"share": 0.5}, corpus().index)
DISTORTED = pd.concat(
    pd.DataFrame({"voter": NAMES, "family": name, "setting": name, "accuracy": 0.5, "low": 0.4, "high": 0.6})
    for name in ("clean", NAMES[0])
)
THROUGH = pd.DataFrame({"start": [0, 1], "end": [3, 4], "heard": NAMES[:2], **{f"p_{name}": 1 / 8 for name in NAMES}})
ROW = PAPER.iloc[[0]].assign(title=NAMES[0])


def with_history(run: SimpleNamespace) -> SimpleNamespace:
    run.history = run_with_history().history
    return run


# What each figure is given, and the names that are to be read in it.
FIGURES = {
    "plot_waveform": (lambda: plots.plot_waveform(TONE, RATE, NAMES[1], NAMES[0]), NAMES[1:2]),
    "plot_spectrogram": (lambda: plots.plot_spectrogram(TONE, RATE, NAMES[1]), NAMES[1:2]),
    "plot_pitch": (lambda: plots.plot_pitch(TONE, RATE, NAMES[1], NAMES[0]), NAMES[1:2]),
    "plot_balance": (lambda: plots.plot_balance(ODD_CORPUS), NAMES),
    "plot_prosody": (lambda: plots.plot_prosody(ODD_CORPUS.assign(**{NAMES[1]: 1.0}), NAMES[1]), NAMES),
    "plot_history": (lambda: plots.plot_history(with_history(voter_named(NAMES[1], 1))), NAMES[1:2]),
    "plot_confusion": (lambda: plots.plot_confusion(ODD[1]), NAMES),
    "plot_probabilities": (
        lambda: plots.plot_probabilities({name: pd.Series(1 / 8, index=NAMES) for name in NAMES}, NAMES[0]),
        NAMES,
    ),
    "plot_votes": (lambda: plots.plot_votes(ODD, voting.majority_vote(ODD, name=NAMES[1])), NAMES),
    "plot_subsets": (lambda: plots.plot_subsets(voting.every_vote(ODD[:3])), ()),  # names nobody
    "plot_per_actor": (lambda: plots.plot_per_actor(ODD[1]), NAMES[1:7]),
    "plot_listeners": (lambda: plots.plot_listeners(ODD[1], HEARD, 0.3, 0.9), NAMES[1:2]),
    "plot_against_paper": (lambda: plots.plot_against_paper({KEYS[0]: voter(NAMES[1], 2, 0)}, ROW), NAMES[:2]),
    "plot_agreement": (lambda: plots.plot_agreement(ODD), NAMES),
    "plot_intervals": (lambda: plots.plot_intervals(INTERVALS, "points", NAMES[1]), NAMES),
    "plot_reliability": (lambda: plots.plot_reliability({NAMES[1]: metrics.reliability(ODD[0])}), NAMES[1:2]),
    "plot_distortions": (lambda: plots.plot_distortions(DISTORTED), NAMES),
    "plot_through": (lambda: plots.plot_through(THROUGH), NAMES),
    "plot_jury": (lambda: plots.plot_jury(pd.DataFrame(0.5, index=[0.0, 1.0], columns=NAMES)), NAMES),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in vars(plots) if name.startswith("plot_")])
def test_a_name_is_drawn_as_it_is(name, monkeypatch):
    """No name becomes a formula, and none is left out, whatever matplotlib reads into its letters."""
    formulas = []
    monkeypatch.setattr(mathtext.MathTextParser, "parse", lambda self, text, *args: formulas.append(text))
    draw, names = FIGURES[name]
    text = "\n".join(shown(draw())).replace(r"\$", "$")
    assert formulas == [] and all(one.replace("_", " ") in text.replace("_", " ") for one in names)


# ---------------------------------------------------------------- what is none of what a figure needs

# Each figure with something in the place of its first argument.
DOORS = {
    "plot_waveform": lambda odd: plots.plot_waveform(odd, RATE),
    "plot_spectrogram": lambda odd: plots.plot_spectrogram(odd, RATE),
    "plot_pitch": lambda odd: plots.plot_pitch(odd, RATE),
    "plot_balance": plots.plot_balance,
    "plot_prosody": lambda odd: plots.plot_prosody(odd, "actor"),
    "plot_history": plots.plot_history,
    "plot_confusion": plots.plot_confusion,
    "plot_probabilities": plots.plot_probabilities,
    "plot_votes": lambda odd: plots.plot_votes(odd, VOTE),
    "plot_subsets": plots.plot_subsets,
    "plot_per_actor": plots.plot_per_actor,
    "plot_listeners": lambda odd: plots.plot_listeners(odd, HEARD, 0.3, 0.9),
    "plot_against_paper": lambda odd: plots.plot_against_paper(odd, PAPER),
    "plot_agreement": plots.plot_agreement,
    "plot_intervals": lambda odd: plots.plot_intervals(odd, "points", "points"),
    "plot_reliability": plots.plot_reliability,
    "plot_jury": plots.plot_jury,
    "plot_distortions": plots.plot_distortions,
    "plot_through": plots.plot_through,
}
NONSENSE = {
    "nothing": lambda: None, "a text": lambda: "abc", "a number": lambda: 3, "a truth": lambda: True,
    "an object": object, "a class": lambda: SimpleNamespace, "a function": lambda: plots.plot_jury,
    "a list of nothing": lambda: [None], "texts": lambda: ["a", "b"], "a generator": lambda: (x for x in "ab"),
    "an empty table": pd.DataFrame, "rows without columns": lambda: pd.DataFrame(index=[0, 1]),
    "a table of text": lambda: pd.DataFrame({"points": ["a"], "low": ["b"], "high": ["c"]}),
    "text": lambda: pd.Series(["a"]), "an empty series": lambda: pd.Series(dtype=float),
    "a matrix": lambda: np.zeros((2, 3)), "no number": lambda: [np.nan], "a dict": dict,
    "a dict of nothing": lambda: {"a": None}, "a dict of empty tables": lambda: {"a": pd.DataFrame()},
    "columns of one name": lambda: pd.DataFrame([[1, 2]], columns=["emotion", "emotion"]),
}  # fmt: skip


@pytest.mark.parametrize("name", [name for name in vars(plots) if name.startswith("plot_")])
def test_what_cannot_be_drawn_gets_a_sentence_and_leaves_no_figure(name):
    for what, make in NONSENSE.items():
        with pytest.raises(SerlibError) as caught:
            DOORS[name](make())
        assert len(str(caught.value)) > 25 and not plt.get_fignums(), what


def test_a_run_is_no_corpus_and_a_corpus_no_run():
    for wrong in (RUNS[0], RUNS[:2], VOTE):
        for name in ("plot_waveform", "plot_balance", "plot_prosody", "plot_subsets", "plot_intervals", "plot_jury"):
            with pytest.raises(SerlibError):
                DOORS[name](wrong)
    for name in (
        "plot_history",
        "plot_confusion",
        "plot_per_actor",
        "plot_agreement",
        "plot_votes",
        "plot_reliability",
    ):
        with pytest.raises(SerlibError):
            DOORS[name](corpus())
    with pytest.raises(SerlibError, match="as a list"):
        plots.plot_agreement(RUNS[0].predictions)
    with pytest.raises(SerlibError, match="same labels"):
        plots.plot_probabilities({"a": pd.Series({"sad": 1.0}), "b": pd.Series({"happy": 1.0})})


def test_voters_may_come_from_a_generator():
    assert len(plots.plot_votes((run for run in RUNS[:3]), VOTE).lines) == 3
    assert plots.plot_agreement(run for run in RUNS[:2]).collections


@pytest.mark.parametrize("odd", [None, "abc", 3, [1], {}, object(), pd.DataFrame(), pd.Series([1, 2]), np.zeros(3)])
def test_what_stands_beside_is_taken_for_text_or_refused(odd):
    """Titles, the truth and an emotion are text whatever they are; a column and a goal are looked at."""
    shown(plots.plot_waveform(TONE, RATE, odd, odd))
    shown(plots.plot_probabilities(pd.Series({"sad": 1.0}), odd))
    for feature in (odd, [odd]):
        with pytest.raises(SerlibError, match="column"):
            plots.plot_prosody(corpus(), feature)
    if odd is not None and not isinstance(odd, int):
        with pytest.raises(SerlibError, match="goal"):
            plots.plot_jury(pd.DataFrame({"three": [0.9, 0.8]}, index=[0.0, 1.0]), goal=odd)


@pytest.mark.parametrize("ax", [[], "ax", plt, np.array([1])])
def test_an_ax_is_one_axes(ax):
    with pytest.raises(SerlibError, match="one panel"):
        plots.plot_balance(corpus(), ax=ax)


@pytest.mark.parametrize("labels", [None, "sad", 3, [[1]]])
def test_labels_that_have_no_colors(labels):
    with pytest.raises(SerlibError, match="labels"):
        plots.colors(labels)


@pytest.mark.slow
def test_a_notebook_shows_every_figure_and_not_the_first_alone():
    """The first one wakes the notebook's backend; the end of a style's context put it to sleep again."""
    code = (
        "from IPython.core.interactiveshell import InteractiveShell\n"
        "InteractiveShell.instance()\n"
        "import matplotlib.pyplot as plt, pandas as pd, serlib as ser\n"
        "ser.plot_intervals(pd.DataFrame({'value': [0.5], 'low': [0.4], 'high': [0.6]}), 'value', 'share')\n"
        "assert plt.get_backend().endswith('backend_inline') and plt.isinteractive()\n"
    )
    environment = {**os.environ, "MPLBACKEND": "module://matplotlib_inline.backend_inline"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
