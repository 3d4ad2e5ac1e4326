"""The paper's split to the clip, actors kept apart, and leakage counted; mostly on RAVDESS's names alone."""

import ast
from itertools import combinations
from math import comb

import numpy as np
import pandas as pd
import pytest
from sklearn.model_selection import train_test_split

from serlib.data.splits import (
    FOLDS,
    PARTS,
    Split,
    actor_folds,
    actor_split,
    leakage,
    leave_one_actor_out,
    leave_one_statement_out,
    stratified_split,
    write_split_csvs,
)
from serlib.errors import SerlibError

SUPPORTS = {
    "angry": 38, "calm": 39, "disgust": 38, "fearful": 39,
    "happy": 38, "neutral": 19, "sad": 38, "surprised": 39,
}  # fmt: skip


def corpus_of(rows: list[tuple]) -> pd.DataFrame:
    """A corpus without sound from (clip, actor, sex, emotion)."""
    frame = pd.DataFrame(rows, columns=["clip", "actor", "sex", "emotion"]).set_index("clip")
    return frame.assign(path="", intensity="", statement=0, repetition=0, seconds=1.0)


def actors(corpus: pd.DataFrame) -> set[str]:
    return set(corpus["actor"])


def test_the_papers_split(ravdess_names):
    split = stratified_split(ravdess_names)
    assert [len(frame) for _, frame in split.parts()] == [1036, 116, 288]
    assert split.test["emotion"].value_counts().to_dict() == SUPPORTS
    assert split.labels == tuple(sorted(SUPPORTS))
    names = sorted(ravdess_names.index)
    _, expected = train_test_split(
        names, test_size=0.2, random_state=101, stratify=[ravdess_names.at[name, "emotion"] for name in names]
    )
    assert list(split.test.index) == sorted(expected)


def test_the_order_of_the_rows_does_not_matter(ravdess_names):
    shuffled = ravdess_names.sample(frac=1, random_state=3)
    for part in PARTS:
        left, right = (getattr(stratified_split(corpus), part) for corpus in (ravdess_names, shuffled))
        assert list(left.index) == list(right.index)


def test_the_real_corpus_gives_the_same_split_as_its_names(ravdess_dir, ravdess_names):
    from serlib.data.ravdess import ravdess

    real = stratified_split(ravdess(ravdess_dir))
    assert list(real.test.index) == list(stratified_split(ravdess_names).test.index)
    assert real.attrs["name"] == "ravdess"


def test_parts_share_no_clip_and_lose_none(ravdess_names):
    splits = [stratified_split(ravdess_names), actor_split(ravdess_names), *actor_folds(ravdess_names)]
    for split in splits:
        for one, other in combinations(PARTS, 2):
            assert not set(getattr(split, one).index) & set(getattr(split, other).index)
        assert sum(len(frame) for _, frame in split.parts()) == 1440
        assert f"{len(split.train):,} train" in repr(split)


def test_actor_split_keeps_actors_apart_and_sexes_even(ravdess_names):
    split = actor_split(ravdess_names, n_test=6, n_validation=4)
    sets = [actors(frame) for _, frame in split.parts()]
    assert [len(group) for group in sets] == [14, 4, 6]
    assert not sets[0] & sets[1] and not sets[0] & sets[2] and not sets[1] & sets[2]
    for _, frame in split.parts():
        assert frame["sex"].value_counts().nunique() == 1
    assert actors(actor_split(ravdess_names).test) != actors(actor_split(ravdess_names, random_state=7).test)
    assert actors(actor_split(ravdess_names).test) == actors(actor_split(ravdess_names).test)


@pytest.mark.parametrize(("name", "n"), [("luna-jimenez", 5), ("emobox", 6)])
def test_published_folds(ravdess_names, name, n):
    splits = actor_folds(ravdess_names, name)
    assert [split.name for split in splits] == [f"{name}-fold{k}" for k in range(1, n + 1)]
    assert [sorted(map(int, actors(split.test))) for split in splits] == [list(group) for group in FOLDS[name]]
    assert sorted(clip for split in splits for clip in split.test.index) == sorted(ravdess_names.index)
    for split in splits:
        assert len(actors(split.validation)) == 2
        assert not leakage(split).shared_actors


