"""Beside its listeners, a model: `python scripts/listeners.py EMODB`, with the folder of the Berlin Database.

A frozen Whisper tiny.en (SERLIB_MODELS) is probed ten times, each time without one of the ten speakers, about five
minutes of one core. results/laptop/listeners/emodb gets what it said of each clip, and the share of listeners who
recognized the clip (Burkhardt et al. 2005, doi 10.21437/Interspeech.2005-446; the authors' own edition with these
shares, doi 10.5281/zenodo.17651657, is CC BY 4.0). Notebook 11 draws one against the other.
"""

import sys
from dataclasses import replace
from pathlib import Path

import serlib as ser
from serlib.files import atomic_path
from serlib.train.kept import keep_voter

RESULTS = Path(__file__).parents[1] / "results" / "laptop" / "listeners" / "emodb"


def main(folder: str) -> None:
    corpus, lesson = ser.load_corpus("emodb", folder), ser.start("laptop")
    runs = replace(lesson.runs, folder=lesson.runs / "listeners")  # RAVDESS has splits of the same names
    splits = ser.leave_one_actor_out(corpus)
    folds = [ser.probe(lesson.backbone("frozen"), split, lesson.probe_recipe, runs) for split in splits]
    probe = ser.pool(folds, "frozen probe, new voices")
    heard = ser.listeners(corpus)
    keep_voter(probe, RESULTS, corpus, "laptop")
    with atomic_path(RESULTS / "listeners.csv") as target:
        heard[["share"]].to_csv(target, lineterminator="\n")
    print(f"{len(probe)} clips of {corpus['actor'].nunique()} speakers: accuracy {ser.accuracy(probe):.1%}")


if __name__ == "__main__":
    main(*sys.argv[1:])
