"""Tables of sound: each clip as a small player with its labels, inside the page, no file beside it.

The sound is a 16 kHz MP3 of about 5 KB a second (at most 7), written into the HTML itself, so that it plays
in Colab, in Jupyter and in the static book, with no request to anywhere. Text and waveforms take the color of
the page, light or dark. Labels, names and captions are text there, whatever stands in them: no tag, no script, no
formula.
"""

import base64
import io
import itertools
import json
import re
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from html import escape
from numbers import Integral
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import pandas as pd
import parselmouth
import soundfile
import soxr
from IPython.display import HTML, display

from serlib.data import audio
from serlib.data.listeners import listeners
from serlib.data.ravdess import STATEMENTS, parse_name
from serlib.errors import SerlibError, demand, in_short, nearest
from serlib.files import given_path
from serlib.judge.metrics import confusion
from serlib.judge.predictions import heard, name_of
from serlib.show.given import names_of, samples_of, table_of
from serlib.show.plots import EMOTION_COLORS

# What libsndfile writes, best first: MP3 came with 1.1 (2022) and plays everywhere, Opus not in older Safari.
_FORMATS = (
    ("MP3", "MPEG_LAYER_III", "audio/mpeg"),
    ("OGG", "OPUS", "audio/ogg"),
    ("WAV", "PCM_16", "audio/wav"),
)
_HEADINGS = {"emotion": "emotion", "predicted": "heard", "confidence": "confidence"}
_WAVEFORM_BARS = 60
_ROWS = "rows of a corpus"
# Jupyter and Colab typeset what stands between two dollars, unless an element is of these classes.
_NO_FORMULAS = "tex2jax_ignore mathjax_ignore"
_EXPLORABLES = Path(__file__).parent / "explorables"
# What the makers of a corpus ask of every page that holds its clips.
_LICENSES = {
    "ravdess": "Recordings: RAVDESS, S. R. Livingstone and F. A. Russo, "
    '<a href="https://doi.org/10.5281/zenodo.1188976">doi.org/10.5281/zenodo.1188976</a>, '
    '<a href="https://creativecommons.org/licenses/by-nc-sa/4.0/">CC BY-NC-SA 4.0</a>: for non-commercial use, '
    "shortened and compressed here.",
}
# Clips behind one cell of errors, and behind a whole matrix: about 10 KB of page each. Eight emotions have 64 cells.
_CLIPS_OF_A_CELL, _CLIPS_OF_A_MATRIX = 4, 72


def player(path_or_samples: Path | str | np.ndarray, caption: str, rate: int | None = None) -> HTML:
    """Return one sound with its waveform and a visible caption (00).

    Parameters
    ----------
    path_or_samples
        A file, or float samples in [-1, 1], shape (n,).
    caption
        What stands below it.
    rate
        Samples a second in Hz, of samples.

    Returns
    -------
    HTML
        What a notebook shows as a player, the sound inside.

    Raises
    ------
    SerlibError
        For a file that cannot be read, samples that are no clip, and samples without a rate.

    Examples
    --------
    >>> import numpy as np
    >>> tone = 0.5 * np.sin(2 * np.pi * 200 * np.arange(8000) / ser.RATE)
    >>> shown = ser.player(tone, "Half a second of 200 Hz", ser.RATE)
    >>> shown.data.count("<audio"), "200 Hz</figcaption>" in shown.data
    (1, True)
    """
    if isinstance(path_or_samples, (str, Path)):
        samples = audio.read(path_or_samples)
    elif rate is None:
        raise SerlibError("a player plays a file, or samples, which alone do not say how fast: give rate= in Hz.")
    else:
        samples = samples_of(path_or_samples, rate)
        if rate != audio.RATE:
            samples = soxr.resample(samples, rate, audio.RATE, quality="HQ")
    return HTML(
        f'<figure class="{_NO_FORMULAS}" style="margin:0.5em 0;max-width:22em">'
        f"{_audio_element(samples, caption)}"
        f'<figcaption style="text-align:left">{_as_text(caption)}</figcaption></figure>{_script()}'
    )


