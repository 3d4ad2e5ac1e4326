"""Figures: plain data in, matplotlib Axes out; one fixed color per emotion in the whole book.

Every function with ``ax=None`` draws into the Axes it is given, or makes a figure as wide as a page of
the book. Those that need several panels return the array of Axes. Nothing is computed here that
``metrics`` or ``voting`` can compute. What figures share, sizes and colors of their frames, stands in book.mplstyle.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from textwrap import fill
from typing import Any, Literal

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib import font_manager, rc_params_from_file
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FixedFormatter, FixedLocator, MaxNLocator, PercentFormatter
from pandas.api.types import is_numeric_dtype

from serlib.data.ravdess import parse_name
from serlib.errors import SerlibError, in_short, is_number, nearest
from serlib.judge import metrics, predictions, voting
from serlib.judge.paper import N_TEST
from serlib.show.given import names_of, samples_of, table_of

# Chosen so that any two stay apart under simulated protanopia and deuteranopia, and none fades on white
# (tests/serlib/test_plots.py measures both). Color is never the only sign: every figure also names the emotion.
EMOTION_COLORS = {
    "angry": "#e90049",
    "calm": "#28a5a9",
    "disgust": "#4c7213",
    "fearful": "#4b0a00",
    "happy": "#d88200",
    "neutral": "#737574",
    "sad": "#2567d5",
    "surprised": "#963999",
}
# For labels of other corpora, the most different first: none is near an emotion's color or another of these, as far as
# twenty colors can be kept apart by eyes that see two dimensions of them.
OTHER_COLORS = (
    "#b478fc", "#780000", "#0000d8", "#7884cc", "#5418fc", "#6c00a8",
    "#d87884", "#900054", "#6c4800", "#483030", "#c000c0", "#7860fc",
)  # fmt: skip
STYLE = rc_params_from_file(Path(__file__).with_name("book.mplstyle"), use_default_template=False)
# The type of the book's pages. Set for good and not for our figures alone: matplotlib makes some words of a figure when
# it draws it, and notebooks write titles of their own; two typefaces in one figure look like a fault.
for _file in sorted(Path(__file__).with_name("fonts").glob("*.ttf")):
    font_manager.fontManager.addfont(_file)
plt.rcParams["font.family"] = STYLE["font.family"]
PAGE = STYLE["figure.figsize"][0]  # inches: the text width of the book
INK, GRAY, FAINT = STYLE["xtick.color"], "#5f6368", STYLE["grid.color"]
ACCENT = "#0f4c5c"  # for what belongs to no emotion
UNSURE = "#c4c7cc"  # where a model has named none
MARKERS = "osD^vP*X"
_VOICE_RATE = 2000  # Hz: fewer samples a second hold no pitch of a voice, and no picture of its sound


def colors(labels: Iterable[str]) -> dict[str, str]:
    """Return one color per label: the eight emotions have their own, and no other label ever has one of these.

    Other labels take ``OTHER_COLORS`` in their order; from the thirteenth on, hues that only tell them from each other.

    Parameters
    ----------
    labels
        Names of classes, in any order.

    Returns
    -------
    dict
        Label -> color, as matplotlib takes it.

    Raises
    ------
    SerlibError
        For what is no list of names.

    Examples
    --------
    >>> ser.plots.colors(["happy", "bored"])
    {'happy': '#d88200', 'bored': '#b478fc'}
    """
    labels = list(dict.fromkeys(names_of(labels, "labels")))
    others = [name for name in labels if name not in EMOTION_COLORS]
    free = [*OTHER_COLORS, *sns.husl_palette(max(0, len(others) - len(OTHER_COLORS)), l=0.35).as_hex()]
    return {name: EMOTION_COLORS.get(name) or free.pop(0) for name in labels}


def _color_of(emotion: str) -> str:
    """Return the color of the emotion of one clip, and the color of none for any other label.

    Which of ``OTHER_COLORS`` that label has in figures of its whole corpus, one clip does not know.
    """
    return EMOTION_COLORS.get(str(emotion), ACCENT)


# ---------------------------------------------------------------- one clip


def plot_waveform(samples: np.ndarray, rate: int, title: str = "", emotion: str = "", ax: Axes | None = None) -> Axes:
    """Draw a clip's samples over seconds, in its emotion's color (01).

    Parameters
    ----------
    samples
        The clip, shape (n,); full scale is 1.
    rate
        Samples a second, in Hz.
    title
        What stands above.
    emotion
        Whose color it gets; any other label has none.
    ax
        The Axes to draw into; None makes a figure.

    Returns
    -------
    Axes
        What was drawn into.

    Raises
    ------
    SerlibError
        For samples that are no clip, and a rate that is none.

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> import numpy as np
    >>> tone = 0.5 * np.sin(2 * np.pi * 200 * np.arange(8000) / ser.RATE)
    >>> ax = ser.plot_waveform(tone, ser.RATE, "A tone", emotion="calm")
    >>> ax.get_xlabel(), ax.get_xlim()[1].item()
    ('time (s)', 0.5)
    >>> plt.close(ax.figure)
    """
    samples, ax = samples_of(samples, rate), _axes(ax, 1.9)
    seconds = np.arange(len(samples)) / rate
    ax.plot(seconds, samples, color=_color_of(emotion), linewidth=0.5, rasterized=True)
    ax.axhline(0, color=GRAY, linewidth=0.5)
    return _finish(ax, title, "time (s)", "amplitude", xlim=(0, len(samples) / rate))


def plot_spectrogram(samples: np.ndarray, rate: int, title: str = "", ax: Axes | None = None) -> Axes:
    """Draw a log-mel spectrogram: seconds across, Hz up (mel spacing), level as color (01).

    The level is in dB below the loudest point. 80 bands, window 25 ms, hop 10 ms: what Whisper sees; 80
    dB deep.

    Parameters
    ----------
    samples
        The clip, shape (n,).
    rate
        Samples a second, in Hz.
    title
        What stands above.
    ax
        The Axes to draw into; None makes a figure.

    Returns
    -------
    Axes
        What was drawn into.

    Raises
    ------
    SerlibError
        For samples that are no clip, and a rate below 2,000 Hz, which holds no voice.

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> import numpy as np
    >>> tone = 0.5 * np.sin(2 * np.pi * 200 * np.arange(8000) / ser.RATE)
    >>> ax = ser.plot_spectrogram(tone, ser.RATE)
    >>> ax.get_ylabel()
    'frequency (Hz)'
    >>> plt.close(ax.figure)
    """
    import librosa

    samples, ax = samples_of(samples, rate, _VOICE_RATE), _axes(ax, 2.7)
    window, hop, bands = int(0.025 * rate), int(0.010 * rate), 80
    n_fft = max(512, window)
    power = librosa.feature.melspectrogram(
        y=np.pad(samples, (0, max(0, n_fft - len(samples)))),  # librosa warns of less than a window
        sr=rate,
        n_fft=n_fft,
        win_length=window,
        hop_length=hop,
        n_mels=bands,
    )
    level = librosa.power_to_db(power, ref=max(float(power.max()), 1e-10), top_db=80)
    centers = librosa.mel_frequencies(n_mels=bands, fmax=rate / 2)
    seconds = np.arange(level.shape[1]) * hop / rate
    mesh = ax.pcolormesh(
        seconds, np.arange(bands), level, cmap="magma", vmin=-80, vmax=0, shading="nearest", rasterized=True
    )
    marks = [f for f in (200, 500, 1000, 2000, 4000, 8000) if f <= rate / 2]
    ax.yaxis.set_major_locator(FixedLocator(np.interp(marks, centers, np.arange(bands)).tolist()))
    ax.yaxis.set_major_formatter(FixedFormatter([f"{f:,}" for f in marks]))
    bar = ax.figure.colorbar(mesh, ax=ax, pad=0.02)
    bar.set_label("level (dB)", fontsize=STYLE["axes.labelsize"])
    bar.ax.tick_params(labelsize=9)
    bar.outline.set_visible(False)
    return _finish(ax, title, "time (s)", "frequency (Hz)")


def plot_pitch(samples: np.ndarray, rate: int, title: str = "", emotion: str = "", ax: Axes | None = None) -> Axes:
    """Draw the F0 contour in Hz over seconds, with gaps where nothing is voiced (01).

    Measured by probabilistic YIN between 65 and 600 Hz.

    Parameters
    ----------
    samples
        The clip, shape (n,).
    rate
        Samples a second, in Hz.
    title
        What stands above.
    emotion
        Whose color it gets; any other label has none.
    ax
        The Axes to draw into; None makes a figure.

    Returns
    -------
    Axes
        What was drawn into.

    Raises
    ------
    SerlibError
        For samples that are no clip, and a rate below 2,000 Hz, which holds no voice.

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> import numpy as np
    >>> tone = 0.5 * np.sin(2 * np.pi * 200 * np.arange(8000) / ser.RATE)
    >>> ax = ser.plot_pitch(tone, ser.RATE)
    >>> round(np.nanmedian(ax.lines[0].get_ydata()))
    200
    >>> plt.close(ax.figure)
    """
    import librosa

    samples, ax = samples_of(samples, rate, _VOICE_RATE), _axes(ax, 2.2)
    frame = 1 << int(np.ceil(np.log2(0.05 * rate)))  # over two periods of the lowest voice
    pitch, _, _ = librosa.pyin(samples, sr=rate, fmin=65, fmax=600, frame_length=frame)
    seconds = librosa.times_like(pitch, sr=rate, hop_length=frame // 4)
    ax.plot(seconds, pitch, color=_color_of(emotion), linewidth=2, solid_capstyle="round")
    _grid(ax, "y")
    voiced = pitch[np.isfinite(pitch)]
    ylim = (max(50, voiced.min() * 0.85), voiced.max() * 1.15) if len(voiced) else (65, 600)
    if not len(voiced):
        ax.text(
            0.5,
            0.5,
            "nothing voiced in this clip",
            ha="center",
            va="center",
            color=GRAY,
            transform=ax.transAxes,
        )
    return _finish(ax, title, "time (s)", "pitch F0 (Hz)", xlim=(0, len(samples) / rate), ylim=ylim)


# ---------------------------------------------------------------- a corpus


def plot_balance(corpus: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Draw the clips per emotion: a bar per sex, its strong-intensity clips hatched (01).

    Parameters
    ----------
    corpus
        Has the columns emotion, sex and intensity; where one of the last two is not there or not known, clips are not
        told apart by it.
    ax
        The Axes to draw into; None makes a figure.

    Returns
    -------
    Axes
        What was drawn into.

    Raises
    ------
    SerlibError
        For a table without rows or without emotions.

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> import pandas as pd
    >>> corpus = pd.DataFrame({"emotion": ["happy", "sad", "sad"], "sex": ["female", "female", "male"]})
    >>> ax = ser.plot_balance(corpus)
    >>> [mark.get_text() for mark in ax.texts]
    [' 1 female', ' 0 male', ' 1 female', ' 1 male']
    >>> plt.close(ax.figure)
    """
    table = table_of(corpus, ["emotion"], "a corpus")
    emotion, nothing = table["emotion"].astype(str), pd.Series("", table.index)
    sex, strong = table.get("sex", nothing).fillna("").astype(str), table.get("intensity", nothing) == "strong"
    labels, sexes = sorted(emotion.unique()), sorted(sex.unique(), key=lambda name: (name == "", name))
    ax = _axes(ax, 0.8 + 0.42 * len(labels))
    palette, thick = colors(labels), 0.8 / len(sexes)
    counts = table.groupby([emotion, sex, strong]).size()
    longest = table.groupby([emotion, sex]).size().max()
    for row, label in enumerate(labels):
        for place, name in enumerate(sexes):
            y = row + (place - (len(sexes) - 1) / 2) * thick
            left = 0
            for is_strong in (False, True):
                n = int(counts.get((label, name, is_strong), 0))
                if n:
                    ax.barh(
                        y,
                        n,
                        thick * 0.92,
                        left=left,
                        color=palette[label],
                        edgecolor="white",
                        linewidth=0.6,
                        hatch="////" if is_strong else None,
                    )
                    left += n
            mark = f" {left}" + (f" {name}" if name else "")
            ax.text(left, y, _as_text(mark), va="center", fontsize=8, color=GRAY)
    ax.set_yticks(range(len(labels)), map(_as_text, labels))
    ax.invert_yaxis()
    ax.xaxis.set_major_locator(MaxNLocator(8, integer=True, steps=[1, 2, 5, 10]))
    if strong.any():
        keys = [
            Patch(facecolor=GRAY, edgecolor="white", label="normal"),
            Patch(facecolor=GRAY, edgecolor="white", hatch="////", label="strong"),
        ]
        _legend(ax, keys, title="intensity")
    title = "synthetic speech" if corpus.attrs.get("synthetic") else ""
    return _finish(ax, title, "clips", "", xlim=(0, longest * 1.17))


