"""A backbone with a pooling and a head, all of it stock transformers where the pooling is a mean. See notebook 03.

The stock head of wav2vec 2.0, HuBERT and UniSpeech is Linear(hidden, 256), a mean over the frames that are not padding,
Linear(256, classes): the paper's "mean merge strategy" (section 5.2). Sum and max are a thin subclass.
"""

import re
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn

from serlib.backbones import Backbone, missing_weights, weights_of
from serlib.errors import SerlibError, nearest

POOLINGS = ("mean", "sum", "max")
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
) -> nn.Module:
    """Return the backbone with a new head for these labels, in float32.

    ``pooling`` is "mean", "sum" or "max" over frames; ``layers`` is "last" or "weighted", a learned sum of all of
    them. ``pretrained=False`` keeps the architecture and throws the weights away, to see what pre-training is worth.
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
        "layerdrop": 0.0,  # a dropped layer would shorten the list of layers that the weighted sum needs
    }
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
        raise missing_weights(backbone.checkpoint) from error
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


class CachedFeatures(nn.Module):
    """Stands in for a frozen convolutional encoder: its output, (batch, channels, frames), was computed before."""

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return features


def takes_waveforms(model: nn.Module) -> bool:
    """Whether this model has the convolutional encoder of the wav2vec 2.0 family (Whisper has none)."""
    return hasattr(model.base_model, "feature_extractor")