def listen(
    rows: pd.DataFrame,
    n: int | None = None,
    columns: Sequence[str] | None = None,
    caption: str = "Press play to listen",
) -> HTML:
    """Return a table with one player per clip (01-12).

    Parameters
    ----------
    rows
        Rows of a corpus, or of ``mistakes(...)``: then the truth stands beside what was heard and how sure the model
        was.
    n
        How many rows are kept, from the first; None keeps all.
    columns
        The label columns; None takes those that tell most, an empty list hides every label, for guessing by ear.
    caption
        What stands above the table.

    Returns
    -------
    HTML
        What a notebook shows as a table, the sounds inside.

    Raises
    ------
    SerlibError
        For what are no rows of a corpus, columns that they have not, and files that cannot be read.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np, pandas as pd, soundfile
    >>> folder = tempfile.TemporaryDirectory()
    >>> tone = 0.5 * np.sin(2 * np.pi * 200 * np.arange(8000) / ser.RATE)
    >>> soundfile.write(f"{folder.name}/tone.wav", tone, ser.RATE)
    >>> rows = pd.DataFrame({"path": [f"{folder.name}/tone.wav"] * 3, "emotion": ["calm", "calm", "sad"]})
    >>> shown = ser.listen(rows, n=2)
    >>> shown.data.count("<audio"), "sad" in shown.data
    (2, False)
    >>> folder.cleanup()
    """
    if n is not None and (isinstance(n, bool) or not isinstance(n, Integral) or n < 0):
        raise SerlibError(f"n is {in_short(n)}; give the number of clips to listen to, or leave it out for all.")
    if isinstance(rows, pd.DataFrame) and "path" in rows and rows.head(n).empty:
        return HTML("<p>No clips to listen to.</p>")
    columns = None if columns is None else names_of(columns, "columns")
    rows = table_of(rows, ["path", *(columns or [])], _ROWS).head(n)
    columns = _default_columns(rows) if columns is None else columns
    headings = [_heading(name, rows) for name in columns]
    sounds = [audio.read(path) for path in rows["path"]]
    loudest = max(_peak(samples) for samples in sounds)
    style = "text-align:left;padding:0.2em 0.6em"
    head = "".join(f'<th scope="col" style="{style}">{_as_text(name)}</th>' for name in ["clip", "sound", *headings])
    body = []
    for number, (samples, (clip, row)) in enumerate(zip(sounds, rows.iterrows(), strict=True), start=1):
        # Where every label is hidden, so is a name that may hold one, like angry_07.
        name = _clip_caption(str(clip), row, called=str(clip) if columns else f"clip {number}")
        values = [_cell_text(column, row[column]) for column in columns]
        spoken = ", ".join([name, *(f"{h} {v}" for h, v in zip(headings, values, strict=True))])
        color = EMOTION_COLORS.get(str(row["emotion"])) if "emotion" in columns else None
        cells = "".join(f'<td style="{style}">{_as_text(value)}</td>' for value in values)
        body.append(
            f'<tr><th scope="row" style="{style};font-weight:normal;min-width:6em">{_as_text(name)}</th>'
            f'<td style="min-width:12em">{_audio_element(samples, spoken, loudest, color)}</td>{cells}</tr>'
        )
    # The class is pandas': Jupyter, Colab and the book's theme style it for light and dark pages.
    return HTML(
        f'<div class="{_NO_FORMULAS}" style="overflow-x:auto">'
        '<table class="dataframe" style="width:100%;max-width:48em">'
        f'<caption style="caption-side:top;text-align:left;color:inherit">{_as_text(caption)}</caption>'
        f"<thead><tr>{head}</tr></thead><tbody>{''.join(body)}</tbody></table></div>{_license_note(rows)}{_script()}"
    )


