"""The one error that serlib raises for a reader's mistake, and the hint that goes with it."""

from collections.abc import Iterable
from difflib import get_close_matches


class SerlibError(ValueError):
    """One readable sentence: what is wrong, where, and what to do about it."""


def nearest(name: str, names: Iterable[str]) -> str:
    """Return the end of a sentence that offers the nearest known names to a mistyped one.

    >>> from serlib.errors import nearest
    >>> nearest("hubert_base", ["hubert-base", "whisper-tiny.en"])
    'did you mean hubert-base?'
    """
    known = list(names)
    close = get_close_matches(name, known, n=3, cutoff=0.5)
    if close:
        return f"did you mean {' or '.join(close)}?"
    return f"known names are {', '.join(known)}."


def in_short(given: object) -> str:
    """Return a value as code has it, on one line and of at most 60 characters, for a sentence.

    >>> from serlib.errors import in_short
    >>> in_short(["03-01", None])
    "['03-01', None]"
    """
    return " ".join(repr(given).split())[:60]
