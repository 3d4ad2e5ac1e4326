"""Pre-train the mini twins that ship with serlib: masked prediction of k-means clusters, on synthetic speech only.

    python scripts/pretrain_twins.py                       all six, one after the other
    python scripts/pretrain_twins.py hubert-base -s 3000   one of them, for 3,000 steps

Each twin keeps its big sibling's transformers class, norms and mask rules. The speech is spoken by Praat's voices:
sentences of our own with random prosody, in English or (for the two multilingual twins) seven languages. No emotion
label and no sentence of the mini corpus is used. The targets are two codebooks of 100 clusters a frame of 20 ms:
one of MFCCs, as in HuBERT's first iteration (Hsu et al., 2021, section II.A), and one of pitch, energy and spectral
tilt, because our twins are to hear prosody and have minutes, not days, to learn it.

Written into serlib/twins/<key>: config.json, preprocessor_config.json, model.safetensors (fp16), recipe.json.
"""

import argparse
import json
import multiprocessing
import os
import time
from pathlib import Path

import numpy as np
import torch
import torchaudio
from safetensors.torch import save_file
from sklearn.cluster import MiniBatchKMeans
from transformers import (
    HubertConfig,
    HubertModel,
    UniSpeechConfig,
    UniSpeechModel,
    Wav2Vec2Config,
    Wav2Vec2FeatureExtractor,
    Wav2Vec2Model,
)

from serlib.data import synth
from serlib.files import atomic_path, cache_dir, checksum
from serlib.train.backbones import TWINS

HOP, WINDOW, CLUSTERS, CROP = (
    320,
    400,
    100,
    75,
)  # one target per frame of the convolutional encoder: 20 ms, 25 ms wide
CONV = {
    "conv_dim": (32, 48, 64, 64, 64, 64, 64),
    "num_conv_pos_embeddings": 64,
    "num_conv_pos_embedding_groups": 8,
}
LAYER_NORM = {"feat_extract_norm": "layer", "do_stable_layer_norm": True, "conv_bias": True}
GROUP_NORM = {"feat_extract_norm": "group", "do_stable_layer_norm": False, "conv_bias": False}


def _size(hidden: int, layers: int, heads: int) -> dict:
    return {
        "hidden_size": hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "intermediate_size": 4 * hidden,
    }


TWIN = {
    "wav2vec2-large": (Wav2Vec2Model, Wav2Vec2Config, {**_size(96, 4, 4), **LAYER_NORM}, 1, ("en",)),
    "wav2vec2-xlsr53": (Wav2Vec2Model, Wav2Vec2Config, {**_size(104, 4, 4), **LAYER_NORM}, 2, ("all",)),
    "hubert-base": (HubertModel, HubertConfig, {**_size(96, 3, 4), **GROUP_NORM}, 3, ("en",)),
    "hubert-xlarge": (HubertModel, HubertConfig, {**_size(112, 6, 4), **LAYER_NORM}, 4, ("en",)),
    "unispeech-large": (UniSpeechModel, UniSpeechConfig, {**_size(96, 4, 6), **LAYER_NORM}, 5, ("en",)),
    "unispeech-multilingual": (
        UniSpeechModel,
        UniSpeechConfig,
        {**_size(104, 4, 8), **LAYER_NORM},
        6,
        ("all",),
    ),
}
SENTENCES = {
    "English (America)": synth.SENTENCES,
    "Spanish (Spain)": """La luna sale detrás de la montaña
Mi hermano compra pan todas las mañanas
Nadie sabe dónde está la llave azul
El tren llegó con mucha lluvia
Tenemos que cruzar el río antes de comer""".splitlines(),
    "French (France)": """Le chat dort près de la fenêtre ouverte
Nous avons perdu la carte du village
Ma voisine chante tous les dimanches
Il reste trois chaises autour du feu
Pourquoi la porte est elle si petite""".splitlines(),
    "German": """Der Schlüssel liegt unter dem roten Stuhl
Meine Schwester malt gern alte Boote
Wir gehen heute nicht über die Brücke
Das Brot ist noch warm und riecht gut
Niemand hat den langen Zug gehört""".splitlines(),
    "Italian": """La neve copre tutto il giardino
Mio padre aggiusta vecchie biciclette
Abbiamo trovato una chiave nella sabbia
Il fiume passa dietro la nostra casa
Chi ha dipinto la finestra di giallo""".splitlines(),
    "Portuguese (Brazil)": """A chuva começou antes do almoço
Minha avó guarda cartas muito antigas
O barco vazio voltou para a praia
Ninguém ouviu o trem da manhã
Eles moram perto de uma ponte""".splitlines(),
    "Polish": """Stary most stoi za naszym domem
Moja siostra śpiewa w każdą niedzielę
Nikt nie widział niebieskiego klucza
Chleb jest jeszcze ciepły
Pociąg przyjechał bardzo późno""".splitlines(),
}


