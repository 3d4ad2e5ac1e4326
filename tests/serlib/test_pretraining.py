"""Pre-training by hand: the alignment holds, frames line up, the loop learns; the notebook's losses by other means."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch.nn import functional as F
from transformers import Wav2Vec2Config
from transformers.models.wav2vec2.modeling_wav2vec2 import Wav2Vec2ForPreTraining

from serlib.data import synth
from serlib.errors import SerlibError
from serlib.train import pretraining

NOTEBOOK = Path(__file__).parents[2] / "notebooks" / "13_self_supervision.ipynb"


@pytest.fixture(scope="module")
def recited() -> list[synth.Utterance]:
    return synth.recite(3)


@pytest.fixture(scope="module")
def lesson() -> dict:
    """The functions and classes that the notebook defines in cells of their own, by name."""
    names = {"np": np, "torch": torch, "F": F, "nn": torch.nn, "DIVERSITY": 1}
    for cell in json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "code" and ("def hide(" in source or "def line_up(" in source):
            exec(source.replace("print(", "str("), names)
        if cell["cell_type"] == "code" and "def spelling(" in source:
            exec(source[source.index("def spelling(") :], names)
    return names


@pytest.mark.slow
def test_the_phones_leave_no_gap_and_end_with_the_clip(recited):
    for utterance in recited:
        assert utterance.phones[0][0] == 0
        assert utterance.phones[-1][1] == pytest.approx(len(utterance.samples) / synth.RATE)
        lengths = sum(end - start for start, end, _ in utterance.phones)
        assert lengths == pytest.approx(len(utterance.samples) / synth.RATE)
        assert all(one[1] == other[0] for one, other in zip(utterance.phones, utterance.phones[1:], strict=False))
        assert utterance.text in synth.SENTENCES


def test_reciting_twice_gives_the_same(recited):
    again = synth.recite(3)
    for one, other in zip(recited, again, strict=True):
        assert one.phones == other.phones and np.array_equal(one.samples, other.samples)


def high_share(samples: np.ndarray) -> float:
    """The share of a sound's energy above 3 kHz: most of a hiss, little of a vowel."""
    power = np.abs(np.fft.rfft(samples)) ** 2
    return power[np.fft.rfftfreq(len(samples), 1 / synth.RATE) > 3000].sum() / power.sum()


@pytest.mark.slow
def test_the_alignment_fits_the_sound():
    """Where it says s, something hisses; where it says a vowel, something sings; before the first phone is silence."""
    hiss, song, hush = [], [], []
    for utterance in synth.recite(12):
        for start, end, phone in utterance.phones:
            piece = utterance.samples[int(start * synth.RATE) : int(end * synth.RATE)]
            if phone in ("s", "ʃ"):
                hiss.append(high_share(piece))
            elif phone and phone[0] in "aæɐɑɔəɚɛɜɪʊʌiue":
                song.append(high_share(piece))
        silence = utterance.samples[: int(utterance.phones[0][1] * synth.RATE)]
        hush.append(silence.std() / utterance.samples.std())
    assert len(hiss) > 5 and np.mean(hiss) > 0.65 and np.mean(song) < 0.2
    assert max(hush) < 0.1


@pytest.mark.slow
def test_frames_phones_and_melody_are_equally_long(recited):
    for utterance in recited:
        mel, phones = pretraining.mel(utterance.samples), pretraining.phone_frames(utterance)
        melody = pretraining.melody(utterance.samples)
        assert mel.shape == (len(phones), pretraining.BANDS) and melody.shape == (len(phones), 5)
        assert torch.isfinite(mel).all() and np.isfinite(melody).all()


def test_a_frame_has_the_phone_at_its_center():
    phones = ((0.0, 0.03, ""), (0.03, 0.05, "k"), (0.05, 0.1, "a"))
    toy = synth.Utterance("", np.zeros(1600, np.float32), phones)  # centers at 0, 20, 40, 60, 80 and 100 ms
    assert list(pretraining.phone_frames(toy)) == ["", "", "k", "a", "a", "a"]


def test_the_melody_of_a_rising_tone_rises():
    times = np.arange(synth.RATE) / synth.RATE
    harmonics = sum(np.sin(2 * np.pi * k * (150 * times + 25 * times**2)) for k in range(1, 6))
    melody = pretraining.melody(0.1 * harmonics)[10:-10]
    assert melody[:, 1].mean() > 0.9
    assert np.allclose(melody[:, 0], 12 * np.log2((150 + 50 * np.arange(10, 41) * 0.02) / 100), atol=0.5)
    assert (melody[5:-5, 3] > 0).all()


