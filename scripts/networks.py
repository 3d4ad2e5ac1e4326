"""The networks of notebook 15 on real voices: `python scripts/networks.py`, with RAVDESS_DIR and SERLIB_MODELS.

Each network is trained twice on RAVDESS: on the paper's random split, and without the five actors of the first fold of
Luna-Jiménez, whose voices are then new to it. Validation chooses the step. What each said of the test clips goes to
results/laptop/answers after every network (networks-known.csv, networks-new.csv, a row a clip and a column a network),
and what it cost to networks.csv; there is no sound in them. Half an hour of one core; a run that is finished is loaded.
CNN-14 is too large for that: it is counted, and its clips a second are measured.
"""

import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd
import torch
from rooms import svm_of

import serlib as ser
from serlib.data.splits import Split
from serlib.files import atomic_path

RESULTS = Path(__file__).parents[1] / "results" / "laptop" / "answers"
# In the order of their cost; epochs so few that each stays within minutes of one core
EPOCHS = {
    "mlp": 40,
    "downstream": 15,
    "cycle-graph": 40,
    "learned-graph": 40,
    "mel-cnn": 20,
    "parallel-attention": 15,
    "parallel-transformer": 4,
}
HEADS = ("mlp", "downstream")
RECIPE = ser.Recipe(
    batch_size=16, accumulation=1, learning_rate=1e-3, warmup=0.1, eval_every=65, trim=True, precision="fp32"
)
# Zenkov's white noise: two noisy copies of each training clip, so three times as many
NOISES = {f"noise{state}": partial(ser.distortions.add_noise, snr_db=20, random_state=state) for state in (1, 2)}


def trained(name: str, split: Split, lesson: Any, folder: Path) -> ser.predictions.AnyVoter:
    """Return the run of a network on a split, trained or found."""
    on = lesson.backbone("frozen") if name in HEADS else None
    if name == "parallel-transformer":
        split = ser.with_copies(split, NOISES, folder)
    recipe = replace(RECIPE, epochs=EPOCHS[name], eval_every=65 if len(split.train) < 2000 else 195)
    return ser.fine_tune(ser.network(name, on=on), split, recipe, lesson.runs)


def svm(split: Split) -> pd.DataFrame:
    """Return what the SVM of notebook 02 says of a test part."""
    features = ser.acoustic_features(pd.concat([part for _, part in split.parts()]))
    shares = svm_of(split, features).predict_proba(features.loc[split.test.index])
    return ser.predictions.make(split.test, shares, split.labels, "test", corpus=split.attrs["name"])


def keep(name: str, protocol: str, split: Split, voter: Any, seconds: float) -> None:
    """Add what a network said and cost to the committed tables."""
    frame = getattr(voter, "predictions", voter)
    said = frame[frame["part"] == "test"].set_index("clip")["predicted"]
    path = RESULTS / f"networks-{protocol}.csv"
    table = split.test[["actor", "emotion"]].rename_axis("clip")
    if path.exists():
        table = pd.read_csv(path, index_col="clip", dtype=str)
    with atomic_path(path) as target:
        table.assign(**{name: said.reindex(table.index)}).to_csv(target, lineterminator="\n")
    info = getattr(voter, "info", {})
    validation = frame[frame["part"] == "validation"]
    row = {
        "parameters": info.get("parameters"),
        "trained": info.get("trainable_parameters"),
        "epochs": EPOCHS.get(name),
        "validation": round((validation["predicted"] == validation["emotion"]).mean(), 4) if len(validation) else None,
    }
    path = RESULTS / "networks.csv"
    costs = pd.read_csv(path, index_col=["network", "protocol"]) if path.exists() else pd.DataFrame()
    known = costs.loc[(name, protocol), "cpu_seconds"] if (name, protocol) in costs.index else seconds
    row["cpu_seconds"] = round(max(seconds, known))  # a run that was loaded took none
    fresh = pd.DataFrame([row], index=pd.MultiIndex.from_tuples([(name, protocol)], names=["network", "protocol"]))
    if (name, protocol) in costs.index:
        costs = costs.drop(index=[(name, protocol)])
    with atomic_path(path) as target:
        pd.concat([costs, fresh]).to_csv(target, lineterminator="\n")


def cnn14_seconds() -> float:
    """Return the seconds of one core that CNN-14 takes for 16 clips of 3 s, there and back."""
    model = ser.networks.load(ser.network("cnn14"), ser.EMOTIONS, pretrained=False).train()
    start = time.process_time()
    model(torch.zeros(16, 64, 301), labels=torch.zeros(16, dtype=torch.long)).loss.backward()
    return time.process_time() - start


def main() -> None:
    lesson = ser.start("laptop")
    corpus = lesson.corpus()
    splits = {
        "known": ser.stratified_split(corpus, test_size=0.2, random_state=101),
        "new": ser.actor_folds(corpus, "luna-jimenez")[0],
    }
    with TemporaryDirectory() as folder:
        systems: dict[str, Callable[[Split], Any]] = {
            "svm": svm,
            "probe": lambda split: ser.probe(lesson.backbone("frozen"), split, lesson.probe_recipe, lesson.runs),
        }
        systems |= {name: partial(trained, name, lesson=lesson, folder=Path(folder)) for name in EPOCHS}
        for name, train in systems.items():
            for protocol, split in splits.items():
                start = time.process_time()
                voter = train(split)
                keep(name, protocol, split, voter, time.process_time() - start)
                value, low, high = ser.intervals(voter).loc["accuracy"]
                print(f"{name:22}{protocol:6} accuracy {value:.1%}  ({low:.1%} to {high:.1%})", flush=True)
    print(f"CNN-14: {cnn14_seconds():.0f} s of one core for one step of 16 clips")


if __name__ == "__main__":
    main()
