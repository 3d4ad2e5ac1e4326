"""serlib: the nouns and verbs of one sentence, corpus -> split -> fine_tune(backbone) -> Run -> vote -> compare.

import serlib as ser
lesson = ser.start("mini")
split = ser.stratified_split(lesson.corpus())
run = ser.fine_tune(lesson.backbone("hubert-base"), split, lesson.recipe, lesson.runs)
"""

from importlib import import_module

__version__ = "0.1.0"

_NAMES = {
    "acoustics": ("acoustic_features",),
    "audio": ("RATE", "clips", "read", "trim"),
    "backbones": ("BACKBONES", "SIX", "backbone"),
    "check": (),
    "corpus": (
        "EMOTIONS", "audit", "from_csv", "mini", "parse_name", "ravdess", "regroup_by_emotion", "write_split_csvs",
    ),
    "cost": ("plan", "plan_all"),
    "errors": ("SerlibError",),
    "metrics": (
        "accuracy", "breakdown", "calibration_error", "compare", "compare_all", "confusion", "difference", "holm",
        "intervals", "reliability", "report", "unweighted_average_recall", "wilson_interval",
    ),
    "model": (),
    "paper": (),
    "players": ("browse", "explorable", "listen", "listen_confusion", "player"),
    "plots": (
        "plot_against_paper", "plot_agreement", "plot_balance", "plot_confusion", "plot_history", "plot_intervals",
        "plot_jury", "plot_per_actor", "plot_pitch", "plot_probabilities", "plot_prosody", "plot_reliability",
        "plot_spectrogram", "plot_subsets", "plot_votes", "plot_waveform",
    ),
    "predictions": ("mistakes", "pool", "verdicts"),
    "probing": ("layer_averages",),
    "profiles": ("PROFILES", "start"),
    "recipe": ("Recipe",),
    "sharing": ("model_card",),
    "splits": (
        "actor_folds", "actor_split", "leakage", "leave_one_actor_out", "leave_one_statement_out", "stratified_split",
    ),
    "synth": ("PROSODY",),
    "training": ("classify", "fine_tune", "load_run"),
    "voting": (
        "calibrate", "diversity", "entropy_vote", "every_vote", "jury_accuracy", "majority_vote", "soft_vote",
        "stacked_vote", "tie_costs", "weighted_vote",
    ),
}  # fmt: skip
_HOME = {name: module for module, names in _NAMES.items() for name in names}
__all__ = sorted(_HOME)


def __getattr__(name: str):
    # Modules are loaded when first named, so that `import serlib` does not wait for torch.
    if name in _HOME:
        return getattr(import_module(f"serlib.{_HOME[name]}"), name)
    if name in _NAMES:
        return import_module(f"serlib.{name}")
    raise AttributeError(f"module 'serlib' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, *_NAMES])
