"""Does training on distorted clips help a network that learns? `python scripts/rooms_twin.py`, on mini, no download.

The mini twin of HuBERT base is fine-tuned as it is; with copies of its training clips in white noise, in a room or
through a tanh (those of scripts/rooms.py); with SpecAugment; and with all four: on the random split, and without the
five actors of the first fold of Luna-Jiménez. Each way of teaching takes the same optimizer steps, so that whoever has
more clips hears each of them less often: four epochs of the clean clips, two with a copy of each, one with three. The
step that is kept is the last one that all of them have, and nothing is chosen. results/mini/answers gets what each said
of the test clips through six distortions, a row a clip and a column a way of teaching and of hearing. Twenty
minutes of one core; a finished run is loaded.
"""

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd
from rooms import COPIES

import serlib as ser
from results import write
from serlib.data.splits import Split
from serlib.lesson import Lesson
from serlib.train.run import Run

RESULTS = Path(__file__).parents[1] / "results" / "mini" / "answers"
EPOCHS = 4  # of the clean clips alone
MASKED = 0.15  # share of frames that SpecAugment hides: about what the large checkpoints of the book do
SPECAUGMENT = "SpecAugment"
TAUGHT = [(), *((name,) for name in (*COPIES, SPECAUGMENT)), (*COPIES, SPECAUGMENT)]
HEARD = [("white noise", "10 dB"), ("white noise", "0 dB"), ("room", "0.4 s, 2 m"), ("line", "telephone"),
         ("recorder", "tanh, 20 dB over")]  # fmt: skip


def trained(split: Split, names: tuple[str, ...], lesson: Lesson, folder: Path) -> Run:
    """Return the twin, trained on a split with these copies and masks, in as many steps as any other."""
    families, backbone = ser.distortions.everyday([]), lesson.backbone("hubert-base")
    how = {name: families[COPIES[name][0]][COPIES[name][1]] for name in names if name in COPIES}
    recipe = replace(
        lesson.recipe_for(backbone),
        epochs=EPOCHS // (1 + len(how)),
        masking=MASKED if SPECAUGMENT in names else 0.0,
        # Once: a clip or two that fill up an epoch's last step may make one step more, which is not counted
        eval_every=EPOCHS * len(split.train) // lesson.recipe.batch_size,
    )
    taught = " + ".join(names) or "clean"
    return ser.fine_tune(backbone, ser.with_copies(split, how, folder), recipe, lesson.runs, f"taught {taught}")


def main() -> None:
    lesson = ser.start("mini")
    corpus, families = lesson.corpus(), ser.distortions.everyday([])
    splits = {"known": ser.stratified_split(corpus), "new": ser.actor_folds(corpus, "luna-jimenez")[0]}
    ways = {"clean": lambda samples: samples} | {f"{family}, {name}": families[family][name] for family, name in HEARD}
    for protocol, split in splits.items():
        columns: dict[str, pd.Series] = {}
        sounds = {way: ser.distort(split.test, distortion) for way, distortion in ways.items()}
        for names in TAUGHT:
            with TemporaryDirectory() as folder:
                run = trained(split, names, lesson, Path(folder))
            for way, heard in sounds.items():
                said = ser.hear(run, split.test, heard).set_index("clip")["predicted"]
                columns[f"twin | {' + '.join(names) or 'clean'} | {way}"] = said
            print(f"{protocol} voices, {run.name}: step {run.info['best_step']} of {run.info['steps']}", flush=True)
            table = split.test[["actor", "emotion"]].join(pd.DataFrame(columns))
            write(table, RESULTS / f"rooms-{protocol}.csv")


if __name__ == "__main__":
    main()
