"""The luck of one split: the same systems, settings and all, on other random splits of RAVDESS like the paper's."""

from dataclasses import asdict

import pandas as pd
from ridge import RidgeProbe

import serlib as ser

SPLITS = range(1, 31)  # the random states of thirty splits; the book's own is not among them
SYSTEMS = {
    "kernel ridge": ("whisper-tiny.en", RidgeProbe()),
    "kernel ridge, Whisper base": ("whisper-base", RidgeProbe()),
}
# What the answers depend on beside clips and weights; raise "code" whenever other code would answer otherwise.
DEPENDS = {
    "code": 1,
    "encoders": [encoder for encoder, _ in SYSTEMS.values()],
    "systems": {system: asdict(recipe) for system, (_, recipe) in SYSTEMS.items()},
    "splits": list(SPLITS),
}


def answers(corpus: pd.DataFrame) -> pd.DataFrame:
    """Return what each system said to each test clip of each split: a row a clip, a column for system and split."""
    splits = {state: ser.stratified_split(corpus, random_state=state) for state in SPLITS}
    columns = {}
    for system, (encoder, recipe) in SYSTEMS.items():
        averages = ser.layer_averages(ser.backbone(encoder), splits[SPLITS[0]], recipe)
        for state, split in splits.items():
            x = {part: averages.loc[frame.index].to_numpy() for part, frame in split.parts()}
            y = {part: frame["emotion"].map(split.labels.index).to_numpy() for part, frame in split.parts()}
            said = recipe.fit(x, y, split).final.probabilities(x["test"]).argmax(1)
            columns[f"{system}, split {state}"] = pd.Series([split.labels[i] for i in said], split.test.index)
        print(f"luck of the split: {system}")
    return pd.DataFrame(columns)
