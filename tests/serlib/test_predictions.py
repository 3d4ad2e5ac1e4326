"""Predictions: made, written whole, read back the same, and refused when they are not what they should be."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from serlib.data import splits
from serlib.data.ravdess import EMOTIONS
from serlib.errors import SerlibError
from serlib.files import checksum
from serlib.judge import predictions

ROOT = Path(__file__).parents[2]


def corpus_rows(n=4, emotions=EMOTIONS):
    clips = pd.Index([f"clip-{i:03d}" for i in range(n)], name="clip")
    return pd.DataFrame(
        {
            "actor": [f"{i % 3 + 1:02d}" for i in range(n)],
            "emotion": [emotions[i % len(emotions)] for i in range(n)],
        },
        index=clips,
    )


def some(n=16, seed=0, part="test", labels=EMOTIONS):
    p = np.random.default_rng(seed).dirichlet(np.ones(len(labels)), size=n)
    return predictions.make(corpus_rows(n, labels), p, labels, part)


def test_make_takes_the_most_probable_label_and_puts_classes_in_order():
    p = np.array([[0.7, 0.1, 0.2], [0.2, 0.5, 0.3]])
    frame = predictions.make(corpus_rows(2, ("sad", "angry")), p, ["sad", "happy", "angry"], "test")
    assert list(frame.columns) == [
        "clip", "actor", "emotion", "predicted", "part", "corpus", "profile", "p_angry", "p_happy", "p_sad",
    ]  # fmt: skip
    assert list(frame["predicted"]) == ["sad", "happy"]
    assert frame.loc[0, ["p_angry", "p_happy", "p_sad"]].tolist() == [0.2, 0.1, 0.7]
    assert list(frame["actor"]) == ["01", "02"]
    assert predictions.labels(frame) == ("angry", "happy", "sad")


def test_what_is_read_is_what_was_written(tmp_path):
    frame = pd.concat([some(12, 1, "validation").assign(clip=lambda f: "v" + f["clip"]), some(20, 2)])
    frame = frame.reset_index(drop=True)
    path = predictions.write(frame, tmp_path / "hubert-base" / "predictions.csv")
    again = predictions.read(path)
    pd.testing.assert_frame_equal(again, frame, check_exact=True)
    assert max(map(len, path.read_text().replace("\n", ",").split(","))) <= len("probability")
    assert predictions.name_of(again) == "hubert-base"
    assert list(path.parent.iterdir()) == [path]


def test_labels_that_look_like_missing_values_or_hold_commas_survive(tmp_path):
    frame = some(6, labels=("NA", "None", "calm, really"))
    again = predictions.read(predictions.write(frame, tmp_path / "predictions.csv"))
    assert list(again["emotion"]) == list(frame["emotion"])


def test_half_precision_is_near_enough():
    p = np.random.default_rng(0).dirichlet(np.ones(8), size=50).astype(np.float16)
    frame = predictions.make(corpus_rows(50), p, EMOTIONS, "test")
    assert np.allclose(predictions.probabilities(frame).sum(axis=1), 1, atol=1e-5)


def test_a_voter_is_a_run_a_vote_or_a_frame():
    frame = some()
    run = SimpleNamespace(predictions=frame, name="HuBERT base")
    pd.testing.assert_frame_equal(predictions._frame_of(run), frame)
    assert predictions.name_of(run) == "HuBERT base"
    assert predictions.name_of(frame) == "predictions"
    with pytest.raises(SerlibError, match="a str has no predictions"):
        predictions._frame_of("hubert-base")


@pytest.mark.parametrize(
    ("p", "message"),
    [
        (np.full((4, 8), 0.2), "clip-000 has probabilities that do not sum to 1"),
        (np.full((4, 8), np.nan), "clip-000 has probabilities that are no numbers"),
        (np.tile([1.5, -0.5, 0, 0, 0, 0, 0, 0], (4, 1)), "outside 0 to 1"),
        (np.full((3, 8), 1 / 8), r"shape \(4, 8\); they have \(3, 8\)"),
        (np.full((4, 7), 1 / 7), r"shape \(4, 8\); they have \(4, 7\)"),
    ],
)
def test_make_refuses_what_is_no_distribution(p, message):
    with pytest.raises(SerlibError, match=message):
        predictions.make(corpus_rows(), p, EMOTIONS, "test")


def test_make_refuses_no_clips_and_an_unknown_part():
    with pytest.raises(SerlibError, match="no clips"):
        predictions.make(corpus_rows(0), np.zeros((0, 8)), EMOTIONS, "test")
    with pytest.raises(SerlibError, match="no part named 'train'; known names are validation, test"):
        predictions.make(corpus_rows(), np.full((4, 8), 1 / 8), EMOTIONS, "train")


@pytest.fixture
def csv(tmp_path):
    return predictions.write(some(), tmp_path / "predictions.csv")


@pytest.mark.parametrize("cut", [15, 60, 90, 150])
def test_a_csv_cut_in_mid_line_is_refused(csv, cut):
    csv.write_bytes(csv.read_bytes()[:-cut])
    with pytest.raises(SerlibError, match="stops in the middle of a line"):
        predictions.read(csv)


@pytest.mark.parametrize("end", ["\n", ""])
def test_a_whole_last_line_needs_no_newline(csv, end):
    whole = predictions.read(csv)
    csv.write_text(csv.read_text().rstrip() + end)
    pd.testing.assert_frame_equal(predictions.read(csv), whole)


@pytest.mark.parametrize("cut", [1, 2, 5, 60])
def test_a_record_beside_it_knows_that_a_csv_was_cut(csv, cut):
    record = {"files": {"predictions.csv": checksum(csv)}}
    (csv.parent / "run.json").write_text(json.dumps(record))
    assert len(predictions.read(csv)) == 16
    csv.write_bytes(csv.read_bytes()[:-cut])
    with pytest.raises(SerlibError, match="not what it was when its run was finished|in the middle of a line"):
        predictions.read(csv)


def test_a_csv_with_a_short_or_a_long_line_is_refused(csv):
    lines = csv.read_text().splitlines()
    short = [*lines[:5], lines[5].rsplit(",", 2)[0], *lines[6:]]
    csv.write_text("\n".join(short) + "\n")
    with pytest.raises(SerlibError, match="line 6 of .* has 13 cells, and its header has 15"):
        predictions.read(csv)
    csv.write_text("\n".join([*lines[:5], lines[5] + ",0.1", *lines[6:]]) + "\n")
    with pytest.raises(SerlibError, match="line 6 of .* has 16 cells"):
        predictions.read(csv)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: f.drop(columns="predicted"), "column predicted missing"),
        (lambda f: f.drop(columns=["actor", "part"]), "column actor and part missing"),
        (lambda f: f[list(predictions.COLUMNS)], "no probabilities"),
        (lambda f: f.drop(columns="p_sad"), "of clip clip-006 is 'sad'; known are angry"),
        (lambda f: pd.concat([f, f.iloc[[3]]]), "clip clip-003 stands there twice"),
        (lambda f: f.assign(emotion="bored"), "emotion of clip clip-000 is 'bored'"),
        (lambda f: f.assign(part="exam"), "part of clip clip-000 is 'exam'"),
        (lambda f: f.assign(p_sad=f["p_sad"].astype(float) + 0.1), "do not sum to 1"),
        (lambda f: f.assign(p_sad="much"), "no numbers"),
        (lambda f: f.assign(p_sad=""), "no numbers"),
        (lambda f: f.assign(predicted=f["predicted"].iloc[::-1].to_numpy()), "not the most probable one"),
        (lambda f: f.iloc[:0], "no clips"),
    ],
)
def test_a_csv_that_is_no_predictions_frame_is_refused(csv, change, message):
    change(pd.read_csv(csv, dtype=str)).to_csv(csv, index=False)
    with pytest.raises(SerlibError, match=message):
        predictions.read(csv)


def test_a_file_that_is_missing_empty_or_binary_is_refused(tmp_path):
    path = tmp_path / "predictions.csv"
    with pytest.raises(SerlibError, match="there are no predictions at"):
        predictions.read(path)
    for content, sentence in ((b"\n", "is empty"), (b"\xff\xfe\x00\n", "not a CSV in UTF-8")):
        path.write_bytes(content)
        with pytest.raises(SerlibError, match=sentence):
            predictions.read(path)


def test_a_bad_frame_is_not_written_and_the_old_file_stays(csv):
    before = csv.read_bytes()
    with pytest.raises(SerlibError, match="what should go to"):
        predictions.write(some().assign(part="exam"), csv)
    assert csv.read_bytes() == before


WRITE = """
import sys, numpy as np, pandas as pd
from serlib.data import splits
from serlib.judge import predictions
n = 20_000
rows = pd.DataFrame({"actor": "01", "emotion": "a"}, index=[f"clip{i}" for i in range(n)])
p = np.random.default_rng(0).dirichlet(np.ones(2), size=n)
frame = predictions.make(rows, p, ["a", "b"], "test")
predictions.write(frame, sys.argv[1])
"""


@pytest.mark.slow
def test_a_kill_in_the_middle_of_writing_leaves_the_old_file_whole(csv, killed_in_file):
    before = csv.read_bytes()
    killed_in_file(200_000, WRITE, csv)
    assert csv.read_bytes() == before
    (half,) = csv.parent.glob(".*.partial/*")
    assert half.stat().st_size == 200_000
    assert len(predictions.read(csv)) == 16


def test_align_brings_clips_into_one_order_and_keeps_parts():
    a = pd.concat([some(5, 1, "validation").assign(clip=list("vwxyz")), some(8, 2)], ignore_index=True)
    b = a.sample(frac=1, random_state=3)
    first, second = predictions.align([a, b])
    pd.testing.assert_frame_equal(first, second)
    assert [len(frame) for frame in predictions.align([a, b], part="validation")] == [5, 5]


def named(frame, name):
    return SimpleNamespace(predictions=frame, name=name)


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (some(15, 1), "A and B were not tested on the same clips: 1 stand in only one of them .clip-015"),
        (some(labels=EMOTIONS[:4]), "A and B know different classes .happy, neutral, sad, ..."),
        (some(part="validation"), "A and B disagree about the part of clip clip-000 .test and validation"),
        (
            some(1).assign(emotion="sad"),
            "not tested on the same clips: 15 stand in only one of them",
        ),
        (some().assign(emotion="sad"), "disagree about the emotion of clip clip-000 .angry and sad"),
    ],
)
def test_align_refuses_voters_that_heard_different_things(other, message):
    with pytest.raises(SerlibError, match=message):
        predictions.align([named(some(), "A"), named(other, "B")])


def test_align_refuses_nobody_and_a_voter_that_is_not_in_a_list():
    with pytest.raises(SerlibError, match="there are no voters"):
        predictions.align([])
    for lone in (some(), named(some(), "A")):
        with pytest.raises(SerlibError, match="give the voters as a list"):
            predictions.align(lone)


def test_rows_of_names_the_part_that_is_missing():
    with pytest.raises(SerlibError, match="predictions has no validation clips"):
        predictions.rows_of(some(), "validation")
    with pytest.raises(SerlibError, match="no part named 'tset'; did you mean test"):
        predictions.rows_of(some(), "tset")


def test_mistakes_are_rows_of_the_corpus_most_confident_first():
    corpus = corpus_rows(4, ("calm", "sad")).assign(path="x", seconds=1.0)
    corpus.attrs = {"name": "tiny", "synthetic": True}
    p = [[0.9, 0.1], [0.6, 0.4], [0.4, 0.6], [0.8, 0.2]]  # truth calm, sad, calm, sad: three mistakes
    frame = predictions.make(corpus, np.array(p), ("calm", "sad"), "test").iloc[[2, 0, 3, 1]]
    rows = predictions.mistakes(frame, corpus)
    assert list(rows.index) == ["clip-003", "clip-001", "clip-002"]  # the two at 0.6 in the order of clips
    assert list(rows["predicted"]) == ["calm", "calm", "sad"]
    assert list(rows["confidence"]) == [0.8, 0.6, 0.6]
    assert list(rows.columns) == [*corpus.columns, "predicted", "confidence"]
    assert rows.attrs["synthetic"]


def test_no_mistakes_are_an_empty_table_and_a_foreign_corpus_is_refused():
    corpus = corpus_rows(2, ("calm", "sad"))
    frame = predictions.make(corpus, np.eye(2), ("calm", "sad"), "test")
    assert predictions.mistakes(frame, corpus).empty
    with pytest.raises(SerlibError, match="1 clips of predictions are not in the corpus .clip-001"):
        predictions.mistakes(frame, corpus.iloc[:1])


@pytest.mark.slow
def test_committed_predictions_are_of_the_parts_that_their_splits_name(ravdess_names):
    """Every test clip of the split and no other, validation cut from training, and no voice that should be new."""
    plans = [
        splits.stratified_split(ravdess_names),
        *splits.actor_folds(ravdess_names, "luna-jimenez"),
        *splits.actor_folds(ravdess_names, "emobox"),
        *splits.leave_one_actor_out(ravdess_names),
        *splits.leave_one_statement_out(ravdess_names),
        *splits.leave_one_statement_out(ravdess_names, "luna-jimenez"),
    ]
    for plan in plans:
        files = sorted((ROOT / "results" / "laptop" / plan.name).glob("*/predictions.csv"))
        assert files, plan.name
        for file in files:
            frame = predictions.read(file)
            for part in predictions.PARTS:
                rows, planned = frame[frame["part"] == part], getattr(plan, part)
                assert set(rows["clip"]) == set(planned.index), file
                said = rows.set_index("clip").loc[planned.index, ["actor", "emotion"]]
                assert (said.to_numpy(str) == planned[["actor", "emotion"]].to_numpy(str)).all(), file
            if plan.name != "stratified" and not plan.name.startswith("without-statement"):
                assert not set(plan.test["actor"]) & {*plan.train["actor"], *plan.validation["actor"]}
    shelves = {folder.name for folder in (ROOT / "results" / "laptop").iterdir() if folder.is_dir()}
    assert shelves == {plan.name for plan in plans} | {"prices", "answers", "listeners", "federated"}


@pytest.mark.slow
def test_committed_prices_are_of_test_clips_and_of_the_committed_runs(ravdess_names):
    """Every voter of notebook 11's price list heard whole test parts, and a run's answers are those of its run."""
    laptop = ROOT / "results" / "laptop"
    random, folds = splits.stratified_split(ravdess_names), splits.actor_folds(ravdess_names, "luna-jimenez")
    parts = {"random": random.test, "fold": folds[0].test, "all": ravdess_names}
    heard = {
        "random": ("svm", "probe", "tuned", "svm-without-copy",
                   *(f"{voter}-by-{part}" for voter in ("svm", "vote") for part in predictions.PARTS)),
        "fold": ("tuned-new-voices",),
        "all": ("svm-new-voices", "svm-takes-together", "probe-new-voices", "svm-normalized",
                *(f"folds-by-{part}" for part in predictions.PARTS)),
    }  # fmt: skip
    prices = {file.parent.name: predictions.read(file) for file in laptop.glob("prices/*/predictions.csv")}
    assert sorted(prices) == sorted(name for names in heard.values() for name in names)
    for part, names in heard.items():
        for name in names:
            truth = prices[name].set_index("clip")[["actor", "emotion"]].loc[parts[part].index]
            assert set(prices[name]["part"]) == {"test"} and len(truth) == len(prices[name]), name
            assert (truth.to_numpy(str) == parts[part][["actor", "emotion"]].to_numpy(str)).all(), name
    for name, key, plans in (
        ("probe", "whisper-tiny.en-probe", [random]),
        ("probe-new-voices", "whisper-tiny.en-probe", folds),
        ("tuned", "hubert-base-mini", [random]),
        ("tuned-new-voices", "hubert-base-mini", folds[:1]),
    ):
        files = [laptop / plan.name / key / "predictions.csv" for plan in plans]
        pd.testing.assert_frame_equal(prices[name], predictions.pool([predictions.read(file) for file in files], name))


@pytest.mark.parametrize("given, sentence", [
    (lambda f: f.assign(corpus="") , "row 1 has no corpus"),
    (lambda f: f.assign(corpus=None), "corpus of row 1 is None and no text"),
    (lambda f: f.assign(corpus=["a"] * 2 + ["b"] * 14), r"clips of several corpora \(a, b\); keep each apart"),
    (lambda f: f.assign(emotion=f["emotion"].where(f.index != 2)), "emotion of row 3 is nan and no text"),
    (lambda f: f.assign(clip=range(len(f))), "clip of row 1 is 0 and no text"),
    (lambda f: f.assign(actor=7), "actor of row 1 is 7 and no text"),
    (lambda f: f.rename(columns={"p_calm": "p_"}), "a column p_ without the name of a class"),
    (lambda f: f.rename(columns={"p_calm": "p_sad"}), "two columns p_sad"),
    (lambda f: f.assign(clip=f["clip"].astype(object) + "\udcff"), r"clip 'clip-000\\udcff' has a character that no"),
    (lambda f: f.assign(actor="1\r"), r"actor '1\\r' has a character"),
    (lambda f: f.rename(columns={"p_calm": "p_\0"}), r"a class is called '\\x00'; name it otherwise"),
])  # fmt: skip
def test_a_frame_of_ones_own_says_what_it_lacks(given, sentence):
    with pytest.raises(SerlibError, match=sentence):
        predictions.rows_of(given(some()))


ODD_LABELS = (" sad", 'a "quoted" one', "comma, and; more", "new\nline", "NA", "nan", "None", "1e5", "p_x",
              "ä", "<b>&amp;", "$x$", "tab\t")  # fmt: skip


def test_labels_with_odd_characters_go_to_the_file_and_back(tmp_path):
    frame = some(28, labels=ODD_LABELS)
    again = predictions.read(predictions.write(frame, tmp_path / "predictions.csv"))
    pd.testing.assert_frame_equal(again, frame, check_exact=True)
    assert set(predictions.labels(again)) == set(ODD_LABELS)


def test_labels_that_are_numbers_become_text():
    p = np.eye(11)[:4]
    rows = corpus_rows(4).assign(emotion=[0, 1, 10, 3])
    frame = predictions.make(rows, p, range(11), "test")
    assert frame["predicted"].tolist() == ["0", "1", "2", "3"] and frame["emotion"].tolist() == ["0", "1", "10", "3"]
    assert predictions.labels(frame) == ("0", "1", "10", "2", "3", "4", "5", "6", "7", "8", "9")


@pytest.mark.parametrize(
    "spoil, sentence",
    [
        (lambda text: text.replace(",", ";"), "parts its cells by semicolons; save it with commas"),
        (lambda text: text.replace(",", "\t"), "parts its cells by tabs; save it with commas"),
        (lambda text: "sep=,\n" + text, "begins with Excel's own line sep=,; delete that line"),
        (lambda text: '"sep=;"\n' + text.replace(",", ";"), "begins with Excel's own line"),
        (lambda text: text.replace("\n", ",\n").replace(",\n", "\n", 1), "line 2 of .* has 16 cells, and its header"),
        (lambda text: text.replace("clip-003,", "clip-003,,"), "line 5 of .* has 16 cells"),
        (lambda text: text.replace("clip-003", 'clip"-003').replace("clip-004", '"clip-004'), r"\(line \d+: "),
        (lambda text: text.replace("p_calm", "p_sad"), "two columns p_sad"),
        (lambda text: "\n\n", "is empty"),
        (lambda text: "", "is empty"),
    ],
)
def test_a_file_that_a_spreadsheet_saved_gets_a_word_about_it(csv, spoil, sentence):
    csv.write_text(spoil(csv.read_text()))
    with pytest.raises(SerlibError, match=sentence):
        predictions.read(csv)


def test_a_file_with_the_line_ends_of_windows_is_the_same(csv):
    before = predictions.read(csv)
    csv.write_bytes(b"\xef\xbb\xbf" + csv.read_bytes().replace(b"\n", b"\r\n"))
    pd.testing.assert_frame_equal(predictions.read(csv), before)


def test_a_home_folder_is_written_as_a_tilde(csv, monkeypatch):
    monkeypatch.setenv("HOME", str(csv.parent))
    monkeypatch.setenv("USERPROFILE", str(csv.parent))
    assert len(predictions.read("~/predictions.csv")) == 16


def run_like(corpus: str, name: str, sounds: dict | None = None) -> SimpleNamespace:
    rows = corpus_rows(16)
    p = np.random.default_rng(len(name)).dirichlet(np.ones(8), size=16)
    frame = predictions.make(rows, p, EMOTIONS, "test", corpus)
    return SimpleNamespace(predictions=frame, name=name, info={"sounds": sounds} if sounds else {})


def test_voters_of_two_corpora_are_never_mixed(tmp_path):
    """Real and synthetic clips have the same names and emotions: only the corpus tells them apart."""
    from serlib.judge import metrics, voting

    real, made = run_like("ravdess", "real"), run_like("mini", "made")
    for mix in (voting.soft_vote, voting.majority_vote, voting.diversity, predictions.align):
        with pytest.raises(SerlibError, match=r"real and made heard different corpora \(ravdess and mini\); use"):
            mix([real, made])
    for pair in (metrics.compare, metrics.difference):
        with pytest.raises(SerlibError, match="real and made heard different corpora"):
            pair(real, made)
    with pytest.raises(SerlibError, match="real and made heard different corpora"):
        metrics.compare_all([real], against=made)
    other = made.predictions.assign(clip="other-" + made.predictions["clip"])
    with pytest.raises(SerlibError, match=r"real and predictions heard different corpora \(ravdess and mini\)"):
        predictions.pool([real, other], "svm")
    again = predictions.read(predictions.write(made.predictions, tmp_path / "predictions.csv"))
    assert set(again["corpus"]) == {"mini"}, "the file says it too"
    vote = voting.soft_vote([real, run_like("ravdess", "twin"), run_like("ravdess", "third")])
    assert set(vote.predictions["corpus"]) == {"ravdess"}


def test_voters_of_two_profiles_are_never_mixed(tmp_path):
    """They answer different questions about the same clips; what belongs to no profile goes with any."""
    from serlib.judge import metrics, voting

    small, large = (some().assign(corpus="ravdess", profile=name) for name in ("laptop", "paper"))
    bare = some().assign(corpus="ravdess")
    for frame, name in ((small, "small"), (large, "large"), (bare, "bare")):
        frame.attrs["name"] = name
    for mix in (voting.soft_vote, voting.majority_vote, voting.diversity, predictions.align):
        with pytest.raises(
            SerlibError, match="small is of profile laptop and large of profile paper.* use voters of one"
        ):
            mix([bare, small, large])
    for pair in (metrics.compare, metrics.difference):
        with pytest.raises(SerlibError, match="small is of profile laptop and large of profile paper"):
            pair(small, large)
    other = large.assign(clip="other-" + large["clip"])
    with pytest.raises(SerlibError, match="profile laptop"):
        predictions.pool([small, other], "svm")
    again = predictions.read(predictions.write(small, tmp_path / "predictions.csv"))
    assert set(again["profile"]) == {"laptop"}, "the file says it too"
    for together in (voting.soft_vote([bare, small]), voting.majority_vote([small, bare])):
        assert set(together.predictions["profile"]) == {"laptop"}
        with pytest.raises(SerlibError, match="different questions"):
            metrics.compare(together, large)
    pooled = predictions.pool([bare, small.assign(clip="other-" + small["clip"])], "both")
    assert set(pooled["profile"]) == {"laptop"}


def test_runs_that_heard_other_recordings_under_the_same_names_are_not_mixed():
    one, same = run_like("mine", "one", {"test": "a1"}), run_like("mine", "same", {"test": "a1"})
    other = run_like("mine", "other", {"test": "b2"})
    assert len(predictions.align([one, same, run_like("mine", "bare")])) == 3
    with pytest.raises(SerlibError, match="one and other heard other recordings under the same names"):
        predictions.align([one, other])
    with pytest.raises(SerlibError, match="one and other heard other"):
        predictions.align([run_like("mine", "bare"), one, other])
    assert len(predictions.align([one, run_like("mine", "late", {"validation": "b2"})])) == 2  # of another part


def test_a_vote_remembers_what_recordings_its_members_heard():
    from serlib.judge import metrics, voting

    one, other, bare = run_like("mine", "one", {"test": "a"}), run_like("mine", "other", {"test": "b"}), some()
    bare = bare.assign(corpus="mine")
    for vote in (voting.soft_vote([bare, one]), voting.majority_vote([voting.soft_vote([one, bare]), bare])):
        with pytest.raises(SerlibError, match="heard other recordings"):
            metrics.compare(vote, other)
        assert "sounds" not in bare.attrs and "sounds" not in one.predictions.attrs
    assert metrics.compare(voting.soft_vote([bare, bare]), other).at[0, "b"] == "other"


def test_two_splits_of_the_same_recordings_are_compared_on_the_clips_of_both():
    from serlib.judge import metrics

    one, other = run_like("mine", "one", {"test": "a"}), run_like("mine", "other", {"test": "b"})
    with pytest.raises(SerlibError, match="heard other recordings"):
        metrics.difference(one, other)
    assert metrics.difference(one, run_like("mine", "late", {"test": "a", "validation": "b"}))["points"] != 2
    other.predictions = other.predictions[3:]  # another test part, whose digest must differ
    assert metrics.difference(one, other)["points"] == metrics.difference(one.predictions[3:], other)["points"]


def test_a_corpus_that_nobody_named_is_no_other():
    theirs, ours = named(some(), "theirs"), run_like("ravdess", "ours")
    with pytest.raises(SerlibError, match=r"theirs and ours heard .* \(unnamed and ravdess\); ser.import_predictions"):
        predictions.align([theirs, ours])
    assert len(predictions.align([theirs, some(seed=3)])) == 2


def test_clips_of_another_corpus_of_the_same_names_are_not_played(ravdess_names):
    """Mistakes, players and groups look clips up by name, which real and synthetic clips share."""
    from serlib.judge import metrics

    test = ravdess_names[:40]
    p = np.random.default_rng(0).dirichlet(np.ones(8), size=40)
    voter = predictions.make(test, p, EMOTIONS, "test", "ravdess")
    assert len(predictions.heard(voter, ravdess_names)) == 40
    assert metrics.breakdown(voter, ravdess_names["sex"])["clips"].sum() == 40
    spoken = ravdess_names.copy()
    spoken.attrs["name"] = "mini"
    for ask in (lambda: predictions.mistakes(voter, spoken), lambda: metrics.breakdown(voter, spoken["sex"])):
        with pytest.raises(SerlibError, match="heard ravdess, and this corpus is mini; give the one"):
            ask()
    other = ravdess_names.assign(emotion="calm")
    with pytest.raises(SerlibError, match="is neutral to predictions and calm in the corpus"):
        predictions.mistakes(voter, other)
    gaps = ravdess_names["sex"].where(ravdess_names.index != test.index[5])
    with pytest.raises(SerlibError, match="1 clips have no sex"):
        metrics.breakdown(voter, gaps)


def test_a_table_of_another_program_has_an_unnamed_corpus(tmp_path):
    frame = some(4).drop(columns="corpus")
    frame.to_csv(tmp_path / "predictions.csv", index=False)
    assert set(predictions.read(tmp_path / "predictions.csv")["corpus"]) == {"unnamed"}


@pytest.mark.parametrize("folds", [[], some(4)])
def test_pool_wants_a_list_of_folds(folds):
    with pytest.raises(SerlibError, match="give (the voters as )?a list"):
        predictions.pool(folds, "svm")
