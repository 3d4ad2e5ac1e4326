"""The networks of notebook 15 on real voices: `python scripts/networks.py [NAME ...]`, with RAVDESS_DIR, SERLIB_MODELS.

Each network is trained twice on RAVDESS: on the paper's random split, and without the five actors of the first fold of
Luna-Jiménez, whose voices are then new to it. Validation chooses the step. What each said of the test clips goes to
results/laptop/answers after every network (networks-known.csv, networks-new.csv, a row a clip and a column a network),
and what it cost to networks-costs.csv; there is no sound in them. Two hours of one core, or what NAME takes; a finished
run is loaded. `--table` prints what they said, as book/wider_field.md shows it.
"""

import sys
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd
from three_splits import svm

import serlib as ser
from results import write
from serlib.data.splits import Split
from serlib.errors import nearest
from serlib.train.run import Run

RESULTS = Path(__file__).parents[1] / "results" / "laptop" / "answers"
# In the order of their cost; epochs so few that each stays within a quarter of an hour of one core
EPOCHS = {
    "mlp": 40,
    "downstream": 40,
    "cycle-graph": 120,
    "learned-graph": 120,
    "mel-cnn": 60,
    "parallel-attention": 40,
    "parallel-transformer": 12,
    "cnn14": 2,
}
HEADS = ("mlp", "downstream")
FROM = {
    "svm": "SVM on hand-made features (notebook 02)",
    "mel-cnn": "mel CNN, the usual beginning",
    "cycle-graph": "cycle graph of frames {cite}`shirian2021compact`",
    "learned-graph": "learned graph {cite}`shirian2022lgrin`",
    "parallel-attention": "parallel CNN + attention {cite}`bautista2022parallel`",
    "parallel-transformer": "parallel CNN + transformer {cite}`zenkov2020parallel,han2021parallel`",
    "cnn14": "CNN-14 of PANNs {cite}`kong2020panns`, from nothing",
    "mlp": "frozen Whisper tiny.en + MLP {cite}`lunajimenez2022aural`",
    "downstream": "frozen Whisper tiny.en + downstream head {cite}`morais2022features`",
    "probe": "frozen Whisper tiny.en, linear head on all layers (notebook 02)",
}
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
    # 80 million weights, none of them AudioSet's: half precision, and few looks, which save 1 GB each
    if name == "cnn14":
        recipe = replace(recipe, precision="auto", pretrained=False, eval_every=72)
    return ser.fine_tune(ser.network(name, on=on), split, recipe, lesson.runs)


def keep(name: str, protocol: str, split: Split, voter: Any, seconds: float) -> None:
    """Add what a network said and cost to the committed tables."""
    frame = voter.predictions if isinstance(voter, Run) else voter
    said = frame[frame["part"] == "test"].set_index("clip")["predicted"]
    _add(RESULTS / f"networks-{protocol}.csv", split.test[["actor", "emotion"]].rename_axis("clip"), name, said)
    cost = {"core seconds": round(seconds), "epochs": EPOCHS.get(name, ""), "validation": ""}
    if isinstance(voter, Run):
        own = frame[frame["part"] == "validation"]
        cost["validation"] = round((own["predicted"] == own["emotion"]).mean(), 4)
        cost["weights"] = voter.info["trainable_parameters"]
    note(f"{name}, {protocol}", cost)


def note(name: str, cost: dict[str, Any]) -> None:
    """Add what was paid for a network to the table of costs; a run that was only loaded now keeps what it had cost."""
    path, column = RESULTS / "networks-costs.csv", pd.Series(cost).astype(str)
    before = pd.read_csv(path, index_col="what", dtype=str, keep_default_na=False) if path.exists() else pd.DataFrame()
    if name in before and before[name].get("epochs") == column.get("epochs"):  # else it was trained another time
        column["core seconds"] = max(before[name]["core seconds"], column["core seconds"], key=float)
    _add(path, pd.DataFrame(index=pd.Index([*column.index], name="what")), name, column)


def _add(path: Path, empty: pd.DataFrame, name: str, column: pd.Series) -> None:
    """Write a column into a table, which is begun where there is none."""
    table = pd.read_csv(path, index_col=0, dtype=str, keep_default_na=False) if path.exists() else empty
    table = table.reindex([*table.index, *(row for row in empty.index if row not in table.index)])
    write(table.assign(**{name: column.reindex(table.index)}).rename_axis(empty.index.name), path)


def table() -> str:
    """Return the right answers of the committed tables as Markdown, in percent with Wilson's 95 % interval."""
    lines = ["| system | known voices | new voices |", "|---|---|---|"]
    said = [pd.read_csv(RESULTS / f"networks-{protocol}.csv", dtype=str) for protocol in ("known", "new")]
    for name, words in FROM.items():
        right = [(int((one[name] == one["emotion"]).sum()), len(one)) for one in said]
        shares = [(count / clips, *ser.wilson_interval(count, clips)) for count, clips in right]
        # no-break spaces, for an interval is read in one piece
        cells = [f"{100 * share:.1f} ({100 * low:.0f}\xa0to\xa0{100 * high:.0f})" for share, low, high in shares]
        lines.append(f"| {words} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main(names: list[str]) -> None:
    """Train the systems of these names, all for none, and keep what they say."""
    known = ["svm", "probe", *EPOCHS]
    if unknown := [name for name in names if name not in known]:
        sys.exit(f"There is no system called {unknown[0]} here; {nearest(unknown[0], known)}")
    lesson = ser.start("laptop")
    corpus = lesson.corpus()
    splits = {
        "known": ser.stratified_split(corpus, test_size=0.2, random_state=101),
        "new": ser.actor_folds(corpus, "luna-jimenez")[0],
    }
    with TemporaryDirectory() as folder:
        systems: dict[str, Callable[[Split], Any]] = {
            "svm": lambda split: svm(split, ser.acoustic_features(corpus)),
            "probe": lambda split: ser.probe(lesson.backbone("frozen"), split, lesson.probe_recipe, lesson.runs),
        }
        systems |= {name: partial(trained, name, lesson=lesson, folder=Path(folder)) for name in EPOCHS}
        for name in names or systems:
            for protocol, split in splits.items():
                start = time.process_time()
                voter = systems[name](split)
                keep(name, protocol, split, voter, time.process_time() - start)
                value, low, high = ser.intervals(voter).loc["accuracy"]
                print(f"{name:22}{protocol:6} accuracy {value:.1%}  ({low:.1%} to {high:.1%})", flush=True)


if __name__ == "__main__":
    print(table()) if sys.argv[1:] == ["--table"] else main(sys.argv[1:])
