"""Checks of the exercises, ``ser.check.NAME``: each says in one line what is wrong with an answer, and never raises.

Every check prints "Right: ...", "Not yet: ..." or "Not answered yet: ..." and returns whether the answer is right. They
stand in a file a part of the book: ``start``, ``sound``, ``finetuning``, ``judging`` and ``your_turn``.

Examples
--------
>>> ser.check.constant_uar(12.5)
Not yet: that is a percentage; divide by 100, then you are right.
False
>>> ser.check.constant_uar(...)
Not answered yet: give the UAR of somebody who always says calm, as a share between 0 and 1.
False
"""
# ruff: noqa: F401 - imported for those who say ser.check.NAME

from serlib.exercises.finetuning import (
    average_recall,
    best_step,
    collapse,
    field,
    frames,
    line_up,
    losses,
    masked_mean,
    mcnemar,
    overused,
    padding_share,
    purity,
    said_twice,
    spread,
    training_memory,
)
from serlib.exercises.judging import (
    condorcet,
    dictator,
    heard_before,
    holm,
    lopsided,
    majority,
    one_sided_clips,
    soften,
    two_averages,
    whole_actors,
    wilson,
)
from serlib.exercises.sound import clip_fields, constant_uar, leaks, normalize, slowest, standardize
from serlib.exercises.start import by_ear, one_clip
from serlib.exercises.your_turn import (
    agreement,
    averaged,
    defensible,
    reweighed,
    ring_mean,
    snr,
    traffic,
    unnoticed,
    unsure,
    weights,
)
