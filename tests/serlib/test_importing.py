"""Somebody else's predictions: their names, their order, their numbers; taken in right or refused by name."""

import re

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.special import softmax

import serlib as ser
from serlib.data.ravdess import EMOTIONS
from serlib.errors import SerlibError
from serlib.judge import metrics, paper, predictions, voting

# The class order and the short names of another group, whose file names clips by path.
THEIR_ORDER = ("neutral", "calm", "happy", "sad", "angry", "fearful", "disgust", "surprised")
SHORT = {"neu": "neutral", "cal": "calm", "hap": "happy", "ang": "angry", "fea": "fearful", "dis": "disgust",
         "sur": "surprised"}  # fmt: skip


@pytest.fixture
def corpus(ravdess_names) -> pd.DataFrame:
    return ravdess_names[ravdess_names["actor"].isin(["01", "02", "03"])]


@pytest.fixture
def logits(corpus) -> np.ndarray:
    """Their numbers, (clips, classes) in their order: right in about two of three clips."""
    random = np.random.default_rng(7)
    truth = corpus["emotion"].map(THEIR_ORDER.index).to_numpy()
    return random.normal(size=(len(corpus), 8)) + 2.2 * np.eye(8)[truth]


@pytest.fixture
def plain(corpus, logits) -> pd.DataFrame:
    """Their table as it fits: probabilities, our names, clips in the index."""
    return pd.DataFrame(softmax(logits, axis=1), corpus.index, THEIR_ORDER)


def test_their_order_names_paths_and_logits_give_the_frame_of_ours(corpus, logits, plain, tmp_path):
    ours = predictions.make(corpus, softmax(logits, axis=1), THEIR_ORDER, "test")
    back = {ours: theirs for theirs, ours in SHORT.items()}
    table = pd.DataFrame(logits, columns=[back.get(name, name) for name in THEIR_ORDER])
    table.insert(0, "file", [f"Actor_{row.actor}\\{row.Index}.wav" for row in corpus.itertuples()])
    shuffled = table.sample(frac=1, random_state=3)
    shuffled.to_csv(tmp_path / "theirs.csv", index=False)
    theirs = ser.import_predictions(tmp_path / "theirs.csv", corpus, labels=SHORT, logits=True)
    assert predictions.name_of(theirs) == "theirs" and set(theirs["corpus"]) == {"ravdess"}
    again = theirs.set_index("clip").loc[ours["clip"]].reset_index()
    pd.testing.assert_frame_equal(again, ours, rtol=0, atol=1e-6)
    same = ser.import_predictions(plain, corpus, name="their system")
    pd.testing.assert_frame_equal(same, ours, rtol=0, atol=1e-6)
    assert predictions.name_of(same) == "their system"


def test_what_came_in_is_a_voter_everywhere(corpus, plain):
    theirs = ser.import_predictions(plain, corpus, name="theirs")
    ours = predictions.make(corpus, plain[list(EMOTIONS)].to_numpy()[:, ::-1], EMOTIONS, "test")
    right = (plain.idxmax(axis=1) == corpus["emotion"]).mean()
    assert metrics.accuracy(theirs) == metrics.intervals(theirs, n_resamples=99).loc["accuracy", "value"] == right
    assert metrics.compare(theirs, ours).loc[0, ["a", "b"]].tolist() == ["theirs", "predictions"]
    assert voting.majority_vote([theirs, ours]).members == ("theirs", "predictions")
    ax = ser.plot_against_paper({"vote of 5": theirs}, paper.votes())
    assert f"{right:.1%}" in [text.get_text() for text in ax.texts]


def test_a_part_of_the_corpus_will_do_and_the_classes_are_those_of_all_of_it(corpus, plain):
    few = plain[corpus["emotion"] == "calm"].assign(extra=7, split="test")
    theirs = ser.import_predictions(few, corpus, part="validation")
    assert len(theirs) == 24 and set(theirs["part"]) == {"validation"} and predictions.labels(theirs) == EMOTIONS


