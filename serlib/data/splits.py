"""Train, validation, test: at random as in the paper, or by actor; and what leaks (notebook 11)."""

import math
import numbers
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.model_selection import StratifiedGroupKFold, train_test_split

from serlib.data.corpus import as_corpus, write_csv
from serlib.errors import SerlibError, nearest
from serlib.files import given_path

PARTS = ("train", "validation", "test")

TAKE = "actor, emotion, intensity and statement (the other take)"
SHARED = {
    "actor": ["actor"],
    "statement": ["statement"],
    "actor, emotion and statement": ["actor", "emotion", "statement"],
    TAKE: ["actor", "emotion", "intensity", "statement"],
}

FOLDS = {
    # Luna-Jimenez et al. 2021 and 2022: five folds, each with all emotions, the sexes about even.
    "luna-jimenez": (
        (2, 5, 14, 15, 16), (3, 6, 7, 13, 18), (10, 11, 12, 19, 20), (8, 17, 21, 23, 24), (1, 4, 9, 22),
    ),
    # EmoBox (Ma et al. 2024): six folds.
    "emobox": (
        (1, 11, 20, 21), (4, 10, 12, 14), (8, 9, 19, 23), (3, 5, 7, 24), (2, 15, 16, 18), (6, 13, 17, 22),
    ),
}  # fmt: skip


@dataclass(frozen=True, eq=False, repr=False)
class Split:
    """Three corpora with no clip in common: fit on train, choose on validation, measure once on test.

    ``ser.stratified_split``, ``ser.actor_split`` and their like make splits; one of your own is made of three tables
    with path and emotion.

    Attributes
    ----------
    name
        What runs on it are filed under.
    train
        The corpus to learn from, with a clip of every class.
    validation
        The corpus to choose on; it may be empty.
    test
        The corpus to measure on; it may be empty.

    Raises
    ------
    SerlibError
        For a clip that stands twice, and a class without a clip in train.

    Examples
    --------
    >>> import pandas as pd
    >>> from serlib.data.splits import Split
    >>> clips = pd.DataFrame({"path": ["a.wav", "b.wav", "c.wav", "d.wav"], "emotion": ["happy", "sad"] * 2})
    >>> clips = clips.assign(seconds=2.0).set_index(pd.Index(["a", "b", "c", "d"]))
    >>> split = Split("by-hand", train=clips[:2], validation=clips[2:3], test=clips[3:])
    >>> split
    Split by-hand: 2 train, 1 validation, 1 test clips; 2 classes
    >>> split.labels
    ('happy', 'sad')
    >>> [(name, list(part.index)) for name, part in split.parts()]
    [('train', ['a', 'b']), ('validation', ['c']), ('test', ['d'])]
    """

    name: str
    train: pd.DataFrame
    validation: pd.DataFrame
    test: pd.DataFrame

    def __post_init__(self) -> None:
        if not isinstance(self.name, str):
            raise SerlibError(f"a split is called by text, and this name is {self.name!r:.60}.")
        for part, frame in self.parts():
            if not isinstance(frame, pd.DataFrame) or len(frame) or part == "train":
                object.__setattr__(self, part, as_corpus(frame))  # any table with path and emotion will do
        clips = [clip for _, part in self.parts() for clip in part.index]
        if len(set(clips)) < len(clips):
            twice = next(clip for clip in clips if clips.count(clip) > 1)
            raise SerlibError(f"clip {twice} stands twice in split {self.name}; a clip belongs to one part.")
        _with_every_class(self, ("train",))

    def parts(self) -> list[tuple[str, pd.DataFrame]]:
        """Return the three parts with their names, in order.

        Returns
        -------
        list
            Pairs ("train", corpus), ("validation", corpus) and ("test", corpus).
        """
        return [(part, getattr(self, part)) for part in PARTS]

    @property
    def labels(self) -> tuple[str, ...]:
        """All classes of the three parts, in alphabetical order."""
        return tuple(sorted({label for _, part in self.parts() for label in part["emotion"]}))

    @property
    def attrs(self) -> dict[str, Any]:
        """What the corpora of the parts say about themselves: name, and whether one of them is synthetic."""
        parts = [frame.attrs for _, frame in self.parts() if len(frame)]
        names = dict.fromkeys(attrs["name"] for attrs in parts)
        return {**parts[0], "name": " and ".join(names), "synthetic": any(attrs["synthetic"] for attrs in parts)}

    def __repr__(self) -> str:
        sizes = ", ".join(f"{len(frame):,} {part}" for part, frame in self.parts())
        return f"Split {self.name}: {sizes} clips; {len(self.labels)} classes"


