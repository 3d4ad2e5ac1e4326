"""A backbone with a pooling and a head, all of it stock transformers where the pooling is a mean. See notebook 03.

The stock head of wav2vec 2.0, HuBERT and UniSpeech is Linear(hidden, 256), a mean over the frames that are not padding,
Linear(256, classes): the paper's "mean merge strategy" (section 5.2). Sum and max are a thin subclass.
"""

import re
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from serlib.errors import SerlibError, nearest
from serlib.train import networks
from serlib.train.backbones import Backbone, check_twin, config_of, hush, missing_weights, revision_of, weights_of

POOLINGS = ("mean", "sum", "max")
HEAD = ("projector", "classifier", "layer_weights")  # what starts from nothing, and may learn faster
LACKING = "masked_spec_embed"  # what hides a frame in training: a checkpoint trained without masks has none
# The first part of all names of a family's weights, by which a file shows whose it is
FAMILIES = {
    "data2vec_audio", "hubert", "sew", "sew_d", "unispeech", "unispeech_sat", "wav2vec2", "wav2vec2_conformer", "wavlm"
}  # fmt: skip


class _OtherPooling:
    """Sum or max over frames in place of the stock mean (mixed into a stock class, so the weights stay the same)."""

    def forward(
        self: Any,  # the stock model that it is mixed into
        input_values: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,
        **_: Any,
    ) -> Any:
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

    The head is new, whatever the checkpoint had: small random numbers by torch's seed, and equal shares of the layers.
    Of the encoder every weight comes from the checkpoint. A prefix before all of their names, as a wrapper leaves it,
    is taken off, and said.

    Parameters
    ----------
    backbone
        What ``ser.backbone`` returned.
    labels
        The classes, in order.
    pooling
        Over frames: "mean", "sum" or "max".
    layers
        "last", or "weighted", a learned sum of all of them.
    pretrained
        False keeps the architecture and throws the weights away, to see what pre-training is worth.
    masking
        Share of frames that training hides; None leaves it to the checkpoint.
    layerdrop
        Share of layers that training skips; None leaves it to the checkpoint.

    Returns
    -------
    Module
        A model of transformers, for input of shape (clips, samples), or of Whisper (clips, bands, frames); its logits
        are (clips, classes).

    Raises
    ------
    SerlibError
        When the weights can be found nowhere, are broken, or are not all there.

    Examples
    --------
    >>> model = ser.model.load(ser.backbone("hubert-base-mini"), ["happy", "sad"])
    >>> model.classifier
    Linear(in_features=256, out_features=2, bias=True)
    """
    if not isinstance(backbone, Backbone):
        raise SerlibError(f"load takes a backbone, and {backbone!r} is none; make one by ser.backbone(name).")
    if pooling not in POOLINGS:
        raise SerlibError(f"There is no pooling called {pooling!r}: {nearest(pooling, POOLINGS)}")
    if layers not in ("last", "weighted"):
        raise SerlibError(f"There is no choice of layers called {layers!r}: {nearest(layers, ('last', 'weighted'))}")
    if backbone.is_network:
        model = networks.load(backbone, labels, pretrained)
        model.accepts_loss_kwargs = False
        return model
    source = weights_of(backbone.checkpoint)
    settings = {
        "num_labels": len(labels),
        "id2label": dict(enumerate(labels)),
        "label2id": {label: i for i, label in enumerate(labels)},
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
    revision = revision_of(backbone) or backbone.revision
    config = config_of(source, revision, **settings)
    vars(config).pop("serlib_pooling", None)  # of a checkpoint that was trained here before
    if pooling != "mean":
        config.serlib_pooling = pooling
    kind = _class_of(config)
    if not pretrained:
        try:
            model = kind(config)
        except Exception as error:
            raise missing_weights(backbone.checkpoint, error) from error
    else:
        if backbone.is_twin:
            check_twin(backbone)
        model = _with_new_head(source, backbone.checkpoint, config, revision)
    # Trainer would otherwise neither divide loss nor gradient by the steps it accumulates
    model.accepts_loss_kwargs = False
    return model


def load_trained(folder: Path) -> nn.Module:
    """Return a fine-tuned model from a run's checkpoint folder, whatever its pooling, with the head it was given.

    Parameters
    ----------
    folder
        ``run.folder / "checkpoint"``.

    Returns
    -------
    Module
        A model of transformers, ready to predict.

    Raises
    ------
    SerlibError
        When it is damaged, or a weight is missing.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> model = ser.model.load(ser.backbone("hubert-base-mini"), ["happy", "sad"])
    >>> with TemporaryDirectory() as folder:
    ...     model.save_pretrained(folder)
    ...     ser.model.load_trained(folder).config.id2label
    {0: 'happy', 1: 'sad'}
    """
    folder = Path(folder)
    name = f"{folder.parent.name}/{folder.name}"
    model, report = _from_pretrained(folder, name, config_of(folder))
    _demand_tensors(name, model, report, set(model.state_dict()))
    return model.eval()


def _class_of(config: Any) -> type[nn.Module]:
    """Return the class of a config's model: the stock one, or with another pooling if the config says so."""
    from transformers import AutoModelForAudioClassification

    kind = AutoModelForAudioClassification._model_mapping[type(config)]
    pooling = getattr(config, "serlib_pooling", "mean")
    if pooling not in POOLINGS:
        raise SerlibError(f"A config.json says serlib_pooling {pooling!r}: {nearest(str(pooling), POOLINGS)}")
    return kind if pooling == "mean" else type(f"{pooling.title()}{kind.__name__}", (_OtherPooling, kind), {})


