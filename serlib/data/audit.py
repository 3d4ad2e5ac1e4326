"""What to know about every clip of a corpus before training on it (notebook 01)."""

import hashlib
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from serlib.data import audio
from serlib.data.corpus import as_corpus
from serlib.errors import SerlibError

_SHORT = 0.25  # seconds; below it the backbones' masking in training has too few frames to work on


@dataclass(frozen=True, eq=False, repr=False)
class Audit:
    """What looking at every clip of a corpus gave: ``print`` it, or let a notebook show it as a table (01).

    Attributes
    ----------
    name
        The name of the corpus.
    synthetic
        Whether nobody was recorded.
    seconds
        Length of all clips together.
    counts
        Number of clips, actor x emotion.
    clips
        A row a clip: channels, same_channels, rate (Hz), peak (1 = full scale), and the seconds of silence ``before``
        and ``after`` the voice and what is ``active`` between, at -30 dB.
    stereo
        Clips of more than one channel.
    identical
        Groups of clips with the very same samples.
    silent
        Clips in which nothing is active.
    short
        Clips shorter than 0.25 s.
    misnamed
        Files that were left out for their names.
    unreadable
        Files that cannot be decoded.
    """

    name: str
    synthetic: bool
    seconds: float
    counts: pd.DataFrame
    clips: pd.DataFrame
    stereo: tuple[str, ...]
    identical: tuple[tuple[str, ...], ...]
    silent: tuple[str, ...]
    short: tuple[str, ...]
    misnamed: tuple[str, ...]
    unreadable: tuple[str, ...]

    @property
    def findings(self) -> pd.Series:
        """One line a question, as text; the questions are the index, such as "same recording" or "peak level"."""
        emotions = self.counts.sum()
        sizes = {n: [emotion for emotion in emotions.index if emotions[emotion] == n] for n in emotions}
        per_actor = self.counts.sum(axis=1)
        voiced = self.clips.drop(index=list(self.silent))
        same = self.clips.loc[list(self.stereo), "same_channels"].sum()
        named, nameless = per_actor.drop("", errors="ignore"), per_actor.get("", 0)
        actors = f"{len(named)}, with {_range_text(named)} clips each" if len(named) else "unknown"
        if len(named) and nameless:
            actors += f"; unknown for {nameless} clips"
        lines = {
            "corpus": self.name + (" (synthetic speech)" if self.synthetic else ""),
            "clips": f"{len(self.clips):,}, {self.seconds / 3600:.2f} hours",
            "actors": actors,
            "per emotion": "; ".join(f"{n} {', '.join(names)}" for n, names in sizes.items()),
            "sampling rate": ", ".join(f"{rate / 1000:g} kHz" for rate in sorted(self.clips["rate"].unique())),
            "stereo": _count_and_names(self.stereo) + (f"; channels equal in {same}" if self.stereo else ""),
            "same recording": _count_and_names([" = ".join(group) for group in self.identical]),
            "silence at -30 dB": _silence_text(voiced),
            "peak level": _peak_text(voiced),
            "nothing but silence": _count_and_names(self.silent),
            f"shorter than {_SHORT} s": _count_and_names(self.short),
            "misnamed": _count_and_names([Path(path).name for path in self.misnamed]),
            "unreadable": _count_and_names([Path(path).name for path in self.unreadable]),
        }
        return pd.Series(lines, name="")

    def __str__(self) -> str:
        width = max(map(len, self.findings.index))
        return "\n".join(f"{question:{width}}  {answer}" for question, answer in self.findings.items())

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return self.findings.to_frame().to_html(header=False, border=0) + self.counts.to_html(border=0)


def _silence_text(voiced: pd.DataFrame) -> str:
    if voiced.empty:
        return "nothing else"
    before, active, after = (voiced[column].mean() for column in ("before", "active", "after"))
    whole = before + active + after
    return (
        f"{before:.2f} s before and {after:.2f} s after the voice on average; "
        f"{active:.2f} s of {whole:.2f} s ({active / whole:.0%}) are active"
    )