def test_first_published_fold_is_the_printed_one(ravdess_names):
    assert actors(actor_folds(ravdess_names)[0].test) == {"02", "05", "14", "15", "16"}


def test_folds_of_ones_own(ravdess_names):
    groups = [list(range(1, 13)), [f"{actor:02d}" for actor in range(13, 25)]]
    assert [len(split.test) for split in actor_folds(ravdess_names, groups)] == [720, 720]


def test_leave_one_actor_out(ravdess_names):
    splits = leave_one_actor_out(ravdess_names)
    assert [split.name for split in splits[:2]] == ["without-01", "without-02"]
    assert [actors(split.test) for split in splits] == [{f"{actor:02d}"} for actor in range(1, 25)]


def test_leave_one_actor_out_takes_actors_who_do_not_play_all(ravdess_names):
    corpus = ravdess_names[~((ravdess_names["actor"] == "05") & (ravdess_names["emotion"] == "sad"))]
    assert "sad" not in set(leave_one_actor_out(corpus)[4].test["emotion"])


@pytest.mark.slow
def test_leakage_of_the_papers_split(ravdess_names):
    split = stratified_split(ravdess_names)
    found = leakage(split)
    assert found.shared_actors == found.test_actors == 24
    # Pair by pair, as slowly as it is said.
    rest = pd.concat([split.train, split.validation])
    for columns, n in (
        (["actor", "emotion", "statement"], 282),
        (["actor", "emotion", "intensity", "statement"], 240),
    ):
        slow = sum(bool((rest[columns] == row).all(axis=1).any()) for _, row in split.test[columns].iterrows())
        assert slow == n
    assert found.table["test_clips"].to_list() == [288, 288, 282, 240]
    assert found.table["share"].iloc[3] == pytest.approx(240 / 288)
    assert "24 test actors are heard in training too" in str(found) and "83.3%" in found._repr_html_()


@pytest.mark.slow
def test_leakage_of_random_splits_is_as_combinatorics_says(ravdess_names):
    """Four of five test clips have their other take in training on average; one split is a draw around it."""
    take = statement = 0
    for emotion, m in SUPPORTS.items():
        n = 96 if emotion == "neutral" else 192
        take += m / 288 * (n - m) / (n - 1)
        others = 1 if emotion == "neutral" else 3  # clips of the same actor, emotion and statement
        statement += m / 288 * (1 - comb(m - 1, others) / comb(n - 1, others))
    assert (round(take, 3), round(statement, 3)) == (0.804, 0.981)
    shares = [leakage(stratified_split(ravdess_names, random_state=seed)).table["share"] for seed in range(25)]
    assert np.mean(shares, axis=0) == pytest.approx([1, 1, statement, take], abs=0.012)


