"""Fine-tune one backbone without a notebook: ``python -m serlib hubert-base``, or many processes of it.

``accelerate launch -m serlib hubert-base --profile paper`` uses every GPU of a machine; so does torchrun.
"""

import argparse
import os
import sys

from serlib.data.splits import stratified_split
from serlib.errors import SerlibError
from serlib.lesson import PROFILES, start
from serlib.train.backbones import SIX
from serlib.train.callbacks import TRACKERS
from serlib.train.finetuning import fine_tune
from serlib.train.run import processes


def main(arguments: list[str] | None = None) -> None:
    """Fine-tune the backbone named on the command line on the stratified split; notebooks find the run.

    Parameters
    ----------
    arguments
        What stands on the command line after ``python -m serlib``; without them, that is asked.

    Raises
    ------
    SystemExit
        With one sentence, for whatever SerlibError has to say.
    """
    parser = argparse.ArgumentParser(prog="python -m serlib", description="Fine-tune one backbone without a notebook.")
    parser.add_argument("backbone", help=f"{', '.join(SIX)}; or a model of the hub, or a folder")
    parser.add_argument("--profile", default="auto", help=f"auto, {', '.join(PROFILES)} (default: auto)")
    parser.add_argument("--epochs", type=int, help="in place of the profile's")
    parser.add_argument("--tracker", choices=TRACKERS, help="record loss and accuracy with it")
    given = parser.parse_args(arguments)
    together = processes()
    if not together.is_main_process:
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # one voice is enough
    try:
        lesson = start(given.profile, epochs=given.epochs)
        backbone = lesson.backbone(given.backbone)
        with together.local_main_process_first():  # one process of a machine downloads or speaks, the others find it
            corpus = lesson.corpus()
        split = stratified_split(corpus)
        fine_tune(backbone, split, lesson.recipe_for(backbone), lesson.runs, tracker=given.tracker)
    except SerlibError as error:
        sys.exit(f"{error}")


if __name__ == "__main__":
    main()