@pytest.mark.parametrize("clips", [dict, "function"])
def test_names_of_clips_are_mapped(corpus, plain, clips):
    own = plain.set_axis([f"utterance {i}" for i in range(len(plain))])
    names = dict(zip(own.index, corpus.index, strict=True))
    theirs = ser.import_predictions(own, corpus, clips=names if clips is dict else names.__getitem__)
    assert theirs["clip"].tolist() == corpus.index.tolist()


def test_rounded_probabilities_are_taken_and_log_probabilities_are_logits(corpus, plain):
    rounded = ser.import_predictions(plain.round(2), corpus)
    assert predictions.probabilities(rounded).sum(axis=1) == pytest.approx(1, abs=1e-5)
    logs = ser.import_predictions(np.log(plain), corpus, logits=True)
    assert predictions.probabilities(logs) == pytest.approx(plain[list(EMOTIONS)].to_numpy(), abs=1e-6)


def test_a_column_of_what_they_predicted_may_break_their_own_ties(corpus):
    tied = pd.DataFrame(0.0, corpus.index, THEIR_ORDER).assign(calm=0.5, sad=0.5)
    for label in ("calm", "sad"):
        assert len(ser.import_predictions(tied.assign(predicted=label), corpus))
    with pytest.raises(SerlibError, match="has predicted 'happy' in theirs, and the most probable class is 'calm'"):
        ser.import_predictions(tied.assign(predicted="happy"), corpus, name="theirs")


FAULTS = {
    "no column for 'calm', 'disgust' among 'neutral', 'happy', .*; say which": lambda t: t.drop(
        columns=["calm", "disgust"]
    ),
    "two columns for calm": lambda t: t.assign(p_calm=t["calm"]),
    r"180 clips of theirs are not in the corpus \('x0', 'x1', 'x2', \.\.\.\); clips takes": (
        lambda t: t.set_axis([f"x{i}" for i in range(len(t))])
    ),
    "name them in a column clip, or in the index": lambda t: t.reset_index(drop=True),
    "stands there twice": lambda t: pd.concat([t, t[:1]]),
    "row 3 of theirs has 'high' for happy": (
        lambda t: t.astype(object).mask((t.index == t.index[2])[:, None] & (t.columns == "happy"), "high")
    ),
    "row 1 of theirs has nan for sad": lambda t: t.mask((t.index == t.index[0])[:, None] & (t.columns == "sad")),
    "are no probabilities, from .* logits=True": lambda t: t * 3 - 1,
    r"are no probabilities, from 0 to 0 with a sum of 0": lambda t: t * 0,
    "has emotion 'calm' in theirs, and the corpus is 'neutral'": lambda t: t.assign(emotion="calm"),
    "is empty": lambda t: t[:0],
}


@pytest.mark.parametrize("sentence", FAULTS)
def test_what_does_not_fit_is_named(corpus, plain, sentence):
    with pytest.raises(SerlibError, match=sentence):
        ser.import_predictions(FAULTS[sentence](plain), corpus, name="theirs")


def test_two_classes_swapped_are_noticed_by_their_own_answers(corpus, plain):
    said = plain.assign(predicted=plain.idxmax(axis=1))
    assert len(ser.import_predictions(said, corpus)) == len(corpus)
    swapped = said.rename(columns={"calm": "sad", "sad": "calm"})
    with pytest.raises(SerlibError, match="check the order of its rows and columns"):
        ser.import_predictions(swapped, corpus)


@pytest.mark.parametrize(
    "how, sentence",
    [
        ({"labels": {"fear": "fearful"}}, "labels names a column 'fear', and theirs has 'neutral', 'calm'"),
        ({"labels": {"calm": "serene"}}, "labels names the emotion 'serene'; known names are|did you mean"),
        ({"labels": ["calm", "sad"]}, "labels map columns to emotions"),
        ({"clips": {}}, "clips has no name of the corpus for '03-01-01-01-01-01-01'"),
        ({"clips": lambda clip: clip[999]}, "IndexError: string index out of range"),
        ({"clips": "stem"}, "clips are a mapping or a function"),
        ({"part": "train"}, "no part named 'train'"),
        ({"name": " "}, "the name of a voter is some text"),
    ],
)
def test_what_a_reader_asks_for_wrongly_is_said(corpus, plain, how, sentence):
    with pytest.raises(SerlibError, match=sentence):
        ser.import_predictions(plain, corpus, **{"name": "theirs", **how})


