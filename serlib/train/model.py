"""A backbone with a pooling and a head, all of it stock transformers where the pooling is a mean. See notebook 03.

The stock head of wav2vec 2.0, HuBERT and UniSpeech is Linear(hidden, 256), a mean over the frames that are not padding,
Linear(256, classes): the paper's "mean merge strategy" (section 5.2). Sum and max are a thin subclass.
"""

import re
import warnings
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn

from serlib.errors import SerlibError, nearest
from serlib.train.backbones import Backbone, missing_weights, weights_of

POOLINGS = ("mean", "sum", "max")
HEAD = ("projector", "classifier", "layer_weights")  # what starts from nothing, and may learn faster
PROJECTION = 256  # what all checkpoints of these families have by default; the twins follow


class _OtherPooling:
    """Sum or max over frames in place of the stock mean (mixed into a stock class, so the weights stay the same)."""

    def forward(self, input_values, attention_mask=None, labels=None, **_):
        from transformers.modeling_outputs import SequenceClassifierOutput

        outputs = self.base_model(
            input_values,
            attention_mask=attention_mask,
            output_hidden_states=self.config.use_weighted_layer_sum,
        )
        if self.config.use_weighted_layer_sum:
            weights = self.layer_weights.softmax(-1).view(-1, 1, 1, 1)
            hidden = (torch.stack(outputs.hidden_states) * weights).sum(0)
        else:
            hidden = outputs.last_hidden_state
        hidden = self.projector(hidden)
        padding = torch.zeros(hidden.shape[:2], dtype=torch.bool, device=hidden.device)
        if attention_mask is not None:
            padding = ~self._get_feature_vector_attention_mask(hidden.shape[1], attention_mask).bool()
        if self.config.serlib_pooling == "sum":
            pooled = hidden.masked_fill(padding[..., None], 0.0).sum(1)
        else:
            pooled = hidden.masked_fill(padding[..., None], float("-inf")).amax(1)
        logits = self.classifier(pooled)
        loss = None if labels is None else nn.functional.cross_entropy(logits, labels)
        return SequenceClassifierOutput(loss=loss, logits=logits)


def load(
    backbone: Backbone,
    labels: Sequence[str],
    pooling: str = "mean",
    layers: str = "last",
    pretrained: bool = True,
    masking: float | None = None,
    layerdrop: float | None = 0.0,
) -> nn.Module:
    """Return the backbone with a new head for these labels, in float32.

    ``pooling`` is "mean", "sum" or "max" over frames; ``layers`` is "last" or "weighted", a learned sum of all of
    them. ``pretrained=False`` keeps the architecture and throws the weights away, to see what pre-training is worth.
    ``masking`` is the share of frames that training hides, ``layerdrop`` the share of layers that it skips; None
    leaves them to the checkpoint.
    Raises SerlibError when the weights can be found nowhere, or are broken.
    """
    from transformers import AutoConfig, AutoModelForAudioClassification

    if pooling not in POOLINGS:
        raise SerlibError(f"There is no pooling called {pooling!r}: {nearest(pooling, POOLINGS)}")
    if layers not in ("last", "weighted"):
        raise SerlibError(f"There is no choice of layers called {layers!r}: {nearest(layers, ('last', 'weighted'))}")
    source = weights_of(backbone.checkpoint)
    settings = {
        "num_labels": len(labels),
        "id2label": dict(enumerate(labels)),
        "label2id": {label: i for i, label in enumerate(labels)},
        "revision": backbone.revision,
        "trust_remote_code": False,
        "use_weighted_layer_sum": layers == "weighted",
    }
    if layerdrop is not None:
        settings["encoder_layerdrop" if backbone.family == "whisper" else "layerdrop"] = layerdrop
    if masking is not None and backbone.family == "whisper":
        raise SerlibError(
            f"{backbone.title} has no SpecAugment in its stock classifier; leave the recipe's masking None."
        )
    if masking is not None:  # no least number of spans, which would hide more of a short clip than of a long one
        settings |= {"mask_time_prob": masking, "mask_time_length": 10, "mask_time_min_masks": 0}
    _hush()
    try:
        config = AutoConfig.from_pretrained(source, **settings)
        kind = AutoModelForAudioClassification._model_mapping[type(config)]
        if pooling != "mean":
            kind = type(f"{pooling.title()}{kind.__name__}", (_OtherPooling, kind), {})
            config.serlib_pooling = pooling
        if pretrained:
            model = kind.from_pretrained(
                source,
                config=config,
                dtype=torch.float32,
                revision=backbone.revision,
                ignore_mismatched_sizes=True,
            )
        else:
            model = kind(config)
    except (OSError, KeyError) as error:
        raise missing_weights(backbone.checkpoint, error) from error
    except Exception as error:  # safetensors and torch each raise their own for a file cut short
        if type(error).__name__ in ("SafetensorError", "UnpicklingError", "RuntimeError"):
            raise _broken_weights(source, error) from error
        raise
    # Trainer would otherwise neither divide loss nor gradient by the steps it accumulates
    model.accepts_loss_kwargs = False
    return model