def plot_prosody(table: pd.DataFrame, feature: str, ax: Axes | None = None) -> Axes:
    """Draw how one measured feature spreads within each emotion: a box over every clip's dot (01).

    Parameters
    ----------
    table
        A row a clip, a column emotion and the numeric column ``feature``.
    feature
        What is drawn, such as a column of ``acoustic_features``.
    ax
        The Axes to draw into; None makes a figure.

    Returns
    -------
    Axes
        What was drawn into.

    Raises
    ------
    SerlibError
        For a table that lacks one of the two columns, and for a feature that is not of numbers.

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> import pandas as pd
    >>> table = pd.DataFrame({"emotion": ["happy", "happy", "sad"], "pitch_mean": [14.0, 12.5, 7.0]})
    >>> ax = ser.plot_prosody(table, "pitch_mean")
    >>> ax.get_xlabel(), [label.get_text() for label in ax.get_yticklabels()]
    ('pitch mean', ['happy', 'sad'])
    >>> plt.close(ax.figure)
    """
    names_of([feature], "columns")
    table = table_of(table, ["emotion"], "a corpus with its features beside it", numeric=[feature])
    table = table.assign(emotion=table["emotion"].astype(str))
    labels = sorted(table["emotion"].unique())
    ax = _axes(ax, 0.8 + 0.34 * len(labels))
    jitter = np.random.default_rng(101)  # of its own, so that the figure comes out the same every time
    for row, label in enumerate(labels):
        values = table.loc[table["emotion"] == label, feature]
        ax.scatter(
            values,
            row + jitter.uniform(-0.28, 0.28, len(values)),
            s=9,
            color=colors(labels)[label],
            alpha=0.45,
            linewidths=0,
            rasterized=True,
        )
    ax.boxplot(
        [table.loc[table["emotion"] == label, feature].dropna() for label in labels],
        positions=range(len(labels)),
        orientation="horizontal",  # not seaborn's: 0.13 still asks matplotlib for the deprecated vert=
        widths=0.55,
        showfliers=False,
        boxprops={"color": INK},
        whiskerprops={"color": INK},
        capprops={"color": INK},
        medianprops={"color": INK, "linewidth": 2.4},
    )
    ax.set_yticks(range(len(labels)), map(_as_text, labels))
    ax.invert_yaxis()
    return _finish(ax, "", str(feature).replace("_", " "), "")


# ---------------------------------------------------------------- a run