def test_the_corpus_must_be_one(corpus, plain):
    for other in (None, "ravdess", pd.DataFrame(), plain):
        with pytest.raises(SerlibError, match="judged by a corpus"):
            ser.import_predictions(plain, other)
    with pytest.raises(SerlibError, match="stands twice in the corpus"):
        ser.import_predictions(plain, pd.concat([corpus, corpus[:1]]))
    for table in (None, 3, plain.to_numpy()):
        with pytest.raises(SerlibError, match="predictions come as a DataFrame or a path"):
            ser.import_predictions(table, corpus)


def test_numbered_columns_and_a_corpus_without_names_or_actors(corpus, plain):
    bare = corpus[["emotion"]].copy()
    bare.attrs = {}
    numbered = plain.set_axis(range(8), axis=1)
    with pytest.warns(UserWarning, match=r"no name.*pd.concat, merge and join drop it: set corpus.attrs"):
        theirs = ser.import_predictions(numbered, bare, labels=dict(enumerate(THEIR_ORDER)))
    assert set(theirs["corpus"]) == {"unnamed"} and set(theirs["actor"]) == {""}
    assert metrics.accuracy(theirs) == metrics.accuracy(ser.import_predictions(plain, corpus))


def test_of_equally_probable_classes_theirs_is_kept(corpus):
    truth = corpus["emotion"]
    other = np.where(truth == "angry", "calm", "angry")
    table = pd.DataFrame(0.0, corpus.index, THEIR_ORDER)
    for i, (one, two) in enumerate(zip(truth, other, strict=True)):
        table.iloc[i, [THEIR_ORDER.index(one), THEIR_ORDER.index(two)]] = 0.5
    assert metrics.accuracy(ser.import_predictions(table, corpus)) < 0.2  # the alphabetically first
    assert metrics.accuracy(ser.import_predictions(table.assign(predicted=truth), corpus)) == 1


def test_it_votes_with_a_run_that_has_a_validation_part_too(ravdess_names):
    run = ser.load_run("results/laptop/stratified/whisper-tiny.en-probe")
    test = run.predictions[run.predictions["part"] == "test"].reset_index(drop=True)
    table = test.set_index("clip").filter(like="p_")
    theirs = ser.import_predictions(table, ravdess_names, name="theirs")
    for vote in (ser.majority_vote, ser.soft_vote):
        both = vote([theirs, run]).predictions
        pd.testing.assert_frame_equal(both, vote([test, theirs]).predictions)
        assert set(both["part"]) == {"test"} and len(both) == 288
    with pytest.raises(SerlibError, match="validation"):
        ser.weighted_vote([theirs, run])


def test_a_name_with_a_dot_is_no_name_with_an_ending():
    corpus = pd.DataFrame({"emotion": ["happy", "sad"]}, index=["s1", "s1.take2"])
    corpus.attrs["name"] = "mine"
    table = pd.DataFrame({"happy": [0.9, 0.2], "sad": [0.1, 0.8]}, index=["wav/s1.wav", "wav/s1.take2"])
    assert list(ser.import_predictions(table, corpus)["clip"]) == ["s1", "s1.take2"]


def test_percent_and_probabilities_taken_for_logits_are_told_apart(corpus, plain):
    with pytest.raises(SerlibError, match="look like percent, so divide them by 100"):
        ser.import_predictions(plain * 100, corpus)
    with pytest.raises(SerlibError, match="are probabilities already; leave logits out"):
        ser.import_predictions(plain, corpus, logits=True)
    with pytest.raises(SerlibError, match="logits is 'no'; give True or False"):
        ser.import_predictions(plain, corpus, logits="no")