def _with_every_class(split: Split, parts: Iterable[str] = PARTS, **remedies: str) -> Split:
    """Return the split, or raise SerlibError when a part lacks a class; ``remedies`` say what helps each part."""
    for part in parts:
        missing = sorted(set(split.labels) - set(getattr(split, part)["emotion"]))
        if missing:
            raise SerlibError(
                f"the {part} part of split {split.name} has no clip of {', '.join(missing)}; "
                f"{remedies.get(part, _ANYHOW[part])} or leave the class out of the corpus."
            )
    return split


_ANYHOW = {part: "make that part larger" for part in PARTS} | {"train": "make the other parts smaller"}
_BY_SHARE = {"validation": "make validation_size larger", "test": "make test_size larger"}
_BY_COUNT = {"validation": "make n_validation larger", "test": "make n_test larger"}
_BY_FOLD = {"validation": "make n_validation larger", "test": "give that fold another actor"}


def stratified_split(
    corpus: pd.DataFrame, test_size: float = 0.2, random_state: int = 101, validation_size: float = 0.1
) -> Split:
    """Split at random with the same share of each emotion in each part (the paper, section 5.2).

    The test part is what scikit-learn's ``train_test_split`` gives for the clips in the order of their names,
    288 of RAVDESS's 1,440. Validation is ``validation_size`` of the rest, cut the same way: the paper had
    none, and chose its checkpoints on the test part.

    Parameters
    ----------
    corpus
        Any table of clips with path and emotion.
    test_size
        Share of the clips for the test part, between 0 and 1.
    random_state
        Seed of the draw; 101 is the book's.
    validation_size
        Share of what is left for validation, between 0 and 1.

    Returns
    -------
    Split
        Called "stratified"; most actors are heard in all of its parts.

    Raises
    ------
    SerlibError
        For shares that cannot be, and when a part would lack a class; it says which share to change.

    Examples
    --------
    >>> import pandas as pd
    >>> corpus = pd.DataFrame({"emotion": ["happy", "sad"] * 50, "seconds": 2.0})
    >>> corpus["path"] = [f"{clip:02d}.wav" for clip in corpus.index]
    >>> split = ser.stratified_split(corpus)
    >>> split
    Split stratified: 72 train, 8 validation, 20 test clips; 2 classes
    >>> split.test["emotion"].value_counts().to_dict()
    {'happy': 10, 'sad': 10}
    """
    corpus = as_corpus(corpus).sort_index()
    _check_classes(corpus)
    _check_seed(random_state)
    for name, share in (("test_size", test_size), ("validation_size", validation_size)):
        if not (isinstance(share, numbers.Real) and 0 < share < 1):
            raise SerlibError(f"{name} is {share!r:.60}; it is a share of the clips, between 0 and 1.")
    rest, test = _cut(corpus, "test_size", test_size, random_state)
    train, validation = _cut(rest.sort_index(), "validation_size", validation_size, random_state)
    return _with_every_class(
        _split_of_clips("stratified", corpus, train.index, validation.index, test.index), **_BY_SHARE
    )