def load_trained(folder: Path) -> nn.Module:
    """Return a fine-tuned model from a run's checkpoint folder, whatever its pooling."""
    from transformers import AutoConfig, AutoModelForAudioClassification

    _hush()
    try:
        config = AutoConfig.from_pretrained(folder)
        kind = AutoModelForAudioClassification._model_mapping[type(config)]
        if getattr(config, "serlib_pooling", "mean") != "mean":
            kind = type(kind.__name__, (_OtherPooling, kind), {})
        return kind.from_pretrained(folder, dtype=torch.float32).eval()
    except Exception as error:  # every loader raises its own kind for a missing or damaged file
        raise _broken_weights(folder, error) from error


def _hush() -> None:
    """Keep loading bars and the report of new head weights, which are new on purpose, out of the notebooks."""
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()


def _broken_weights(source: Path | str, error: Exception) -> SerlibError:
    """Return the error for weights that are there but cannot be read."""
    reason = re.sub(r"\s+", " ", str(error)).strip()[:120]
    return SerlibError(
        f"The weights of {Path(source).name} are damaged or incomplete ({reason}); delete that folder and load or "
        "train again."
    )


def with_lora(model: nn.Module, rank: int) -> nn.Module:
    """Return the model with small matrices of this rank trained in place of the encoder's, and the head as it is.

    ``merge_and_unload()`` of what is returned gives the stock model back, the matrices added to its weights.
    """
    from peft import LoraConfig, get_peft_model

    # Both halves of each transformer layer: attention and feed-forward
    linear = ["q_proj", "k_proj", "v_proj", "out_proj", "intermediate_dense", "output_dense", "fc1", "fc2"]
    config = LoraConfig(
        r=rank, lora_alpha=2 * rank, lora_dropout=0.0, target_modules=linear, modules_to_save=list(HEAD[:2])
    )
    with warnings.catch_warnings():  # peft asks for a property that transformers has renamed
        warnings.simplefilter("ignore", FutureWarning)
        return get_peft_model(model, config)


def forget_activations(model: nn.Module) -> None:
    """Switch gradient checkpointing on: each layer is computed again on the way back."""
    # the newer name first: transformers 5.23 warns of the older, which is all that 5.15 has
    switch = getattr(model, "activation_checkpointing_enable", None) or model.gradient_checkpointing_enable
    switch({"use_reentrant": False})


class CachedFeatures(nn.Module):
    """Stands in for a frozen convolutional encoder: its output, (batch, channels, frames), was computed before."""

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return features


def takes_waveforms(model: nn.Module) -> bool:
    """Whether this model has the convolutional encoder of the wav2vec 2.0 family (Whisper has none)."""
    return hasattr(model.base_model, "feature_extractor")


def freeze_convolutions(model: nn.Module) -> nn.Module:
    """Freeze what lies before the transformer and return it (Whisper's two convolutions, as a list of modules)."""
    inner = model.base_model
    part = (
        inner.feature_extractor if takes_waveforms(model) else nn.ModuleList([model.encoder.conv1, model.encoder.conv2])
    )
    part.requires_grad_(False)
    return part


def shorten(model: nn.Module, mels: int) -> None:
    """Let a Whisper hear this many mel frames in place of 30 s: its first position embeddings, nothing else changed.

    What is saved afterwards is a stock checkpoint of that length. See notebook 02 for why 30 s are a waste.
    """
    frames = mels // 2  # its second convolution has a stride of 2
    place(model, model.encoder.embed_positions.weight.detach()[:frames].clone())


def place(model: nn.Module, positions: torch.Tensor) -> None:
    """Give a Whisper these position embeddings, (frames, hidden); it hears as many frames as there are."""
    encoder = model.encoder
    encoder.embed_positions = nn.Embedding.from_pretrained(positions)
    encoder.max_source_positions = encoder.config.max_source_positions = len(positions)
