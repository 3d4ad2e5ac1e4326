"""The one error that serlib raises for a reader's mistake, and the hint that goes with it."""

import sys
from collections.abc import Iterable
from difflib import get_close_matches
from numbers import Real
from typing import Any


class SerlibError(ValueError):
    """One readable sentence: what is wrong, where, and what to do about it.

    It is a ValueError, and the only one that a reader's mistake raises.

    Examples
    --------
    >>> try:
    ...     ser.parse_name("hello")
    ... except ser.SerlibError as error:
    ...     print(error)
    hello is not a RAVDESS name; it should look like 03-01-06-01-02-01-12.
    """


def demand(given: object, kind: Any, what: str, maker: str) -> None:
    """Raise SerlibError where something given is of another kind than it should be.

    Examples
    --------
    >>> from serlib.errors import demand
    >>> demand(3, str, "name", "write one like 'Ada'")
    Traceback (most recent call last):
    serlib.errors.SerlibError: The name is an int; write one like 'Ada'.
    """
    if not isinstance(given, kind):
        name = type(given).__name__
        raise SerlibError(f"The {what} is a{'n' * (name[0] in 'aeiouAEIOU')} {name}; {maker}.")


def is_number(given: Any) -> bool:
    """Whether this is one finite number, of Python or of numpy; True and False are none.

    Examples
    --------
    >>> import numpy as np
    >>> from serlib.errors import is_number
    >>> [is_number(given) for given in (2, np.float32(0.5), True, float("nan"), "2")]
    [True, True, False, False, False]
    """
    if not isinstance(given, Real) or isinstance(given, bool):
        return False
    size: Any = abs(given)  # numbers.Real promises no order to type checkers
    return bool(size <= sys.float_info.max)


def nearest(name: str, names: Iterable[str]) -> str:
    """Return the end of a sentence that offers the nearest known names to a mistyped one.

    Examples
    --------
    >>> from serlib.errors import nearest
    >>> nearest("hubert_base", ["hubert-base", "whisper-tiny.en"])
    'did you mean hubert-base?'
    """
    known = list(names)
    close = get_close_matches(name, known, n=3, cutoff=0.5)
    shown = [repr(one) if one != one.strip() else one for one in close or known]  # a space at an end is seen in quotes
    return f"did you mean {' or '.join(shown)}?" if close else f"known names are {', '.join(shown)}."


def in_short(given: object) -> str:
    """Return a value as code has it, on one line and of at most 60 characters, for a sentence.

    Examples
    --------
    >>> from serlib.errors import in_short
    >>> in_short(["03-01", None])
    "['03-01', None]"
    """
    return " ".join(repr(given).split())[:60]
