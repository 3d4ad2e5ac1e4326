"""What all checks of exercises share: how an answer is taken, what is wrong with it, and the one line that says so.

A check wears ``@exercise(hint)``, returns the sentence of a right answer, and raises ``NotYet`` with the sentence of
any other. It may trust nothing about its answer but that there is one.

Many checks run in a page of the site too, where there is Python and nothing else. So what needs numpy or pandas imports
them itself, here and in the files of the checks.
"""

import functools
import inspect
import math
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

TOLERANCE = 0.00075  # an answer with three decimals is right, also where something was rounded on the way
Mistakes = Iterable[tuple[Any, str]]
"""Pairs: what a usual mistake gives, and the sentence that names the mistake."""


class NotYet(Exception):
    """The answer is not right; the sentence says why."""


def exercise(hint: str) -> Callable[[Callable[..., str]], Callable[..., bool]]:
    """Turn a check into one that prints "Right: ...", "Not yet: ..." or, for no answer, a hint, and never raises.

    The mark is plain text, so that a screen reader reads it and no color is needed. No answer is None, ``...`` or a
    function of nothing but ``...``. What a check needs to know of the notebook (the truth, the size of the test part)
    comes after the answer.

    Parameters
    ----------
    hint
        What is to be given: a sentence that begins small.

    Returns
    -------
    Callable
        A decorator; what it decorates returns whether the answer is right.

    Examples
    --------
    >>> from serlib.exercises.verdicts import NotYet, exercise, number
    >>> @exercise("give the number of emotions.")
    ... def emotions(answer):
    ...     if number(answer) != 8:
    ...         raise NotYet("count calm and surprised too.")
    ...     return "eight."
    >>> emotions(6)
    Not yet: count calm and surprised too.
    False
    >>> emotions(8)
    Right: eight.
    True
    """

    def decorate(check: Callable[..., str]) -> Callable[..., bool]:
        @functools.wraps(check)
        def answered(answer: Any = None, *known: Any) -> bool:
            if _is_untouched(answer):
                print("Not answered yet: your function returns nothing so far; write your code where ... stands.")
                return False
            if _is_nothing(answer):
                print(f"Not answered yet: {hint}")
                return False
            try:
                print(f"Right: {check(answer, *known)}")
                return True
            except NotYet as why:
                print(f"Not yet: {why}")
            except Exception as error:  # whatever the answer was, a check must not end the notebook
                print(f"Not yet: your answer stopped the check with {_error_text(error)} - {hint}")
            return False

        return answered

    return decorate


def _is_nothing(answer: Any) -> bool:
    return answer is None or answer is ...


def _is_untouched(answer: Any) -> bool:
    """Return whether this is a function as the notebook left it: nothing but ``return ...``."""
    code = answer.__code__ if inspect.isfunction(answer) else None
    return code is not None and ... in code.co_consts and not code.co_names and code.co_nlocals == code.co_argcount