def browse(
    rows: pd.DataFrame,
    columns: Sequence[str] = ("actor", "emotion", "intensity", "statement"),
    caption: str = "Choose a clip",
) -> HTML:
    """Return menus, one a column, that show and play the chosen clip: waveform, pitch, sound; no kernel needed (01).

    Parameters
    ----------
    rows
        Rows of a corpus, of which the first of each combination is taken, at about 10 KB of page a clip.
    columns
        What is chosen by.
    caption
        What stands above the menus.

    Returns
    -------
    HTML
        What a notebook shows as menus, the sounds inside.

    Raises
    ------
    SerlibError
        For what are no rows of a corpus, columns that they have not, and files that cannot be read.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np, pandas as pd, soundfile
    >>> folder = tempfile.TemporaryDirectory()
    >>> tone = 0.5 * np.sin(2 * np.pi * 200 * np.arange(8000) / ser.RATE)
    >>> soundfile.write(f"{folder.name}/tone.wav", tone, ser.RATE)
    >>> rows = pd.DataFrame({"path": [f"{folder.name}/tone.wav"] * 3, "emotion": ["calm", "calm", "sad"]})
    >>> shown = ser.browse(rows, columns=["emotion"])
    >>> shown.data.count('"sound":')
    2
    >>> folder.cleanup()
    """
    columns = names_of(columns, "columns")
    rows = table_of(rows, ["path", *columns], _ROWS)
    labels = rows[columns].astype(str)
    is_first = ~labels.duplicated().to_numpy()
    chosen, labels = rows[is_first], labels[is_first]
    trimmed = [audio.trim(audio.read(path)) for path in chosen["path"]]
    longest = max(map(len, trimmed)) / audio.RATE
    clips = []
    for samples, values, (clip, row) in zip(trimmed, labels.to_numpy().tolist(), chosen.iterrows(), strict=True):
        pitch = parselmouth.Sound(samples.astype(float), audio.RATE).to_pitch(0.02, 65, 600)
        voiced = [(t, f) for t, f in zip(pitch.xs(), pitch.selected_array["frequency"], strict=True) if f]
        clips.append(
            _clip_for_script(samples)
            | {
                "chosen": values,
                "name": "" if _sentence(str(clip), row) else f"{clip}, ",
                "longest": longest,
                "pitch": [(round(t, 2), round(f)) for t, f in voiced],
            }
        )
    values = [sorted(set(labels[name])) for name in columns]
    return _control_html(
        "browse", caption, {"columns": [str(name) for name in columns], "values": values, "clips": clips}, rows
    )


def listen_confusion(voter: Any, corpus: pd.DataFrame, part: str = "test") -> HTML:
    """Return the confusion matrix of a voter as buttons: a number opens the clips it counts; no kernel needed (10).

    The most confident clips of each cell are there, 4 where the voter erred and 1 where it was right, and never
    more than 72 in all, so that the page stays below 3 MB; a sentence says how many were left out.

    Parameters
    ----------
    voter
        A run, a vote, or a predictions frame.
    corpus
        What the voter heard.
    part
        "test" or "validation".

    Returns
    -------
    HTML
        What a notebook shows as a matrix, the sounds inside.

    Raises
    ------
    SerlibError
        For what is no voter, and a corpus that is not the voter's.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np, pandas as pd, soundfile
    >>> folder = tempfile.TemporaryDirectory()
    >>> tone = 0.5 * np.sin(2 * np.pi * 200 * np.arange(8000) / ser.RATE)
    >>> soundfile.write(f"{folder.name}/tone.wav", tone, ser.RATE)
    >>> paths = [f"{folder.name}/tone.wav"] * 2
    >>> corpus = pd.DataFrame({"path": paths, "emotion": ["calm", "sad"]}, index=["one", "two"])
    >>> voter = ser.predictions.make(corpus, [[0.9, 0.1], [0.8, 0.2]], ["calm", "sad"], "test")
    >>> shown = ser.listen_confusion(voter, corpus)
    >>> "spoken sad, heard as calm, 80% sure" in shown.data
    True
    >>> folder.cleanup()
    """
    corpus = table_of(corpus, ["path"], "the corpus that the voter heard")
    counts = confusion(voter, part)
    labels = list(counts)
    rows = heard(voter, corpus, part)
    place = rows.groupby(["emotion", "predicted"]).cumcount()
    wanted = place < np.where(rows["emotion"] == rows["predicted"], 1, _CLIPS_OF_A_CELL)
    # First the first clip of every cell, then the second: whatever the matrix, no cell stays without one.
    chosen = rows.loc[place[wanted].sort_values(kind="stable").index[:_CLIPS_OF_A_MATRIX]]
    clips: dict[str, list[dict[str, Any]]] = {}
    for clip, row in chosen.iterrows():
        verdict = f"spoken {row['emotion']}, heard as {row['predicted']}, {row['confidence']:.0%} sure"
        caption = f"{_clip_caption(str(clip), row)}: {verdict}"
        sound = _clip_for_script(audio.trim(audio.read(row["path"]))) | {"caption": caption}
        clips.setdefault(f"{labels.index(row['emotion'])},{labels.index(row['predicted'])}", []).append(sound)
    data = {"labels": labels, "counts": counts.to_numpy().tolist(), "clips": clips}
    return _control_html("confusion", f"{name_of(voter)}, {part} part: press a number to hear its clips", data, corpus)