def _with_new_head(source: Path | str, name: str, config: Any, revision: str) -> nn.Module:
    """Return a model whose encoder is the checkpoint's to the last weight, and whose head is new."""
    before = torch.get_rng_state()
    model, report = _from_pretrained(source, name, config, revision)
    encoder = {key for key in model.state_dict() if key.split(".")[0] not in HEAD}
    if encoder & report["missing_keys"] and (prefix := _foreign_prefix(name, model, encoder, report)):
        torch.set_rng_state(before)
        model, report = _from_pretrained(source, name, config, revision, prefix)
        print(f"{name}: the names of its weights begin with {prefix!r}, which was taken off.")
    _demand_tensors(name, model, report, {key for key in encoder if not key.endswith(LACKING)})
    _check_leftovers(name, model, report, encoder)
    _renew_head(model, report["missing_keys"])
    return model


def _from_pretrained(
    source: Path | str, name: str, config: Any, revision: str = "main", prefix: str = ""
) -> tuple[nn.Module, dict[str, Any]]:
    """Return (model in float32, report): what transformers found missing, left over, and of another size."""
    hush()
    kind = _class_of(config)
    try:
        model, report = kind.from_pretrained(
            source,
            config=config,
            dtype=torch.float32,
            revision=revision,
            trust_remote_code=False,
            ignore_mismatched_sizes=True,  # the report names them, and _demand_tensors what is wrong
            output_loading_info=True,
            key_mapping={f"^{re.escape(prefix)}": ""} if prefix else None,
        )
    except Exception as error:  # safetensors, torch and transformers each raise their own
        raise missing_weights(name, error, source if isinstance(source, Path) else None) from error
    if prefix:  # else it would be put back when the model is saved
        vars(model).pop("_weight_conversions", None)
    if getattr(model, "_hf_peft_config_loaded", False):
        raise SerlibError(
            f"{name} is a LoRA adapter and no model; merge it into its model (`merge_and_unload`) and save that."
        )
    return model, report


def _foreign_prefix(name: str, model: nn.Module, encoder: set[str], report: dict[str, Any]) -> str:
    """Return what stands before the names of at least half of the encoder's weights, "" where nothing does.

    SerlibError where it is the name of another family, or where there are two such encoders.
    """
    own = f"{model.base_model_prefix}."
    wanted = encoder | {key.removeprefix(own) for key in encoder}
    found: Counter[str] = Counter()
    for key in report["unexpected_keys"]:
        parts = key.split(".")
        for cut in range(1, len(parts)):
            if ".".join(parts[cut:]) in wanted:
                found[".".join(parts[:cut]) + "."] += 1
                break
    whole = [prefix for prefix, count in found.items() if count >= len(encoder) / 2]
    if len(whole) > 1:
        raise SerlibError(
            f"The weights of {name} hold {len(whole)} encoders, whose names begin with {' and '.join(sorted(whole))}; "
            "save the one that you mean in a folder of its own."
        )
    family = whole[0].split(".")[-2] if whole else ""
    if family in FAMILIES:
        raise SerlibError(
            f"The config.json of {name} says {model.config.model_type}, but its weights are named as those of "
            f"{family}; put back the config.json that belongs to them."
        )
    return whole[0] if whole else ""


def _demand_tensors(name: str, model: nn.Module, report: dict[str, Any], needed: set[str]) -> None:
    """Raise SerlibError unless each of the needed tensors came from the checkpoint, in its size, and is finite."""
    state = model.state_dict()
    order = [key for key in state if key in needed]
    whole = f"of the {len(order)} tensors that its config.json asks for"
    if missing := [key for key in order if key in report["missing_keys"]]:
        others = sorted(report["unexpected_keys"])
        hint = f" (but {len(others)} others, such as {others[0]})" if others else ""
        raise SerlibError(
            f"The weights of {name} lack {len(missing)} {whole}, first {missing[0]}{hint}; random numbers would stand "
            "in their place, so take the whole checkpoint, and the config.json that belongs to it."
        )
    sizes = {key: (tuple(a), tuple(b)) for key, a, b in report["mismatched_keys"]}
    if odd := [key for key in order if key in sizes]:
        inside, wanted = sizes[odd[0]]
        raise SerlibError(
            f"The weights of {name} have another size in {len(odd)} {whole}, first {odd[0]}: {inside} in place of "
            f"{wanted}; put back the config.json that belongs to them."
        )
    if broken := [key for key in order if not torch.isfinite(state[key]).all()]:
        raise SerlibError(
            f"The weights of {name} are not finite (NaN or infinity) in {len(broken)} {whole}, first {broken[0]}; "
            "download or save them again."
        )


