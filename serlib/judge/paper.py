"""The published numbers, to print beside ours (notebooks 09, 10 and 11); what is printed there, not measured here.

Gavali and Verma, "Ensemble of Large Self-Supervised Transformers for Improving Speech Emotion Recognition",
IJDMMM 17(2), 2025, doi 10.1504/IJDMMM.2025.146585. NaN stands where the text prints no number. Shares are
0 to 1. The names of the paper's two accuracies are swapped against the field (its sections 5.4.1 and 5.4.2).
"""

import numpy as np
import pandas as pd

from serlib.errors import SerlibError, in_short, nearest
from serlib.judge.metrics import accuracy, unweighted_average_recall, wilson_interval
from serlib.judge.predictions import AnyVoter, corpus_of, name_of, rows_of

N_TEST = 288
SUPPORT = {
    "angry": 38,
    "calm": 39,
    "disgust": 38,
    "fearful": 39,
    "happy": 38,
    "neutral": 19,
    "sad": 38,
    "surprised": 39,
}

_MODELS = {
    # key: title, checkpoint, parameters, accuracy, step, minutes, size in GB
    "wav2vec2-large": (
        "Wav2vec2.0-large", "facebook/wav2vec2-large-960h-lv60-self", 317e6, 0.90, 900, np.nan, np.nan,
    ),
    "wav2vec2-xlsr53": (
        "Wav2vec2.0-large-XLSR-53", "facebook/wav2vec2-large-xlsr-53", np.nan, 0.93, 1100, 56, 1.27,
    ),
    "hubert-base": (
        "HuBERT base", "facebook/hubert-base-ls960", np.nan, 0.92, 900, 13, 0.38,
    ),
    "hubert-xlarge": (
        "HuBERT x-large", "facebook/hubert-xlarge-ls960-ft", np.nan, 0.90, 600, np.nan, np.nan,
    ),
    "unispeech-large": (
        "UniSpeech large", "microsoft/unispeech-large-1500h-cv", np.nan, 0.91, 700, np.nan, np.nan,
    ),
    "unispeech-multilingual": (
        "UniSpeech large multilingual", "microsoft/unispeech-large-multi-lingual-1500h-cv",
        np.nan, 0.92, 600, 20, 1.27,
    ),
}  # fmt: skip

_VOTES = {
    "vote of 5": (
        ("wav2vec2-xlsr53", "hubert-base", "hubert-xlarge", "unispeech-large", "unispeech-multilingual"),
        0.9688, 279,
    ),
    "vote of 3": (("wav2vec2-xlsr53", "hubert-xlarge", "unispeech-multilingual"), 0.9653, 278),
}  # fmt: skip

# Clips right and clips predicted, by class in alphabetical order. The paper prints precision, recall and F1
# to two decimals (its Figures 13, 16, 19 and 25); with the support, only these counts round to them.
_COUNTS = {
    "hubert-base": ((36, 36, 36, 37, 33, 18, 35, 33), (37, 40, 38, 40, 37, 26, 37, 33)),
    "hubert-xlarge": ((37, 34, 38, 37, 35, 11, 29, 38), (40, 36, 38, 42, 51, 12, 30, 39)),
    "unispeech-large": ((36, 35, 34, 37, 35, 19, 28, 38), (40, 40, 34, 39, 40, 25, 29, 41)),
    "vote of 5": ((37, 38, 38, 38, 37, 18, 35, 38), (38, 41, 38, 38, 39, 19, 35, 40)),
}