def advised(error: pytest.ExceptionInfo) -> dict:
    """What a refusal says that one should give, as Python has it."""
    given = re.search(r"give ((labels|clips)=.*)\.$", str(error.value))[1]
    return eval(f"dict({given})")  # our own sentence


@pytest.mark.parametrize("change", [str.upper, str.title, " {} ".format, "p_{} ".format])
def test_labels_that_look_alike_are_shown_in_quotes_and_mapped(corpus, plain, change):
    """What differs by case or spaces alone is told, and what the sentence advises is taken."""
    odd = plain.rename(columns={label: change(label) for label in ("calm", "sad", "happy")})
    odd = odd.rename(columns={"fearful": "fear"})
    with pytest.raises(SerlibError, match="differ by case or spaces alone") as error:
        ser.import_predictions(odd, corpus, labels={"fear": "fearful"})
    assert repr(change("calm")) in str(error.value) and "for 'calm', 'happy', 'sad' among" in str(error.value)
    theirs = ser.import_predictions(odd, corpus, **advised(error))
    pd.testing.assert_frame_equal(theirs, ser.import_predictions(plain, corpus))


def test_a_corpus_whose_own_labels_have_spaces_is_told_apart_too(corpus, plain):
    odd = corpus.assign(emotion=corpus["emotion"].replace("calm", "calm "))
    with pytest.raises(SerlibError, match="no column for 'calm ' among .*'calm'") as error:
        ser.import_predictions(plain, odd)
    assert "calm " in predictions.labels(ser.import_predictions(plain, odd, **advised(error)))
    with pytest.raises(SerlibError, match="did you mean 'calm '"):
        ser.import_predictions(plain, odd, labels={"calm": "calm"})


@pytest.mark.parametrize("column", ["emotion", "predicted"])
def test_what_they_call_truth_and_answer_is_mapped_too(corpus, plain, column):
    said = corpus["emotion"] if column == "emotion" else plain.idxmax(axis=1)
    table = plain.assign(**{column: said.replace("calm", "Calm ")})
    with pytest.raises(SerlibError, match="differ by case or spaces alone") as error:
        ser.import_predictions(table, corpus)
    expected = ser.import_predictions(plain, corpus)
    pd.testing.assert_frame_equal(ser.import_predictions(table, corpus, **advised(error)), expected)
    numbers = plain.assign(**{column: said.map(THEIR_ORDER.index)})
    theirs = ser.import_predictions(numbers, corpus, labels=dict(enumerate(THEIR_ORDER)))
    pd.testing.assert_frame_equal(theirs, expected)


@pytest.mark.parametrize("change", [" {}".format, "wav/{} ".format])
def test_names_of_clips_that_look_alike(corpus, plain, change):
    odd = plain.set_axis([change(clip) for clip in plain.index])
    with pytest.raises(SerlibError, match="differ from its names by case or spaces alone") as error:
        ser.import_predictions(odd, corpus)
    expected = ser.import_predictions(plain, corpus)
    pd.testing.assert_frame_equal(ser.import_predictions(odd, corpus, **advised(error)), expected)


def test_a_csv_without_a_last_newline_is_whole_and_one_that_lacks_a_cell_is_not(corpus, plain, tmp_path):
    file = tmp_path / "theirs.csv"
    text = plain.rename_axis("clip").to_csv().rstrip()
    file.write_text(text)
    expected = ser.import_predictions(plain, corpus)
    pd.testing.assert_frame_equal(ser.import_predictions(file, corpus), expected)
    file.write_text(text[: text.rindex(",")])
    with pytest.raises(SerlibError, match="stops in the middle of a line"):
        ser.import_predictions(file, corpus)
    file.write_text(text[: text.rindex(".") + 1])  # a cell that was cut, and is no share of 1 any more
    with pytest.raises(SerlibError, match="are no probabilities"):
        ser.import_predictions(file, corpus)


