"""Fine-tuning with the Hugging Face Trainer, on one processor or several. See notebook 03; what it survives: rescue."""

import gc
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from serlib.data.splits import Split
from serlib.errors import SerlibError
from serlib.judge import predictions
from serlib.judge.metrics import uar
from serlib.train.backbones import Backbone, extractor_of, revision_of
from serlib.train.heads import softmax_of
from serlib.train.recipes import Recipe, halved
from serlib.train.run import Result, Run, Runs, Work, found_or_made, processes, work_on

CODE = 1  # raise it when the same recipe would give other numbers
SECONDS = 6  # of a clip that Whisper hears at least when it is fine-tuned, in place of its usual 30
UNWANTED = ["hidden_states", "attentions"]  # which some models hand out beside the logits


def fine_tune(
    backbone: Backbone,
    split: Split,
    recipe: Recipe,
    folder: Path | str | Runs,
    name: str | None = None,
    tracker: str | None = None,
) -> Run:
    """Fine-tune a backbone on a split and return the Run in ``folder/<split>/<name>``.

    A finished run of the same sound, labels, weights and recipe is loaded, a half-finished one resumed from its last
    checkpoint; another run of that name is kept beside it, and what changed is said. The best step is the one of
    highest validation accuracy, the earliest of equals; test is predicted once, with it. A training that stays at
    chance is said so, and marked in ``info["at_chance"]``. On several processes, started by ``accelerate launch -m
    serlib``, a step has as many clips as on one (the same, if the recipe buckets).

    Resuming is exact: a run that was killed, at whatever moment, and run again has the predictions of an undisturbed
    one, bit for bit on a CPU. Where it is not: a GPU adds in varying order, and so does a batch that had to be halved.
    Several processes show another ``eval_loss`` in its last digits, because it is averaged over their batches.

    Parameters
    ----------
    backbone
        What ``ser.backbone`` or ``lesson.backbone`` returned.
    split
        Train, validation and test.
    recipe
        How it is trained; a lesson's is ``lesson.recipe_for(backbone)``.
    folder
        Where runs are kept, as ``lesson.runs``.
    name
        What tells apart runs of one backbone on one split; without one it is the backbone's key.
    tracker
        "tensorboard" or "wandb" records loss and accuracy while it trains.

    Returns
    -------
    Run
        A voter, with history and record.

    Raises
    ------
    SerlibError
        For weights that cannot be found, clips that cannot be read or are shorter than 0.1 s, training that diverged,
        memory that is not enough for one clip, a GPU that is gone and a full disk.

    Examples
    --------
    >>> lesson = ser.start("mini", epochs=2)
    CPU, 2 cores - profile mini - ...
    >>> backbone = lesson.backbone("hubert-base")
    >>> recipe = lesson.recipe_for(backbone)
    >>> print(recipe)
    2 epochs, batch 16 x 1, learning rate 0.001 (head 0.002), warm-up 10%, mean pooling of the last layer, trimmed,
    float32, evaluation every 65 steps
    >>> split = ser.stratified_split(lesson.corpus())  # doctest: +SKIP
    >>> run = ser.fine_tune(backbone, split, recipe, lesson.runs)  # doctest: +SKIP
    """
    if not isinstance(recipe, Recipe):
        raise SerlibError(
            f"fine_tune takes a ser.Recipe, not a {type(recipe).__name__}; a ser.Probe goes to ser.probe."
        )
    work = work_on(backbone, split, recipe, folder, name)
    return found_or_made(work, CODE, partial(_train_and_close, work, tracker))


def _train_and_close(work: Work[Recipe], tracker: str | None) -> Result:
    try:
        return _train_within_memory(work, tracker)
    finally:
        if tracker == "wandb":
            from serlib.train import callbacks

            callbacks.end_wandb()


