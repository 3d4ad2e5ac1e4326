"""Networks of the related work: weights counted by hand, shapes, waves of a ring, and bad input in one sentence."""

import numpy as np
import pytest
import torch

from serlib.data import audio
from serlib.data.splits import Split, stratified_split
from serlib.errors import SerlibError
from serlib.judge.metrics import accuracy
from serlib.train import model, networks
from serlib.train.backbones import backbone
from serlib.train.classify import classify
from serlib.train.finetuning import fine_tune
from serlib.train.hearing import hear
from serlib.train.networks import NETWORKS, network
from serlib.train.probing import probe
from serlib.train.recipes import Probe, Recipe

QUICK = Recipe(epochs=12, batch_size=4, accumulation=1, learning_rate=3e-3, eval_every=6, precision="fp32")


@pytest.fixture
def split(tiny_corpus) -> Split:
    """Tones and noises, which every network tells apart."""
    return stratified_split(tiny_corpus, test_size=0.25, validation_size=0.2)


def weights_of(module: torch.nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def conv(inside: int, outside: int) -> int:
    """A 3 x 3 convolution with biases, and its normalization's two numbers a channel."""
    return outside * (9 * inside + 1) + 2 * outside


def linear(inside: int, outside: int) -> int:
    return outside * (inside + 1)


def lstm(inside: int, hidden: int) -> int:
    """Both directions: four gates, each with two matrices and two biases."""
    return 2 * 4 * hidden * (inside + hidden + 2)


TRANSFORMER_LAYER = linear(40, 120) + linear(40, 40) + linear(40, 512) + linear(512, 40) + 4 * 40
BY_HAND = {
    "mel-cnn": conv(1, 16) + conv(16, 32) + conv(32, 64) + conv(64, 128) + linear(128, 8),
    # 2 x 512 + 40 = 1,064 numbers enter the last layer, as in the notebook of Zenkov
    "parallel-transformer": 2 * (conv(1, 16) + conv(16, 32) + conv(32, 64)) + 4 * TRANSFORMER_LAYER + linear(1064, 8),
    "parallel-attention": conv(1, 16) + conv(16, 32) + conv(32, 64) + conv(64, 64)
    + lstm(64, 64) + linear(128, 1) + linear(192, 8),
    # the two graph layers, 29,952 together, the article's "about 30 thousand"; then what reads them
    "cycle-graph": 29_952 + linear(64, 128) + 128 + linear(128, 8),
    "learned-graph": 120 * 120 + 3 * linear(35, 32) + 3 * linear(96, 32) + 2 * 2 * 96 + 120 + linear(96, 8),
}  # fmt: skip


@pytest.mark.parametrize("name", BY_HAND)
def test_a_network_has_the_weights_that_are_counted_by_hand(name):
    row = NETWORKS[name]
    net = row.build(row.front["bands"], row.frames, 8)
    assert weights_of(net) == BY_HAND[name] == round(network(name).parameters * 1e6)
    assert net(torch.randn(2, row.front["bands"], row.frames)).shape == (2, 8)


def test_the_graph_layers_have_the_articles_thirty_thousand_weights():
    row = NETWORKS["cycle-graph"]
    layers = row.build(35, 120, 4).layers
    assert weights_of(layers) == 29_952
    assert 29_952 == sum(linear(a, 128) + 2 * 128 + linear(128, 64) for a in (35, 64))


@pytest.mark.slow
def test_cnn14_has_the_weights_that_its_article_prints():
    with torch.device("meta"):
        assert weights_of(networks.CNN14(64, 301, 527)) == 80_753_615
    net = networks.CNN14(64, 301, 8).eval()
    with torch.inference_mode():
        assert net(torch.randn(1, 64, 301)).shape == (1, 8)


def test_the_waves_of_a_ring_are_its_laplacians_eigenvectors():
    """Against numpy, which computes them: the same eigenvalues, and nothing beside the diagonal."""
    for nodes in (5, 8, 120):
        basis = networks.cycle_basis(nodes).double().numpy()
        ring = np.roll(np.eye(nodes), 1, 0)
        laplacian = 2 * np.eye(nodes) - ring - ring.T
        turned = basis.T @ laplacian @ basis
        assert np.allclose(basis.T @ basis, np.eye(nodes), atol=1e-6)
        assert np.allclose(turned, np.diag(np.diag(turned)), atol=1e-5)
        assert np.allclose(np.sort(np.diag(turned)), np.linalg.eigvalsh(laplacian), atol=1e-5)


def test_the_learned_graph_begins_as_the_ring():
    net = NETWORKS["learned-graph"].build(35, 120, 8)
    graph = net.graph().detach()
    assert torch.allclose(graph.sum(1), torch.ones(120)) and (graph >= 0).all()
    assert [sorted(row.topk(2).indices.tolist()) for row in graph[[0, 7]]] == [[1, 119], [6, 8]]


def test_padding_does_not_count_for_the_heads():
    for name in ("mlp", "downstream"):
        torch.manual_seed(0)
        net = NETWORKS[name].build(12, 3, 8).eval()
        frames = torch.randn(2, 12, 7)
        assert torch.allclose(net(frames), net(torch.nn.functional.pad(frames, (0, 5))), atol=1e-6)


@pytest.mark.parametrize(
    "name, on, said",
    [
        ("mel-cn", None, "did you mean mel-cnn"),
        (3, None, "no network called 3"),
        ([], None, r"no network called \[\]"),
        ("mlp", None, "frozen encoder is a NoneType; give one"),
        ("mel-cnn", "hubert-base-mini", "takes no frozen encoder"),
    ],
)
def test_a_wrong_name_gets_a_sentence(name, on, said):
    with pytest.raises(SerlibError, match=said):
        network(name, on=on and backbone(on))


def test_a_head_reads_no_network_that_has_heard_nothing():
    with pytest.raises(SerlibError, match="mel CNN is no pre-trained encoder, so there is nothing to freeze"):
        network("mlp", on=network("mel-cnn"))


@pytest.mark.parametrize("name, said", [("cnn14", "leave out on=False"), ("mlp", "frozen encoder is a bool; give one")])
def test_what_is_no_encoder_gets_a_sentence(name, said):
    with pytest.raises(SerlibError, match=said):
        network(name, on=False)


def test_a_clip_too_short_for_the_poolings_gets_a_sentence():
    model = networks.load(network("mel-cnn"), ["happy", "sad"], pretrained=False)
    assert model(torch.randn(1, 64, 16)).logits.shape == (1, 2)
    with pytest.raises(SerlibError, match="clip of 15 frames is too short for mel CNN"):
        model(torch.randn(1, 64, 15))


@pytest.fixture
def shelf(tmp_path, monkeypatch):
    monkeypatch.setenv("SERLIB_MODELS", str(tmp_path))
    return tmp_path / networks.AUDIOSET


class Small(torch.nn.Module):
    """A CNN-14 of one pair, so that the test need not write 300 MB."""

    shortest = 2

    def __init__(self, bands: int, frames: int, classes: int):
        super().__init__()
        self.conv_block1 = networks._Pair(1, bands, 2)
        self.classifier = torch.nn.Linear(bands, classes)


@pytest.fixture
def small(monkeypatch):
    row = NETWORKS["cnn14"]
    monkeypatch.setitem(networks.NETWORKS, "cnn14", networks.Row(row.title, Small, row.front, row.about))


def test_audioset_weights_are_taken_by_their_names(shelf, small):
    with pytest.raises(SerlibError, match="put Cnn14_16k"):
        networks.load(network("cnn14"), ["a", "b"], pretrained=True)
    there = Small(64, 301, 527).state_dict()
    torch.save({"model": there | {"logmel_extractor.melW": torch.zeros(2)}}, shelf)
    before = network("cnn14").revision
    model = networks.load(network("cnn14"), ["a", "b"], pretrained=True)
    assert torch.equal(model.network.conv_block1.conv1.weight, there["conv_block1.conv1.weight"])
    assert model.network.classifier.out_features == 2
    shelf.unlink()
    assert network("cnn14").revision != before  # the file is part of what a run is found by


@pytest.mark.parametrize(
    "change, said",
    [
        (lambda found: found.pop("conv_block1.conv2.weight"), "it has no conv_block1.conv2.weight"),
        (lambda found: found.update({"conv_block1.conv1.weight": torch.zeros(3, 1, 3, 3)}), r"is \(3, 1, 3, 3\)"),
    ],
)
def test_a_file_of_another_network_gets_a_sentence(shelf, small, change, said):
    found = Small(64, 301, 527).state_dict()
    change(found)
    torch.save({"model": found}, shelf)
    with pytest.raises(SerlibError, match=said):
        networks.load(network("cnn14"), ["a", "b"], pretrained=True)


def test_a_damaged_file_gets_a_sentence(shelf, small):
    shelf.write_bytes(b"not a file of torch")
    with pytest.raises(SerlibError, match="no file of weights"):
        networks.load(network("cnn14"), ["a", "b"], pretrained=True)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mel-cnn", "cycle-graph", "downstream"])
def test_a_network_is_trained_found_again_and_hears_other_files(name, split, tiny_corpus, tmp_path, capsys, program):
    one = network(name, on=backbone("hubert-base-mini") if name == "downstream" else None)
    run = fine_tune(one, split, QUICK, tmp_path)
    assert accuracy(run) == 1
    assert (
        run.info["parameters"]
        == run.info["trainable_parameters"]
        == weights_of(model.load_trained(run.folder / "checkpoint"))
    )
    assert run.folder == tmp_path / "tiny" / split.name / one.key  # starting from nothing needs no word of it
    capsys.readouterr()
    assert fine_tune(one, split, QUICK, tmp_path).info["key"] == run.info["key"]
    assert "finished before" in capsys.readouterr().out
    said = classify(run, list(tiny_corpus.loc[split.test.index, "path"]))
    assert said.idxmax(axis=1).tolist() == split.test["emotion"].tolist()
    heard = hear(run, split.test, audio.clips(split.test))
    assert (heard["predicted"] == heard["emotion"]).all()
    with pytest.raises(SerlibError, match="would not load in plain transformers"):
        run.push_to_hub("somebody/something")
    pytest.importorskip("onnxscript")
    with pytest.raises(SerlibError, match="no ONNX form"):
        run.export_onnx(tmp_path / "model.onnx")
    # Also in a program that has met no network before.
    code = "import sys, serlib as ser; ser.load_run(sys.argv[1]).export_onnx(sys.argv[2])"
    assert "no ONNX form" in program(code, run.folder, tmp_path / "model.onnx").stderr


@pytest.mark.slow
def test_training_that_was_killed_goes_on_to_the_same_numbers(split, tmp_path, monkeypatch):
    whole = fine_tune(network("mel-cnn"), split, QUICK, tmp_path / "whole")
    forward, steps = networks._NetworkClassifier.forward, []

    def killed(self, *given, **named):
        steps.append(1)
        if len(steps) > 40:
            raise KeyboardInterrupt
        return forward(self, *given, **named)

    with monkeypatch.context() as patch:
        patch.setattr(networks._NetworkClassifier, "forward", killed)
        with pytest.raises(KeyboardInterrupt):
            fine_tune(network("mel-cnn"), split, QUICK, tmp_path / "cut")
    again = fine_tune(network("mel-cnn"), split, QUICK, tmp_path / "cut")
    assert whole.predictions.equals(again.predictions)


def test_a_recipe_asks_a_network_for_nothing_that_it_has_not(split, tmp_path):
    with pytest.raises(SerlibError, match="mel CNN has no masking to choose"):
        fine_tune(network("mel-cnn"), split, Recipe(masking=0.1), tmp_path)
    with pytest.raises(SerlibError, match="mel CNN has no frozen encoder to probe"):
        probe(network("mel-cnn"), split, Probe(), tmp_path)
