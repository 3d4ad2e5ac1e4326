"""Write the listening test of the landing page, a sentence in eight emotions: `python scripts/speak_samples.py`."""

from pathlib import Path

import serlib as ser
from serlib.files import atomic_path

PAGE = Path(__file__).resolve().parents[1] / "book" / "sounds.html"


def main() -> None:
    corpus = ser.mini()
    one = corpus.query("actor == '12' and statement == 1 and repetition == 1")
    # Strong where there is strong: a loudspeaker in a train should be enough to hear the difference.
    rows = one.sort_values(["emotion", "intensity"]).drop_duplicates("emotion", keep="last")
    # In an order of no meaning, and the same at every call.
    test = ser.listening_test(rows.sample(frac=1, random_state=3), "One sentence, eight emotions: which is it?")
    with atomic_path(PAGE) as path:
        path.write_text(test.data + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