def listening_test(rows: pd.DataFrame, caption: str = "Which emotion is it?") -> HTML:
    """Return a listening test: one clip after the other, a button for each emotion, the score; no kernel needed.

    Parameters
    ----------
    rows
        Rows of a corpus, in the order in which they are asked.
    caption
        What stands above it.

    Returns
    -------
    HTML
        What a notebook shows as a test, the sounds inside. Its end names what people reached on RAVDESS
        (``ser.listeners``).

    Raises
    ------
    SerlibError
        For what are no rows of a corpus, rows without an emotion, and files that cannot be read.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np, pandas as pd, soundfile
    >>> folder = tempfile.TemporaryDirectory()
    >>> tone = 0.5 * np.sin(2 * np.pi * 200 * np.arange(8000) / ser.RATE)
    >>> soundfile.write(f"{folder.name}/tone.wav", tone, ser.RATE)
    >>> rows = pd.DataFrame({"path": [f"{folder.name}/tone.wav"] * 2, "emotion": ["calm", "sad"]})
    >>> "58% at normal strength" in ser.listening_test(rows).data
    True
    >>> folder.cleanup()
    """
    rows = table_of(rows, ["path", "emotion"], _ROWS)
    sounds = [audio.trim(audio.read(path)) for path in rows["path"]]
    loudest = max(map(_peak, sounds))
    clips = [
        _clip_for_script(samples, loudest) | {"emotion": str(emotion), "color": EMOTION_COLORS.get(str(emotion))}
        for samples, emotion in zip(sounds, rows["emotion"], strict=True)
    ]
    normal, strong = listeners().loc[["normal intensity", "strong intensity"], "share"]
    people = (
        f"Of the real actors of RAVDESS, people who only heard them named {normal:.0%} at normal strength and "
        f"{strong:.0%} at strong (Livingstone and Russo 2018)."
    )
    labels = sorted({str(emotion) for emotion in rows["emotion"]})
    return _control_html("listening", caption, {"labels": labels, "clips": clips, "people": people}, rows)


def explorable(name: str) -> HTML:
    """Return a control of the book that needs no kernel (00).

    Parameters
    ----------
    name
        "voting", a ballot with its ties, or "jury".

    Returns
    -------
    HTML
        What a notebook shows as sliders and buttons.

    Raises
    ------
    SerlibError
        For any other name.

    Examples
    --------
    >>> "<script>" in ser.explorable("voting").data
    True
    """
    if not isinstance(name, str) or name not in ("voting", "jury"):
        raise SerlibError(
            f"there is nothing to explore called {in_short(name)}; {nearest(str(name), ('voting', 'jury'))}"
        )
    return HTML((_EXPLORABLES / f"{name}.html").read_text(encoding="utf-8"))


