"""Fine-tuning with the Hugging Face Trainer, on one processor or several, and what it survives. See notebook 03."""

import errno
import gc
import json
import os
import shutil
import sys
import time
from functools import partial
from importlib.util import find_spec
from netrc import NetrcParseError, netrc
from pathlib import Path
from zipfile import is_zipfile

import numpy as np
import pandas as pd

from serlib.data.splits import Split
from serlib.errors import SerlibError, nearest
from serlib.files import NO_ROOM, atomic_path
from serlib.judge import predictions
from serlib.train.backbones import extractor_of, revision_of
from serlib.train.recipes import Recipe, Result, Work, softmax_of

TRACKERS = ("tensorboard", "wandb")
SECONDS = 6  # of a clip that Whisper hears when it is fine-tuned, in place of its usual 30


def processes():
    """Return what accelerate knows of the processes that train together: one, unless a launcher started more."""
    import torch
    from accelerate import PartialState

    several = int(os.environ.get("WORLD_SIZE", 1)) > 1
    return PartialState(cpu=several and not torch.cuda.is_available())


def fine_tune(work: Work, tracker: str | None) -> Result:
    """Train, best step first, and predict validation and test. Raises SerlibError for what stops a training.

    Memory that is not enough halves the batch and doubles the accumulation, so that a step has the same clips.
    """
    try:
        return _train_within_memory(work, tracker)
    finally:
        if tracker == "wandb":
            _end_wandb()