def plot_history(run: Any) -> np.ndarray:
    """Draw the training graph of a run: losses, and validation accuracy with the best step marked (03-08).

    The broken line in the right panel is chance: one over the number of classes. A probe of a frozen
    encoder has trials of C, the inverse strength of regularization, where a fine-tuned model has steps.

    Parameters
    ----------
    run
        What ``fine_tune``, ``probe`` or ``load_run`` returned.

    Returns
    -------
    ndarray
        The two Axes.

    Raises
    ------
    SerlibError
        For a voter without a training history.

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> run = ser.load_run("results/laptop/stratified/hubert-base-mini")
    >>> axes = ser.plot_history(run)
    >>> [ax.get_title("left") for ax in axes]
    ['Loss', 'Validation accuracy']
    >>> plt.close(axes[0].figure)
    """
    history = getattr(run, "history", None)
    if _record_of(run) is None or not isinstance(history, pd.DataFrame) or history.empty:
        raise SerlibError(f"{predictions.name_of(run)} has no training history; give a run, or train it again.")
    best = int(run.info["best_step"])
    chance = 1 / len(run.info["labels"])
    is_probe = "regularization" in run.info
    unit = "trial, from small C to large" if is_probe else "step"
    mark = f"best C {run.info['regularization']:g}" if is_probe else f"best step {best}"
    figure, axes = _figure(1, 2, 2.9)
    left, right = axes
    for column, name, look in [
        ("loss", "training", dict(color=GRAY, linewidth=1.2)),
        ("eval_loss", "validation", dict(color=ACCENT, linewidth=2, marker="o", markersize=3)),
    ]:
        evaluated = history.dropna(subset=[column])
        left.plot(evaluated["step"], evaluated[column], label=name, **look)
    evaluated = history.dropna(subset=["eval_accuracy"])
    right.plot(evaluated["step"], evaluated["eval_accuracy"], color=ACCENT, linewidth=2, marker="o", markersize=3)
    right.axhline(chance, color=GRAY, linestyle=(0, (4, 3)), linewidth=1.2)
    right.annotate(
        f"chance {chance:.1%}",
        (0, chance),
        (3, 3),
        xycoords=("axes fraction", "data"),
        textcoords="offset points",
        fontsize=9,
        color=GRAY,
    )
    for ax in axes:
        ax.axvline(best, color=INK, linestyle=":", linewidth=1.4, zorder=0)
        ax.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    chosen = evaluated.loc[evaluated["step"] == best, "eval_accuracy"]
    if len(chosen):
        late = best > (evaluated["step"].min() + evaluated["step"].max()) / 2
        right.plot(best, chosen.iloc[0], "o", markersize=11, markerfacecolor="none", markeredgecolor=INK, zorder=3)
        right.annotate(
            f"{mark}: {chosen.iloc[0]:.1%}",
            (best, 0.3),
            (-5 if late else 5, 0),
            textcoords="offset points",
            ha="right" if late else "left",
            fontsize=9,
            color=INK,
        )
    with plt.style.context(STYLE):
        left.legend()
    _finish(left, "Loss", unit, "cross-entropy")
    left.set_ylim(bottom=0)
    _finish(right, "Validation accuracy", unit, "", ylim=(0, 1))
    right.yaxis.set_major_formatter(PercentFormatter(1))
    _suptitle(figure, _title(run))
    return axes


def plot_confusion(voter: Any, part: str = "test") -> np.ndarray:
    """Draw the confusion matrix of a voter twice: clips counted, and as percent of each true emotion (03-09).

    Rows are the truth, columns what was heard; empty cells are zero. The right diagonal is the recall per
    class.

    Parameters
    ----------
    voter
        A run, a vote, or a predictions frame.
    part
        "test" or "validation".

    Returns
    -------
    ndarray
        The two Axes.

    Raises
    ------
    SerlibError
        For what is no voter, or has no clips in that part.

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> run = ser.load_run("results/laptop/stratified/hubert-base-mini")
    >>> axes = ser.plot_confusion(run)
    >>> axes[0].figure.get_suptitle()
    'HuBERT base (mini twin), test part'
    >>> plt.close(axes[0].figure)
    """
    counts = metrics.confusion(voter, part=part).rename(index=_as_text, columns=_as_text)
    shares = metrics.confusion(voter, part=part, normalize=True).rename(index=_as_text, columns=_as_text) * 100
    figure, axes = _figure(1, 2, 4.55, sharey=True)
    for ax, matrix, top, title in [
        (axes[0], counts, None, "Clips"),
        (axes[1], shares.fillna(0), 100, "Percent of each true emotion"),
    ]:
        text = matrix.map(lambda v: f"{v:.0f}" if v >= 0.5 else "")
        sns.heatmap(
            matrix,
            annot=text,
            fmt="",
            cmap="Blues",
            vmin=0,
            vmax=top,
            cbar=False,
            linewidths=0.6,
            linecolor="#dadce0",
            annot_kws={"fontsize": 8.5},
            ax=ax,
        )
        _finish(ax, title, "heard", "true" if ax is axes[0] else "")
        ax.tick_params(length=0)
        ax.set_xticklabels(matrix.columns, rotation=45, ha="right", rotation_mode="anchor")
    axes[0].set_yticklabels(counts.index, rotation=0)
    axes[1].tick_params(labelleft=False)
    _suptitle(figure, f"{_title(voter)}, {part} part")
    return axes