def _error_text(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".rstrip(": ")


def kind_of(answer: Any) -> str:
    """Return what an answer is in words.

    Examples
    --------
    >>> from serlib.exercises.verdicts import kind_of
    >>> kind_of(3), kind_of("calm"), kind_of(...)
    ('an int', 'a str', 'nothing')
    """
    if _is_nothing(answer):
        return "nothing"
    name = type(answer).__name__
    return f"{'an' if name[0].lower() in 'aeiou' else 'a'} {name}"


# --- what is given ---


def number(answer: Any, wanted: str = "one number is wanted", giver: str = "you") -> float:
    """Return an answer as a finite number, also out of an array of one; a truth value and a text are none.

    Parameters
    ----------
    answer
        What a student gave.
    wanted
        How the sentence begins for anything else.
    giver
        Who gave it, in that sentence.

    Raises
    ------
    NotYet
        For what is no finite number.

    Examples
    --------
    >>> import numpy as np
    >>> from serlib.exercises.verdicts import number
    >>> number(np.array([0.5]))
    0.5
    >>> number("half")
    Traceback (most recent call last):
    serlib.exercises.verdicts.NotYet: one number is wanted; you gave a str.
    """
    value = _number(answer)
    if value is None:
        raise NotYet(f"{wanted}; {giver} gave {kind_of(answer)}.")
    return value


def numbers(answer: Any, n: int, wanted: str, giver: str = "you") -> tuple[float, ...]:
    """Return exactly ``n`` finite numbers out of a list, tuple, array or Series.

    Raises
    ------
    NotYet
        For anything else; ``wanted`` and ``giver`` as in ``number``.

    Examples
    --------
    >>> from serlib.exercises.verdicts import numbers
    >>> numbers([0.9, 1], 2, "a pair is wanted")
    (0.9, 1.0)
    """
    values = [_number(value) for value in sequence(answer, n, wanted, giver)]
    found = tuple(value for value in values if value is not None)
    if len(found) < n:
        odd = list(answer)[values.index(None)]
        what = kind_of(odd)
        if "float" in type(odd).__name__:
            what = "not finite"
        raise NotYet(f"{wanted}; one of them is {what}.")
    return found


def sequence(answer: Any, n: int, wanted: str, giver: str = "you") -> list[Any]:
    """Return the ``n`` things of a list, tuple, array or Series; a text, a dictionary and a set are none.

    Raises
    ------
    NotYet
        For anything else; ``wanted`` and ``giver`` as in ``number``.

    Examples
    --------
    >>> from serlib.exercises.verdicts import sequence
    >>> sequence(("happy", 0.7), 2, "a pair is wanted")
    ['happy', 0.7]
    """
    if isinstance(answer, (str, bytes, Mapping, set, frozenset)) or not hasattr(answer, "__len__"):
        raise NotYet(f"{wanted}; {giver} gave {kind_of(answer)}.")
    if len(answer) != n:
        raise NotYet(f"{wanted}; {giver} gave {kind_of(answer)} of {len(answer)}.")
    return list(answer)


def _number(answer: Any) -> float | None:
    if getattr(answer, "size", None) == 1:  # an array of one, a number or a truth value of numpy, a Series of one
        answer = answer.item()
    if isinstance(answer, (bool, str, bytes)):
        return None
    try:
        value = float(answer)
    except (TypeError, ValueError, OverflowError):
        return None
    return value if math.isfinite(value) else None


def letters(answer: Any, known: str) -> set[str]:
    """Return the letters of an answer like {"a", "c"} or "ac".

    Raises
    ------
    NotYet
        For anything but letters of those ``known``.

    Examples
    --------
    >>> from serlib.exercises.verdicts import letters
    >>> sorted(letters({"a", "C"}, "abcde"))
    ['a', 'c']
    """
    given = [letter for letter in answer if letter not in " ,"] if isinstance(answer, str) else answer
    if isinstance(given, (set, frozenset, list, tuple)):
        found = {str(letter).strip().lower() for letter in given}
        if found <= set(known):
            return found
    raise NotYet(f"a set of letters from {known[0]} to {known[-1]} is wanted; you gave {kind_of(answer)}.")


def called(function: Any, *arguments: Any, where: str = "") -> Any:
    """Return what a student's function gives for these arguments; ``where`` begins the sentence of its failure.

    Raises
    ------
    NotYet
        For what is no function, and for one that stops.

    Examples
    --------
    >>> from serlib.exercises.verdicts import called
    >>> called(max, [0.2, 0.7])
    0.7
    """
    if not callable(function):
        raise NotYet(f"give the function itself, without calling it; you gave {kind_of(function)}.")
    try:
        return function(*arguments)
    except Exception as error:
        raise NotYet(f"{where}your function stopped with {_error_text(error)}.") from error


def result_of(function: Any, *arguments: Any, where: str = "") -> Any:
    """Return what a student's function gives, which must be something.

    Raises
    ------
    NotYet
        As ``called`` does, and for a function that gives nothing.

    Examples
    --------
    >>> from serlib.exercises.verdicts import result_of
    >>> result_of(print)
    Traceback (most recent call last):
    serlib.exercises.verdicts.NotYet: your function gave nothing; is a return missing?
    """
    given = called(function, *arguments, where=where)
    if _is_nothing(given):
        raise NotYet(f"{where}your function gave nothing; is a return missing?")
    return given


def array_of(function: Any, *arguments: Any) -> "np.ndarray":
    """Return what a student's function gives as an array of numbers.

    Raises
    ------
    NotYet
        As ``result_of`` does, and for what are no numbers.

    Examples
    --------
    >>> from serlib.exercises.verdicts import array_of
    >>> array_of(sorted, [3, 1])
    array([1., 3.])
    """
    import numpy as np

    given = result_of(function, *arguments)
    try:
        return np.asarray(given, dtype=float)
    except (TypeError, ValueError, OverflowError) as error:
        raise NotYet(f"your function should return numbers; it gave {kind_of(given)}.") from error


# --- what is wrong with it ---


def _plain(value: Any) -> Any:
    """Return a number as a float, and an array, a Series, a list or a tuple as a list of such."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    return list(map(_plain, value)) if isinstance(value, (list, tuple)) else float(value)


def near(given: Any, value: Any, tolerance: float = TOLERANCE, share: float | None = None) -> bool:
    """Return whether numbers, or all numbers of arrays of one shape, are within a tolerance of each other.

    ``share`` is that tolerance as a share of each number of ``value``.

    Examples
    --------
    >>> from serlib.exercises.verdicts import near
    >>> near((0.97, 0.5), (0.9702, 0.5)), near(0.97, 97)
    (True, False)
    """
    given, value = _plain(given), _plain(value)
    if isinstance(given, list) and isinstance(value, list):
        pairs = zip(given, value, strict=False)
        return len(given) == len(value) and all(near(one, other, tolerance, share) for one, other in pairs)
    if isinstance(given, list) or isinstance(value, list):
        return False
    return abs(given - value) <= (tolerance if share is None else share * abs(value))


def reason(
    given: Any, mistakes: Mistakes, otherwise: str, tolerance: float = TOLERANCE, share: float | None = None
) -> str:
    """Return the sentence of the first mistake that gives just this, ``otherwise`` where none does.

    Parameters
    ----------
    given
        The answer, a number or an array.
    mistakes
        Pairs: what a usual mistake gives, and its sentence.
    otherwise
        The sentence for any other answer.
    tolerance
        How far from it an answer still is "just this".
    share
        That distance as a share of what the mistake gives, where that may be percents or bytes as well as shares of 1.

    Examples
    --------
    >>> from serlib.exercises.verdicts import reason
    >>> reason(12.5, [(12.5, "that is a percentage.")], "average the eight recalls.")
    'that is a percentage.'
    """
    for value, sentence in mistakes:
        if near(given, value, tolerance, share):
            return sentence
    return otherwise


def settle(
    given: Any,
    truth: Any,
    right: str,
    mistakes: Mistakes,
    otherwise: str,
    tolerance: float = TOLERANCE,
    share: float | None = None,
) -> str:
    """Return the sentence ``right`` for an answer that is the truth.

    The other parameters are those of ``reason``; ``tolerance`` holds for the truth too.

    Raises
    ------
    NotYet
        For any other answer, with what it is.

    Examples
    --------
    >>> from serlib.exercises.verdicts import settle
    >>> settle(0.1253, 1 / 8, "one of eight.", [], "average the eight recalls.")
    'one of eight.'
    """
    if near(given, truth, tolerance):
        return right
    raise NotYet(reason(given, mistakes, otherwise, tolerance, share))


def settle_letters(answer: Any, truth: str, right: str, why: Mapping[str, str]) -> str:
    """Return ``right`` for the letters of ``truth``, of all that are the keys of ``why``.

    ``why`` says, in the order in which it is asked, why a letter belongs to the answer or does not.

    Raises
    ------
    NotYet
        For other letters, with the first that is missing or too many.

    Examples
    --------
    >>> from serlib.exercises.verdicts import settle_letters
    >>> settle_letters("ab", "a", "yes.", {"a": "a is a leak", "b": "b is none"})
    Traceback (most recent call last):
    serlib.exercises.verdicts.NotYet: one too many: b is none.
    """
    given = letters(answer, "".join(sorted(why)))
    for letter, sentence in why.items():
        if (letter in given) != (letter in truth):
            raise NotYet(f"{'one is missing' if letter in truth else 'one too many'}: {sentence}.")
    return right