@pytest.mark.parametrize("column", ["clip", "file"])
def test_a_column_that_pandas_wrote_to_number_the_rows_is_no_name(corpus, plain, tmp_path, column):
    table = plain.rename_axis(column).reset_index()
    table.to_csv(tmp_path / "a.csv")
    pd.read_csv(tmp_path / "a.csv").to_csv(tmp_path / "b.csv", index=False)  # "Unnamed: 0"
    expected = ser.import_predictions(plain, corpus)
    for name in ("a", "b"):
        pd.testing.assert_frame_equal(ser.import_predictions(tmp_path / f"{name}.csv", corpus), expected)
    plain.reset_index(drop=True).to_csv(tmp_path / "none.csv")
    with pytest.raises(SerlibError, match="none numbers its rows and names no clips; .* index=False"):
        ser.import_predictions(tmp_path / "none.csv", corpus)
    numbered = corpus.set_axis([str(i) for i in range(len(corpus))])
    plain.set_axis(numbered.index).to_csv(tmp_path / "numbers.csv")
    assert len(ser.import_predictions(tmp_path / "numbers.csv", numbered)) == len(corpus)


CELLS = {
    "list": [0.5], "array": np.array([0.5, 0.5]), "dict": {"p": 1}, "missing": pd.NA, "none": None, "complex": 1j,
    "tensor": torch.ones(2), "date": pd.Timestamp(0),
}  # fmt: skip


@pytest.mark.parametrize("cell", CELLS)
def test_a_cell_that_is_no_number_or_no_label_is_one_sentence(corpus, plain, cell):
    for column, sentence in (("calm", "row 1 .* for calm, which is no number"), ("predicted", "has predicted")):
        table = plain.assign(predicted=plain.idxmax(axis=1)).astype(object)
        table[column] = pd.Series([CELLS[cell], *table[column][1:]], table.index, dtype=object)
        with pytest.raises(SerlibError, match=sentence):
            ser.import_predictions(table, corpus)
    with pytest.raises(SerlibError, match="of the corpus has no emotion"):
        ser.import_predictions(plain, corpus.assign(emotion=[None, *corpus["emotion"][1:]]))


@pytest.mark.parametrize("kind", [torch.tensor, lambda x: torch.tensor(x, requires_grad=True), np.array, str])
def test_a_cell_that_holds_a_number_is_one(corpus, plain, kind):
    table = plain.apply(lambda column: pd.Series([kind(x) for x in column], column.index, dtype=object))
    theirs = ser.import_predictions(table, corpus)
    assert predictions.probabilities(theirs) == pytest.approx(plain[list(EMOTIONS)].to_numpy(), abs=1e-6)
    typed = plain.astype("Float64")
    typed.iloc[3, 2] = pd.NA
    with pytest.raises(SerlibError, match="row 4 .* has <NA> for happy"):
        ser.import_predictions(typed, corpus)


@pytest.mark.parametrize("column", ["clip", "emotion", "predicted"])
def test_two_columns_of_one_name_are_refused(corpus, plain, column):
    given = {"clip": corpus.index, "emotion": corpus["emotion"], "predicted": plain.idxmax(axis=1)}[column]
    one = pd.DataFrame({column: given}, plain.index)
    with pytest.raises(SerlibError, match=f"two columns {column}"):
        ser.import_predictions(pd.concat([one, plain, one], axis=1), corpus)


def test_a_corpus_that_lost_its_name_is_said_at_the_import(corpus, plain):
    lost = pd.concat([corpus[:90], corpus[90:]])
    lost.attrs = {}
    with pytest.warns(UserWarning, match="the corpus of theirs has no name") as seen:
        theirs = ser.import_predictions(plain, lost, name="theirs")
    assert seen[0].filename == __file__
    ours = ser.import_predictions(plain, corpus, name="ours")
    with pytest.raises(SerlibError, match=r"\(ravdess and unnamed\).* attrs\[.name.\], which pd.concat"):
        metrics.compare(ours, theirs)
    lost.attrs["name"] = "ravdess"
    assert len(metrics.compare(ours, ser.import_predictions(plain, lost, name="theirs")))