def _train_within_memory(work: Work, tracker: str | None) -> Result:
    import torch

    recipe, many = work.recipe, processes().num_processes
    batch = _batch_of_each(recipe, many)
    evaluated = max(batch, 8)
    while True:
        try:
            accumulation = recipe.batch_size * recipe.accumulation // (batch * many)
            return _train(work, batch, accumulation, evaluated, tracker)
        except SerlibError:
            raise
        except Exception as error:
            # a process that is alone in having too little memory would leave the others waiting
            if not _out_of_memory(error) or batch == 1 or many > 1:
                raise _readable(work, error) from error
        batch = batch // 2 if batch % 2 == 0 else 1
        evaluated = max(evaluated // 2, 1)  # it may have been an evaluation that was too much
        accumulation = recipe.batch_size * recipe.accumulation // batch
        print(
            f"{work.backbone.title}: the memory was not enough, so training goes on from its last checkpoint with "
            f"{batch} x {accumulation} clips a step in place of {recipe.batch_size} x {recipe.accumulation}."
        )
        gc.collect()
        torch.cuda.empty_cache()


def _batch_of_each(recipe: Recipe, many: int) -> int:
    """Return the clips of one forward pass of one process, so that all together make the recipe's step."""
    clips = recipe.batch_size * recipe.accumulation
    if clips % many:
        raise SerlibError(
            f"A step of this recipe has {clips} clips, which {many} processes cannot share equally; start as many "
            f"processes as divide {clips}."
        )
    return next(n for n in range(recipe.batch_size, 0, -1) if clips // many % n == 0)


def _train(work: Work, batch: int, accumulation: int, evaluated: int, tracker: str | None) -> Result:
    import torch
    from transformers import PrinterCallback, Trainer, TrainingArguments, set_seed

    from serlib.train import batches
    from serlib.train import model as models

    recipe, split, target, title = work.recipe, work.split, work.target, work.backbone.title
    together = processes()
    set_seed(recipe.seed)
    with together.local_main_process_first():  # one process of a machine downloads, the others find it
        model = models.load(
            work.backbone,
            split.labels,
            recipe.pooling,
            recipe.layers,
            recipe.pretrained,
            recipe.masking,
            recipe.layerdrop,
        )
        options = {} if models.takes_waveforms(model) else {"chunk_length": SECONDS}
        extractor = extractor_of(work.backbone, **options)
    parameters = sum(p.numel() for p in model.parameters())
    encoder = models.freeze_convolutions(model)
    if models.takes_waveforms(model):
        # They are frozen, so their output never changes: computed once, they are skipped ever after.
        model.base_model.feature_extractor = models.CachedFeatures()
        channels, shortest = model.config.conv_dim[-1], model.config.mask_time_length
    else:
        models.shorten(model, extractor.nb_max_frames)
        encoder, channels, shortest = None, model.config.num_mel_bins, 0
    if recipe.gradient_checkpointing:
        models.forget_activations(model)
    stock, model = model, models.with_lora(model, recipe.lora) if recipe.lora else model
    trained = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    head = [p for name, p in trained if any(part in name for part in models.HEAD)]
    inner = [p for name, p in trained if not any(part in name for part in models.HEAD)]
    groups = [
        {"params": inner, "lr": recipe.learning_rate},
        {"params": head, "lr": recipe.head_learning_rate or recipe.learning_rate},
    ]
    trainable = sum(p.numel() for _, p in trained)
    _check_disk(work, 4 * (trainable if recipe.lora else parameters), 8 * trainable)
    with together.local_main_process_first():  # after the check: a run that does not fit costs nothing
        data = batches.features_of(work, encoder, extractor)
    half = half_precision() if recipe.precision == "auto" else None
    arguments = TrainingArguments(
        output_dir=str(target / "trainer"),
        num_train_epochs=recipe.epochs,
        per_device_train_batch_size=batch,
        per_device_eval_batch_size=evaluated,
        gradient_accumulation_steps=accumulation,
        max_grad_norm=1.0,
        learning_rate=recipe.learning_rate,
        lr_scheduler_type="linear",
        warmup_steps=recipe.warmup,
        weight_decay=0.0,
        eval_strategy="steps",
        eval_steps=recipe.eval_every,
        save_strategy="steps",
        save_steps=recipe.eval_every,
        save_total_limit=2,
        logging_strategy="steps",
        logging_steps=recipe.eval_every,
        load_best_model_at_end=True,
        metric_for_best_model="accuracy",
        bf16=half == "bf16",
        fp16=half == "fp16",
        # else it asks for a GPU that has bfloat16, and starts no second process on a CPU
        use_cpu=(half == "bf16" or together.num_processes > 1) and not torch.cuda.is_available(),
        # SpecAugment's vector and skipped layers have no gradient in a step that does without them
        ddp_find_unused_parameters=True,
        dataloader_pin_memory=torch.cuda.is_available(),
        remove_unused_columns=False,
        label_names=["labels"],
        report_to=_tracked(tracker, target),
        run_name=f"{target.parent.parent.name} {split.name} {work.backbone.key}",
        disable_tqdm=True,
        seed=recipe.seed,
    )

    emotions = pd.concat([frame["emotion"] for _, frame in split.parts()])

    class Bucketed(Trainer):
        def _get_train_sampler(self, train_dataset=None):
            if not recipe.bucketing:
                return super()._get_train_sampler(train_dataset)
            return order

    order = batches.Buckets(data["train"]["samples"], recipe.batch_size * recipe.accumulation, recipe.seed)
    trainer = Bucketed(
        model=model,
        args=arguments,
        train_dataset=data["train"],
        eval_dataset=data["validation"],
        data_collator=partial(
            batches.collate,
            labels=emotions.map(split.labels.index).to_dict(),
            name=stock.main_input_name,
            channels=channels,
            needs_mask=work.backbone.needs_mask,
            shortest=shortest,
        ),
        compute_loss_func=_loss_of(recipe, split),
        compute_metrics=_scores,
        optimizers=(torch.optim.AdamW(groups, weight_decay=0.0), None),
    )
    trainer.remove_callback(PrinterCallback)
    trainer.add_callback(_order(order))
    trainer.add_callback(_progress(title))
    trainer.add_callback(_watch(title, split))
    with together.main_process_first():
        newest = _last_whole_checkpoint(target / "trainer")
    unwanted = ["hidden_states", "attentions"]  # which some models hand out beside the logits
    trainer.train(resume_from_checkpoint=newest, ignore_keys_for_eval=unwanted)
    table = []
    for part in ("validation", "test"):
        probabilities = softmax_of(trainer.predict(data[part], ignore_keys=unwanted).predictions)
        rows = getattr(split, part).loc[data[part]["clip"]]
        table.append(predictions.make(rows, probabilities, split.labels, part))
    history = _history(trainer.state.log_history)
    best = history.loc[history["eval_accuracy"].idxmax()]
    model = model.merge_and_unload() if recipe.lora else model
    if encoder is not None:
        model.base_model.feature_extractor = encoder
    info = {
        "best_step": int(best["step"]),
        "steps": int(trainer.state.global_step),
        "parameters": parameters,
        "trainable_parameters": trainable,
        "at_chance": bool(best["eval_accuracy"] <= _chance(split)),
        "revision": revision_of(work.backbone),
        "processes": together.num_processes,
        "clips_at_once": batch,
        "half_precision": half,
    }

    def save(folder: Path) -> None:
        model.save_pretrained(folder)
        extractor.save_pretrained(folder)

    return Result(pd.concat(table, ignore_index=True), history, info, save)


def half_precision() -> str | None:
    """Return "bf16" where the processor computes with it, "fp16" on other GPUs, None elsewhere."""
    import torch

    if torch.cuda.is_available():
        # is_bf16_supported() is True on a T4, by emulation
        return "bf16" if torch.cuda.get_device_capability()[0] >= 8 else "fp16"
    return "bf16" if torch.cpu.get_capabilities().get("avx512_bf16") else None


def _loss_of(recipe: Recipe, split: Split):
    """Return the training loss where it is not the plain one: smoothed labels, weighted classes; None otherwise.

    The weights average 1 over the training clips, and a step divides by its clips in all, so that 8 x 1 is 2 x 4.
    """
    if not (recipe.label_smoothing or recipe.class_weights):
        return None
    import torch
    from sklearn.utils.class_weight import compute_class_weight

    weights = None
    if recipe.class_weights:
        known = split.train["emotion"]
        weights = torch.tensor(
            compute_class_weight("balanced", classes=np.array(split.labels), y=known), dtype=torch.float32
        )

    def loss(outputs, labels, num_items_in_batch=None):
        logits = outputs.logits.float()
        if not logits.requires_grad:  # an evaluation: the plain loss, to compare with any other run's
            return torch.nn.functional.cross_entropy(logits, labels)
        total = torch.nn.functional.cross_entropy(
            logits,
            labels,
            weight=None if weights is None else weights.to(logits.device),
            label_smoothing=recipe.label_smoothing,
            reduction="sum",
        )
        return total / (len(labels) if num_items_in_batch is None else num_items_in_batch)

    return loss


def _scores(result) -> dict[str, float]:
    from sklearn.metrics import accuracy_score, recall_score

    guess = result.predictions.argmax(-1)
    return {
        "accuracy": accuracy_score(result.label_ids, guess),
        "uar": recall_score(result.label_ids, guess, average="macro", zero_division=0),
    }


def _history(log: list[dict]) -> pd.DataFrame:
    """Return one row an evaluation: step, epoch, training loss since the last one, and the validation scores."""
    frame = pd.DataFrame(log).groupby("step", as_index=False).first()
    columns = ["step", "epoch", "loss", "eval_loss", "eval_accuracy", "eval_uar"]
    return frame.dropna(subset="eval_accuracy").reindex(columns=columns).reset_index(drop=True)


PATIENCE = 3  # evaluations after which a run that has learned nothing is worth a sentence


def _chance(split: Split) -> float:
    """Return the validation accuracy that guessing the most frequent emotion exceeds once in twenty times."""
    from scipy.stats import binom

    shares = split.validation["emotion"].value_counts(normalize=True)
    return float(binom.ppf(0.95, len(split.validation), shares.max()) / len(split.validation))


# --- what may happen to a run -----------------------------------------------------------------------------------


def _check_disk(work: Work, weights: int, optimizer: int) -> None:
    """Refuse to begin what would not fit: three checkpoints for a moment, and the model in the end. Sizes in bytes."""
    needed = 3 * (weights + optimizer) + weights
    free = shutil.disk_usage(work.target).free
    if free < needed:
        raise SerlibError(
            f"{work.backbone.title}: checkpoints of this run take up to {needed / 1e9:.1f} GB, and the disk has "
            f"{free / 1e9:.1f} GB free; free some, name a folder on a larger disk in SERLIB_HOME, or choose a recipe "
            "with lora=16, whose checkpoints are small."
        )


def _out_of_memory(error: Exception) -> bool:
    import torch

    known = isinstance(error, torch.OutOfMemoryError | MemoryError) or getattr(error, "errno", None) == errno.ENOMEM
    # the last two come as a "CUDA error", from libraries that find no room for their own tables
    signs = ("can't allocate memory", "CUDA error: out of memory", "CUBLAS_STATUS_ALLOC_FAILED")
    return known or any(sign in str(error) for sign in signs)


def _full_disk(error: Exception) -> bool:
    if isinstance(error, OSError) and error.errno in NO_ROOM:
        return True
    # safetensors and torch write outside Python, and their errors carry the number in their text, or nothing
    return any(f"(os error {n})" in str(error) for n in NO_ROOM) or "PytorchStreamWriter failed" in str(error)


def _readable(work: Work, error: Exception) -> Exception:
    """Return the error in one sentence where it is one of the known ends of a training, else itself."""
    title = work.backbone.title
    again = "then run this again: training goes on from its last checkpoint"
    if _out_of_memory(error):
        return SerlibError(
            f"{title}: the memory is not enough even for one clip at a time; choose a recipe with lora=16 and "
            "gradient_checkpointing=True, or a smaller backbone (ser.plan says what fits)."
        )
    if _full_disk(error):
        newest = _last_whole_checkpoint(work.target / "trainer")  # which also clears what was half written
        kept = f"step {newest.rpartition('-')[2]}" if newest else "the beginning"
        return SerlibError(f"{title}: the disk is full, and training is kept up to {kept}; free some space, {again}.")
    if "CUDA error" in str(error) or "cudnn" in str(error).lower():
        return SerlibError(
            f"{title}: the GPU no longer answers ({str(error).splitlines()[0]}); restart the runtime, {again}."
        )
    return error


def _has_key(host: str) -> bool:
    """Whether Weights & Biases can log in unasked: by its environment variable, or by what wandb login has kept."""
    try:
        return bool(os.environ.get("WANDB_API_KEY") or netrc().authenticators(host))
    except (OSError, NetrcParseError):
        return False


def _tracked(tracker: str | None, target: Path) -> list[str]:
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


def _end_wandb() -> None:
    """Close the record, after a failure too, and forget its folder: a notebook's next run has one of its own."""
    if find_spec("wandb") is not None:
        import wandb

        wandb.finish()
        wandb.teardown()


def _order(order):
    """Return a Trainer callback that tells the sampler the epoch: data loaders differ in how far they pass it on."""
    from transformers import TrainerCallback

    class Order(TrainerCallback):
        def on_epoch_begin(self, args, state, control, **_):
            order.set_epoch(state.global_step // (len(order) // order.size))

    return Order()


def _watch(title: str, split: Split):
    """Return a Trainer callback that says once, and early, that training does not rise above chance."""
    from transformers import TrainerCallback

    class Watch(TrainerCallback):
        def on_evaluate(self, args, state, control, metrics, **_):
            if not np.isfinite(metrics["eval_loss"]):
                raise SerlibError(
                    f"{title}: at step {state.global_step} the loss is no longer a number, so training has diverged "
                    "and was stopped; choose a smaller learning rate or a longer warm-up."
                )
            seen = [row["eval_accuracy"] for row in state.log_history if "eval_accuracy" in row]
            if state.is_world_process_zero and len(seen) == PATIENCE and max(seen) <= _chance(split):
                print(
                    f"{title}: after {PATIENCE} evaluations, {state.global_step} steps, validation accuracy is still "
                    f"at chance ({max(seen):.1%}): it may have collapsed; a smaller learning rate, a warm-up or "
                    "another seed usually helps."
                )

    return Watch()


def _last_whole_checkpoint(folder: Path) -> str | None:
    """Return the newest checkpoint from which training goes on as if nothing had happened; delete what is newer.

    The best one so far must be whole too, for its weights are loaded in the end; the Trainer would do without it, or
    without the optimizer's numbers, and say nothing.
    """
    found = sorted(folder.glob("checkpoint-*"), key=lambda path: int(path.name.split("-")[1]))
    for checkpoint in reversed(found):
        if _is_whole(checkpoint):
            file = checkpoint / "trainer_state.json"
            state = json.loads(file.read_text())
            best = state["best_model_checkpoint"] and folder / Path(state["best_model_checkpoint"]).name
            if best is None or _is_whole(best):
                if str(best) != str(state["best_model_checkpoint"]):  # the folder was moved or copied since
                    with atomic_path(file) as fresh:
                        fresh.write_text(json.dumps(state | {"best_model_checkpoint": str(best)}))
                return str(checkpoint)
        shutil.rmtree(checkpoint, ignore_errors=True)
    return None


def _is_whole(checkpoint: Path) -> bool:
    """Whether nothing is missing or cut short: after a kill, or on a Drive that had not yet kept every file."""
    from safetensors import SafetensorError, safe_open

    weights = next(checkpoint.glob("*model.safetensors"), None)  # the model's, or of LoRA the adapter's
    try:
        json.loads((checkpoint / "trainer_state.json").read_text())
        with safe_open(weights, "pt"):  # which compares its length with what it should hold
            pass
    except (OSError, ValueError, TypeError, SafetensorError):
        return False
    draws = list(checkpoint.glob("rng_state*.pth"))  # one a process
    parts = [checkpoint / "optimizer.pt", checkpoint / "scheduler.pt", *checkpoint.glob("scaler.pt"), *draws]
    return bool(draws) and all(map(is_zipfile, parts))  # torch writes zip files, their table last


def _progress(title: str):
    """Return a Trainer callback that shows one line, rewritten in place in a notebook and gone at the end."""
    from transformers import TrainerCallback

    class Progress(TrainerCallback):
        def __init__(self):
            self.handle, self.start, self.shown = None, time.time(), 0.0

        def _show(self, text: str) -> None:
            if "IPython" not in sys.modules or sys.modules["IPython"].get_ipython() is None:
                return
            from IPython.display import HTML, display

            if self.handle is None:
                self.handle = display(HTML(text), display_id=True)
            else:
                self.handle.update(HTML(text))

        def on_step_end(self, args, state, control, **_):
            now = time.time()
            if now - self.shown > 2:
                self.shown = now
                left = (now - self.start) / max(state.global_step, 1) * (state.max_steps - state.global_step)
                self._show(
                    f'<progress value="{state.global_step}" max="{state.max_steps}" aria-label="training"></progress> '
                    f"{title}: step {state.global_step} of {state.max_steps}, about {left / 60:.1f} minutes left"
                )

        def on_train_end(self, args, state, control, **_):
            self._show(f"{title}: {state.max_steps} steps done.")

    return Progress()