def microphone(answer: Callable[[Path], object], folder: Path | str) -> None:
    """Show a control that records three seconds, or fewer, or takes a sound file, and call ``answer`` with each (12).

    It is that of the book's page "Speak to the book", for Jupyter and Colab: the browser records, decodes and brings
    the sound to 16 kHz, so that any file will do that a browser plays, and Python gets it by way of ipywidgets. A page
    without Python behind it shows a sentence in its place.

    Parameters
    ----------
    answer
        What is called with the path of each sound. What it prints and shows appears below the control.
    folder
        Where the sounds are kept: take 1.wav, take 2.wav, mono, 16 kHz. They go nowhere else.

    Raises
    ------
    SerlibError
        For a folder that is not there, and for what cannot be called.

    Examples
    --------
    >>> ser.microphone(lambda path: print(path.name), "recordings")
    Traceback (most recent call last):
    ...
    serlib.errors.SerlibError: There is no folder recordings to keep sounds in; make it first.
    """
    import ipywidgets as widgets

    demand(answer, Callable, "answer", "give the name of a function of a path, without brackets")
    home = given_path(folder)
    if not home.is_dir():
        raise SerlibError(f"There is no folder {folder!s:.200} to keep sounds in; make it first.")
    name = f"ser-mail-{uuid4().hex}"
    # The browser writes a sound into this box, and so Python has it: with Jupyter's own means, which Colab has too.
    mail = widgets.Textarea(continuous_update=False, layout=widgets.Layout(display="none"))
    mail.add_class(name)
    below = widgets.VBox()
    count = itertools.count(1)

    def arrived(change: Mapping[str, Any]) -> None:
        if not change["new"]:
            return
        samples = np.frombuffer(base64.b64decode(json.loads(change["new"])["sound"]), dtype="<i2")
        mail.value = ""  # the notebook, if it is saved with its widgets, is not to hold a voice
        path = home / f"take {next(count)}.wav"
        soundfile.write(path, samples, audio.RATE)
        fresh = widgets.Output()  # a new one each time: to clear one clears the whole cell in some notebooks
        below.children = [fresh]
        with fresh:
            answer(path)

    mail.observe(arrived, names="value")
    scripts = {part: (_EXPLORABLES / f"{part}.js").read_text(encoding="utf-8") for part in ("hearing", "taking")}
    recorder = json.dumps((_EXPLORABLES / "recorder.js").read_text(encoding="utf-8"))
    display(_filled("microphone", scripts | {"mail": name, "recorder": recorder}), mail, below)


def _as_text(value: object) -> str:
    """Return what shows a value as itself in a page or in a quoted attribute, also one that UTF-8 cannot write."""
    return escape(str(value).encode("utf-8", "replace").decode("utf-8"))


def _license_note(rows: pd.DataFrame) -> str:
    """Return a line with the makers and the license of a corpus, where it asks for one, to stand below its clips."""
    terms = _LICENSES.get(rows.attrs.get("name"), "")
    return f'<p style="font-size:0.85em;margin:0.2em 0 1em">{terms}</p>' if terms else ""


def _control_html(name: str, caption: str, data: Mapping[str, Any], corpus: pd.DataFrame) -> HTML:
    """Return a control of the book with its caption and its data in their places, and the corpus's terms below."""
    # "<" as an escape, so that no label can end the script; json escapes whatever is not ASCII.
    texts = {"caption": _as_text(caption), "data": json.dumps(data).replace("<", "\\u003c")}
    filled = texts | {"sound": _sound_script()}
    return HTML(_filled(name, filled).data + _license_note(corpus))


def _filled(name: str, texts: Mapping[str, str]) -> HTML:
    """Return a page of the explorables with texts in the places that their names have there."""
    page = (_EXPLORABLES / f"{name}.html").read_text(encoding="utf-8")
    return HTML(re.sub(rf"\$({'|'.join(texts)})\b", lambda slot: texts[slot[1]], page))


def _clip_for_script(samples: np.ndarray, loudest: float | None = None) -> dict[str, Any]:
    """Return 16 kHz samples as a page's script takes them: media type, base64, envelope, seconds."""
    mime, data = _encoded(samples, compression=0.7)  # a page holds dozens of them, and may weigh 3 MB
    wave = [round(float(height), 2) for height in _envelope(samples, loudest)]
    seconds = round(len(samples) / audio.RATE, 2)
    return {"type": mime, "sound": base64.b64encode(data).decode(), "wave": wave, "seconds": seconds}


def _default_columns(rows: pd.DataFrame) -> list[str]:
    if "predicted" in rows.columns:
        return [name for name in ("emotion", "predicted", "confidence") if name in rows.columns]
    return [name for name in ("emotion", "intensity") if name in rows.columns and rows[name].astype(str).any()]


def _heading(column: str, rows: pd.DataFrame) -> str:
    if column == "emotion" and "predicted" in rows.columns:
        return "truth"
    return _HEADINGS.get(column, str(column).replace("_", " "))


def _cell_text(column: str, value: object) -> str:
    if isinstance(value, (float, np.floating)):
        return f"{value:.0%}" if column == "confidence" or str(column).startswith("p_") else f"{value:.3g}"
    return str(value)