# Sohail, "Speaker-Independent Speech Emotion Recognition on RAVDESS: From MFCCs to Speech Foundation Models", 2026,
# github.com/hsn07pk/ravdess-speaker-independent-ser: layer and regularization are chosen inside the training folds.
_NESTED = "leave one speaker out, nested"
_EMOBOX = "6 actor folds"
_LUNA = "5 actor folds"
_REFERENCES = [
    # system, source, corpus, protocol, speaker independent, measure, value, low, high
    ("ResNet, CNN and transformer in parallel", "Han et al. 2021", "RAVDESS", "mean of 5 runs", None,
     "accuracy", 0.8089, np.nan, np.nan),
    ("CNN-14 of PANNs, fine-tuned", "Luna-Jimenez et al. 2021", "RAVDESS", _LUNA, True,
     "accuracy", 0.7658, np.nan, np.nan),
    ("audio and video, late fusion", "Luna-Jimenez et al. 2021", "RAVDESS", _LUNA, True,
     "accuracy", 0.8008, np.nan, np.nan),
    ("XLSR English, fine-tuned", "Luna-Jimenez et al. 2022", "RAVDESS",
     f"{_LUNA}, checkpoint picked on the test fold", True, "accuracy", 0.8182, np.nan, np.nan),
    ("wav2vec 2.0 or HuBERT, fine-tuned", "Wang et al. 2021", "IEMOCAP", "speaker-dependent", False,
     "accuracy", 0.7958, np.nan, np.nan),
    ("wav2vec 2.0 or HuBERT, fine-tuned", "Wang et al. 2021", "IEMOCAP", "speaker-independent", True,
     "accuracy", 0.7301, np.nan, np.nan),
    ("XLS-R-300M, frozen, logistic regression", "Sohail 2026", "RAVDESS", _NESTED, True, "UAR", 0.819, 0.778, 0.859),
    ("WavLM-large, frozen, logistic regression", "Sohail 2026", "RAVDESS", _NESTED, True, "UAR", 0.813, 0.771, 0.852),
    ("Whisper-v3, frozen, logistic regression", "Sohail 2026", "RAVDESS", _NESTED, True, "UAR", 0.802, 0.758, 0.843),
    ("HuBERT-large, frozen, logistic regression", "Sohail 2026", "RAVDESS", _NESTED, True, "UAR", 0.778, 0.725, 0.826),
    ("WavLM-large, fine-tuned", "Sohail 2026", "RAVDESS", "leave one speaker out", True, "UAR", 0.732, 0.665, 0.790),
    ("Whisper-v3", "EmoBox, Ma et al. 2024", "RAVDESS", _EMOBOX, True, "UAR", 0.753, np.nan, np.nan),
    ("WavLM-large", "EmoBox, Ma et al. 2024", "RAVDESS", _EMOBOX, True, "UAR", 0.720, np.nan, np.nan),
    ("HuBERT-base", "EmoBox, Ma et al. 2024", "RAVDESS", _EMOBOX, True, "UAR", 0.654, np.nan, np.nan),
    ("people, normal intensity", "Livingstone and Russo 2018", "RAVDESS", "listening test", None,
     "accuracy", 0.58, np.nan, np.nan),
    ("people, strong intensity", "Livingstone and Russo 2018", "RAVDESS", "listening test", None,
     "accuracy", 0.67, np.nan, np.nan),
]  # fmt: skip


def training() -> pd.Series:
    """Return the training settings of all six models.

    1,152 clips / (4 x 2) x 10 epochs are 1,440 steps; the paper says 1,400, its last checkpoint.

    Returns
    -------
    Series
        By the name of the setting.

    References
    ----------
    Table 2 and section 5.3 of the paper.

    Examples
    --------
    >>> settings = ser.paper.training()
    >>> settings["batch size"], settings["learning rate"]
    (4, 0.0001)
    """
    return pd.Series(
        {
            "batch size": 4,
            "gradient accumulation": 2,
            "learning rate": 1e-4,
            "epochs": 10,
            "steps": 1400,
            "steps between checkpoints": 100,
        },
        dtype=object,
        name="paper",
    )


def models() -> pd.DataFrame:
    """Return the six level-0 models, as far as the paper prints them.

    Returns
    -------
    DataFrame
        A row for each backbone key. Columns title, checkpoint, parameters, accuracy (whole percents), step, correct (of
        288), balanced_accuracy (both follow from ``per_class``), minutes (of training), size_gb; shares are 0 to 1.

    References
    ----------
    Tables 1, 4, 5 and 6 of the paper.

    Examples
    --------
    >>> table = ser.paper.models()
    >>> table["accuracy"].nlargest(2).to_dict()
    {'wav2vec2-xlsr53': 0.93, 'hubert-base': 0.92}
    """
    columns = ["title", "checkpoint", "parameters", "accuracy", "step", "minutes", "size_gb"]
    frame = pd.DataFrame.from_dict(_MODELS, orient="index", columns=columns).rename_axis("backbone")
    frame = frame.join(_printed_totals())
    return frame[[*columns[:5], "correct", "balanced_accuracy", *columns[5:]]]


def votes() -> pd.DataFrame:
    """Return the two majority votes of the paper: the best of 6 and of 20 on the test clips.

    Returns
    -------
    DataFrame
        A row for each vote. Columns members (backbone keys), size, accuracy, correct (of 288), balanced_accuracy.

    References
    ----------
    Tables 3 and 4 of the paper.

    Examples
    --------
    >>> print(ser.paper.votes()[["size", "accuracy", "correct"]].round(3))
               size  accuracy  correct
    vote
    vote of 5     5     0.969      279
    vote of 3     3     0.965      278
    """
    frame = pd.DataFrame.from_dict(_VOTES, orient="index", columns=["members", "accuracy", "correct"])
    frame = frame.rename_axis("vote").join(_printed_totals()["balanced_accuracy"])
    frame.insert(1, "size", frame["members"].map(len))
    return frame


def per_class() -> pd.DataFrame:
    """Return the paper's reports of three models and the vote of five, a row for each class.

    Returns
    -------
    DataFrame
        Columns system (backbone key or vote), emotion, support, correct, predicted (clips), precision, recall and f1, 0
        to 1, which round to what is printed.

    References
    ----------
    Figures 13, 16, 19 and 25 of the paper.

    Examples
    --------
    >>> table = ser.paper.per_class().set_index(["system", "emotion"])
    >>> table.loc[("vote of 5", "sad"), ["support", "correct"]].to_list()
    [38, 35]
    """
    rows = [
        (system, emotion, n, right, named)
        for system, (correct, predicted) in _COUNTS.items()
        for (emotion, n), right, named in zip(SUPPORT.items(), correct, predicted, strict=True)
    ]
    frame = pd.DataFrame(rows, columns=["system", "emotion", "support", "correct", "predicted"])
    return frame.assign(
        precision=frame["correct"] / frame["predicted"],
        recall=frame["correct"] / frame["support"],
        f1=2 * frame["correct"] / (frame["predicted"] + frame["support"]),
    )