def _utterance(number: int, languages: str) -> np.ndarray:
    """Speak one utterance: a drawn sentence, voice and prosody, none of them tied to an emotion."""
    rng = np.random.default_rng([77, number])
    known = [name for name in SENTENCES if languages == "all" or name.startswith("English")]
    language = str(rng.choice(known))
    voice = synth.Voice.draw(rng, str(rng.choice(["female", "male"])))
    prosody = synth.Prosody.draw(rng)
    return synth.say(str(rng.choice(SENTENCES[language])), voice, prosody, rng, language)


def _frames(samples: np.ndarray) -> int:
    return (len(samples) - WINDOW) // HOP + 1


def _prosody(samples: np.ndarray) -> np.ndarray:
    """Return (frames, 4): pitch in semitones (bridged over unvoiced parts), voicing, level in dB, tilt in dB."""
    import parselmouth

    count = _frames(samples)
    times = (np.arange(count) * HOP + WINDOW / 2) / synth.RATE
    pitch = parselmouth.Sound(samples, synth.RATE).to_pitch(0.01, 60, 600)
    hertz = np.array([pitch.get_value_at_time(time) for time in times])
    voiced = np.isfinite(hertz)
    tones = 12 * np.log2(np.interp(times, times[voiced], hertz[voiced]) / 100) if voiced.any() else np.zeros(count)
    windows = np.lib.stride_tricks.sliding_window_view(samples, WINDOW)[::HOP][:count] * np.hanning(WINDOW)
    power = np.abs(np.fft.rfft(windows)) ** 2 + 1e-7
    split = int(1000 / (synth.RATE / WINDOW))
    level = 10 * np.log10(power.sum(1))
    tilt = 10 * np.log10(power[:, split:].sum(1) / power[:, :split].sum(1))
    return np.stack([tones, voiced * 6.0, level, tilt], 1).astype(np.float32)


def _slopes(values: np.ndarray, reach: int) -> np.ndarray:
    """Return the change of every column over +-``reach`` frames."""
    padded = np.pad(values, ((reach, reach), (0, 0)), mode="edge")
    return (padded[2 * reach :] - padded[: -2 * reach]) / 2


def _speak_and_measure(job: tuple[int, str]) -> tuple[np.ndarray, np.ndarray]:
    samples = _utterance(*job)[: 4 * synth.RATE]
    return samples, _prosody(samples)