def _cut(clips: pd.DataFrame, name: str, share: float, random_state: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return what is left of the clips, and the share that is cut off, each class as often as in all of them.

    SerlibError for a share (called ``name``) with which either would have fewer clips than there are classes.
    """
    counts = clips["emotion"].value_counts()
    classes, taken = len(counts), math.ceil(share * len(clips))
    whole = f"{len(clips)} clips of {classes} classes cannot be split by {name} {share}:"
    if counts.min() < 2:
        raise SerlibError(f"{whole} of {counts.idxmin()} there is one; add some or leave the class out of the corpus.")
    if taken < classes:
        enough = math.ceil(100 * classes / len(clips)) / 100
        raise SerlibError(f"{whole} it takes {taken}, too few for every class; make {name} larger, such as {enough}.")
    if len(clips) - taken < classes:
        raise SerlibError(f"{whole} it leaves {len(clips) - taken}, too few for every class; make {name} smaller.")
    return train_test_split(clips, test_size=float(share), random_state=random_state, stratify=clips["emotion"])


def _split_of_clips(name: str, corpus: pd.DataFrame, train: pd.Index, validation: pd.Index, test: pd.Index) -> Split:
    """Return the split whose parts hold the clips named, each sorted by name."""
    return Split(name, *(corpus.loc[sorted(clips)] for clips in (train, validation, test)))


def _check_seed(random_state: int) -> None:
    if not _is_whole(random_state) or not 0 <= random_state < 2**32:  # what numpy takes
        raise SerlibError(f"random_state is {random_state!r:.60}; it is a whole number from 0 to 4294967295.")


def _is_whole(number: Any) -> bool:
    return isinstance(number, numbers.Integral) and not isinstance(number, bool)


def _check_classes(corpus: pd.DataFrame) -> None:
    if corpus["emotion"].nunique() < 2:
        raise SerlibError(f"the corpus has {corpus['emotion'].nunique()} class(es); telling apart needs at least two.")


def _split_of_actors(name: str, corpus: pd.DataFrame, test: Iterable[str], validation: Iterable[str]) -> Split:
    """Return the split with those actors in test and validation, and all others in train."""
    corpus = corpus.sort_index()
    in_test, in_validation = corpus["actor"].isin(list(test)), corpus["actor"].isin(list(validation))
    index = corpus.index
    return _split_of_clips(name, corpus, index[~in_test & ~in_validation], index[in_validation], index[in_test])


def _sex_by_actor(corpus: pd.DataFrame) -> pd.Series:
    """Return actor -> sex, sorted; SerlibError when the corpus does not know who speaks."""
    _check_classes(corpus)
    if (corpus["actor"] == "").any():
        raise SerlibError("a split by actor needs to know who speaks: some clips of the corpus have no actor.")
    return corpus.groupby("actor")["sex"].first().sort_index()


def _drawn_actors(sexes: pd.Series, n: int, random_state: int) -> list[str]:
    """Draw n actors at random, the sexes in turn so that they stay as even as can be."""
    random = np.random.default_rng(random_state)
    queues = [list(random.permutation(actors.index)) for _, actors in sexes.groupby(sexes)]
    queues.sort(key=len, reverse=True)
    drawn: list[str] = []
    while len(drawn) < n:
        for queue in queues:
            if queue and len(drawn) < n:
                drawn.append(queue.pop())
    return sorted(drawn)


def actor_split(
    corpus: pd.DataFrame, n_test: int | None = None, n_validation: int | None = None, random_state: int = 101
) -> Split:
    """Split so that nobody who is heard in training is heard in the test: speaker independent (11).

    Parameters
    ----------
    corpus
        Clips that say who speaks.
    n_test, n_validation
        Numbers of actors; None takes five and three of 24, or that share of fewer or more.
    random_state
        Seed of the draw, in which women and men take turns.

    Returns
    -------
    Split
        Called "actors".

    Raises
    ------
    SerlibError
        When a clip has no actor, none is left for training, or a part would lack a class.

    Examples
    --------
    >>> import pandas as pd
    >>> who = ["Ada", "Ben", "Cleo", "Dan"]
    >>> rows = [(actor, emotion, words) for actor in who for emotion in ("happy", "sad") for words in (1, 2)]
    >>> corpus = pd.DataFrame(rows, columns=["actor", "emotion", "statement"]).assign(seconds=2.0)
    >>> corpus["path"] = [f"{clip}.wav" for clip in corpus.index]
    >>> split = ser.actor_split(corpus)
    >>> split
    Split actors: 8 train, 4 validation, 4 test clips; 2 classes
    >>> [part["actor"].nunique() for name, part in split.parts()]
    [2, 1, 1]
    """
    corpus = as_corpus(corpus)
    sexes = _sex_by_actor(corpus)
    n_test = _share_of(len(sexes), 5 / 24) if n_test is None else n_test
    n_validation = _share_of(len(sexes), 3 / 24) if n_validation is None else n_validation
    _check_seed(random_state)
    for name, count in (("n_test", n_test), ("n_validation", n_validation)):
        if not _is_whole(count) or count < 1:
            raise SerlibError(f"{name} is {count!r:.60}; it is a number of actors, 1 or more.")
    if n_test + n_validation >= len(sexes):
        raise SerlibError(
            f"{n_test} test and {n_validation} validation actors leave none for training: "
            f"the corpus has {len(sexes)}; each part needs one at least."
        )
    test = _drawn_actors(sexes, n_test, random_state)
    validation = _drawn_actors(sexes.drop(test), n_validation, random_state)
    return _with_every_class(_split_of_actors("actors", corpus, test, validation), **_BY_COUNT)


def _share_of(count: int, share: float) -> int:
    return max(1, round(count * share))


def actor_folds(
    corpus: pd.DataFrame,
    folds: str | Iterable[Iterable[int | str]] = "luna-jimenez",
    random_state: int = 101,
    n_validation: int | None = None,
) -> list[Split]:
    """Return one speaker-independent split a fold; every actor is in the test part of exactly one (11).

    Parameters
    ----------
    corpus
        Clips that say who speaks.
    folds
        "luna-jimenez" (5 folds of RAVDESS; Luna-Jimenez et al. 2021), "emobox" (6; Ma et al. 2024), or lists of
        actors.
    random_state
        Seed of the draw of validation actors.
    n_validation
        Number of training actors set aside for validation; None takes one in eight, at least one.

    Returns
    -------
    list
        Splits, called by the name of the folds ("folds" for lists), ``-fold`` and a number from 1.

    Raises
    ------
    SerlibError
        For folds that do not name every actor once, and when a part would lack a class.

    Examples
    --------
    >>> import pandas as pd
    >>> who = ["Ada", "Ben", "Cleo", "Dan"]
    >>> rows = [(actor, emotion, words) for actor in who for emotion in ("happy", "sad") for words in (1, 2)]
    >>> corpus = pd.DataFrame(rows, columns=["actor", "emotion", "statement"]).assign(seconds=2.0)
    >>> corpus["path"] = [f"{clip}.wav" for clip in corpus.index]
    >>> for split in ser.actor_folds(corpus, [["Ada", "Ben"], ["Cleo", "Dan"]]):
    ...     print(split.name, sorted(set(split.test["actor"])))
    folds-fold1 ['Ada', 'Ben']
    folds-fold2 ['Cleo', 'Dan']
    """
    corpus = as_corpus(corpus)
    sexes = _sex_by_actor(corpus)
    name = folds if isinstance(folds, str) else "folds"
    groups = _actors_by_fold(folds, list(sexes.index))
    return [
        _with_every_class(
            _with_validation(f"{name}-fold{number}", corpus, sexes, group, random_state, n_validation), **_BY_FOLD
        )
        for number, group in enumerate(groups, start=1)
    ]


def _actors_by_fold(folds: str | Iterable[Iterable[int | str]], actors: list[str]) -> list[list[str]]:
    """Return the actors of each fold as the corpus names them, or raise SerlibError that says who is missing."""
    if isinstance(folds, str) and folds not in FOLDS:
        raise SerlibError(f"there are no actor folds named {folds}; {nearest(folds, FOLDS)}")
    listed: Any = [[f"{actor:02d}" for actor in fold] for fold in FOLDS[folds]] if isinstance(folds, str) else folds
    half = (len(actors) + 1) // 2
    example = f"{[actors[:half][:3], actors[half:][:3]]}"
    listed = list(listed) if isinstance(listed, Iterable) else [None]
    if any(isinstance(group, str) or not isinstance(group, Iterable) for group in listed):
        raise SerlibError(f"folds are lists of actors, like {example}; these are {folds!r:.60}.")
    groups = [[_as_in_corpus(actor, actors) for actor in group] for group in listed]
    everyone = [actor for group in groups for actor in group]
    strange, left = sorted(set(everyone) - set(actors)), sorted(set(actors) - set(everyone))
    twice = sorted({actor for actor in everyone if everyone.count(actor) > 1})
    if strange and isinstance(folds, str):
        fault = f"are of RAVDESS's 24 actors, and this corpus has no {_first_five(strange)}"
    elif strange:
        fault = f"name {_first_five(strange)}, and the corpus has no such actor"
    elif left:
        fault = f"leave out actor {_first_five(left)}"
    elif twice:
        fault = f"name actor {_first_five(twice)} more than once"
    else:
        return groups
    named = f"folds {folds}" if isinstance(folds, str) else "folds given"
    raise SerlibError(
        f"the {named} {fault}; every actor of the corpus ({_first_five(actors)}) belongs to one fold, like {example}."
    )


def _as_in_corpus(actor: int | str, actors: list[str]) -> str:
    """Return an actor as the corpus writes it: 1 is "1" or, in RAVDESS, "01"."""
    text = str(actor)
    same = [known for known in actors if known.isdecimal() and text.isdecimal() and int(known) == int(text)]
    return same[0] if text not in actors and len(same) == 1 else text


def _first_five(names: list[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def leave_one_actor_out(corpus: pd.DataFrame, random_state: int = 101) -> list[Split]:
    """Return one split an actor, who alone is the test part (11).

    Parameters
    ----------
    corpus
        Clips that say who speaks.
    random_state
        Seed of the draw of validation actors, one in eight of the others.

    Returns
    -------
    list
        Splits, called ``without-`` and the actor. A test part may lack a class.

    Raises
    ------
    SerlibError
        When a clip has no actor, or there are fewer than three.

    Examples
    --------
    >>> import pandas as pd
    >>> who = ["Ada", "Ben", "Cleo", "Dan"]
    >>> rows = [(actor, emotion, words) for actor in who for emotion in ("happy", "sad") for words in (1, 2)]
    >>> corpus = pd.DataFrame(rows, columns=["actor", "emotion", "statement"]).assign(seconds=2.0)
    >>> corpus["path"] = [f"{clip}.wav" for clip in corpus.index]
    >>> [split.name for split in ser.leave_one_actor_out(corpus)]
    ['without-Ada', 'without-Ben', 'without-Cleo', 'without-Dan']
    """
    corpus = as_corpus(corpus)
    sexes = _sex_by_actor(corpus)
    return [_with_validation(f"without-{actor}", corpus, sexes, [actor], random_state) for actor in sexes.index]


def leave_one_statement_out(
    corpus: pd.DataFrame,
    folds: str | Iterable[Iterable[int | str]] | None = None,
    random_state: int = 101,
    n_validation: int | None = None,
) -> list[Split]:
    """Return one split a statement, whose words are in its test part and nowhere else (11).

    With ``folds`` statement and actors are left out at once: one split for each fold and statement, whose training
    shares neither words nor voices with its test; the clips that share one of the two are in no part.

    Parameters
    ----------
    corpus
        Clips that say who speaks, and what.
    folds
        None, or folds as in ``actor_folds``.
    random_state
        Seed of the draw of validation actors.
    n_validation
        Number of training actors set aside for validation; None takes one in eight, at least one.

    Returns
    -------
    list
        Splits, called ``without-statement`` and its number, after the name of the fold where there are folds.

    Raises
    ------
    SerlibError
        When a clip does not say its statement, or a part would lack a class.

    Examples
    --------
    >>> import pandas as pd
    >>> who = ["Ada", "Ben", "Cleo", "Dan"]
    >>> rows = [(actor, emotion, words) for actor in who for emotion in ("happy", "sad") for words in (1, 2)]
    >>> corpus = pd.DataFrame(rows, columns=["actor", "emotion", "statement"]).assign(seconds=2.0)
    >>> corpus["path"] = [f"{clip}.wav" for clip in corpus.index]
    >>> for split in ser.leave_one_statement_out(corpus):
    ...     print(split)
    Split without-statement1: 6 train, 2 validation, 8 test clips; 2 classes
    Split without-statement2: 6 train, 2 validation, 8 test clips; 2 classes
    """
    corpus = as_corpus(corpus)
    _check_classes(corpus)
    statements = sorted(set(corpus["statement"]))
    if 0 in statements or len(statements) < 2:
        raise SerlibError("to leave a statement out, every clip must say which it is, and there must be two at least.")
    if folds is not None:
        wholes = actor_folds(corpus, folds, random_state, n_validation)
    else:
        wholes = [_with_validation("", corpus, _sex_by_actor(corpus), [], random_state, n_validation)]
    splits = []
    for whole in wholes:
        for statement in statements:
            train, validation = (part[part["statement"] != statement].index for part in (whole.train, whole.validation))
            tested = corpus if folds is None else whole.test
            test = tested[tested["statement"] == statement].index
            name = f"{whole.name}-without-statement{statement}".removeprefix("-")
            splits.append(_with_every_class(_split_of_clips(name, corpus, train, validation, test), **_BY_FOLD))
    return splits


def _with_validation(
    name: str,
    corpus: pd.DataFrame,
    sexes: pd.Series,
    test: list[str],
    random_state: int,
    n_validation: int | None = None,
) -> Split:
    _check_seed(random_state)
    rest = sexes.drop(test)
    if len(rest) < 2:
        raise SerlibError(
            f"split {name or 'by statement'} leaves {len(rest)} actor(s) for training and validation; it needs two at "
            "least."
        )
    n_validation = _share_of(len(rest), 1 / 8) if n_validation is None else n_validation
    if not _is_whole(n_validation) or not 1 <= n_validation < len(rest):
        raise SerlibError(
            f"n_validation is {n_validation!r:.60}; it is a number of actors, from 1 to {len(rest) - 1} of the "
            f"{len(rest)} that are not tested."
        )
    return _split_of_actors(name, corpus, test, _drawn_actors(rest, n_validation, random_state))


def corpus_splits(corpus: pd.DataFrame, n_folds: int = 5, random_state: int = 101) -> dict[str, list[Split]]:
    """Return all splits of joined corpora that ask what one corpus teaches about another, by what is learned (16).

    Every clip of every corpus is in one test part of each entry, and no speaker of a test part is in its training: so
    the pooled predictions of an entry are one row of the matrix "learned on, tested on".

    Parameters
    ----------
    corpus
        What ``ser.join`` returned.
    n_folds
        Within a corpus, into how many folds its speakers are dealt, with about the same share of each emotion; one in
        eight of the others validate.
    random_state
        Seed of the deal.

    Returns
    -------
    dict
        For each corpus, by its name, its folds and a split that tests all other corpora; under "all" the folds of all
        corpora together; under "all but the tested" one split a corpus, which only the others teach.

    Raises
    ------
    SerlibError
        For a corpus that was not joined, clips without an actor, and a training part that would lack a class. A test
        part may lack one: it is pooled with the others.

    Examples
    --------
    >>> import pandas as pd
    >>> rows = [(who, emotion) for who in "abcdef" for emotion in ("happy", "sad")]
    >>> ours = pd.DataFrame(rows, columns=["actor", "emotion"]).assign(seconds=2.0)
    >>> ours["path"] = [f"{clip}.wav" for clip in ours.index]
    >>> theirs = ours.copy()
    >>> ours.attrs["name"], theirs.attrs["name"] = "ours", "theirs"
    >>> splits = ser.corpus_splits(ser.join([ours, theirs]), n_folds=2)
    ours and theirs share 2 emotions: happy, sad.
    >>> splits["ours"]
    [Split ours-fold1: 4 train, 2 validation, 6 test clips; 2 classes, Split ours-fold2: 4 train, 2 validation, 6 test
    clips; 2 classes, Split ours-elsewhere: 10 train, 2 validation, 12 test clips; 2 classes]
    >>> [split.name for split in splits["all but the tested"]]
    ['all-but-ours', 'all-but-theirs']
    """
    corpus = as_corpus(corpus)
    if "corpus" not in corpus or corpus["corpus"].nunique() < 2:
        raise SerlibError("corpus_splits takes corpora that ser.join has made one.")
    _check_seed(random_state)
    _sex_by_actor(corpus)  # everybody has a name
    groups = {name: corpus[corpus["corpus"] == name] for name in corpus["corpus"].unique()}
    folds = {name: _folds_of_speakers(name, own, n_folds, random_state) for name, own in groups.items()}
    whole = {name: _taught(own, random_state) for name, own in groups.items()}

    def split(title: str, taught: Iterable[str], test: pd.Index) -> Split:
        train, validation = (pd.Index([c for name in taught for c in whole[name][part]]) for part in (0, 1))
        return _split_of_clips(title, corpus, train, validation, test)

    others = {name: [other for other in groups if other != name] for name in groups}
    elsewhere = {name: split(f"{name}-elsewhere", [name], corpus.index[corpus["corpus"] != name]) for name in groups}
    return {
        **{name: [*folds[name], elsewhere[name]] for name in groups},
        "all": [_together(f"all-fold{k + 1}", [own[k] for own in folds.values()], corpus) for k in range(n_folds)],
        "all but the tested": [split(f"all-but-{name}", others[name], own.index) for name, own in groups.items()],
    }


def _folds_of_speakers(name: str, corpus: pd.DataFrame, n_folds: int, random_state: int) -> list[Split]:
    """Return splits whose test parts are the speakers dealt into folds, each with about the same share of emotions."""
    splits = []
    for number, test in enumerate(_dealt(corpus, n_folds, random_state), 1):
        train, validation = _taught(corpus.drop(test), random_state)
        splits.append(_split_of_clips(f"{name}-fold{number}", corpus, train, validation, test))
    return splits


def _dealt(corpus: pd.DataFrame, n_folds: int, random_state: int) -> list[pd.Index]:
    """Return the clips of each fold of speakers. SerlibError for more folds than speakers."""
    speakers = corpus["actor"].nunique()
    if not _is_whole(n_folds) or not 2 <= n_folds <= speakers:
        raise SerlibError(
            f"n_folds is {n_folds!r:.60}; it is a whole number, from 2 to the {speakers} speakers of a corpus."
        )
    deal = StratifiedGroupKFold(n_folds, shuffle=True, random_state=random_state)
    with warnings.catch_warnings():  # that a class is rarer than folds is said by the split that lacks it
        warnings.simplefilter("ignore", UserWarning)
        return [corpus.index[test] for _, test in deal.split(corpus, corpus["emotion"], corpus["actor"])]


def _taught(corpus: pd.DataFrame, random_state: int) -> tuple[pd.Index, pd.Index]:
    """Return the clips of train and validation: a fold of one in eight speakers that has every class, else any."""
    folds = _dealt(corpus, min(8, corpus["actor"].nunique()), random_state)
    classes = corpus["emotion"].nunique()
    chosen = next((fold for fold in folds if corpus.loc[fold, "emotion"].nunique() == classes), folds[0])
    return corpus.index.drop(chosen), chosen


def _together(name: str, splits: list[Split], corpus: pd.DataFrame) -> Split:
    """Return one split whose parts are those of several."""
    parts = ([clip for split in splits for clip in getattr(split, part).index] for part in PARTS)
    return _split_of_clips(name, corpus, *map(pd.Index, parts))


def write_split_csvs(split: Split, folder: Path | str) -> Path:
    """Write ``train.csv`` (validation included) and ``test.csv`` of path and label, as the paper has (section 5.2).

    Parameters
    ----------
    split
        What is written.
    folder
        Where; it is made if need be.

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    SerlibError
        For what is no split, and where nothing can be written.

    Examples
    --------
    >>> import tempfile
    >>> import pandas as pd
    >>> corpus = pd.DataFrame({"emotion": ["happy", "sad"] * 50, "seconds": 2.0})
    >>> corpus["path"] = [f"{clip:02d}.wav" for clip in corpus.index]
    >>> folder = tempfile.TemporaryDirectory()
    >>> written = ser.write_split_csvs(ser.stratified_split(corpus), folder.name)
    >>> len(pd.read_csv(written / "train.csv")), len(pd.read_csv(written / "test.csv"))
    (80, 20)
    >>> folder.cleanup()
    """
    _check_split(split, "write_split_csvs writes")
    folder = given_path(folder)
    write_csv(pd.concat([split.train, split.validation]).sort_index(), folder / "train.csv")
    write_csv(split.test, folder / "test.csv")
    return folder


@dataclass(frozen=True, eq=False, repr=False)
class Leakage:
    """What the clips of the test part share with what a model was trained and chosen on: ``print`` it.

    Attributes
    ----------
    name
        The name of the split.
    synthetic
        Whether a part of it is synthetic speech.
    table
        A row for each thing shared, with the columns ``test_clips`` (how many share it) and ``share`` (of all test
        clips, 0 to 1); empty when the corpus says neither who speaks nor what.
    test_actors
        How many actors the test part has; 0 when the corpus does not say who speaks.
    shared_actors
        How many of them are known.
    identical
        A pair of clips, test and known, for each test clip whose very recording was known; None where nobody asked.

    Examples
    --------
    Two clips of Ada, and Ben alone in the test part:

    >>> import pandas as pd
    >>> from serlib.data.splits import Split
    >>> clips = pd.DataFrame({"path": ["a.wav", "b.wav", "c.wav"], "emotion": ["happy", "sad", "sad"], "seconds": 2.0})
    >>> clips["actor"] = ["Ada", "Ada", "Ben"]
    >>> found = ser.leakage(Split("by-hand", clips[:2], clips[:0], clips[2:]))
    >>> found.sentence
    'Split by-hand: none of the 1 test actors is heard in training: speaker independent.'
    >>> found.table.loc["actor", "test_clips"].item()
    0
    """

    name: str
    synthetic: bool
    table: pd.DataFrame
    test_actors: int
    shared_actors: int
    identical: tuple[tuple[str, str], ...] | None

    @property
    def sentence(self) -> str:
        """What the table means for the score."""
        if not self.test_actors:
            text = "the corpus does not say who speaks, so nobody can tell what leaks"
        elif not self.shared_actors:
            text = f"none of the {self.test_actors} test actors is heard in training: speaker independent"
        else:
            many = "all" if self.shared_actors == self.test_actors else f"{self.shared_actors} of the"
            text = f"{many} {self.test_actors} test actors are heard in training too"
            if TAKE in self.table.index:
                text += f", and for {self.table.at[TAKE, 'share']:.1%} of the test clips so is the other take"
            text += ": the score says how well known voices are read, not new ones"
        if self.identical:
            pairs = ", ".join(" = ".join(pair) for pair in self.identical)
            text += f"; {len(self.identical)} test clip(s) are a known recording under another name ({pairs})"
        return f"Split {self.name}{' (synthetic speech)' if self.synthetic else ''}: {text}."

    def _shown(self) -> pd.DataFrame:
        shown = self.table.rename(columns={"test_clips": "test clips"})
        return shown.assign(share=shown["share"].map("{:.1%}".format))

    def __str__(self) -> str:
        return self.sentence if self.table.empty else f"{self._shown().to_string()}\n{self.sentence}"

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return ("" if self.table.empty else self._shown().to_html(border=0)) + f"<p>{escape(self.sentence)}</p>"


def leakage(split: Split, identical: Iterable[Iterable[str]] | None = None) -> Leakage:
    """Count the test clips whose actor, statement, other take or very recording is in train or validation (11).

    In a random split of RAVDESS all 24 actors stand on both sides, and four of five test clips have their
    other take in training.

    Parameters
    ----------
    split
        Any split whose test part has clips.
    identical
        Groups of clip names that are the same recording, which only their sound can tell: ``identical`` of
        ``audit(corpus)``. They are counted and named too.

    Returns
    -------
    Leakage
        The counts, and the sentence that they deserve.

    Raises
    ------
    SerlibError
        For what is no split, and for a test part without clips.

    Examples
    --------
    >>> import pandas as pd
    >>> who = ["Ada", "Ben", "Cleo", "Dan"]
    >>> rows = [(actor, emotion, words) for actor in who for emotion in ("happy", "sad") for words in (1, 2)]
    >>> corpus = pd.DataFrame(rows, columns=["actor", "emotion", "statement"]).assign(seconds=2.0)
    >>> corpus["path"] = [f"{clip}.wav" for clip in corpus.index]
    >>> ser.leakage(ser.actor_split(corpus))
                                  test clips   share
    shared with training
    actor                                  0    0.0%
    statement                              4  100.0%
    actor, emotion and statement           0    0.0%
    actor, emotion, intensity and statement (the other take) 0 0.0%
    Split actors: none of the 1 test actors is heard in training: speaker independent.

    A split at random is another matter:

    >>> found = ser.leakage(ser.stratified_split(corpus, test_size=0.25))
    >>> found.shared_actors, found.test_actors
    (3, 3)
    """
    _check_split(split, "leakage looks at")
    if split.test.empty:
        raise SerlibError(f"the test part of split {split.name} has no clips; nothing can leak into it.")
    known = pd.concat([split.train, split.validation])
    test = split.test
    who, what = ((test[column] != nothing).all() for column, nothing in (("actor", ""), ("statement", 0)))
    who = who and (known["actor"] != "").all()
    rows = {}
    for title, columns in SHARED.items():
        if (who or "actor" not in columns) and (what or "statement" not in columns):
            there = set(known[columns].itertuples(index=False, name=None))
            rows[title] = sum(row in there for row in test[columns].itertuples(index=False, name=None))
    pairs = None
    if identical is not None:
        groups = _checked_groups(identical)
        pairs = tuple(
            (clip, next(other for other in group if other in known.index))
            for group in groups
            for clip in group
            if clip in test.index and any(other in known.index for other in group)
        )
        rows["the very same recording"] = len(pairs)
    table = pd.DataFrame({"test_clips": pd.Series(rows, dtype=int)})
    table["share"] = table["test_clips"] / len(test)
    actors = set(test["actor"]) if who else set()
    return Leakage(
        split.name,
        bool(split.attrs.get("synthetic")),
        table.rename_axis("shared with training"),
        len(actors),
        len(actors & set(known["actor"])),
        pairs,
    )


def _check_split(split: Any, verb: str) -> None:
    if not isinstance(split, Split):
        raise SerlibError(f"{verb} a split, and this is a {type(split).__name__}; ser.stratified_split makes one.")


def _checked_groups(identical: Any) -> list[tuple[str, ...]]:
    groups: list[Any] = list(identical) if isinstance(identical, Iterable) else [None]
    if any(isinstance(group, str) or not isinstance(group, Iterable) for group in groups):
        raise SerlibError(
            f"identical is groups of clips, as ser.audit(corpus).identical has them, and this is {identical!r:.60}."
        )
    return [tuple(group) for group in groups]
