"""Real voices through noise, rooms and telephones: `python scripts/rooms.py` (RAVDESS_DIR, SERLIB_MODELS).

The SVM of notebook 02 and the probe of Whisper tiny.en hear test clips of RAVDESS through every distortion of notebook
14: all 288 of the paper's split, and the first takes of five actors that were not heard in training (the first fold of
Luna-Jiménez). Then both are trained again beside distorted copies of their training clips, and asked again. What they
answered goes to results/laptop/answers, a row a clip and a column a voter and distortion; there is no sound in it. Half
an hour of one core; what was computed is kept in the cache, so a second run takes seconds.
"""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd
from sklearn.calibration import CalibratedClassifierCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

import serlib as ser
from results import write

RESULTS = Path(__file__).parents[1] / "results" / "laptop" / "answers"
COPIES = {"noise": ("white noise", "10 dB"), "room": ("room", "0.4 s, 2 m"), "tanh": ("recorder", "tanh, 20 dB over")}
VOICES = 24  # training clips of which babble is made


def svm_of(split: ser.splits.Split, features: pd.DataFrame) -> CalibratedClassifierCV:
    """Fit the SVM of notebook 02: its C is chosen on validation."""
    x = {name: features.loc[part.index] for name, part in split.parts()}

    def right(C: float) -> float:
        model = make_pipeline(StandardScaler(), SVC(C=C)).fit(x["train"], split.train["emotion"])
        return model.score(x["validation"], split.validation["emotion"])

    best = max((0.03, 0.1, 0.3, 1, 3, 10, 30, 100), key=right)
    model = CalibratedClassifierCV(make_pipeline(StandardScaler(), SVC(C=best)), ensemble=False)
    return model.fit(x["train"], split.train["emotion"])


def trained(split: ser.splits.Split, copies: tuple[str, ...], lesson: Any) -> dict[str, Any]:
    """Return the two voters, trained on a split that has these sets of copies."""
    clips = pd.concat([part for _, part in split.parts()])
    sets = clips.index.str.extract(f"^({'|'.join(copies)})-", expand=False).fillna("") if copies else [""] * len(clips)
    # Each set by itself, as it is measured once and then kept
    features = pd.concat([ser.acoustic_features(rows) for _, rows in clips.groupby(np.asarray(sets))])
    return {
        "SVM": svm_of(split, features),
        "probe": ser.probe(lesson.backbone("frozen"), split, lesson.probe_recipe, lesson.runs),
    }


def main() -> None:
    lesson = ser.start("laptop")
    corpus = lesson.corpus()
    fold = ser.actor_folds(corpus, "luna-jimenez")[0]
    splits = {"known": ser.stratified_split(corpus, test_size=0.2, random_state=101), "new": fold}
    asked = {"known": splits["known"].test, "new": fold.test[fold.test["repetition"] == 1]}
    clips = corpus[corpus.index.isin(asked["known"].index.union(asked["new"].index))]
    both = splits["known"].train.index.intersection(fold.train.index)
    babble = corpus.loc[both].sample(VOICES, random_state=14)
    families = ser.distortions.everyday(list(ser.distort(babble, lambda samples: samples).values()))
    distortions = {"clean": lambda samples: samples}
    distortions |= {f"{family}, {name}": how for family, settings in families.items() for name, how in settings.items()}
    recipes = [(), *((name,) for name in COPIES), tuple(COPIES)]
    answers: dict[str, dict[str, pd.Series]] = {protocol: {} for protocol in splits}
    with TemporaryDirectory() as folder:
        for names in recipes:
            taught = " + ".join(names) or "clean"
            how = {name: families[COPIES[name][0]][COPIES[name][1]] for name in names}
            voters = {
                protocol: trained(ser.with_copies(split, how, Path(folder) / protocol), names, lesson)
                for protocol, split in splits.items()
            }
            for condition, distortion in distortions.items():
                sounds = ser.distort(clips, distortion)
                for protocol, models in voters.items():
                    for voter, model in models.items():
                        said = ser.hear(model, clips, sounds).set_index("clip")["predicted"]
                        answers[protocol][f"{voter} | {taught} | {condition}"] = said
                print(f"taught {taught}: heard {condition}", flush=True)
            for protocol, columns in answers.items():
                rows = asked[protocol]
                table = rows[["actor", "emotion"]].join(pd.DataFrame(columns))
                write(table, RESULTS / f"rooms-{protocol}.csv")


if __name__ == "__main__":
    main()