def _clip_caption(clip: str, row: pd.Series, called: str | None = None) -> str:
    """Say what is spoken and by whom; a clip that is not named by the rule of RAVDESS is ``called`` by its name."""
    actor, sex = row.get("actor", ""), row.get("sex", "")
    parts = [_sentence(clip, row) or called or clip]
    if actor:
        parts.append(f"actor {actor}" + (f" ({sex})" if sex else ""))
    return ", ".join(parts)


def _sentence(clip: str, row: pd.Series) -> str:
    """Return the words of a clip in quotes where its name, by the rule of RAVDESS, says which they are, else ""."""
    try:
        statement = parse_name(clip)["statement"]
    except SerlibError:
        return ""  # statement 2 of somebody else's corpus is another sentence
    is_so = row.get("statement", 0) in (0, statement)  # 0 where the table does not say
    return f"“{STATEMENTS[statement - 1]}”" if is_so else ""


def _audio_element(samples: np.ndarray, label: str, loudest: float | None = None, color: str | None = None) -> str:
    """Return a player of 16 kHz samples, its waveform as high as it is loud beside the ``loudest`` peak of a list."""
    mime, data = _encoded(samples)
    # Half of it is the color of the text, so that none is lost on a dark page.
    tint = f' style="color:color-mix(in srgb,{color} 55%,currentColor)"' if color else ""
    return (
        f'<div class="ser-sound" data-seconds="{len(samples) / audio.RATE:.2f}"{tint}>{_waveform(samples, loudest)}'
        f'<audio controls preload="none" aria-label="{_as_text(label)}" '
        'style="display:block;width:100%;height:2.2em" '
        f'src="data:{mime};base64,{base64.b64encode(data).decode()}"></audio></div>'
    )


@cache
def _sound_script() -> str:
    """Return what makes players of the elements above, for the scripts of pages."""
    return re.sub(r"\n +", "\n", (_EXPLORABLES / "sound.js").read_text(encoding="utf-8"))


def _script() -> str:
    """Return the script that stands below players and makes them ready."""
    return f"<script>(() => {{{_sound_script()}document.querySelectorAll('.ser-sound').forEach(sound);}})();</script>"


def _encoded(samples: np.ndarray, compression: float = 0.5) -> tuple[str, bytes]:
    """Return the media type and the bytes of 16 kHz samples in the smallest format this libsndfile writes."""
    container, subtype, mime = next(f for f in _FORMATS if f[0] == "WAV" or soundfile.check_format(f[0], f[1]))
    file = io.BytesIO()
    setting = {"compression_level": compression, "bitrate_mode": "VARIABLE"} if container == "MP3" else {}
    soundfile.write(file, np.clip(samples, -1, 1), audio.RATE, format=container, subtype=subtype, **setting)
    return mime, file.getvalue()


def _waveform(samples: np.ndarray, loudest: float | None) -> str:
    """Return a tiny drawing of the envelope in the color of the text."""
    heights = 9 * _envelope(samples, loudest)
    bars = "".join(f"M{i} {10 - h:.1f}v{max(2 * h, 0.3):.1f}" for i, h in enumerate(heights))
    return (
        f'<svg aria-hidden="true" viewBox="-1 0 {_WAVEFORM_BARS + 1} 20" preserveAspectRatio="none" '
        'style="display:block;width:100%;height:1.6em;background:transparent">'
        f'<path d="{bars}" stroke="currentColor" stroke-width="0.6" fill="none"/></svg>'
    )


def _peak(samples: np.ndarray) -> float:
    return float(np.abs(samples).max(initial=0.0))


def _envelope(samples: np.ndarray, loudest: float | None = None) -> np.ndarray:
    """Return the peaks of equal pieces of a sound, shape ``(_WAVEFORM_BARS,)``, the greatest of them 1.

    Beside a list's ``loudest`` peak the greatest is the root of their ratio: a whisper beside a shout would otherwise
    be a flat line.
    """
    peaks = np.array([_peak(piece) for piece in np.array_split(samples, _WAVEFORM_BARS)])
    greatest = max(float(peaks.max()), 1e-9)
    return peaks / greatest * (1.0 if loudest is None else np.sqrt(greatest / max(loudest, 1e-9)))