def _peak_text(voiced: pd.DataFrame) -> str:
    if voiced.empty:
        return "none"
    return f"{voiced['peak'].min():.3f} to {voiced['peak'].max():.3f} of full scale"


def _range_text(numbers: pd.Series) -> str:
    low, high = numbers.min(), numbers.max()
    return str(low) if low == high else f"{low} to {high}"


def _count_and_names(names: Sequence[str], most: int = 6) -> str:
    """Return "none", or the number and the first few."""
    if not names:
        return "none"
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return f"{len(names)}: {', '.join(names[:most])}{more}"


def audit(corpus: pd.DataFrame) -> Audit:
    """Decode every clip once at its own rate and report what to know before training (01).

    Parameters
    ----------
    corpus
        Any table of clips with path and emotion.

    Returns
    -------
    Audit
        What was found. Files that cannot be read stand in it and end nothing.

    Raises
    ------
    SerlibError
        For what is no corpus, and where no clip can be read.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np, pandas as pd, soundfile
    >>> folder = tempfile.TemporaryDirectory()
    >>> tone = 0.5 * np.sin(2 * np.pi * 200 * np.arange(16_000) / 16_000)
    >>> paths = [f"{folder.name}/{name}.wav" for name in ("one", "two", "three")]
    >>> for path, gain in zip(paths, (1, 1, 0)):
    ...     soundfile.write(path, gain * tone, 16_000)
    >>> found = ser.audit(pd.DataFrame({"path": paths, "emotion": ["happy", "sad", "sad"]}))
    >>> found.findings["same recording"]
    '1: one = two'
    >>> found.silent
    ('three',)
    >>> folder.cleanup()
    """
    corpus = as_corpus(corpus).sort_index()
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        found = dict(zip(corpus.index, pool.map(_facts_of, corpus["path"]), strict=True))
    unreadable = {corpus.at[clip, "path"] for clip, facts in found.items() if facts is None}
    unreadable |= set(corpus.attrs.get("unreadable", ()))
    clips = pd.DataFrame.from_dict({clip: facts for clip, facts in found.items() if facts}, orient="index")
    if clips.empty:
        raise SerlibError(f"none of the {len(corpus)} clips can be read; copy or download them again.")
    whole = corpus.loc[clips.index]
    groups = clips.groupby("digest", sort=False).groups.values()
    return Audit(
        name=corpus.attrs.get("name", "corpus"),
        synthetic=corpus.attrs.get("synthetic", False),
        seconds=whole["seconds"].sum(),
        counts=pd.crosstab(whole["actor"], whole["emotion"]),
        clips=clips.drop(columns="digest"),
        stereo=tuple(clips.index[clips["channels"] > 1]),
        identical=tuple(tuple(group) for group in groups if len(group) > 1),
        silent=tuple(clips.index[clips["active"] == 0]),
        short=tuple(whole.index[whole["seconds"] < _SHORT]),
        misnamed=tuple(corpus.attrs.get("misnamed", ())),
        unreadable=tuple(sorted(unreadable)),
    )


def _facts_of(path: str) -> dict[str, Any] | None:
    """Return the facts of one clip, None when it cannot be decoded."""
    try:
        samples, rate = audio.decode(path)
    except SerlibError:
        return None
    mono = samples.mean(axis=1)
    start, stop = audio.active_span(mono, -30, rate)
    return {
        "channels": samples.shape[1],
        "same_channels": bool((samples == samples[:, :1]).all()),
        "rate": rate,
        "peak": float(np.abs(samples).max()),
        "before": start / rate,
        "active": (stop - start) / rate,
        "after": (len(mono) - stop) / rate,
        "digest": hashlib.sha256(mono.tobytes()).hexdigest(),
    }