def test_leakage_by_hand():
    corpus = corpus_of([(f"c{k}", "ab"[k // 4], "", "xy"[k % 2]) for k in range(8)])  # a: c0..c3, b: c4..c7
    corpus["statement"] = [1, 1, 2, 2, 1, 1, 1, 1]
    corpus["repetition"] = 1
    split = Split("by-hand", corpus.iloc[[0, 1, 5]], corpus.iloc[[3]], corpus.iloc[[2, 4, 6, 7]])
    # c2 (a, x, 2): a is known, not with x and 2. c4, c6 (b, x, 1): b is known, not with x. c7 (b, y, 1) = c5.
    assert leakage(split).table["test_clips"].to_list() == [4, 4, 1, 1]
    asked = leakage(split, [["c0", "c1", "c6"], ["c2", "c4"], ["c7", "c5"]])
    assert leakage(split).identical is None and asked.identical == (("c6", "c0"), ("c7", "c5"))
    assert asked.table["test_clips"].to_list() == [4, 4, 1, 1, 2]
    assert "2 test clip(s) are a known recording under another name (c6 = c0, c7 = c5)" in asked.sentence


def test_the_pair_of_ravdess_that_is_one_recording_leaks_in_the_papers_split(ravdess_names):
    pair = ("03-01-03-01-02-01-07", "03-01-03-01-02-02-07")  # what the audit of the real files finds
    assert leakage(stratified_split(ravdess_names), [pair]).identical == (pair[::-1],)
    for fold in actor_folds(ravdess_names):
        assert leakage(fold, [pair]).identical == ()
        assert leakage(fold, [pair]).table.at["the very same recording", "test_clips"] == 0


@pytest.mark.slow
@pytest.mark.parametrize("folds", [None, "luna-jimenez", "emobox"])
def test_a_statement_is_left_out(ravdess_names, folds):
    splits = leave_one_statement_out(ravdess_names, folds)
    assert sorted(clip for split in splits for clip in split.test.index) == sorted(ravdess_names.index)
    for split in splits:
        (tested,) = set(split.test["statement"])
        assert {*split.train["statement"], *split.validation["statement"]} == {3 - tested}
        assert split.name.endswith(f"without-statement{tested}")
        assert leakage(split).table["test_clips"].to_dict() == {
            "actor": 0 if folds else 720, "statement": 0, "actor, emotion and statement": 0,
            "actor, emotion, intensity and statement (the other take)": 0,
        }  # fmt: skip
        # Nested: who is validated on is neither trained on nor, where actors are left out, tested on.
        assert not actors(split.validation) & actors(split.train)
        assert not (folds and actors(split.validation) & actors(split.test))
    if folds:
        wholes = [set(fold.test.index) for fold in actor_folds(ravdess_names, folds)]
        assert [len(split.test) * 2 for split in splits[::2]] == [len(whole) for whole in wholes]
        assert splits[1].name == f"{folds}-fold1-without-statement2"
    else:
        assert [len(f) for _, f in splits[0].parts()] == [630, 90, 720]


def test_leaving_out_needs_two_known_statements(ravdess_names):
    for corpus in (ravdess_names.assign(statement=0), ravdess_names[ravdess_names["statement"] == 1]):
        with pytest.raises(SerlibError, match="to leave a statement out"):
            leave_one_statement_out(corpus)


def test_leakage_without_actors_or_statements():
    rows = [(f"c{k:02d}", "", "", "xy"[k % 2]) for k in range(40)]
    nobody = leakage(stratified_split(corpus_of(rows)))
    assert nobody.table.empty and "does not say who speaks" in str(nobody)
    named = leakage(stratified_split(corpus_of([(clip, "ann", sex, emotion) for clip, _, sex, emotion in rows])))
    assert list(named.table.index) == ["actor"] and named.table["test_clips"].to_list() == [8]


def test_synthetic_corpora_are_called_so(tiny_corpus):
    assert "synthetic" in leakage(stratified_split(tiny_corpus, test_size=0.25, validation_size=0.25)).sentence


def test_one_class_is_refused(ravdess_names):
    calm = ravdess_names[ravdess_names["emotion"] == "calm"]
    for make in (stratified_split, actor_split, actor_folds, leave_one_actor_out):
        with pytest.raises(SerlibError, match="at least two"):
            make(calm)


def test_a_class_too_small_to_share_is_refused(ravdess_names):
    few = pd.concat([ravdess_names[ravdess_names["emotion"] != "sad"], ravdess_names.query("emotion == 'sad'")[:1]])
    with pytest.raises(SerlibError, match="cannot be split"):
        stratified_split(few)
    three = pd.concat([ravdess_names[ravdess_names["emotion"] != "sad"], ravdess_names.query("emotion == 'sad'")[:3]])
    with pytest.raises(SerlibError, match="part of split stratified has no clip of sad"):
        stratified_split(three)


@pytest.mark.parametrize(
    ("clips", "shares", "words", "better"),
    [
        (
            24,
            {"test_size": 0.2},
            "by test_size 0.2: it takes 5, too few for .*; make test_size larger, such as 0.34",
            None,
        ),
        (
            64,
            {"test_size": 0.2},
            "51 clips .* by validation_size 0.1: it takes 6, .*; make validation_size larger, such as 0.16",
            {"test_size": 0.2, "validation_size": 0.16},
        ),
        (64, {"test_size": 0.95}, "by test_size 0.95: it leaves 3, too few .*; make test_size smaller", None),
        (8, {}, "of [a-z]+ there is one; add some or leave the class out", None),
        (
            24,
            {"test_size": 0.5},
            "12 clips .* by validation_size 0.1: of [a-z]+ there is one; add some",
            None,
        ),
    ],
)
def test_a_share_too_small_for_every_class_is_named(ravdess_names, clips, shares, words, better):
    """By its own name, and with one that does."""
    once = ravdess_names.query("intensity == 'normal' and statement == 1 and repetition == 1")
    some = once.sort_values("actor")[:clips]
    with pytest.raises(SerlibError, match=words):
        stratified_split(some, **shares)
    if better:
        assert {len(set(part["emotion"])) for _, part in stratified_split(some, **better).parts()} == {8}


def test_a_split_that_leaves_a_class_out_is_refused(ravdess_names):
    with pytest.raises(
        SerlibError, match="train part of split mine has no clip of sad; make the other parts smaller or"
    ):
        Split("mine", *(ravdess_names.query(f"{rule}") for rule in
                        ("emotion != 'sad' and actor > '02'", "actor == '01'", "actor == '02'")))  # fmt: skip
    only_some = ravdess_names[~(ravdess_names["actor"].isin(["02", "05", "14", "15", "16"])
                                & (ravdess_names["emotion"] == "happy"))]  # fmt: skip
    with pytest.raises(SerlibError, match="test part of split luna-jimenez-fold1 has no clip of happy"):
        actor_folds(only_some)


def test_a_clip_in_two_parts_or_twice_in_a_corpus_is_refused(ravdess_names):
    with pytest.raises(SerlibError, match="03-01-01-01-01-01-01 stands twice in split mine"):
        Split("mine", ravdess_names, ravdess_names[:1], ravdess_names[:0])
    with pytest.raises(SerlibError, match="is in the corpus twice"):
        stratified_split(pd.concat([ravdess_names, ravdess_names[:1]]))


def test_actors_that_do_not_fit_are_refused(ravdess_names, tiny_corpus):
    with pytest.raises(SerlibError, match="did you mean emobox"):
        actor_folds(ravdess_names, "emo-box")
    with pytest.raises(
        SerlibError, match="folds luna-jimenez are of RAVDESS's 24 actors, .* no 05, .* and 15 more"
    ) as said:
        actor_folds(tiny_corpus)
    offered = ast.literal_eval(str(said.value).partition("like ")[2].rstrip("."))
    assert len(actor_folds(tiny_corpus, offered)) == 2, "what the sentence offers works"
    with pytest.raises(SerlibError, match="the folds given leave out actor 24"):
        actor_folds(ravdess_names, [list(range(1, 13)), list(range(13, 24))])
    with pytest.raises(SerlibError, match="name actor 01 more than once"):
        actor_folds(ravdess_names, [list(range(1, 13)), [1, *range(13, 25)]])
    with pytest.raises(SerlibError, match="name 25, ann, and the corpus has no such actor"):
        actor_folds(ravdess_names, [list(range(1, 13)), [*range(13, 26), "ann"]])
    for odd in ([1, 2, 3], ["01", "02"], None, 5):
        with pytest.raises(SerlibError, match="folds are lists of actors, like"):
            actor_folds(ravdess_names, odd)
    with pytest.raises(SerlibError, match="leave none for training"):
        actor_split(tiny_corpus, 3, 1)
    with pytest.raises(SerlibError, match="no actor"):
        actor_split(ravdess_names.assign(actor=""))


def test_actors_are_named_as_the_corpus_names_them(ravdess_names):
    few = ravdess_names.query("actor <= '04'")
    plain = few.assign(actor=few["actor"].str.lstrip("0"))
    for corpus, first in ((few, ["01", "02"]), (plain, ["1", "2"])):
        for folds in ([[1, 2], [3, 4]], (map(str, group) for group in ((1, 2), (3, 4))), [["01", 2], ["3", "04"]]):
            splits = actor_folds(corpus, folds)
            assert sorted(splits[0].test["actor"].unique()) == first
    letters = few.assign(actor="actor " + few["actor"])
    with pytest.raises(SerlibError, match="name 1, 2, 3, 4, and the corpus has no such actor"):
        actor_folds(letters, [[1, 2], [3, 4]])


@pytest.mark.parametrize("actors", [24, 9, 4, 3])
def test_a_split_by_actor_takes_shares_of_the_actors(ravdess_names, actors):
    split = actor_split(ravdess_names[ravdess_names["actor"].astype(int) <= actors])
    counts = [frame["actor"].nunique() for _, frame in split.parts()]
    assert counts == {24: [16, 3, 5], 9: [6, 1, 2], 4: [2, 1, 1], 3: [1, 1, 1]}[actors]


def test_validation_can_be_made_larger(ravdess_names):
    assert {s.validation["actor"].nunique() for s in actor_folds(ravdess_names, n_validation=6)} == {6}
    assert leave_one_statement_out(ravdess_names, n_validation=4)[0].validation["actor"].nunique() == 4
    for odd in (19, 0, -1, 2.0, "two", True):
        with pytest.raises(SerlibError, match="n_validation is .*; it is a number of actors, from 1 to 1[89] of the"):
            actor_folds(ravdess_names, n_validation=odd)


def test_a_part_that_lacks_a_class_says_what_would_help(ravdess_names):
    """And it does help."""
    rare = ravdess_names.query("emotion != 'sad' or repetition == 1 and statement == 1 and actor <= '06'")  # 12 of sad
    with pytest.raises(SerlibError, match="validation part .* no clip of sad; make validation_size larger or leave"):
        stratified_split(rare, validation_size=0.02)
    assert "sad" in set(stratified_split(rare, validation_size=0.2).validation["emotion"])
    with pytest.raises(SerlibError, match="(test|validation) part .* make n_(test|validation) larger or leave"):
        actor_split(rare, 1, 1)
    assert "sad" in set(actor_split(rare, 10, 8).test["emotion"])
    groups = [list(range(k, 25, 4)) for k in range(1, 5)]
    with pytest.raises(SerlibError, match="validation part .* no clip of sad; make n_validation larger or leave"):
        actor_folds(rare, groups)
    assert len(actor_folds(rare, groups, n_validation=12)) == 4


@pytest.mark.parametrize(
    "odd",
    [
        *(
            {name: share}
            for name in ("test_size", "validation_size")
            for share in (1.5, 0, -1, np.nan, "0.2", None, True)
        ),
        *({"random_state": seed} for seed in (-1, 1.0, "1", None, np.nan, 2**32, True)),
    ],
    ids=str,
)
def test_odd_shares_and_seeds_are_named(ravdess_names, odd):
    ((name, value),) = odd.items()
    with pytest.raises(SerlibError, match=f"{name} is {value!r}; it is a"):
        stratified_split(ravdess_names, **odd)
    if name == "random_state":
        for verb in (actor_split, actor_folds, leave_one_actor_out, leave_one_statement_out):
            with pytest.raises(SerlibError, match="random_state is"):
                verb(ravdess_names, random_state=value)


@pytest.mark.parametrize("name", ["n_test", "n_validation"])
@pytest.mark.parametrize("odd", [0, -1, 2.0, "2", np.nan, True])
def test_odd_numbers_of_actors_are_named(ravdess_names, name, odd):
    with pytest.raises(SerlibError, match=f"{name} is {odd!r}; it is a number of actors, 1 or more"):
        actor_split(ravdess_names, **{name: odd})


CORPUS_VERBS = (stratified_split, actor_split, actor_folds, leave_one_actor_out, leave_one_statement_out)
ODD = [None, "ravdess", ["a.wav"], [], 3, (k for k in "ab"), pd.DataFrame(), pd.DataFrame({"path": ["a.wav"]})]


@pytest.mark.parametrize("odd", ODD, ids=lambda odd: type(odd).__name__)
def test_what_is_no_corpus_is_said(odd, ravdess_names, tmp_path):
    for verb in CORPUS_VERBS:
        with pytest.raises(SerlibError, match="a corpus"):
            verb(odd)
        with pytest.raises(SerlibError, match="this is a Split"):
            verb(stratified_split(ravdess_names))
    for part in PARTS:
        parts = {"train": ravdess_names[:720], "validation": ravdess_names[:0], "test": ravdess_names[720:]}
        with pytest.raises(SerlibError, match="a corpus"):
            Split("mine", **parts | {part: odd if part == "train" or odd is not ODD[6] else None})
    with pytest.raises(SerlibError, match="a split is called by text"):
        Split(None, **parts)


@pytest.mark.parametrize("odd", [*ODD, "corpus"], ids=lambda odd: type(odd).__name__)
def test_what_is_no_split_is_said(odd, ravdess_names, tmp_path):
    odd = ravdess_names if isinstance(odd, str) and odd == "corpus" else odd
    with pytest.raises(SerlibError, match=f"leakage looks at a split, and this is a {type(odd).__name__}"):
        leakage(odd)
    with pytest.raises(SerlibError, match=f"write_split_csvs writes a split, and this is a {type(odd).__name__}"):
        write_split_csvs(odd, tmp_path)
    with pytest.raises(SerlibError, match="a path is text"):
        write_split_csvs(stratified_split(ravdess_names), None)


@pytest.mark.parametrize("odd", ["c1", ["c1", "c2"], 3, [1, 2], pd.DataFrame({"a": [1]})], ids=str)
def test_what_are_no_groups_of_clips_is_said(odd, ravdess_names):
    with pytest.raises(SerlibError, match="identical is groups of clips"):
        leakage(stratified_split(ravdess_names), odd)


def test_nothing_leaks_into_an_empty_test_part(ravdess_names):
    half = Split("half", ravdess_names[::2], ravdess_names[1::2], ravdess_names[:0])
    with pytest.raises(SerlibError, match="test part of split half has no clips"):
        leakage(half)


def test_any_tables_make_a_split(ravdess_names, tiny_corpus):
    """One's own Split goes the way of all others: what pandas dropped is filled in before anything is trained."""
    plain = ravdess_names[["path", "emotion", "seconds"]]
    plain.attrs = {}
    split = Split("mine", plain[::2], plain[1::2], tiny_corpus.rename(index="tiny-{}".format))
    assert set(split.train["actor"]) == {""} and split.train.index.name == "clip"
    assert split.attrs["name"] == "unnamed and tiny" and split.attrs["synthetic"] is True
    assert stratified_split(ravdess_names).attrs["name"] == "ravdess"


def test_a_hostile_name_is_text_in_the_page(ravdess_names):
    """Titles and clips of somebody's CSV stand in the table of leakage."""
    hostile = "<img src=x onerror=alert(1)>"
    named = ravdess_names.rename(index={ravdess_names.index[0]: hostile})
    named.attrs |= {"name": hostile}
    whole = stratified_split(named)
    other = next(clip for clip in whole.test.index if clip != hostile)
    parts = Split(hostile, named.drop(index=other), named[:0], named.loc[[other]])
    page = leakage(parts, [(hostile, other)])._repr_html_()
    assert page.count("&lt;img") == 2 and "<img" not in page