def plot_probabilities(
    probabilities: pd.Series | Mapping[str, pd.Series], truth: str | None = None, ax: Axes | None = None
) -> Axes | np.ndarray:
    """Draw class probabilities as bars; highest bold, truth marked (09, 12).

    Parameters
    ----------
    probabilities
        A Series with a probability for each label, or a mapping of a voter's name to such a Series.
    truth
        The label that is marked, where it is known.
    ax
        The Axes to draw one Series into; None makes a figure.

    Returns
    -------
    Axes or ndarray
        What was drawn into: for a mapping an array of small panels, one a voter.

    Raises
    ------
    SerlibError
        For what are no probabilities, and for voters with other labels than the first.

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> import pandas as pd
    >>> ax = ser.plot_probabilities(pd.Series({"happy": 0.7, "sad": 0.3}), truth="sad")
    >>> [label.get_text() for label in ax.get_yticklabels()]
    ['happy', 'sad (truth)']
    >>> plt.close(ax.figure)
    """
    if isinstance(probabilities, pd.Series):
        _check_probabilities(probabilities, probabilities)
        return _probability_bars(probabilities, truth, _axes(ax, 0.7 + 0.28 * len(probabilities)))
    if not isinstance(probabilities, Mapping) or not probabilities:
        raise SerlibError(
            "there are no probabilities to draw; give at least one voter's as a Series, or a dict of them."
        )
    n, first = len(probabilities), next(iter(probabilities.values()))
    for series in probabilities.values():
        _check_probabilities(series, first)
    across = min(3, n)
    down = -(-n // across)
    rows = len(first)
    _, axes = _figure(down, across, down * (0.7 + 0.2 * rows), sharex=True, sharey=True, squeeze=False)
    for ax, (name, series) in zip(axes.flat, probabilities.items(), strict=False):
        _probability_bars(series, truth, ax)
        ax.set_title(_as_text(name), fontsize=9, color=INK, loc="left")
        ax.label_outer()
    for ax in axes.flat[n:]:
        ax.set_visible(False)
        axes.flat[axes.size - 1 - across].xaxis.set_tick_params(labelbottom=True)
    return axes.ravel()[:n]


def _check_probabilities(series: Any, first: Any) -> None:
    """Raise SerlibError unless these are probabilities, and of the same labels as the first: panels share an axis."""
    if not isinstance(series, pd.Series) or series.empty or not is_numeric_dtype(series):
        raise SerlibError(
            f"a {type(series).__name__} has no probabilities; give a Series with a number for each label."
        )
    if not series.between(-1e-6, 1 + 1e-6).all():  # what rounding leaves is none the less a share
        raise SerlibError(f"{series[~series.between(0, 1)].iloc[0]} is no probability; give numbers between 0 and 1.")
    if list(series.index) != list(first.index):
        raise SerlibError("the probabilities are not of the same labels in the same order; draw them one by one.")


def _probability_bars(series: pd.Series, truth: str | None, ax: Axes) -> Axes:
    labels, truth = list(map(str, series.index)), None if truth is None else str(truth)
    values = series.to_numpy(float)
    palette, winner = colors(labels), int(np.argmax(values))
    bars = ax.barh(range(len(labels)), values, color=[palette[label] for label in labels], height=0.75)
    for i, (bar, value) in enumerate(zip(bars, values, strict=True)):
        bar.set_alpha(1 if i == winner else 0.55)
        if value >= 0.005 or i == winner:
            ax.text(
                value + 0.01,
                i,
                f"{value:.0%}",
                va="center",
                fontsize=9,
                color=INK,
                fontweight="bold" if i == winner else "normal",
            )
    ax.set_xlim(0, 1.16)
    ax.set_xticks([0, 0.5, 1])
    ax.xaxis.set_major_formatter(PercentFormatter(1))
    ax.set_yticks(range(len(labels)), [_as_text(label) + " (truth)" * (label == truth) for label in labels])
    if not ax.yaxis_inverted():
        ax.invert_yaxis()
    _finish(ax, "", "probability", "")
    if truth in labels:
        place = labels.index(truth)
        ax.axhspan(place - 0.5, place + 0.5, color="#e8eaed", zorder=0)
    return ax


# ---------------------------------------------------------------- votes and comparisons


def plot_votes(voters: Sequence[Any], vote: Any, part: str = "test", ax: Axes | None = None) -> Axes:
    """Draw the recall of each class: a mark of its own for every single model, a bar for the vote (18).

    Within a class the models stand side by side in the order of the legend, so that each can be followed; no line joins
    the classes, which have no order.

    Parameters
    ----------
    voters
        Those that voted.
    vote
        What came of it.
    part
        "test" or "validation".
    ax
        The Axes to draw into; None makes a figure.

    Returns
    -------
    Axes
        What was drawn into.

    Raises
    ------
    SerlibError
        For what are no voters, or have no clips in that part.

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> names = ["hubert-base-mini", "hubert-xlarge-mini", "wav2vec2-large-mini"]
    >>> runs = [ser.load_run(f"results/laptop/stratified/{name}") for name in names]
    >>> ax = ser.plot_votes(runs, ser.majority_vote(runs))
    >>> [text.get_text() for text in ax.get_legend().get_texts()][0]
    'vote of 3'
    >>> plt.close(ax.figure)
    """
    voters = predictions.listed(voters)
    labels = list(metrics.confusion(vote, part=part).index)
    recalls = [_recalls(voter, part, labels) for voter in voters]
    ax = _axes(ax, 3.4)
    places = np.arange(len(labels))
    sides = np.linspace(-0.28, 0.28, len(voters)) if len(voters) > 1 else [0]
    keys = []
    for voter, recall, side, marker, color in zip(
        voters, recalls, sides, _cycled(MARKERS, len(voters)), _cycled(OTHER_COLORS, len(voters)), strict=True
    ):
        name = _as_text(predictions.name_of(voter))
        keys += ax.plot(places + side, recall, linestyle="none", marker=marker, markersize=6, color=color, label=name)
    recall = _recalls(vote, part, labels)
    hues = [colors(labels)[x] for x in labels]
    ax.hlines(recall, places - 0.4, places + 0.4, colors=hues, linewidths=4, alpha=0.75, zorder=1)
    key = Line2D([], [], color=INK, linewidth=4, label=_as_text(predictions.name_of(vote)))
    ax.set_xticks(places, map(_as_text, labels))
    ax.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    _grid(ax, "y")
    _legend(ax, [key, *keys])
    bottom = ax.get_ylim()[0]
    return _finish(ax, "", "", "recall", ylim=(max(-0.02, bottom), 1.02))


def plot_subsets(table: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Draw the test accuracy of every vote by its number of voters; single models faint (18).

    The ring is the vote that the validation part would have chosen; picking the highest dot instead is picking on the
    test part.

    Parameters
    ----------
    table
        What ``every_vote`` returns (columns size, validation_accuracy, test_accuracy).
    ax
        The Axes to draw into; None makes a figure.

    Returns
    -------
    Axes
        What was drawn into.

    Raises
    ------
    SerlibError
        For a table without these columns.

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> names = ["hubert-base-mini", "hubert-xlarge-mini", "wav2vec2-large-mini"]
    >>> runs = [ser.load_run(f"results/laptop/stratified/{name}") for name in names]
    >>> ax = ser.plot_subsets(ser.every_vote(runs, sizes=(1, 3)))
    >>> [label.get_text().splitlines() for label in ax.get_xticklabels()]
    [['3 single', 'models', '64.4%'], ['1 vote', 'of 3', '66.7%']]
    >>> plt.close(ax.figure)
    """
    columns = ["size", "validation_accuracy", "test_accuracy"]
    table = table_of(table, [], "what ser.every_vote returns", numeric=columns)
    ax = _axes(ax, 3.4)
    sizes = sorted(table["size"].unique())
    judged = table["validation_accuracy"].dropna()
    chosen = judged.idxmax() if len(judged) else None
    for place, size in enumerate(sizes):
        rows = table[table["size"] == size]
        spread = _beeswarm(rows["test_accuracy"].to_numpy(float))
        ax.scatter(
            place + spread,
            rows["test_accuracy"],
            s=46,
            color=GRAY if size == 1 else ACCENT,
            alpha=0.45 if size == 1 else 0.85,
            edgecolors="white",
            linewidths=0.6,
            zorder=2,
        )
        mean = rows["test_accuracy"].mean()
        ax.plot([place - 0.3, place + 0.3], [mean, mean], color=INK, linewidth=1.6, zorder=1)
        if chosen in rows.index:
            at = place + spread[rows.index.get_loc(chosen)]
            ax.scatter(
                [at],
                [table.loc[chosen, "test_accuracy"]],
                s=150,
                facecolors="none",
                edgecolors=INK,
                linewidths=1.6,
                zorder=3,
                label="chosen on validation",
            )
    names = []
    for size, group in table.groupby("size")["test_accuracy"]:
        n = len(group)
        what = f"single\n{_plural(n, 'model')}" if size == 1 else f"{_plural(n, 'vote')}\nof {size}"
        names.append(f"{n} {what}\n{group.mean():.1%}")
    ax.set_xticks(range(len(sizes)), names)
    ax.yaxis.set_major_formatter(PercentFormatter(1))
    _grid(ax, "y")
    mean_key = Line2D([], [], color=INK, linewidth=1.6, label="mean")
    _legend(ax, [mean_key, *ax.get_legend_handles_labels()[0]])
    return _finish(ax, "", "voters, and their mean test accuracy", "test accuracy", xlim=(-0.6, len(sizes) - 0.4))


def plot_per_actor(voter: Any, part: str = "test", ax: Axes | None = None) -> Axes:
    """Draw a voter's accuracy on each actor, lowest first, women and men marked apart, and the mean (11).

    The sex is read from clip names of the RAVDESS kind (odd actors are men); others get one neutral mark.

    Parameters
    ----------
    voter
        A run, a vote, or a predictions frame.
    part
        "test" or "validation".
    ax
        The Axes to draw into; None makes a figure.

    Returns
    -------
    Axes
        What was drawn into.

    Raises
    ------
    SerlibError
        For what is no voter, and for one that does not say who spoke.

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> run = ser.load_run("results/laptop/stratified/hubert-base-mini")
    >>> ax = ser.plot_per_actor(run)
    >>> len(ax.get_xticks()), [text.get_text() for text in ax.texts]
    (24, ['mean 67.7%'])
    >>> plt.close(ax.figure)
    """
    frame = predictions.rows_of(voter, part)
    if frame["actor"].astype(str).eq("").all():
        raise SerlibError(f"{predictions.name_of(voter)} does not say which actor spoke; there is nothing to draw.")
    accuracies, clips = metrics.breakdown(voter, "actor", part)["accuracy"], frame.groupby("actor")["clip"].first()
    rows = [(actor, accuracy, _sex_of(clips[actor], actor)) for actor, accuracy in accuracies.items()]
    rows.sort(key=lambda row: (row[1], row[0]))
    ax = _axes(ax, 2.9)
    looks = {
        "female": dict(marker="o", facecolors=ACCENT),
        "male": dict(marker="s", facecolors="white"),
        "": dict(marker="D", facecolors=GRAY),
    }
    for sex, look in looks.items():
        of = [(place, accuracy) for place, (_, accuracy, s) in enumerate(rows) if s == sex]
        if of:
            ax.scatter(
                *zip(*of, strict=True),
                s=50,
                edgecolors=ACCENT,
                linewidths=1.6,
                zorder=3,
                label=sex or "actor",
                **look,
            )
    values = [row[1] for row in rows]
    mean = float(np.mean(values))
    ax.vlines(range(len(rows)), mean, values, color=FAINT, linewidth=1, zorder=1)
    ax.axhline(mean, color=INK, linewidth=1.4, zorder=2)
    ax.annotate(
        f"mean {mean:.1%}",
        (1, mean),
        (4, 0),
        xycoords=("axes fraction", "data"),
        textcoords="offset points",
        va="center",
        fontsize=9,
        color=INK,
        annotation_clip=False,
    )
    ax.set_xticks(range(len(rows)), [_as_text(row[0]) for row in rows])
    ax.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    _grid(ax, "y")
    _legend(ax, ax.get_legend_handles_labels()[0])
    if len(rows) > 30:
        ax.tick_params(axis="x", labelrotation=90)
    return _finish(ax, f"{_title(voter)}, {part} part", "actor", "accuracy")


def plot_listeners(
    voter: Any, listeners: pd.DataFrame, unsure: float, sure: float, part: str = "test", ax: Axes | None = None
) -> Axes:
    """Draw how sure a voter was of the true emotion of each clip, by the share of people who heard it (11).

    Two corners are dark, and counted: clips of which people were sure and that the voter missed, and clips of which
    people were unsure and that it got. Dots are moved aside by at most a hundredth of the axis, to tell them apart.

    Parameters
    ----------
    voter
        A run, a vote, or a predictions frame.
    listeners
        What ``ser.listeners`` returns for a file or a corpus.
    unsure
        People are called unsure of a clip up to this share of right ones, 0 to 1.
    sure
        And sure from this share on.
    part
        "test" or "validation".
    ax
        The Axes to draw into; None makes a figure.

    Returns
    -------
    Axes
        What was drawn into.

    Raises
    ------
    SerlibError
        For listeners of other clips, and for shares that are none or cross each other.

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> lesson = ser.start("laptop")
    CPU, 2 cores - profile laptop - ...
    >>> ax = ser.plot_listeners(lesson.committed("listeners/emodb"), lesson.listeners("emodb"), unsure=0.85, sure=0.95)
    >>> [text.get_text() for text in ax.texts]
    ['model right, people unsure: 75', 'people sure, model wrong: 24']
    >>> plt.close(ax.figure)
    """
    if not (is_number(unsure) and is_number(sure) and 0 <= unsure < sure <= 1):
        raise SerlibError(
            f"people unsure up to {in_short(unsure)} and sure from {in_short(sure)} is no pair of shares; give two "
            "between 0 and 1, the smaller first."
        )
    table = metrics.beside_listeners(voter, listeners, part)
    ax = _axes(ax, 3.4)
    share, right = table["share"].to_numpy(), table["right"].to_numpy()
    corners = {True: share <= unsure, False: share >= sure}
    span = max(share.max() - share.min(), 0.1)
    aside = np.random.default_rng(101).uniform(-0.01, 0.01, len(table)) * span
    for is_right, mark in ((True, "o"), (False, "X")):
        for dark in (False, True):
            here = (right == is_right) & (corners[is_right] == dark)
            ax.scatter(
                (share + aside)[here],
                table["probability"][here],
                s=30 if mark == "X" else 18,
                marker=mark,
                color=ACCENT if dark else GRAY,
                alpha=0.85 if dark else 0.35,
                linewidths=0,
                zorder=3 if dark else 2,
            )
    low, high = share.min() - 0.04 * span, share.max() + 0.04 * span
    for left, to in ((low, unsure + 0.015 * span), (sure - 0.015 * span, high)):
        ax.axvspan(left, to, color=FAINT, alpha=0.3, linewidth=0, zorder=0)
    look = dict(transform=ax.transAxes, fontsize=9, color=INK)
    n = {is_right: int((corners[is_right] & (right == is_right)).sum()) for is_right in corners}
    ax.text(0.01, 0.985, f"model right, people unsure: {n[True]}", ha="left", va="top", **look)
    ax.text(0.99, 0.015, f"people sure, model wrong: {n[False]}", ha="right", va="bottom", **look)
    keys = [
        Line2D([], [], marker=mark, linestyle="", color=GRAY, markersize=6, label=f"model {name}")
        for mark, name in (("o", "right"), ("X", "wrong"))
    ]
    _legend(ax, keys)
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_formatter(PercentFormatter(1, decimals=0))
    ax.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
    ax.set_yticks(np.linspace(0, 1, 6))
    title = f"{_title(voter)}, {part} part"
    limits = {"xlim": (low, high), "ylim": (-0.12, 1.12)}
    return _finish(ax, title, "listeners who chose the true emotion", "probability that the model gave it", **limits)


def plot_against_paper(ours: Mapping[str, Any], paper: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Draw our test accuracies beside the paper's, each with its Wilson 95 % interval (10).

    The paper printed most accuracies in whole percents; where it gives no count, the nearest one is taken.

    Parameters
    ----------
    ours
        From rows of ``paper`` (its index: keys of backbones, names of votes) to runs and votes.
    paper
        ``ser.paper.models()``, ``ser.paper.votes()`` or both concatenated.
    ax
        The Axes to draw into; None makes a figure.

    Returns
    -------
    Axes
        What was drawn into.

    Raises
    ------
    SerlibError
        For a row that the paper has not, and unless every voter is known to have heard real RAVDESS clips: numbers
        from synthetic speech never stand beside the paper's.

    Examples
    --------
    A twin of HuBERT base, trained on RAVDESS on a laptop, is no HuBERT base:

    >>> import matplotlib.pyplot as plt
    >>> run = ser.load_run("results/laptop/stratified/hubert-base-mini")
    >>> ax = ser.plot_against_paper({"hubert-base": run}, ser.paper.models())
    >>> [text.get_text() for text in ax.texts]
    ['92%', '67.7%']
    >>> plt.close(ax.figure)
    """
    if not isinstance(ours, Mapping):
        raise SerlibError(f"a {type(ours).__name__} does not say which row of the paper is whose; give a dict of runs.")
    paper = table_of(paper, [], "ser.paper.models() or ser.paper.votes()", numeric=["accuracy"])
    if not ours:
        raise SerlibError("there is nothing of ours to compare; give at least one run.")
    for key in ours:
        if key not in paper.index:
            raise SerlibError(f"the paper has no row {key!r:.60}; {nearest(str(key), map(str, paper.index))}")
    _demand_ravdess(list(ours.values()))
    ax = _axes(ax, 1.0 + 0.52 * len(ours))
    labels = []
    sizes = set()
    for row, (key, voter) in enumerate(ours.items()):
        theirs = paper.loc[key]
        correct = theirs.get("correct", np.nan)
        correct = round(N_TEST * theirs["accuracy"]) if pd.isna(correct) else int(correct)
        clips = predictions.rows_of(voter)
        right = int(metrics.hits(clips).sum())
        sizes.add(len(clips))
        for shift, accuracy, (low, high), look in [
            (-0.17, float(theirs["accuracy"]), metrics.wilson_interval(correct, N_TEST), _PAPERS),
            (0.17, right / len(clips), metrics.wilson_interval(right, len(clips)), _OURS),
        ]:
            y = row + shift
            # The paper's as it is printed: most of its accuracies have no decimal.
            text = f"{accuracy * 100:.4g}%" if look is _PAPERS else f"{accuracy:.1%}"
            ax.plot([low, high], [y, y], color=look["markeredgecolor"], linewidth=1.6, zorder=2)
            ax.plot(accuracy, y, linestyle="none", zorder=3, **look)
            ax.annotate(
                text,
                (high, y),
                (4, 0),
                textcoords="offset points",
                va="center",
                fontsize=8.5,
                color=INK,
            )
        title = theirs.get("title", np.nan)
        title, name = str(key if pd.isna(title) else title), predictions.name_of(voter)
        labels.append(title if name == title else f"{title}\n(ours: {name})")
    ax.set_yticks(range(len(ours)), map(_as_text, labels))
    ax.invert_yaxis()
    ax.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    _grid(ax, "x")
    ax.margins(x=0.12)
    count = str(sizes.pop()) if len(sizes) == 1 else f"{min(sizes)} to {max(sizes)}"
    keys = [
        Line2D([], [], color=_PAPERS["markeredgecolor"], label=f"paper ({N_TEST} clips)", **_PAPERS),
        Line2D([], [], color=ACCENT, label=f"ours ({count} clips)", **_OURS),
    ]
    with plt.style.context(STYLE):
        ax.legend(handles=keys, loc="lower right", bbox_to_anchor=(1, 1.0), ncols=2, borderaxespad=0.2)
    return _finish(ax, "", "test accuracy, 95 % interval", "")


_PAPERS = dict(marker="D", markersize=6, markerfacecolor="white", markeredgecolor=GRAY, markeredgewidth=1.6)
_OURS = dict(marker="o", markersize=7, markerfacecolor=ACCENT, markeredgecolor=ACCENT)


def _demand_ravdess(voters: list[Any]) -> None:
    """Raise SerlibError unless each voter heard RAVDESS: says so, or is a run on its clips, or a vote of such runs."""
    runs = {predictions.name_of(voter) for voter in voters if _record_of(voter) is not None}
    for voter in voters:
        name, corpus = predictions.name_of(voter), predictions.corpus_of(voter)
        info = _record_of(voter)
        if info is not None:
            synthetic = info.get("synthetic", True)
        elif corpus not in ("ravdess", predictions.UNNAMED):
            raise SerlibError(f"{name} heard {corpus}, and the paper's numbers are of RAVDESS; use a voter on that.")
        else:
            strangers = [member for member in getattr(voter, "members", [name]) if member not in runs]
            if strangers and corpus == predictions.UNNAMED:
                raise SerlibError(f"nothing says what {name} heard; give its runs too ({', '.join(strangers)}).")
            synthetic = False
        if synthetic:
            raise SerlibError(
                f"{name} heard synthetic speech, whose numbers never stand beside the paper's; use RAVDESS."
            )
        for clip in predictions.rows_of(voter)["clip"]:
            if not _is_ravdess(clip):
                raise SerlibError(f"{name} was tested on {clip}, which is no clip of RAVDESS; the paper's are.")


def plot_agreement(voters: Sequence[Any], part: str = "test", ax: Axes | None = None) -> Axes:
    """Draw the share of clips on which each two voters differ: what a vote can gain from (18).

    Parameters
    ----------
    voters
        Two at least, on the same clips.
    part
        "test" or "validation".
    ax
        The Axes to draw into; None makes a figure.

    Returns
    -------
    Axes
        What was drawn into.

    Raises
    ------
    SerlibError
        For a single voter, for what are no voters, and for voters on other clips.

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> names = ["hubert-base-mini", "hubert-xlarge-mini", "wav2vec2-large-mini"]
    >>> runs = [ser.load_run(f"results/laptop/stratified/{name}") for name in names]
    >>> ax = ser.plot_agreement(runs)
    >>> [text.get_text() for text in ax.texts]
    ['35', '31', '38']
    >>> plt.close(ax.figure)
    """
    voters = predictions.listed(voters)
    names = [_as_text(predictions.name_of(voter)) for voter in voters]
    if len(names) < 2:
        raise SerlibError("to compare voters there must be two at least; give a longer list.")
    differ = (100 * voting.disagreement(voters, part)).set_axis(names).set_axis(names, axis=1)
    ax = _axes(ax, 1.6 + 0.42 * len(names))
    hidden = np.triu(np.ones_like(differ, dtype=bool))  # symmetric, and nobody differs from itself
    sns.heatmap(
        differ.iloc[1:, :-1],
        mask=hidden[1:, :-1],
        annot=True,
        fmt=".0f",
        cmap="Purples",
        vmin=0,
        linewidths=1,
        linecolor="white",
        annot_kws={"fontsize": 10},
        cbar_kws={"label": "different labels (%)", "pad": 0.02},
        ax=ax,
    )
    bar = ax.collections[0].colorbar
    bar.ax.tick_params(labelsize=9)
    _finish(ax, "", "", "")
    ax.tick_params(length=0)
    ax.set_yticklabels(names[1:], rotation=0)
    ax.set_xticklabels(names[:-1], rotation=30, ha="right", rotation_mode="anchor")
    return ax


def plot_intervals(
    table: pd.DataFrame, column: str, label: str, zero: bool = False, percent: bool = True, ax: Axes | None = None
) -> Axes:
    """Draw each row of a table as a dot with its 95 % interval, first row on top (10, 11).

    Parameters
    ----------
    table
        Has the columns ``column``, low and high; its index names the rows.
    column
        The column with the values.
    label
        What stands below the axis of values.
    zero
        Whether a line marks no difference, and rows whose interval holds it are drawn hollow.
    percent
        Whether values are shares, 0 to 1.
    ax
        The Axes to draw into; None makes a figure.

    Returns
    -------
    Axes
        What was drawn into.

    Raises
    ------
    SerlibError
        For a table without these columns, and for options that are neither True nor False.

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> run = ser.load_run("results/laptop/stratified/hubert-base-mini")
    >>> ax = ser.plot_intervals(ser.intervals(run), "value", "test part")
    >>> [text.get_text() for text in ax.texts]
    ['67.7%', '66.8%', '66.7%']
    >>> plt.close(ax.figure)
    """
    names_of([column], "columns")
    for option, value in (("zero", zero), ("percent", percent)):
        if not isinstance(value, bool):
            raise SerlibError(f"{option} is {in_short(value)}; give True or False.")
    table = table_of(table, [], "a row for each interval", numeric=[column, "low", "high"])
    ax = _axes(ax, 0.8 + 0.34 * len(table))
    values = table[[column, "low", "high"]].to_numpy(float)
    for row, (value, low, high) in enumerate(values):
        hollow = zero and not (low > 0 or high < 0)
        ax.plot([low, high], [row, row], color=ACCENT, linewidth=1.6, zorder=2)
        ax.plot(value, row, **{**_OURS, "markerfacecolor": "white" if hollow else ACCENT}, zorder=3)
        text = f"{value:{'+' if zero else ''}.1{'%' if percent else 'f'}}"
        end = np.nanmax([value, high])
        ax.annotate(text, (end, row), (5, 0), textcoords="offset points", va="center", fontsize=8.5, color=INK)
    if zero:
        ax.axvline(0, color=INK, linewidth=1, linestyle=":", zorder=1)
    ax.set_yticks(range(len(table)), map(_as_text, table.index))
    ax.invert_yaxis()
    if percent:
        ax.xaxis.set_major_formatter(PercentFormatter(1))
    _grid(ax, "x")
    ax.margins(x=0.12)
    return _finish(ax, "", label, "")


def plot_reliability(tables: Mapping[str, pd.DataFrame]) -> np.ndarray:
    """Draw reliability diagrams side by side, one a name: how often right, by how sure (09).

    A dot on the diagonal is a voter who knows how good it is; below it is too sure of itself. The larger the dot, the
    more clips; the bar is Wilson's 95 % interval.

    Parameters
    ----------
    tables
        Name -> what ``reliability`` returns.

    Returns
    -------
    ndarray
        An Axes for each table.

    Raises
    ------
    SerlibError
        For no tables, and for tables of something else.

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> run = ser.load_run("results/laptop/stratified/hubert-base-mini")
    >>> axes = ser.plot_reliability({"as trained": ser.reliability(run)})
    >>> axes[0].get_title("left"), axes[0].get_ylabel()
    ('as trained', 'how often right')
    >>> plt.close(axes[0].figure)
    """
    if not isinstance(tables, Mapping) or not tables:
        raise SerlibError("there is no table of reliability to draw; give at least one, in a dict with its name.")
    for table in tables.values():
        table_of(table, [], "what ser.reliability returns", numeric=["clips", "confidence", "accuracy"])
    height = 0.5 + PAGE / max(2, len(tables)) * 0.9
    _, axes = _figure(1, len(tables), height, sharey=True, squeeze=False)
    for ax, (name, table) in zip(axes[0], tables.items(), strict=True):
        ax.plot([0, 1], [0, 1], color=GRAY, linestyle=(0, (4, 3)), linewidth=1.2, zorder=1)
        for row in table.itertuples():
            low, high = metrics.wilson_interval(round(row.accuracy * row.clips), int(row.clips))
            ax.plot([row.confidence] * 2, [low, high], color=ACCENT, linewidth=1.2, alpha=0.6, zorder=2)
        ax.scatter(
            table["confidence"],
            table["accuracy"],
            s=20 + 180 * table["clips"] / table["clips"].sum(),
            color=ACCENT,
            edgecolors="white",
            zorder=3,
            clip_on=False,  # a bin that is never right lies on the axis
        )
        ax.set_aspect("equal")
        _finish(ax, name, "how sure", "how often right" if ax is axes[0, 0] else "", xlim=(0, 1.02), ylim=(0, 1.02))
        for axis in (ax.xaxis, ax.yaxis):
            axis.set_major_formatter(PercentFormatter(1, decimals=0))
    return axes[0]


def plot_jury(curves: pd.DataFrame, goal: float | None = None, ax: Axes | None = None) -> Axes:
    """Draw the accuracy of juries against the correlation of their jurors, a line a column (09).

    Parameters
    ----------
    curves
        Accuracies, 0 to 1, a column a jury; the index is the correlation, 0 to 1.
    goal
        An accuracy to be marked across.
    ax
        The Axes to draw into; None makes a figure.

    Returns
    -------
    Axes
        What was drawn into.

    Raises
    ------
    SerlibError
        For a table that is not of numbers, and a goal that is no accuracy.

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> import numpy as np, pandas as pd
    >>> correlation = np.linspace(0, 1, 11)
    >>> curves = pd.DataFrame({"five jurors": ser.jury_accuracy(5, 0.7, correlation)}, index=correlation)
    >>> ax = ser.plot_jury(curves, goal=0.8)
    >>> [text.get_text() for text in ax.texts]
    ['80.0%']
    >>> plt.close(ax.figure)
    """
    curves = table_of(curves, [], "a column for each jury", numeric=list(getattr(curves, "columns", ())))
    if goal is not None and not (is_number(goal) and 0 <= goal <= 1):
        raise SerlibError(f"the goal is {in_short(goal)}; give an accuracy between 0 and 1.")
    if not is_numeric_dtype(curves.index):
        raise SerlibError("the rows of these curves are not numbered; their index is the correlation of two jurors.")
    ax = _axes(ax, 3.2)
    styles = ["-", (0, (5, 2)), (0, (1, 1.5)), (0, (5, 1, 1, 1))]
    keys = []
    for i, (name, line) in enumerate(curves.items()):
        look = dict(linestyle=styles[i % 4], color=[ACCENT, GRAY][i // 4 % 2], linewidth=2)
        keys += ax.plot(curves.index, line, label=_as_text(name), **look)
    if goal is not None:
        ax.axhline(goal, color=INK, linewidth=1, linestyle=":")
        ax.annotate(f"{goal:.1%}", (1, goal), (0, 3), textcoords="offset points", ha="right", fontsize=9, color=INK)
    ax.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    _grid(ax, "both")
    _legend(ax, keys)
    return _finish(ax, "", "correlation of two jurors' being right", "accuracy of the jury", xlim=(0, 1))


def plot_distortions(table: pd.DataFrame) -> np.ndarray:
    """Draw accuracy under distortion, a panel a family and a line a voter, each from the clean clips on (14).

    Parameters
    ----------
    table
        Has the columns voter, family, setting, accuracy, low and high, shares from 0 to 1, in the order in which they
        are drawn. The family "clean" has one row a voter, with which every line begins. low and high may be missing
        numbers, where there is no bar.

    Returns
    -------
    ndarray
        The Axes, a panel each.

    Raises
    ------
    SerlibError
        For a table without these columns, and without clean clips.

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> import pandas as pd
    >>> rows = [("SVM", "clean", "clean", 0.9, 0.8, 1.0), ("SVM", "noise", "20 dB", 0.5, 0.4, 0.6)]
    >>> columns = ["voter", "family", "setting", "accuracy", "low", "high"]
    >>> axes = ser.plot_distortions(pd.DataFrame(rows, columns=columns))
    >>> axes[0].get_title(loc="left"), [label.get_text() for label in axes[0].get_xticklabels()]
    ('noise', ['clean', '20 dB'])
    >>> plt.close(axes[0].figure)
    """
    names, numbers = ["voter", "family", "setting"], ["accuracy", "low", "high"]
    table = table_of(table, names, "a row for each voter and distortion", numeric=numbers)
    clean, families = table[table["family"] == "clean"], [name for name in table["family"].unique() if name != "clean"]
    if clean.empty or not families:
        raise SerlibError("the table has no clean clips, or nothing else; give rows of the family clean and of others.")
    voters = list(table["voter"].unique())
    columns = min(3, len(families))
    lines = -(-len(families) // columns)
    figure, axes = _figure(lines, columns, 0.6 + 2.2 * lines, sharey=True, squeeze=False)
    looks = [GRAY, ACCENT, *OTHER_COLORS]
    for ax, family in zip(axes.flat, families, strict=False):
        own = table[table["family"] == family]
        settings = ["clean", *own["setting"].unique()]
        for k, voter in enumerate(voters):
            rows = pd.concat([clean[clean["voter"] == voter], own[own["voter"] == voter]]).set_index("setting")
            rows = rows.reindex(settings)
            place = np.arange(len(settings)) + 0.16 * (k - (len(voters) - 1) / 2)  # side by side
            bars = [(rows["accuracy"] - rows["low"]).clip(0), (rows["high"] - rows["accuracy"]).clip(0)]
            look = {"color": looks[k % len(looks)], "marker": MARKERS[k % len(MARKERS)], "markersize": 4.5}
            ax.errorbar(place, rows["accuracy"], bars, **look, linewidth=1.3, elinewidth=0.8)
        narrow = [
            "\n".join(fill(part, 9, break_long_words=False) for part in str(name).split(", ")) for name in settings
        ]
        ax.set_xticks(range(len(settings)), map(_as_text, narrow))
        _grid(ax, "y")
        ax.set_ylim(0, 1.03)
        ax.yaxis.set_major_formatter(PercentFormatter(1))
        _finish(ax, family, "", "accuracy" if ax in axes[:, 0] else "")
        ax.tick_params(axis="x", labelsize=8)
    for ax in axes.flat[len(families) :]:
        ax.set_visible(False)
    figure.legend(
        axes[0, 0].containers,
        map(_as_text, voters),
        loc="outside lower center",
        ncols=min(4, len(voters)),
        frameon=False,
    )
    return axes.ravel()[: len(families)]


def plot_through(table: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Draw the emotions that a model hears in a long recording over time, stacked to one (16).

    Parameters
    ----------
    table
        What ``ser.listen_through`` returned.
    ax
        The Axes to draw into; None makes a figure.

    Returns
    -------
    Axes
        What was drawn into: probabilities over time, white in silence; below them a strip that is gray where the model
        was not sure, and else has the color of the emotion that it named.

    Raises
    ------
    SerlibError
        For another table.

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> import pandas as pd
    >>> rows = [(0, 3, "sad", 0.2, 0.8), (1, 4, "not sure", 0.5, 0.5), (2, 5, "happy", 0.9, 0.1)]
    >>> table = pd.DataFrame(rows, columns=["start", "end", "heard", "p_happy", "p_sad"])
    >>> ax = ser.plot_through(table)
    >>> ax.get_xlabel(), [text.get_text() for text in ax.get_legend().get_texts()]
    ('time (s)', ['happy', 'sad', 'not sure'])
    >>> plt.close(ax.figure)
    """
    columns = [column for column in getattr(table, "columns", ()) if str(column).startswith("p_")]
    table = table_of(table, ["heard"], "a row for each piece of a recording", numeric=["start", "end", *columns])
    if not columns:
        raise SerlibError("the table has no probabilities; give what ser.listen_through returns.")
    labels = [column[2:] for column in columns]
    palette = colors(labels)
    ax = _axes(ax, 3.0)
    middles = ((table["start"] + table["end"]) / 2).to_numpy()
    shares, names = table[columns].to_numpy(float).T, list(map(_as_text, labels))
    ends = table["start"].iloc[0], table["end"].iloc[-1]
    # The first and the last piece are all there is to say of the two ends.
    times, shares = np.r_[ends[0], middles, ends[1]], np.c_[shares[:, :1], shares, shares[:, -1:]]
    areas = ax.stackplot(times, shares, colors=list(palette.values()), labels=names)
    edges = np.r_[ends[0], (middles[1:] + middles[:-1]) / 2, ends[1]]
    for heard, left, right in zip(table["heard"], edges[:-1], edges[1:], strict=True):
        if heard in palette or heard == "not sure":
            ax.axvspan(left, right, 0, 0.08, color=palette.get(heard, UNSURE), linewidth=0)
    ax.axhline(0, color="white", linewidth=2)
    keys = [*areas, plt.Rectangle((0, 0), 1, 1, color=UNSURE, label="not sure")]
    ax.yaxis.set_major_formatter(PercentFormatter(1))
    ax.set_yticks([0, 0.5, 1])
    _legend(ax, keys)
    return _finish(ax, "", "time (s)", "probability", xlim=ends, ylim=(-0.09, 1))


# ---------------------------------------------------------------- shared


def _axes(ax: Axes | None, height: float) -> Axes:
    """Return ``ax``, or the Axes of a new figure."""
    if ax is not None and not isinstance(ax, Axes):
        raise SerlibError(f"ax is a {type(ax).__name__}; give the Axes of one panel, like axes[0].")
    return ax if ax is not None else _figure(1, 1, height)[1]


def _figure(rows: int, columns: int, height: float, **options: Any) -> tuple[Figure, Any]:
    """Return a new figure of the book, page wide, and its panels."""
    # The first figure wakes a notebook's backend, which turns interactive mode on, and without it no figure is shown.
    # Within the context of a style it would be turned off again at its end, and every later figure be lost.
    plt.draw_if_interactive()
    with plt.style.context(STYLE):
        return plt.subplots(rows, columns, figsize=(PAGE, height), **options)


def _finish(ax: Axes, title: str, xlabel: str, ylabel: str, **limits: Any) -> Axes:
    """Give an Axes the type sizes and the plain frame of the book, also one that a notebook made.

    Ticks are told what the style sheet says because matplotlib makes them when it draws, outside its context.
    """
    ax.set(xlabel=_as_text(xlabel), ylabel=_as_text(ylabel), **limits)
    ax.xaxis.label.set_size(STYLE["axes.labelsize"])
    ax.yaxis.label.set_size(STYLE["axes.labelsize"])
    ax.tick_params(labelsize=STYLE["xtick.labelsize"], colors=INK)
    if title is not None and (text := _as_text(title)):
        with plt.style.context(STYLE):
            ax.set_title(text)
    ax.spines[["top", "right"]].set_visible(False)
    return ax


def _grid(ax: Axes, axis: Literal["x", "y", "both"]) -> None:
    ax.grid(axis=axis, color=FAINT, linewidth=STYLE["grid.linewidth"])


def _suptitle(figure: Figure, title: str) -> None:
    with plt.style.context(STYLE):
        figure.suptitle(_as_text(title), color=INK)


def _as_text(text: object) -> str:
    """Return a name so that matplotlib draws it as it is: what stands between two dollars is no formula."""
    return str(text).replace("$", r"\$")


def _title(voter: Any) -> str:
    """Return the name of a voter, and that its clips are synthetic where it knows that."""
    synthetic = (_record_of(voter) or {}).get("synthetic")
    return predictions.name_of(voter) + (" (synthetic speech)" if synthetic else "")


def _record_of(voter: Any) -> dict[str, Any] | None:
    """Return the record of a run; a vote has none, and the ``info`` of a bare frame is a method of pandas."""
    info = getattr(voter, "info", None)
    return info if isinstance(info, dict) else None


def _legend(ax: Axes, handles: Sequence[Any], title: str = "") -> None:
    """Put the legend outside at the right, where it can cover nothing.

    Named lines come as ``handles``, for matplotlib collects none whose name begins with an underscore.
    """
    with plt.style.context(STYLE):
        ax.legend(handles=handles, title=title or None, loc="upper left", bbox_to_anchor=(1.01, 1), borderaxespad=0)


def _recalls(voter: Any, part: str, labels: list[str]) -> np.ndarray:
    """Return the recall of each label; NaN, and so no dot, where this part has no clip of it."""
    return metrics.recalls(voter, part).reindex(labels).to_numpy()


def _beeswarm(values: np.ndarray, step: float = 0.075) -> np.ndarray:
    """Return sideways offsets that lay (nearly) equal values side by side, middle first."""
    offsets = np.zeros(len(values))
    if len(values) > 1 and np.ptp(values) > 0:
        bins = np.round((values - values.min()) / np.ptp(values) * 20)
    else:
        bins = np.zeros(len(values))
    for level in np.unique(bins):
        here = np.flatnonzero(bins == level)
        here = here[np.argsort(values[here], kind="stable")]
        offsets[here] = (np.arange(len(here)) - (len(here) - 1) / 2) * min(step, 0.6 / len(here))
    return offsets


def _cycled(marks: Sequence[str], n: int) -> list[str]:
    return [marks[i % len(marks)] for i in range(n)]


def _plural(n: int, noun: str) -> str:
    return noun if n == 1 else noun + "s"


def _sex_of(clip: str, actor: str) -> str:
    """Return the sex of an actor whose clip is named by the rule of RAVDESS, else ""."""
    if not _is_ravdess(clip):
        return ""
    says = parse_name(str(clip))
    return str(says["sex"]) if says["actor"] == str(actor) else ""


def _is_ravdess(clip: str) -> bool:
    try:
        return bool(parse_name(str(clip)))
    except SerlibError:
        return False