def references() -> pd.DataFrame:
    """Return the results of others: those the paper cites (section 2), then speaker-independent ones.

    Returns
    -------
    DataFrame
        Columns system, source, corpus, protocol, speaker_independent (None where unknown or without meaning), measure
        ("accuracy" or "UAR"), value, low and high (95 % interval), 0 to 1.

    Examples
    --------
    >>> table = ser.paper.references()
    >>> best = table[table["measure"] == "UAR"].nlargest(1, "value")
    >>> best[["system", "value"]].to_numpy().tolist()
    [['XLS-R-300M, frozen, logistic regression', 0.819]]
    """
    columns = [
        "system",
        "source",
        "corpus",
        "protocol",
        "speaker_independent",
        "measure",
        "value",
        "low",
        "high",
    ]
    return pd.DataFrame(_REFERENCES, columns=columns)


def _printed_totals() -> pd.DataFrame:
    """Return correct and balanced_accuracy of each system whose report is printed."""
    systems = per_class().groupby("system", sort=False)
    return pd.DataFrame({"correct": systems["correct"].sum(), "balanced_accuracy": systems["recall"].mean()})


def beside_paper(run: AnyVoter, model: str | None = None) -> pd.DataFrame | None:
    """Return what the paper prints of this model beside what the run says on its test part (03 to 08).

    Only RAVDESS may stand beside the paper: of anything else that is said, and None returned.

    Parameters
    ----------
    run
        A run of one of the six, or of its mini twin; or any voter, such as predictions that another program made.
    model
        The key of the paper's model that stands beside it, such as "hubert-base"; a run knows its own.

    Returns
    -------
    DataFrame or None
        Columns "paper" and the name of the run. Rows, as far as the paper has them: accuracy and its 95 % interval, UAR
        (the paper's balanced accuracy), best step, minutes of training, size in GB.

    Raises
    ------
    SerlibError
        For what is no voter, for one that does not know its model, and for a model that the paper does not have.

    Examples
    --------
    >>> run = ser.load_run("results/laptop/stratified/hubert-base-mini")
    >>> print(ser.beside_paper(run).head(3))
                           paper HuBERT base (mini twin)
    accuracy                 92%                   67.7%
    its interval  88.3% to 94.6%          62.1% to 72.8%
    UAR                    91.9%                   66.8%
    """
    record = getattr(run, "info", None)
    if not isinstance(record, dict) or not {"synthetic", "corpus", "original"} <= set(record):
        corpus = corpus_of(run)
        if model is None:
            raise SerlibError(
                f"{name_of(run)} has no record of its training; say which model of the paper it is, as in "
                'beside_paper(voter, "hubert-base").'
            )
        record = {"synthetic": False, "corpus": corpus, "original": model, "title": model}
    if record["synthetic"] or record["corpus"] != "ravdess":
        what = "synthetic speech" if record["synthetic"] else f"of {record['corpus']} and not of RAVDESS"
        print(f"These clips are {what}: no number of theirs stands beside the paper's.")
        return None
    key = record["original"] if model is None else model
    if not isinstance(key, str) or key not in models().index:
        called = (key or record["title"]) if model is None else in_short(model)
        raise SerlibError(f"the paper has no model {called}; {nearest(str(key), models().index)}")
    theirs, ours = models().loc[key], len(rows_of(run))
    share, right = theirs["accuracy"], accuracy(run)
    intervals = [wilson_interval(round(part * count), count) for part, count in ((share, N_TEST), (right, ours))]
    rows = {
        "accuracy": [f"{share:.0%}", f"{right:.1%}"],
        "its interval": [f"{low:.1%} to {high:.1%}" for low, high in intervals],
        "UAR": [_text_or_blank(theirs["balanced_accuracy"], "{:.1%}"), f"{unweighted_average_recall(run):.1%}"],
    }
    if "best_step" in record:
        rows |= {
            "best step": [f"{theirs['step']}", f"{record['best_step']}"],
            "minutes": [_text_or_blank(theirs["minutes"], "{:.0f}"), f"{record['seconds'] / 60:.0f}"],
            "size (GB)": [_text_or_blank(theirs["size_gb"], "{:.2f}"), f"{record['disk_mb'] / 1000:.2f}"],
        }
    table = pd.DataFrame.from_dict(rows, orient="index", columns=["paper", name_of(run)])
    return table[table["paper"] != ""]


def _text_or_blank(value: float, form: str) -> str:
    return "" if pd.isna(value) else form.format(value)
