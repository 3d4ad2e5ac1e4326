"""Write what the page "Speak to the book" listens with: `python scripts/live.py FOLDER`.

The trained voters of profile mini as ONNX files, some clips that none of them learned from, and voters.json, which says
what they are. A voter is exported once: the file is kept in the cache under the key of its run. Where nothing is
trained yet, the folder gets a voters.json without voters, and the page says so.
"""

import json
import shutil
import sys
from pathlib import Path

import numpy as np

from serlib.data import audio
from serlib.data.ravdess import STATEMENTS, mini
from serlib.errors import SerlibError
from serlib.files import atomic_path, cache_dir, key_of
from serlib.judge import predictions
from serlib.judge.metrics import accuracy
from serlib.judge.voting import majority_vote, soft_vote
from serlib.lesson import start
from serlib.show.plots import EMOTION_COLORS
from serlib.train.backbones import SIX
from serlib.train.export import CODE
from serlib.train.run import Run, load_run

PROFILE, PRECISION = "mini", "int8"
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


def exported(run: Run) -> Path:
    """The run as an ONNX file in the cache."""
    depends = {"run": run.info["key"], "precision": PRECISION, "code": CODE}
    path = cache_dir() / "onnx" / f"{key_of(depends)}.onnx"
    return path if path.is_file() else run.export_onnx(path, PRECISION)


def threshold_of(runs: list[Run]) -> tuple[float, float]:
    """From where nine of ten answers of the soft vote are right, and the share that is answered: on validation."""
    rows = predictions.rows_of(soft_vote(runs), "validation")
    sure, right = predictions.probabilities(rows).max(1), (rows["predicted"] == rows["emotion"]).to_numpy()
    steps = [t for t in np.arange(0.2, 0.9, 0.05) if right[sure >= t].size and right[sure >= t].mean() >= SURE]
    least = float(steps[0]) if steps else 0.5
    return round(least, 2), float((sure >= least).mean())


def clips_of(run: Run, folder: Path) -> list[dict[str, str]]:
    """Copy one clip of each emotion of the run's test part, and say what they are."""
    corpus = mini()
    test = corpus[corpus.index.isin(run.predictions.query("part == 'test'")["clip"])]
    rows = test.sample(frac=1, random_state=5).groupby("emotion").head(1)
    folder.mkdir()
    found = []
    for clip, row in rows.iterrows():
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
            for run in runs:
                file = f"models/{run.info['backbone']}.onnx"
                shutil.copyfile(exported(run), fresh / file)
                facts["voters"].append({
                    "title": run.info["title"].replace(" (mini twin)", ""),
                    "file": file,
                    "bytes": (fresh / file).stat().st_size,
                    "validation": accuracy(run, "validation"),
                    "test": accuracy(run),
                })  # fmt: skip
            threshold, answered = threshold_of(runs)
            facts |= {
                "labels": list(runs[0].info["labels"]),
                "colors": EMOTION_COLORS,
                "rate": audio.RATE,
                "shortest": audio.SHORTEST,
                "voices": sorted({run.info["corpus"] for run in runs}),
                "test": {"hard": accuracy(majority_vote(runs)), "soft": accuracy(soft_vote(runs))},
                "threshold": threshold,
                "answered": answered,
                "sure": SURE,
                "clips": clips_of(runs[0], fresh / "clips"),
            }
        (fresh / "voters.json").write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