def _train_within_memory(work: Work[Recipe], tracker: str | None) -> Result:
    """Train; memory that is not enough halves the batch and doubles the accumulation: a step has the same clips."""
    import torch

    from serlib.train import rescue

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
            if not rescue.out_of_memory(error) or batch == 1 or many > 1:
                raise rescue.readable(work, error) from error
        batch = halved(batch)
        evaluated = max(evaluated // 2, 1)  # it may have been an evaluation that was too much
        accumulation = recipe.batch_size * recipe.accumulation // batch
        print(
            f"{work.title}: the memory was not enough, so training goes on from its last checkpoint with "
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


def _train(work: Work[Recipe], batch: int, accumulation: int, evaluated: int, tracker: str | None) -> Result:
    """Train from the last checkpoint or the beginning, and predict with the best step."""
    from transformers import set_seed

    from serlib.train import batches, callbacks, rescue

    clock = callbacks.Clock()
    recipe, split, together = work.recipe, work.split, processes()
    set_seed(recipe.seed)
    with together.local_main_process_first():  # one process of a machine downloads, the others find it
        learner = learner_of(work)
    weights = 4 * (learner.trainable if recipe.lora else learner.parameters)
    rescue.check_disk(work, weights, 8 * learner.trainable)
    with together.local_main_process_first():  # after the check: a run that does not fit costs nothing
        data = batches.features_of(work, learner.encoder, learner.extractor)
    half = half_precision() if recipe.precision == "auto" else None
    arguments = _arguments(work, batch, accumulation, evaluated, half, tracker)
    trainer = _trainer(work, learner, data, arguments)
    trainer.add_callback(clock)
    with together.main_process_first():
        newest = rescue.last_whole_checkpoint(work.target / "trainer")
    trainer.train(resume_from_checkpoint=newest, ignore_keys_for_eval=UNWANTED)
    table = [_predicted(trainer, data, split, part) for part in ("validation", "test")]
    history = _history(trainer.state.log_history)
    info = {
        **_chosen_step(history, split),
        "steps": int(trainer.state.global_step),
        "parameters": learner.parameters,
        "trainable_parameters": learner.trainable,
        "revision": revision_of(work.backbone),
        "processes": together.num_processes,
        "clips_at_once": batch,
        "half_precision": half,
        "seconds": round(clock.seconds, 1),
    }
    return Result(pd.concat(table, ignore_index=True), history, info, learner.save)


@dataclass
class _Learner:
    """A model as it is trained: what makes its input, the frozen part that was taken out of it, its sizes.

    ``encoder`` is None where the extractor makes all of the input (a Whisper without frozen layers); an input has
    ``channels`` and at least ``shortest`` frames.
    """

    model: Any
    input_name: str
    extractor: Any
    encoder: Any
    channels: int
    shortest: int
    parameters: int

    @property
    def trained(self) -> list[tuple[str, Any]]:
        return [(name, p) for name, p in self.model.named_parameters() if p.requires_grad]

    @property
    def trainable(self) -> int:
        return sum(p.numel() for _, p in self.trained)

    def groups(self, recipe: Recipe) -> list[dict[str, Any]]:
        """Return the optimizer's groups: the encoder, and what starts from nothing, which may learn faster."""
        from serlib.train import model as models

        def is_head(name: str) -> bool:
            return any(part in name for part in models.HEAD)

        return [
            {"params": [p for name, p in self.trained if not is_head(name)], "lr": recipe.learning_rate},
            {
                "params": [p for name, p in self.trained if is_head(name)],
                "lr": recipe.head_learning_rate or recipe.learning_rate,
            },
        ]

    def save(self, folder: Path) -> None:
        """Write a stock checkpoint: LoRA added to the weights, what was taken out back in its place."""
        from serlib.train import model as models

        model = self.model.merge_and_unload() if hasattr(self.model, "merge_and_unload") else self.model
        if isinstance(self.encoder, models.LowerLayers):
            model.encoder = self.encoder.encoder
        elif self.encoder is not None:
            model.base_model.feature_extractor = self.encoder
        model.save_pretrained(folder)
        self.extractor.save_pretrained(folder)


def learner_of(work: Work[Recipe]) -> _Learner:
    """Return the backbone with a new head, its convolutions frozen."""
    from serlib.train import model as models

    recipe = work.recipe
    if work.backbone.is_network:
        return _network(work)
    model = models.load(
        work.backbone,
        work.split.labels,
        recipe.pooling,
        recipe.layers,
        recipe.pretrained,
        recipe.masking,
        recipe.layerdrop,
    )
    parameters = sum(p.numel() for p in model.parameters())
    encoder, shortest = models.freeze_convolutions(model), 0
    if models.takes_waveforms(model):
        # They are frozen, so their output never changes: computed once, they are skipped ever after.
        model.base_model.feature_extractor = models.CachedFeatures()
        extractor = extractor_of(work.backbone)
        channels, shortest = model.config.conv_dim[-1], model.config.mask_time_length
    else:
        extractor = extractor_of(work.backbone, chunk_length=_whisper_seconds(work))
        models.shorten(model, extractor.nb_max_frames)
        encoder, channels = None, model.config.num_mel_bins
    if recipe.frozen:
        models.freeze_layers(model, recipe.frozen)
        if not models.takes_waveforms(model):  # it hides no frames in training, so here too what is frozen is the same
            whole, channels = model.encoder, model.config.d_model
            encoder, model.encoder = models.LowerLayers(whole, recipe.frozen), models.UpperLayers(whole, recipe.frozen)
    if recipe.gradient_checkpointing:
        models.forget_activations(model)
    input_name = model.main_input_name
    model = models.with_lora(model, recipe.lora) if recipe.lora else model
    return _Learner(model, input_name, extractor, encoder, channels, shortest, parameters)


def _network(work: Work[Recipe]) -> _Learner:
    """Return a network of notebook 15, all of it trained, and what makes its input."""
    from serlib.train import fronts
    from serlib.train import model as models

    recipe = work.recipe
    for name in ("pooling", "layers", "lora", "frozen", "masking", "gradient_checkpointing"):
        given = getattr(recipe, name)
        if given != getattr(Recipe, name):
            raise SerlibError(f"{work.title} has no {name} to choose; leave the recipe's {name}={given!r} out.")
    model = models.load(work.backbone, work.split.labels, pretrained=recipe.pretrained)
    parameters = sum(p.numel() for p in model.parameters())
    front = fronts.front_of(work.backbone, recipe.pretrained)
    return _Learner(model, model.main_input_name, front, None, work.backbone.hidden, 0, parameters)


def _whisper_seconds(work: Work[Recipe]) -> int:
    """Return how long a clip Whisper is to hear: the longest one, at least 6 s. SerlibError above its 30 s."""
    full = extractor_of(work.backbone).chunk_length
    longest = pd.concat([frame["seconds"] for _, frame in work.split.parts()])
    if longest.max() > full:
        raise SerlibError(
            f"Clip {longest.idxmax()} lasts {longest.max():.1f} s, and {work.title} hears {full} s; cut it "
            "into shorter clips, or leave it out."
        )
    return max(SECONDS, math.ceil(longest.max()))


def _arguments(
    work: Work[Recipe], batch: int, accumulation: int, evaluated: int, half: str | None, tracker: str | None
) -> Any:
    """Return the Trainer's arguments for a recipe, with as many clips at once as there is memory for."""
    import torch
    from transformers import TrainingArguments

    from serlib.train import callbacks

    recipe, gpu = work.recipe, torch.cuda.is_available()
    return TrainingArguments(
        output_dir=str(work.target / "trainer"),
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
        use_cpu=(half == "bf16" or processes().num_processes > 1) and not gpu,
        # SpecAugment's vector and skipped layers have no gradient in a step that does without them
        ddp_find_unused_parameters=True,
        dataloader_pin_memory=gpu,
        remove_unused_columns=False,
        label_names=["labels"],
        report_to=callbacks.trackers(tracker, work.target),
        run_name=" ".join(filter(None, (work.runs.profile, work.split.name, work.target.name))),
        disable_tqdm=True,
        seed=recipe.seed,
    )


def _trainer(work: Work[Recipe], learner: _Learner, data: dict[str, Any], arguments: Any) -> Any:
    """Return the Trainer: batches, order, loss, measures, and two rates of learning."""
    import torch
    from transformers import PrinterCallback

    from serlib.train import batches, callbacks

    recipe, split, gpu = work.recipe, work.split, torch.cuda.is_available()
    emotions = pd.concat([frame["emotion"] for _, frame in split.parts()])
    order = None
    if recipe.bucketing:
        order = batches.Buckets(data["train"]["samples"], recipe.batch_size * recipe.accumulation, recipe.seed)
    trainer = callbacks.OrderedTrainer(
        order=order,
        model=learner.model,
        args=arguments,
        train_dataset=data["train"],
        eval_dataset=data["validation"],
        data_collator=partial(
            batches.collate,
            labels=emotions.map(split.labels.index).to_dict(),
            name=learner.input_name,
            channels=learner.channels,
            needs_mask=work.backbone.needs_mask,
            shortest=learner.shortest,
            multiple=batches.frames_multiple(work.backbone.needs_mask, gpu and (arguments.bf16 or arguments.fp16)),
        ),
        compute_loss_func=_loss_of(recipe, split),
        compute_metrics=_scores,
        optimizers=(torch.optim.AdamW(learner.groups(recipe), weight_decay=0.0), None),
    )
    trainer.remove_callback(PrinterCallback)
    trainer.add_callback(callbacks.Progress(work.title))
    trainer.add_callback(callbacks.Watch(work.title, split))
    return trainer


def _predicted(trainer: Any, data: dict[str, Any], split: Split, part: str) -> pd.DataFrame:
    """Return the predictions frame of one part."""
    probabilities = softmax_of(trainer.predict(data[part], ignore_keys=UNWANTED).predictions)
    rows = getattr(split, part).loc[data[part]["clip"]]
    return predictions.make(rows, probabilities, split.labels, part, corpus=split.attrs["name"])


def _chosen_step(history: pd.DataFrame, split: Split) -> dict[str, Any]:
    """Return what run.json says of the step that was kept."""
    from serlib.train.callbacks import chance

    best = history.loc[history["eval_accuracy"].idxmax()]
    return {"best_step": int(best["step"]), "at_chance": bool(best["eval_accuracy"] <= chance(split))}


def half_precision() -> str | None:
    """Return "bf16" where the processor computes with it, "fp16" on other GPUs, None elsewhere."""
    import torch

    if torch.cuda.is_available():
        # is_bf16_supported() is True on a T4, by emulation
        return "bf16" if torch.cuda.get_device_capability()[0] >= 8 else "fp16"
    return "bf16" if torch.cpu.get_capabilities().get("avx512_bf16") else None


def _loss_of(recipe: Recipe, split: Split) -> Callable[..., Any] | None:
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

    def loss(outputs: Any, labels: Any, num_items_in_batch: Any = None) -> Any:
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


def _scores(result: Any) -> dict[str, float]:
    guess = result.predictions.argmax(-1)
    return {"accuracy": float((guess == result.label_ids).mean()), "uar": float(uar(result.label_ids, guess))}


def _history(log: list[dict[str, float]]) -> pd.DataFrame:
    """Return one row an evaluation: step, epoch, training loss since the last one, and the validation scores."""
    frame = pd.DataFrame(log).groupby("step", as_index=False).first()
    columns = ["step", "epoch", "loss", "eval_loss", "eval_accuracy", "eval_uar"]
    return frame.dropna(subset="eval_accuracy").reindex(columns=columns).reset_index(drop=True)
