"""Measure the slow steps on this machine, each from an empty cache (with RAVDESS_DIR also the real clips)."""

import os
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

try:
    import resource
except ImportError:
    sys.exit("Memory is measured as Unix counts it: run this on Linux, on a Mac, or in WSL.")


def measured(what: str, step: Callable[[], Any]) -> Any:
    """Run one step and print its seconds and this process's greatest memory so far."""
    begin = time.perf_counter()
    result = step()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{what:<52} {time.perf_counter() - begin:>8.2f} s {peak:>8.0f} MB", flush=True)
    return result


def main() -> None:
    begin = time.perf_counter()
    import serlib as ser

    print(f"{'import serlib':<52} {time.perf_counter() - begin:>8.2f} s")
    corpora = {"mini": ser.mini} | ({"RAVDESS": ser.ravdess} if os.environ.get("RAVDESS_DIR") else {})
    for name, load in corpora.items():
        corpus = measured(f"{name}: speak or find the clips", load)
        measured(f"{name}: the same again", load)
        measured(f"{name}: decode {len(corpus):,} clips", lambda corpus=corpus: ser.clips(corpus))
        measured(f"{name}: open the decoded clips again", lambda corpus=corpus: ser.clips(corpus))

    lesson = ser.start("mini")
    split = ser.stratified_split(ser.mini(), test_size=0.2, random_state=101)
    runs = []
    with tempfile.TemporaryDirectory() as folder:
        for backbone in map(lesson.backbone, ser.SIX):
            run = measured(
                f"mini: fine-tune {backbone.key}",
                lambda backbone=backbone: ser.fine_tune(backbone, split, lesson.recipe, folder),
            )
            print(f"  test accuracy {ser.accuracy(run):.1%}, UAR {ser.unweighted_average_recall(run):.1%}")
            runs.append(run)
    measured("mini: all 57 votes, 10,000 draws of the clips", lambda: ser.every_vote(runs, range(2, 7), unit="clip"))


if __name__ == "__main__":
    # Before serlib is imported: nothing that an earlier session made may make this one look fast.
    with tempfile.TemporaryDirectory() as cache:
        os.environ["SERLIB_CACHE"] = cache
        main()
