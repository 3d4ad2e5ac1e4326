"""Numbers in prose: one that claims a result of ours names the predictions it comes from, and agrees with them.

The name is a comment behind the number, which no reader sees, in a chapter, a README or a notebook's Markdown:
``76.1 % <!-- results/laptop/luna-jimenez-fold*/whisper-tiny.en-probe accuracy -->``. A star stands for the digit of a
fold, and pools the folds.
"""

import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from serlib.judge import metrics, predictions

ROOT = Path(__file__).parents[2]
# A quiz and an exercise make their numbers up.
PAGES = [
    *(page for page in sorted((ROOT / "book").glob("*.md")) if not page.stem.startswith("quiz_")),
    ROOT / "README.md",
    ROOT / "results" / "README.md",
    *sorted((ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb")),
]
INVENTED = re.compile(
    r"^( *)(`{3,}|~{3,}).*?^\1\2|<details.*?</details>|^#+ Exercise.*?(?=^#|\Z)", re.MULTILINE | re.DOTALL
)
# What a command prints from committed answers stands between two comments, as it was printed.
PRINTED = re.compile(r"<!-- printed by (scripts/\S+\.py.*?) -->\n(.*?)\n<!-- until here -->", re.DOTALL)
MEASURES = {"accuracy": metrics.accuracy, "UAR": metrics.unweighted_average_recall}
CLAIM = re.compile(r"(\d+(?:\.\d+)?)(?: %)?(?: accuracy| UAR)? ?<!-- results/(\S+) (accuracy|UAR) -->")
NUMBER = re.compile(r"\d(?: ?%| points?\b)")
OURS = re.compile(
    r"\b(?:ours?|laptop|mini|whisper[- ]tiny|tiny\.en|frozen|probes?|we (?:measured?|reach(?:ed)?|got|get|found))\b",
    re.IGNORECASE,
)
SOURCED = re.compile(r"\{cite|doi\.org|arxiv\.org|\bpaper\b")


def sentences(text: str) -> list[str]:
    """The sentences of Markdown, and the rows of its tables."""
    found = []
    for paragraph in re.split(r"\n\s*\n", text):
        if paragraph.lstrip().startswith("|"):
            found += paragraph.splitlines()
        else:
            found += re.split(r"(?<=[.!?:;])\s+(?=[^a-z\d<])", " ".join(paragraph.split()))
    return found


@cache
def measured(where: str, measure: str) -> float:
    """A measure of the committed test predictions in a folder of results/, or of those in several, pooled."""
    files = sorted((ROOT / "results").glob(f"{where.replace('*', '[0-9]')}/predictions.csv"))
    assert files, f"results/{where} has no predictions"
    return MEASURES[measure](predictions.pool([predictions.read(file) for file in files], where))


def faults(text: str) -> list[str]:
    """What is wrong with the numbers of a page, as sentences."""
    found = []
    for printed, where, measure in CLAIM.findall(text):
        decimals = len(printed.partition(".")[2])
        true = f"{100 * measured(where, measure):.{decimals}f}"
        if printed != true:
            found.append(f"results/{where} has {measure} {true} %, and the text says {printed} %")
    if (named := text.count("<!-- results/")) != (known := len(CLAIM.findall(text))):
        found.append(f"{named - known} comments of results/ stand behind no number, or name no measure")
    for sentence in sentences(text):
        bare = CLAIM.sub("", sentence)
        if NUMBER.search(bare) and OURS.search(bare) and not SOURCED.search(bare):
            found.append(f"whose result is this? Put <!-- results/... accuracy --> behind the number: {sentence[:200]}")
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: f"{page.parent.name}/{page.stem}")
def test_numbers_in_prose_agree_with_the_committed_results(page, markdown):
    assert faults(PRINTED.sub("", INVENTED.sub("", markdown(page)))) == []


def test_what_a_command_printed_it_prints_today(markdown):
    blocks = [block for page in PAGES for block in PRINTED.findall(markdown(page))]
    assert blocks
    for command, text in blocks:
        run = subprocess.run([sys.executable, *command.split()], cwd=ROOT, capture_output=True, text=True, check=True)
        assert run.stdout.strip() == text


def test_results_are_claimed_somewhere(markdown):
    assert sum(len(CLAIM.findall(INVENTED.sub("", markdown(page)))) for page in PAGES) >= 4


def test_a_wrong_and_a_bare_number_are_found():
    where = "laptop/stratified/whisper-tiny.en-probe"
    true = f"{100 * measured(where, 'accuracy'):.1f}"
    mark = f"<!-- results/{where} accuracy -->"
    assert faults(f"The probe reaches {true} % {mark} on RAVDESS.") == []
    assert faults(f"| Whisper tiny.en | {true} % accuracy {mark} |") == []
    assert f"has accuracy {true} %" in faults(f"It reaches 12.3 % {mark}.")[0]
    assert "whose result" in faults("The frozen probe reaches 76.1 % on unseen voices.")[0]
    assert "whose result" in faults(f"Laptop: {true} % {mark}, and with a vote 3 points more.")[0]
    assert "stand behind no number" in faults(f"Good. {mark}")[0]
    assert "stand behind no number" in faults(f"{true} % <!-- results/{where} acuracy -->")[0]
    assert faults("In the paper, HuBERT has 92 %, ours is not shown. Mini is small. It is 3 % of all.") == []
    with pytest.raises(AssertionError, match="has no predictions"):
        faults("90 % <!-- results/laptop/nowhere/nothing accuracy -->")
