"""What figures and tables of sound are given: looked at here, and what will not do is said in one sentence."""

from collections.abc import Hashable, Iterable
from typing import Any

import numpy as np
import pandas as pd
from pandas.api.types import is_numeric_dtype

from serlib.errors import SerlibError, in_short, is_number

_HIGHEST_RATE = 10_000_000  # Hz: beyond any recorder of sound, below where seconds become too short to be drawn


def table_of(given: Any, columns: Iterable[Hashable], source: str, numeric: Iterable[Hashable] = ()) -> pd.DataFrame:
    """Return a table that has rows and these columns.

    Parameters
    ----------
    given
        What a reader gave.
    columns
        Those that it must have.
    source
        Where such a table comes from: the end of the sentence of an error.
    numeric
        Columns that it must have too, as numbers.

    Returns
    -------
    DataFrame
        A copy, its numeric columns numbers.

    Raises
    ------
    SerlibError
        For anything else.

    Examples
    --------
    >>> import pandas as pd
    >>> from serlib.show.given import table_of
    >>> table_of(pd.DataFrame({"size": ["1", "2"]}), [], "sizes", numeric=["size"])["size"].tolist()
    [1.0, 2.0]
    """
    if not isinstance(given, pd.DataFrame):
        raise SerlibError(f"a {type(given).__name__} is no table; give {source}.")
    for column in (*columns, *numeric):
        count = list(given.columns).count(column)
        if count != 1:
            there = ", ".join(map(str, given.columns)) or "none"
            what = f"has {count} columns" if count else "has no column"
            raise SerlibError(f"the table {what} {column!r:.60} (its columns: {there}); give {source}.")
    if given.empty:
        raise SerlibError(f"there are no {'columns' if len(given) else 'rows'} in this table; give {source}.")
    table = given.copy()
    for column in numeric:
        if is_numeric_dtype(given[column]):
            continue
        try:
            table[column] = given[column].to_numpy(float)
        except (TypeError, ValueError, OverflowError) as error:
            raise SerlibError(f"column {column!r:.60} of this table is not of numbers; give {source}.") from error
    return table


def names_of(given: Any, what: str) -> list[Any]:
    """Return a list of names, also out of a tuple or a generator.

    Raises
    ------
    SerlibError
        For one name alone, and for what are no names; ``what`` they are is how its sentence begins.

    Examples
    --------
    >>> from serlib.show.given import names_of
    >>> names_of(("emotion", "actor"), "columns")
    ['emotion', 'actor']
    """
    if isinstance(given, (str, bytes)) or not isinstance(given, Iterable):
        raise SerlibError(f'{what} stand in a list, like ["emotion", "actor"]; this is {in_short(given)}.')
    found = list(given)
    for name in found:
        if not isinstance(name, Hashable):
            raise SerlibError(f"one of the {what} is a {type(name).__name__}; give names.")
    return found


def samples_of(given: Any, rate: Any, least: int = 1) -> np.ndarray:
    """Return the samples of one clip, shape (n,), as float32.

    ``least`` is the lowest rate, in Hz, that will do.

    Raises
    ------
    SerlibError
        For what is no clip, and for other rates.

    Examples
    --------
    >>> from serlib.show.given import samples_of
    >>> samples_of([0, 0.5, -0.5], 16_000).dtype
    dtype('float32')
    """
    if not is_number(rate) or not least <= rate <= _HIGHEST_RATE:
        raise SerlibError(f"the rate is {in_short(rate)}; give samples a second in Hz, like ser.RATE.")
    try:
        samples = np.asarray(given, dtype=np.float32)
    except (TypeError, ValueError, OverflowError) as error:
        raise SerlibError(f"a {type(given).__name__} holds no sound; give samples, like ser.read of a file.") from error
    if samples.ndim != 1 or not len(samples) or not np.isfinite(samples).all():
        raise SerlibError(f"one clip has finite mono samples of shape (n,); these have shape {samples.shape}.")
    return samples
