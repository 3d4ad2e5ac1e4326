"""The running scoreboard: every system met so far, and who is above the bar that notebook 02 sets (02 to 11)."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np
import pandas as pd

from serlib.judge import paper
from serlib.judge.metrics import compare, holm, intervals, unweighted_average_recall, wilson_interval
from serlib.judge.predictions import AnyVoter, named, rows_of

BAR = "02"  # the notebook that sets the bar
LUCK = 0.05  # a p-value below it is taken for more than luck
COLUMNS = ("notebook", "clips", "voices", "accuracy", "low", "high", "UAR", "what changed")


@dataclass(frozen=True)
class System:
    """One system of the book: the notebook that made it, its name, what it said, and what is new about it.

    ``voices`` says in words how its test clips were set apart; ``known`` whether their voices were heard in training.
    """

    notebook: str
    title: str
    voter: AnyVoter
    voices: str
    known: bool
    changed: str


@dataclass(frozen=True)
class Scoreboard:
    """Every system met so far: ``print`` it, or let a notebook show it.

    Attributes
    ----------
    table
        A row for each system by its name. Columns notebook, clips (of its test part), voices (known or new, and how
        they were set apart), accuracy with low and high (95 %), UAR, 0 to 1, and what changed against the row before.
        The interval is Wilson's where voices are known, and draws whole actors where they are new.
    sentences
        What the table means: which systems are above the bar, and what is missing.

    Examples
    --------
    >>> lesson = ser.start("laptop")
    CPU, 2 cores - profile laptop - ...
    >>> board = lesson.scoreboard(ser.stratified_split(lesson.corpus()), through="04")  # doctest: +SKIP
    >>> ax = ser.plot_intervals(board.table, "accuracy", "test accuracy")  # doctest: +SKIP
    """

    table: pd.DataFrame
    sentences: tuple[str, ...]

    def _shown(self) -> pd.DataFrame:
        """Return the table as text; an accuracy and its interval stay on one line, however narrow the page is."""
        rows = []
        for row in self.table.reset_index().itertuples():
            ends = "" if np.isnan(row.low) else f" ({row.low:.1%} to {row.high:.1%})".replace(" ", "\N{NO-BREAK SPACE}")
            rows.append(
                {
                    "system": row.system,
                    "accuracy (95 %)": "" if np.isnan(row.accuracy) else f"{row.accuracy:.1%}{ends}",
                    "UAR": "" if np.isnan(row.UAR) else f"{row.UAR:.1%}",
                    "what changed": row[-1],
                    "notebook": row.notebook,
                    "test clips, voices": row.voices if np.isnan(row.clips) else f"{row.clips:,.0f}, {row.voices}",
                }
            )
        shown = pd.DataFrame(rows)
        # Of some that others published only the UAR is known; else one measure is enough for the eye.
        return shown if self.table["accuracy"].isna().any() else shown.drop(columns="UAR", errors="ignore")

    def __str__(self) -> str:
        return "\n".join([self._shown().to_string(index=False), *self.sentences])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        table = self._shown().to_html(border=0, index=False)
        return table + "".join(f"<p>{escape(sentence)}</p>" for sentence in self.sentences)


def scoreboard(systems: Sequence[System], published: bool = False, notes: Sequence[str] = ()) -> Scoreboard:
    """Return the scoreboard of some systems, in their order.

    Parameters
    ----------
    systems
        Of one corpus; those with known voices judged the same clips.
    published
        Whether the paper's numbers, and those of others on new voices, follow: only where the clips are RAVDESS.
    notes
        Sentences that the caller has to add, such as what is missing.

    Returns
    -------
    Scoreboard
        Table and sentences.

    Raises
    ------
    SerlibError
        For systems that judged other clips, or other recordings, and say that they did not.
    """
    rows = [_row(system) for system in systems]
    if published:
        rows += _published()
    table = pd.DataFrame([row[1:] for row in rows], columns=list(COLUMNS), index=[row[0] for row in rows])
    return Scoreboard(table.rename_axis("system"), (*_about_the_bar(systems), *notes))


def _row(system: System) -> tuple[Any, ...]:
    rows = rows_of(system.voter)
    right, n = int((rows["predicted"] == rows["emotion"]).sum()), len(rows)
    # many clips of one person are few witnesses of what another person's would be
    low, high = wilson_interval(right, n) if system.known else intervals(system.voter).loc["accuracy", ["low", "high"]]
    uar = unweighted_average_recall(system.voter)
    return (system.title, system.notebook, n, system.voices, right / n, low, high, uar, system.changed)


def _published() -> list[tuple[Any, ...]]:
    """Return the rows of the paper, and of others who kept the test voices out of training."""
    n = paper.N_TEST
    rows: list[tuple[Any, ...]] = []
    models, votes = paper.models(), paper.votes()
    for kind, printed in (("best of its 14 steps on the test", models), ("best of many votes on the test", votes)):
        for name, row in printed.iterrows():
            title = row.get("title", name)
            low, high = wilson_interval(round(row["accuracy"] * n), n)
            uar = row["balanced_accuracy"]
            rows.append((f"{title} (paper)", "", n, "known", row["accuracy"], low, high, uar, f"full size, {kind}"))
    others = paper.references().query("corpus == 'RAVDESS'")
    others = others[others["speaker_independent"].eq(True) | others["protocol"].eq("listening test")]
    for row in others.itertuples():
        values = (row.value, row.low, row.high, np.nan) if row.measure == "accuracy" else (*[np.nan] * 3, row.value)
        voices = row.protocol if row.speaker_independent is None else f"new, {row.protocol}"
        rows.append((row.system, "", np.nan, voices, *values, row.source))
    return rows


def _about_the_bar(systems: Sequence[System]) -> list[str]:
    """Say which systems are above the best of notebook 02, by McNemar's test on the same clips, p corrected by Holm."""
    known = {s.title: named(rows_of(s.voter), s.title) for s in systems if s.known}
    accuracy = {title: (frame["predicted"] == frame["emotion"]).mean() for title, frame in known.items()}
    first = [s.title for s in systems if s.known and s.notebook == BAR]
    if not first:
        return [f"Notebook {BAR} sets the bar, and nothing of it is here yet."]
    bar = max(first, key=lambda title: accuracy[title])
    sentences = [f"The bar is {bar}, with {accuracy[bar]:.1%} the best of notebook {BAR} on these clips."]
    later = [known[s.title] for s in systems if s.known and s.notebook != BAR]
    if not later:
        return sentences
    duels = pd.concat([compare(voter, known[bar]) for voter in later])
    above, close, below = "Above it by more than luck", "Too close to call", "Below it by more than luck"
    where: dict[str, list[str]] = {above: [], close: [], below: []}
    for title, p in zip(duels["a"], holm(duels["p_value"]), strict=True):
        points = 100 * (accuracy[title] - accuracy[bar])
        size = f"p = {p:.3f}" if p >= 0.001 else "p < 0.001"
        where[close if p >= LUCK else above if points > 0 else below].append(
            f"{title.replace(' (mini twin)', '')} ({points:+.1f} points, {size})"
        )
    return sentences + [f"{place}: {', '.join(names) or 'none'}." for place, names in where.items()]