def _check_leftovers(name: str, model: nn.Module, report: dict[str, Any], encoder: set[str]) -> None:
    """Raise SerlibError for weights inside the encoder that the config leaves out; whole layers on top are only said.

    What lies beside the encoder is of no interest: a decoder, the heads of pre-training.
    """
    own = f"{model.base_model_prefix}."
    parts = {key.removeprefix(own).split(".")[0] for key in encoder}
    inside = sorted(
        key
        for key in report["unexpected_keys"]
        if key.removeprefix(own).split(".")[0] in parts and not key.endswith(LACKING)
    )
    layers = model.config.num_hidden_layers
    above = [
        key for key in inside if (found := re.search(r"encoder\.layers\.(\d+)\.", key)) and int(found[1]) >= layers
    ]
    if len(inside) > len(above):
        first = next(key for key in inside if key not in above)
        raise SerlibError(
            f"The weights of {name} hold {len(inside) - len(above)} tensors of the encoder that its config.json leaves "
            f"out, first {first}; put back the config.json that belongs to them."
        )
    if above:
        print(f"{name}: its weights have more layers than the {layers} of its config.json; those above are left out.")


def _renew_head(model: nn.Module, missing: set[str]) -> None:
    """Give the model a new head where its checkpoint had one, drawn as transformers draws a head that is missing."""
    config = model.config
    if not {f"{part}.{kind}" for part in HEAD[:2] for kind in ("weight", "bias")} <= missing:
        deviation = getattr(config, "initializer_range", None) or getattr(config, "init_std", 0.02)
        for linear in (model.projector, model.classifier):
            nn.init.normal_(linear.weight, 0.0, deviation)
            nn.init.zeros_(linear.bias)
    if config.use_weighted_layer_sum:  # transformers leaves it as the memory was, in most families
        nn.init.constant_(model.layer_weights, 1 / len(model.layer_weights))
    for key, value in model.named_parameters():  # and so does transformers 5.15 with this
        if key.endswith(LACKING) and key in missing:
            nn.init.uniform_(value)


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


def forget_activations(model: nn.Module, contexts: Callable[[], Any] | None = None) -> None:
    """Switch gradient checkpointing on: each layer is computed again on the way back.

    ``contexts`` gives two context managers, for the way ahead and for what is computed again (torch's ``context_fn``).
    """
    # the newer name first: transformers 5.23 warns of the older, which is all that 5.15 has
    switch = getattr(model, "activation_checkpointing_enable", None) or model.gradient_checkpointing_enable
    switch({"use_reentrant": False} | ({"context_fn": contexts} if contexts else {}))


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


def freeze_layers(model: nn.Module, layers: int) -> None:
    """Freeze so many of an encoder's first layers and all that lies before them; its last norm learns on."""
    inner = model.encoder if hasattr(model, "encoder") else model.base_model
    stack = inner if hasattr(inner, "layers") else inner.encoder
    if layers >= len(stack.layers):
        raise SerlibError(
            f"The recipe freezes {layers} layers of {len(stack.layers)}, and then none would learn; freeze fewer, or "
            "give a ser.Probe to ser.probe."
        )
    inner.requires_grad_(False)
    stack.layers[layers:].requires_grad_(True)
    if not takes_waveforms(model) or model.config.do_stable_layer_norm:  # else the norm comes before the layers
        stack.layer_norm.requires_grad_(True)


class LowerLayers(nn.Module):
    """A Whisper's convolutions and first layers: (clips, bands, 2 x frames) in, (clips, hidden, frames) out."""

    def __init__(self, encoder: nn.Module, layers: int) -> None:
        super().__init__()
        self.encoder, self.layers = encoder, layers

    def forward(self, mels: torch.Tensor) -> torch.Tensor:
        encoder = self.encoder
        sound = nn.functional.gelu(encoder.conv2(nn.functional.gelu(encoder.conv1(mels))))
        hidden = sound.transpose(1, 2) + encoder.embed_positions.weight
        for layer in encoder.layers[: self.layers]:
            hidden = layer(hidden, None)
        return hidden.transpose(1, 2)


class UpperLayers(nn.Module):
    """Stands in for a Whisper's encoder, whose first layers' output was computed before."""

    def __init__(self, encoder: nn.Module, layers: int) -> None:
        super().__init__()
        self.layers, self.layer_norm = encoder.layers[layers:], encoder.layer_norm

    def forward(self, hidden: torch.Tensor, **_: Any) -> Any:
        from transformers.modeling_outputs import BaseModelOutput

        hidden = hidden.transpose(1, 2)
        for layer in self.layers:
            hidden = layer(hidden, None)
        return BaseModelOutput(last_hidden_state=self.layer_norm(hidden))


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