def speech(count: int, languages: str) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Return ``count`` utterances and their two target sequences, (frames, 2) int; spoken once, then cached."""
    path = cache_dir() / f"pretraining-v{synth.VERSION}-{languages}-{count}.npz"
    if not path.exists():
        with multiprocessing.get_context("spawn").Pool(os.cpu_count()) as pool:
            spoken = pool.map(_speak_and_measure, [(i, languages) for i in range(count)], chunksize=20)
        sounds = [samples for samples, _ in spoken]
        mfcc = torchaudio.transforms.MFCC(
            synth.RATE, 13, melkwargs={"n_fft": WINDOW, "hop_length": HOP, "n_mels": 40, "center": False}
        )
        phonetic = [mfcc(torch.from_numpy(s)).T.numpy() for s in sounds]
        phonetic = [np.hstack([m, _slopes(m, 2)]) for m in phonetic]
        prosodic = [np.hstack([p, 1.5 * _slopes(p[:, [0, 2]], 5)]) for _, p in spoken]
        targets = np.stack([_clusters(phonetic), _clusters(prosodic)], 1).astype(np.uint8)
        with atomic_path(path) as fresh:
            np.savez(fresh, sound=np.concatenate(sounds), ends=np.cumsum([len(s) for s in sounds]), targets=targets)
    kept = np.load(path)
    sounds = np.split(kept["sound"], kept["ends"][:-1])
    targets = np.split(kept["targets"].astype(np.int64), np.cumsum([_frames(s) for s in sounds])[:-1])
    return sounds, targets


def _clusters(features: list[np.ndarray]) -> np.ndarray:
    stacked = np.concatenate(features)
    stacked = (stacked - stacked.mean(0)) / stacked.std(0)
    return MiniBatchKMeans(CLUSTERS, random_state=0, batch_size=4096, n_init=2).fit_predict(stacked)


def _spans(frames: int, rng: np.random.Generator) -> np.ndarray:
    """Return a boolean mask over frames: spans of 10, so that about half of all frames are hidden."""
    mask = np.zeros(frames, bool)
    for start in rng.integers(0, max(frames - 10, 1), max(1, round(frames * 0.065))):
        mask[start : start + 10] = True
    return mask


def pretrain(key: str, steps: int, batch_size: int, utterances: int) -> None:
    """Pre-train one twin and write its folder."""
    kind, config_kind, size, seed, (languages,) = TWIN[key]
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    sounds, targets = speech(utterances, languages)
    config = config_kind(
        **{**CONV, **size}, layerdrop=0.0, hidden_dropout=0.0, attention_dropout=0.0, activation_dropout=0.0,
        feat_proj_dropout=0.0, final_dropout=0.0, mask_time_prob=0.05, num_feat_extract_layers=7, vocab_size=32,
    )  # fmt: skip
    model = kind(config)
    heads = torch.nn.ModuleList(torch.nn.Linear(config.hidden_size, CLUSTERS) for _ in range(2))
    needs_mask = config.feat_extract_norm == "layer"
    extractor = Wav2Vec2FeatureExtractor(do_normalize=True, return_attention_mask=needs_mask)
    sounds = [(s - s.mean()) / np.sqrt(s.var() + 1e-7) for s in sounds]  # what the extractor does, clip by clip
    weights = [*model.parameters(), *heads.parameters()]
    optimizer = torch.optim.AdamW(weights, lr=2e-3, betas=(0.9, 0.98), weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=steps, pct_start=0.08)
    model.train()
    print(
        f"{key}: {sum(p.numel() for p in model.parameters()):,} parameters, {len(sounds)} utterances",
        flush=True,
    )
    start, losses, hits = time.time(), [], []
    queue: list[np.ndarray] = []
    for step in range(1, steps + 1):
        if not queue:  # batches of like length, in random order
            order = np.argsort([len(s) + rng.uniform(0, 4000) for s in sounds])
            queue = [order[i : i + batch_size] for i in range(0, len(order), batch_size)]
            rng.shuffle(queue)
        chosen = queue.pop()
        # every utterance gives one window of the same length, so that nothing needs padding
        frames = min(CROP, *(len(targets[i]) for i in chosen))
        starts = [int(rng.integers(0, len(targets[i]) - frames + 1)) for i in chosen]
        samples = (frames - 1) * HOP + WINDOW
        batch = torch.from_numpy(
            np.stack([sounds[i][s * HOP :][:samples] for i, s in zip(chosen, starts, strict=True)])
        ).float()
        truth = torch.from_numpy(np.stack([targets[i][s : s + frames] for i, s in zip(chosen, starts, strict=True)]))
        hidden = torch.from_numpy(np.stack([_spans(frames, rng) for _ in chosen]))
        output = model(batch, mask_time_indices=hidden).last_hidden_state
        loss = torch.zeros(())
        for book, head in enumerate(heads):
            guess = head(output)
            loss = loss + torch.nn.functional.cross_entropy(guess[hidden], truth[..., book][hidden])
            loss = loss + 0.5 * torch.nn.functional.cross_entropy(guess[~hidden], truth[..., book][~hidden])
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(weights, 5.0)
        optimizer.step()
        schedule.step()
        losses.append(loss.item())
        hits.append((guess[hidden].argmax(-1) == truth[..., 1][hidden]).float().mean().item())
        if step % 100 == 0 or step == steps:
            scores = f"loss {np.mean(losses[-100:]):.3f}, masked prosody hits {np.mean(hits[-100:]):.3f}"
            print(f"{step:6d} {scores}, {time.time() - start:.0f} s", flush=True)
        if step % 1000 == 0 or step == steps:
            recipe = {
                "key": key, "objective": "masked prediction of k-means clusters (MFCC; prosody)", "seed": seed,
                "languages": languages, "utterances": len(sounds),
                "hours": round(sum(map(len, sounds)) / synth.RATE / 3600, 2),
                "steps": step, "batch_size": batch_size, "learning_rate": 2e-3, "clusters": CLUSTERS,
                "loss": round(float(np.mean(losses[-100:])), 3), "synthetic": True,
            }  # fmt: skip
            write(TWINS / key, model, extractor, recipe)


def write(folder: Path, model, extractor, recipe: dict) -> None:
    """Write a twin in the hub's layout, half precision, with its recipe and checksum."""
    model.config.serlib_parameters = sum(p.numel() for p in model.parameters())
    model.config.architectures = [type(model).__name__]
    # pre-training had data without end and no use for dropout; fine-tuning on a thousand clips has, as in the originals
    model.config.hidden_dropout = model.config.final_dropout = 0.1
    # clips of a second and a half have room for a mask now and then, not for two of 200 ms in each
    model.config.mask_time_min_masks = 0
    with atomic_path(folder, folder=True) as fresh:
        model.config.save_pretrained(fresh)
        extractor.save_pretrained(fresh)
        weights = {name: value.half().contiguous() for name, value in model.state_dict().items()}
        save_file(weights, fresh / "model.safetensors", metadata={"format": "pt"})
        (fresh / "model.safetensors").chmod(0o644)
        recipe["sha256"] = checksum(fresh / "model.safetensors")
        (fresh / "recipe.json").write_text(json.dumps(recipe, indent=1) + "\n", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("keys", nargs="*", default=list(TWIN), help="which twins (default: all six)")
    parser.add_argument("-s", "--steps", type=int, default=4000)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--utterances", type=int, default=2400)
    args = parser.parse_args()
    for key in args.keys:
        pretrain(key, args.steps, args.batch_size, args.utterances)


if __name__ == "__main__":
    main()
