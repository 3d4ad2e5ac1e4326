"""What the Trainer calls while it trains: order of clips, line of progress, watch for collapse, trackers (03)."""

import os
import sys
import time
from html import escape
from importlib.util import find_spec
from netrc import NetrcParseError, netrc
from pathlib import Path
from typing import Any

import numpy as np
from transformers import Trainer, TrainerCallback

from serlib.data.splits import Split
from serlib.errors import SerlibError, nearest
from serlib.train.batches import Buckets

TRACKERS = ("tensorboard", "wandb")
PATIENCE = 3  # evaluations after which a run that has learned nothing is worth a sentence


class OrderedTrainer(Trainer):
    """A Trainer whose training clips come in an order of our own; None leaves it to the Trainer."""

    def __init__(self, *args: Any, order: Buckets | None, **options: Any) -> None:
        super().__init__(*args, **options)
        self.order = order
        if order is not None:
            self.add_callback(_TellEpoch(order))

    def _get_train_sampler(self, train_dataset: Any = None) -> Any:
        return super()._get_train_sampler(train_dataset) if self.order is None else self.order


class _TellEpoch(TrainerCallback):
    """Tells the sampler the epoch: data loaders differ in how far they pass it on."""

    def __init__(self, order: Buckets) -> None:
        self.order = order

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.order.set_epoch(state.global_step // (len(self.order) // self.order.size))


class Watch(TrainerCallback):
    """Says once, and early, that training does not rise above chance; stops one whose loss is no number."""

    def __init__(self, title: str, split: Split) -> None:
        self.title, self.split = title, split

    def on_evaluate(self, args: Any, state: Any, control: Any, metrics: dict[str, float], **_: Any) -> None:
        if not np.isfinite(metrics["eval_loss"]):
            raise SerlibError(
                f"{self.title}: at step {state.global_step} the loss is no longer a number, so training has diverged "
                "and was stopped; choose a smaller learning rate or a longer warm-up."
            )
        seen = [row["eval_accuracy"] for row in state.log_history if "eval_accuracy" in row]
        if state.is_world_process_zero and len(seen) == PATIENCE and max(seen) <= chance(self.split):
            print(
                f"{self.title}: after {PATIENCE} evaluations, {state.global_step} steps, validation accuracy is still "
                f"at chance ({max(seen):.1%}): it may have collapsed; a smaller learning rate, a warm-up or "
                "another seed usually helps."
            )


def chance(split: Split) -> float:
    """Return the validation accuracy that guessing the most frequent emotion exceeds once in twenty times."""
    from scipy.stats import binom

    shares = split.validation["emotion"].value_counts(normalize=True)
    return float(binom.ppf(0.95, len(split.validation), shares.max()) / len(split.validation))


class Clock(TrainerCallback):
    """Counts the seconds of a training. Checkpoints keep them, so those of an interrupted one count up to its last."""

    def __init__(self) -> None:
        self.start, self.before = time.time(), 0.0

    @property
    def seconds(self) -> float:
        return self.before + time.time() - self.start

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.before = max((row.get("seconds", 0.0) for row in state.log_history), default=0.0)

    def on_evaluate(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        state.log_history[-1]["seconds"] = self.seconds


class Progress(TrainerCallback):
    """Shows one line, rewritten in place in a notebook and gone at the end."""

    def __init__(self, title: str) -> None:
        self.title, self.shown = escape(title), 0.0
        self.start, self.first = time.time(), 0  # the step that it goes on from
        self.handle: Any = None  # of what IPython shows

    def show(self, text: str) -> None:
        """Show HTML in place of what was shown before; outside a notebook, nothing."""
        if "IPython" not in sys.modules or sys.modules["IPython"].get_ipython() is None:
            return
        from IPython.display import HTML, display

        if self.handle is None:
            self.handle = display(HTML(text), display_id=True)
        else:
            self.handle.update(HTML(text))

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.start, self.first = time.time(), state.global_step

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        now = time.time()
        if now - self.shown > 2:
            self.shown = now
            each = (now - self.start) / (state.global_step - self.first)
            left = each * (state.max_steps - state.global_step)
            self.show(
                f'<progress value="{state.global_step}" max="{state.max_steps}" aria-label="training"></progress> '
                f"{self.title}: step {state.global_step} of {state.max_steps}, about {left / 60:.1f} minutes left"
            )

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.show(f"{self.title}: {state.max_steps} steps done.")


def trackers(tracker: str | None, target: Path) -> list[str]:
    """Return the Trainer's names of the trackers to use, and see to it that none of them asks a question."""
    if tracker is None:
        return []
    if tracker not in TRACKERS:
        raise SerlibError(f"There is no tracker called {tracker!r}: {nearest(tracker, TRACKERS)}")
    if find_spec(tracker) is None:
        raise SerlibError(f"The tracker {tracker} is not installed: pip install {tracker}, or train without a tracker.")
    if tracker == "tensorboard":
        os.environ["TENSORBOARD_LOGGING_DIR"] = str(target / "tracked")
    else:
        os.environ.setdefault("WANDB_PROJECT", "serlib")
        os.environ.setdefault("WANDB_SILENT", "true")
        os.environ["WANDB_DIR"] = str(target)
        if "WANDB_MODE" not in os.environ and not _has_key("api.wandb.ai"):
            os.environ["WANDB_MODE"] = "offline"  # without a key it would ask for one, and wait
            print("Weights & Biases: no key on this machine, so the run is recorded offline; wandb sync uploads it.")
    return [tracker]


def _has_key(host: str) -> bool:
    """Whether Weights & Biases can log in unasked: by its environment variable, or by what wandb login has kept."""
    try:
        return bool(os.environ.get("WANDB_API_KEY") or netrc().authenticators(host))
    except (OSError, NetrcParseError):
        return False


def end_wandb() -> None:
    """Close the record, after a failure too, and forget its folder: a notebook's next run has one of its own."""
    if find_spec("wandb") is not None:
        import wandb

        wandb.finish()
        wandb.teardown()
