"""One word for one thing: the table of CONTRIBUTING.md, and the chapters and notebooks that keep it."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TABLE = re.search(r"^## One word for one thing\n(.*?)(?=^## |\Z)", (ROOT / "CONTRIBUTING.md").read_text(), re.M | re.S)
ROWS = [line.strip("| ").split(" | ") for line in TABLE[1].splitlines() if line.startswith("| ")][1:]
# The page of names lists what the code is called.
CHAPTERS = [page for page in sorted((ROOT / "book").glob("*.md")) if page.stem != "reference"]
PAGES = [*CHAPTERS, *sorted((ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb"))]
# What a page quotes is not its own word: code, addresses, names of files.
QUOTED = re.compile(r"```.*?```|`[^`]*`|\]\([^)]*\)|\{cite\}`[^`]*`|https?://\S+|<!--.*?-->", re.S)


def banned(text: str) -> list[str]:
    """The words of the last column that stand in a page."""
    text = QUOTED.sub(" ", text)
    words = [word for *_, last in ROWS for word in re.findall(r"`([^`]+)`", last)]
    return [word for word in words if re.search(r"\b" + word.replace(" ", r"\s+"), text, re.I)]


def test_the_table_is_read():
    assert len(ROWS) >= 8 and all(len(row) == 3 and "`" in row[2] for row in ROWS)
    assert banned("An inventory\nof sounds") == ["inventory"] and banned("the way\nback") == ["way back"]
    assert banned("`serlib.pretrain` of [this](finetune.md)") == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_uses_the_words_of_the_table(page, markdown):
    assert banned(markdown(page)) == []
