"""Write what the page "Speak to the book" listens with: `python scripts/live.py FOLDER`.

The trained voters of profile mini as ONNX files, some clips that none of them learned from, and voters.json, which says
what they are. Where notebook 02 was run with profile laptop as well, its frozen Whisper, which learned from people,
comes with them. A voter is exported once: the file is kept in the cache under the key of its run. Where nothing is
trained yet, the folder gets a voters.json without voters, and the page says so.
"""

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pandas as pd

from serlib.data.ravdess import STATEMENTS, mini
from serlib.errors import SerlibError
from serlib.files import atomic_path, cache_dir, key_of
from serlib.judge import predictions
from serlib.judge.voting import soft_vote
from serlib.lesson import start
from serlib.show.plots import EMOTION_COLORS
from serlib.train.backbones import SIX
from serlib.train.export import CODE
from serlib.train.run import Run, load_run

PROFILE, PRECISION = "mini", "int8"
PEOPLE = "laptop"  # the profile whose frozen encoder learned from people
SPLIT = 3  # clips on which the voters disagree
SURE = 0.9  # share of right answers, on validation clips, from which the page's threshold starts


def trained() -> list[Run]:
    """The six twins' runs that are there with their weights."""
    runs = start(PROFILE).runs
    found = []
    for key in SIX:
        try:
            found.append(load_run(runs / "stratified" / f"{key}-mini"))
        except SerlibError:
            continue  # not trained yet
    return [run for run in found if (run.folder / "checkpoint").is_dir()]


def taught_by_people() -> Run | None:
    """The frozen encoder of the laptop's notebook 02, if its weights are there."""
    lesson = start(PEOPLE)
    try:
        run = load_run(lesson.runs / "stratified" / f"{lesson.backbone('frozen').key}-probe")
    except SerlibError:
        return None
    return run if (run.folder / "checkpoint").is_dir() else None


def exported(run: Run) -> Path:
    """The run as an ONNX file in the cache."""
    depends = {"run": run.info["key"], "precision": PRECISION, "code": CODE}
    path = cache_dir() / "onnx" / f"{key_of(depends)}.onnx"
    return path if path.is_file() else run.export_onnx(path, PRECISION)


def described(run: Run, fresh: Path) -> dict[str, object]:
    """Put a voter into the page's folder, and say what it is."""
    file = f"models/{run.info['backbone']}.onnx"
    shutil.copyfile(exported(run), fresh / file)
    return {
        "title": run.info["title"].replace(" (mini twin)", "").replace(", frozen", ""),
        "file": file,
        "bytes": (fresh / file).stat().st_size,
        "trim": run.info["recipe"]["trim"],
        "voices": run.info["corpus"],
    }


def cost_of(runs: list[Run]) -> dict[str, Any]:
    """At each threshold of the soft vote, 0 to 100 %: how many validation clips get an answer, and how many of these
    answers are right."""
    rows = predictions.rows_of(soft_vote(runs), "validation")
    sure, right = predictions.probabilities(rows).max(1), (rows["predicted"] == rows["emotion"]).to_numpy()
    answered = [sure >= percent / 100 for percent in range(101)]
    return {
        "clips": len(rows),
        "answered": [int(kept.sum()) for kept in answered],
        "right": [int(right[kept].sum()) for kept in answered],
    }


def threshold_of(cost: dict[str, Any]) -> float:
    """From where nine of ten answers are right, of what ``cost_of`` has counted."""
    kept, right = cost["answered"], cost["right"]
    return next((at for at in range(20, 90, 5) if kept[at] and right[at] >= SURE * kept[at]), 50) / 100


def split_on(runs: list[Run]) -> list[str]:
    """The validation clips with the most different first choices; of equals, those with the least sure vote."""
    *frames, vote = [frame.set_index("clip") for frame in predictions.align([*runs, soft_vote(runs)], "validation")]
    choices = pd.concat([frame["predicted"] for frame in frames], axis=1).nunique(axis=1)
    order = pd.DataFrame({"choices": choices, "sure": predictions.probabilities(vote).max(1)})
    order = order[choices > 1].sort_values(["choices", "sure"], ascending=[False, True])
    return list(order.index[:SPLIT])


def clips_of(chosen: pd.DataFrame, folder: Path) -> list[dict[str, str]]:
    """Copy clips into the page's folder, and say what they are."""
    folder.mkdir(exist_ok=True)
    found = []
    for clip, row in chosen.iterrows():
        shutil.copyfile(row["path"], folder / f"{clip}.wav")
        said = STATEMENTS[row["statement"] - 1]
        found.append({"file": f"clips/{clip}.wav", "emotion": row["emotion"], "words": said, "actor": row["actor"]})
    return found


def main(target: Path) -> None:
    runs = trained()
    with atomic_path(target, folder=True) as fresh:
        facts: dict = {"voters": [], "clips": []}
        if len(runs) >= 3:
            (fresh / "models").mkdir()
            corpus, people, cost = mini(), taught_by_people(), cost_of(runs)
            test = corpus[corpus.index.isin(runs[0].predictions.query("part == 'test'")["clip"])]
            facts = {
                "voters": [described(run, fresh) for run in runs],
                "people": people and described(people, fresh),
                "labels": list(runs[0].info["labels"]),
                "colors": EMOTION_COLORS,
                "threshold": threshold_of(cost),
                "cost": cost,
                # One of each emotion that no voter has learned from, and those that they quarrel about.
                "clips": clips_of(test.sample(frac=1, random_state=5).groupby("emotion").head(1), fresh / "clips"),
                "split": clips_of(corpus.loc[split_on(runs)], fresh / "clips"),
            }
        (fresh / "voters.json").write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