def test_the_loop_learns_and_repeats_itself():
    rng = np.random.default_rng(0)
    mels = [torch.from_numpy(rng.normal(size=(70, 4))).float() for _ in range(5)]
    material = {"mel": mels, "answer": [(mel[:, 0] > 0).long() for mel in mels]}

    def run() -> list[float]:
        torch.manual_seed(0)
        model = torch.nn.Linear(4, 2)

        def objective(batch):
            assert batch["mel"].shape == (pretraining.BATCH, pretraining.CROP, 4)
            assert torch.equal((batch["mel"][..., 0] > 0).long(), batch["answer"]), "cut at different places"
            scores = model(batch["mel"])
            noise = 0.01 * torch.rand(())
            return F.cross_entropy(scores.flatten(0, 1), batch["answer"].flatten()) + noise, 0.0

        return pretraining.pretrain(objective, [model], material, steps=40)["loss"].tolist()

    losses = run()
    assert losses == run()
    assert losses[-1] < losses[0]


def test_what_was_learned_is_kept_for_the_same_beginning_only(capsys):
    """Weights, history and the random numbers that follow are those of the whole training; another objective trains."""
    rng = np.random.default_rng(0)
    material = {"mel": [torch.from_numpy(rng.normal(size=(70, 4))).float() for _ in range(5)]}

    def run(steps=40, power=2.0, start=0, scale=1.0):
        torch.manual_seed(start)
        model = torch.nn.Linear(4, 1)

        def objective(batch):
            return (model(batch["mel"]) - 1 + 0.01 * torch.rand(())).abs().pow(power).mean(), np.mean([0, 0.5])

        rows = {"mel": [scale * row for row in material["mel"]]}
        history = pretraining.pretrain(objective, [model], rows, steps=steps)
        return history, model.weight.detach().clone(), torch.rand(3), "kept" in capsys.readouterr().out

    first, again = run(), run()
    assert not first[3] and again[3]
    pd.testing.assert_frame_equal(first[0], again[0])
    assert torch.equal(first[1], again[1]) and torch.equal(first[2], again[2])
    for other in ({"steps": 41}, {"power": 1.5}, {"start": 1}, {"scale": 2.0}):
        assert not run(**other)[3], other
    assert run()[3]


def test_material_of_unequal_lengths_is_refused():
    with pytest.raises(SerlibError, match="equally long"):
        pretraining.pretrain(None, [], {"mel": [torch.zeros(80, 2)], "phone": [torch.zeros(79)]}, steps=1)
    with pytest.raises(SerlibError, match="at least 64 frames"):
        pretraining.pretrain(None, [], {"mel": [torch.zeros(30, 2)]}, steps=1)


def test_the_gaps_are_spans(lesson):
    torch.manual_seed(0)
    hidden = lesson["hide"](torch.zeros(50, 64), length=5, share=0.1)
    for row in hidden.int():
        edges = torch.diff(row, prepend=torch.tensor([0]), append=torch.tensor([0]))
        starts, stops = (edges == 1).nonzero()[:, 0], (edges == -1).nonzero()[:, 0]
        assert all(stop - start >= 5 or stop == 64 for start, stop in zip(starts, stops, strict=True))


def test_the_line_up_of_the_notebook_is_that_of_transformers(lesson):
    """One clip, three hidden frames, two of them with the same code."""
    torch.manual_seed(0)
    vectors, codes = torch.randn(1, 5, 8), torch.randn(1, 5, 8)
    codes[0, 3] = codes[0, 1]
    picked = torch.tensor([[0, 1, 2, 1, 4]])
    hidden = torch.tensor([[False, True, True, True, False]])
    loss, _ = lesson["line_up"](vectors, codes, picked, hidden)
    temperature = Wav2Vec2Config().contrastive_logits_temperature
    total = 0.0
    for here, others in ((1, (2,)), (2, (1, 3)), (3, (2,))):  # 1 and 3 are the same code, no rivals
        logits = Wav2Vec2ForPreTraining.compute_contrastive_logits(
            codes[:, here][None, None], codes[0, list(others)][:, None, None], vectors[:, here][None], temperature
        )
        total += F.cross_entropy(logits.flatten()[None], torch.tensor([0])).item()
    assert loss.item() == pytest.approx(total / 3, rel=1e-5)


def test_the_spelling_is_the_sequence_of_phones(lesson):
    rows = torch.tensor([[0, 3, 3, 0, 3, 5], [7, 7, 7, 2, 2, 0]])
    wanted, lengths = lesson["spelling"](rows)
    assert wanted.tolist() == [3, 3, 5, 7, 2] and lengths.tolist() == [3, 2]


def test_ctc_adds_up_every_way_to_read(lesson):
    """torch's CTC, as the notebook calls it, against all 27 paths of three frames over blank and two phones."""
    torch.manual_seed(0)
    names = torch.randn(3, 1, 3).log_softmax(-1)
    summed = 0.0
    for path in np.ndindex(3, 3, 3):
        merged = [name for i, name in enumerate(path) if i == 0 or path[i - 1] != name]
        if [name for name in merged if name] == [2, 1]:
            summed += np.exp(sum(names[t, 0, name].item() for t, name in enumerate(path)))
    loss = F.ctc_loss(names, torch.tensor([2, 1]), torch.tensor([3]), torch.tensor([2]), reduction="sum")
    assert loss.item() == pytest.approx(-np.log(summed), rel=1e-5)
