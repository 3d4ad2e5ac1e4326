"""What one corpus teaches about another: `python scripts/corpora.py` (RAVDESS_DIR, CORPORA_DIR, SERLIB_MODELS).

RAVDESS (English, actors), EmoDB (German, actors) and URDU (talk shows) share four emotions. The averages of two frozen
encoders, Whisper tiny.en (English only) and base (many languages), are computed once and kept in the cache; heads are
fitted to one corpus, to all, and to all but the tested one, never to a speaker of the test; beside them, for each
corpus alone, to folds at random, which have no such care. What they answered goes to results/laptop/answers, a row a
clip and a column a question; there is no sound in it. Notebook 16 makes its tables of corpora.csv. Twelve minutes of
one core.
"""

from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.model_selection import StratifiedKFold

import serlib as ser
from results import write

RESULTS = Path(__file__).parents[1] / "results" / "laptop" / "answers"
CORPORA = ("ravdess", "emodb", "urdu")
ENCODERS = {"tiny.en": "whisper-tiny.en", "base": "whisper-base"}
PROBE = ser.Probe(pooling="mean")


def said(features: pd.DataFrame, split: ser.splits.Split) -> pd.DataFrame:
    """Return the probabilities of a split's test clips, from a head that is fitted and chosen as in a probe."""
    x = {part: features.loc[clips.index].to_numpy() for part, clips in split.parts()}
    y = {part: clips["emotion"].map(split.labels.index).to_numpy() for part, clips in split.parts()}
    return pd.DataFrame(PROBE.fit(x, y, split).final.probabilities(x["test"]), split.test.index, list(split.labels))


def with_known_shares(shares: pd.DataFrame, split: ser.splits.Split) -> pd.DataFrame:
    """Return the probabilities as if it were known how frequent each emotion is in each corpus of the test."""
    taught = pd.concat([split.train, split.validation])["emotion"].value_counts(normalize=True)[list(split.labels)]
    table = pd.crosstab(split.test["corpus"], split.test["emotion"], normalize="index")
    return shares * table.reindex(columns=shares.columns).loc[split.test["corpus"]].to_numpy() / taught.to_numpy()


def on_own_scale(features: pd.DataFrame, corpus: pd.DataFrame) -> pd.DataFrame:
    """Return the features as differences from the mean of their own corpus, in its own standard deviations."""
    own = features.groupby(corpus["corpus"])
    return (features - own.transform("mean")) / own.transform("std").replace(0, 1)


def at_random(clips: pd.DataFrame) -> list[ser.splits.Split]:
    """Return five folds of one corpus by chance, in which the voices of the test were heard."""
    deal = StratifiedKFold(5, shuffle=True, random_state=101)
    folds = [clips.index[test] for _, test in deal.split(clips, clips["emotion"])]
    splits = []
    for number, test in enumerate(folds):
        validation = folds[number - 1][::2]
        train = clips.index.difference(test).difference(validation)
        splits.append(ser.splits.Split("random", *(clips.loc[part] for part in (train, validation, test))))
    return splits


def telling_corpora(split: ser.splits.Split) -> ser.splits.Split:
    """Return the same clips with the name of their corpus in the place of the emotion."""
    return ser.splits.Split("which", *(clips.assign(emotion=clips["corpus"]) for _, clips in split.parts()))


def asked(features: pd.DataFrame, corpus: pd.DataFrame) -> dict[str, pd.Series]:
    """Return what heads on one encoder answer, by the question."""
    splits, answers = ser.corpus_splits(corpus), {}
    scaled = on_own_scale(features, corpus)
    for taught, row in splits.items():
        plain = [said(features, split) for split in row]
        known = [with_known_shares(shares, split) for shares, split in zip(plain, row, strict=True)]
        answers[taught] = pd.concat(plain).idxmax(axis=1)
        answers[f"{taught} | known shares"] = pd.concat(known).idxmax(axis=1)
        answers[f"{taught} | own scale"] = pd.concat([said(scaled, split) for split in row]).idxmax(axis=1)
        print(f"{taught}: done", flush=True)
    groups = [clips for _, clips in corpus.groupby("corpus")]
    answers["its own, at random"] = pd.concat(
        [said(features, split) for clips in groups for split in at_random(clips)]
    ).idxmax(axis=1)
    which = [telling_corpora(split) for split in splits["all"]]
    answers["which corpus"] = pd.concat([said(features, split) for split in which]).idxmax(axis=1)
    answers["which corpus | own scale"] = pd.concat([said(scaled, split) for split in which]).idxmax(axis=1)
    return answers


def main() -> None:
    corpus = ser.join([ser.load_corpus(name) for name in CORPORA])
    everything = ser.corpus_splits(corpus)["all"][0]
    columns: dict[str, pd.Series] = {}
    for encoder, key in ENCODERS.items():
        features = ser.layer_averages(ser.backbone(key), everything, PROBE)
        features.columns = np.arange(features.shape[1])
        answers = asked(features.loc[corpus.index], corpus)
        columns |= {f"{encoder} | {question}": answer for question, answer in answers.items()}
    table = corpus[["actor", "emotion"]].join(pd.DataFrame(columns))
    write(table, RESULTS / "corpora.csv")
    for encoder in ENCODERS:
        right = table.filter(regex=rf"^{encoder} \| [^|]*$").eq(table["emotion"], axis=0)
        print(right.groupby(corpus["corpus"]).mean().T.round(3).to_string())


if __name__ == "__main__":
    main()
