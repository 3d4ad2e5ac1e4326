"""Write the sounds of the landing page: one synthetic sentence in eight emotions, `python scripts/speak_samples.py`."""

from pathlib import Path

import serlib as ser
from serlib.files import atomic_path

PAGE = Path(__file__).resolve().parents[1] / "book" / "sounds.html"


def main() -> None:
    corpus = ser.mini()
    one = corpus.query("actor == '12' and statement == 1 and repetition == 1")
    # Strong where there is strong: a loudspeaker in a train should be enough to hear the difference.
    rows = one.sort_values(["emotion", "intensity"]).drop_duplicates("emotion", keep="last")
    players = "".join(ser.player(row.path, row.emotion).data for row in rows.itertuples())
    grid = "display:grid;grid-template-columns:repeat(auto-fill,minmax(9em,1fr));gap:0 1.5em;margin:1em 0"
    with atomic_path(PAGE) as path:
        path.write_text(f'<div style="{grid}">{players}</div>\n', encoding="utf-8")


if __name__ == "__main__":
    main()
