"""Federated learning by hand: against training in one place, against hand-worked maths, against other libraries."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import serlib as ser
from serlib.data.splits import Split
from serlib.errors import SerlibError
from serlib.train import federated
from serlib.train.federated import Client

NOTEBOOK = Path(__file__).parents[2] / "notebooks" / "17_federated.ipynb"
LABELS = ("angry", "calm", "sad")
TAUGHT = ser.Recipe(batch_size=8, seed=5)
# (noise, rounds, delta): epsilon by Opacus 1.6.0, of Renyi, of Gaussian privacy's limit, and by numbers (PRV)
OPACUS = {
    (5, 25, 1e-5): (4.72851, 4.42834, 4.38741),
    (2, 10, 1e-3): (6.23618, 6.06547, 5.59762),
    (1, 10, 1e-2): (13.15647, 17.44633, 11.62505),
    (4, 20, 1e-4): (4.76297, 4.42810, 4.35588),
    (16, 20, 1e-4): (0.97825, 0.87807, 0.88719),
}


@pytest.fixture
def corpus() -> pd.DataFrame:
    """Four actors with 15 clips each, five of an emotion."""
    rows = [(f"{actor:02d}", emotion) for actor in range(1, 5) for emotion in LABELS for _ in range(5)]
    table = pd.DataFrame(rows, columns=["actor", "emotion"])
    return table.set_index(pd.Index([f"clip{i:02d}" for i in range(len(table))], name="clip"))


@pytest.fixture
def x(corpus) -> pd.DataFrame:
    """Features in float64, so that only the maths differs."""
    values = np.random.default_rng(0).normal(size=(len(corpus), 6))
    values[:, 0] += corpus["emotion"].map(LABELS.index)
    values[:, -1] = 1
    return pd.DataFrame(values, index=corpus.index)


@pytest.fixture(scope="module")
def lesson() -> dict:
    """What the notebook writes out: its averaging."""
    names = {"np": np, "ser": ser, "federated": federated}
    for cell in json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "code" and source.startswith("def fed_avg("):
            exec(source, names)
    return names


def zeros(x: pd.DataFrame) -> np.ndarray:
    return np.zeros((x.shape[1], len(LABELS)), dtype=x.to_numpy().dtype)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_one_client_is_central_training_bit_for_bit(lesson, x, corpus, dtype):
    x = x.astype(dtype)
    [alone] = federated.clients(x, corpus, LABELS, by="one")
    central = federated.local_steps(zeros(x), alone, steps=35)
    for average in (federated.fed_avg, lesson["fed_avg"]):
        history = average(zeros(x), [alone], 7, federated.local_steps)
        assert len(history) == 8 and history[-1].dtype == dtype
        assert np.array_equal(history[-1], central)


@pytest.mark.parametrize("by", ["actor", "even", "unequal", "emotion"])
def test_one_full_step_each_is_one_step_of_all_clips_together(lesson, x, corpus, by):
    """The mean of means, each weighted by its clips, is the mean: so unequal clients are no exception."""

    def step(weights, client):
        return federated.local_steps(weights, client, steps=1, rate=0.4)

    some = federated.clients(x, corpus, LABELS, by=by)
    [everybody] = federated.clients(x, corpus, LABELS, by="one")
    assert len(some) > 1 and sum(map(len, some)) == len(everybody) == len(corpus)
    for average in (federated.fed_avg, lesson["fed_avg"]):
        history = average(zeros(x), some, 3, step)
        assert np.abs(history[-1] - federated.local_steps(zeros(x), everybody, steps=3, rate=0.4)).max() < 1e-6
    more = federated.fed_avg(zeros(x), some, 3)
    assert np.abs(more[-1] - federated.local_steps(zeros(x), everybody, steps=15)).max() > 1e-4


@pytest.fixture
def spoken(spoken_dir) -> Split:
    """A few clips of mini, three of each emotion to learn from."""
    corpus = ser.ravdess(spoken_dir)
    corpus.attrs |= {"name": "mini", "synthetic": True}
    split = ser.stratified_split(corpus, test_size=0.25, validation_size=0.2)
    many = {"train": 3, "validation": 2, "test": 2}
    return replace(split, **{part: rows.groupby("emotion").head(many[part]) for part, rows in split.parts()})


def in_one_place(key: str, split: Split, rate: float, epochs: int) -> np.ndarray:
    """Return the weights of a network after ordinary training by torch, with no averaging and no row of weights."""
    import torch
    from transformers import set_seed

    from serlib.train import batches, model
    from serlib.train.backbones import extractor_of
    from serlib.train.run import work_on

    set_seed(TAUGHT.seed)
    net = model.load(ser.backbone(key), split.labels, TAUGHT.pooling, TAUGHT.layers)
    convolutions, net.base_model.feature_extractor = model.freeze_convolutions(net), model.CachedFeatures()
    work = work_on(ser.backbone(key), split, TAUGHT, ".", None)
    train = batches.features_of(work, convolutions, extractor_of(ser.backbone(key)))["train"]
    labels = {clip: split.labels.index(emotion) for clip, emotion in split.train["emotion"].items()}
    order = batches.Buckets(train["samples"], TAUGHT.batch_size, TAUGHT.seed)
    optimizer = torch.optim.SGD([p for p in net.parameters() if p.requires_grad], lr=rate)
    net.train()
    for epoch in range(epochs):
        order.set_epoch(epoch)
        for step in np.reshape(list(order), (-1, TAUGHT.batch_size)):
            clips = [train[int(row)] for row in step]
            mask = ser.backbone(key).needs_mask
            batch = batches.collate(clips, labels, "input_values", net.config.conv_dim[-1], mask, 10)
            optimizer.zero_grad()
            net(**batch).loss.backward()
            torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            optimizer.step()
    return np.concatenate([p.detach().numpy().ravel() for p in net.parameters() if p.requires_grad])


@pytest.mark.slow
@pytest.mark.parametrize("key", ["hubert-base-mini", "wav2vec2-large-mini"])  # without an attention mask, and with
def test_a_whole_network_of_one_client_is_central_training_bit_for_bit(lesson, spoken, key):
    central = in_one_place(key, spoken, rate=0.2, epochs=2)
    for average in (federated.fed_avg, lesson["fed_avg"]):
        twin = federated.Whole(ser.backbone(key), spoken, TAUGHT, rate=0.2)
        history = average(twin.start, twin.clients(spoken.train, by="one"), 2, twin.teach)
        assert history[-1].dtype == np.float32 and np.array_equal(history[-1], central)
        assert np.abs(history[-1] - history[0]).max() > 1e-3
        assert key != "hubert-base-mini" or twin.start.size == 442_952 - 4 * 257  # four emotions fewer than its run has


@pytest.mark.slow
def test_a_whole_network_takes_nothing_from_one_client_to_the_next(spoken):
    from transformers import set_seed

    twin = federated.Whole(ser.backbone("hubert-base-mini"), spoken, TAUGHT, rate=0.2)
    [asked] = twin.clients(spoken.test, by="one")
    actors = twin.clients(spoken.train, by="actor")
    assert len(actors) > 1 and sum(map(len, actors)) == len(spoken.train)
    first = twin.shares(twin.start, asked)
    assert np.allclose(first.sum(1), 1) and first.shape == (len(spoken.test), 4)
    turned = federated.Client("turned", asked.x[::-1], asked.y[::-1])
    assert np.allclose(twin.shares(twin.start, turned)[::-1], first, atol=1e-3)  # HuBERT base hears padding
    set_seed(1)
    alone = twin.teach(twin.start, actors[1])
    twin.teach(alone, actors[0])
    assert np.array_equal(twin.shares(twin.start, asked), first)
    again = federated.Whole(ser.backbone("hubert-base-mini"), spoken, TAUGHT, rate=0.2)
    again.teach(twin.start + 1, actors[0])
    set_seed(1)
    assert np.array_equal(again.teach(twin.start, actors[1]), alone)


@pytest.mark.slow
def test_a_network_without_convolutions_and_a_foreign_message_get_a_sentence(spoken):
    with pytest.raises(SerlibError, match="mel CNN has no convolutions to freeze; take one of the wav2vec 2.0 family"):
        federated.Whole(ser.network("mel-cnn"), spoken, TAUGHT, rate=0.2)
    twin = federated.Whole(ser.backbone("hubert-base-mini"), spoken, TAUGHT, rate=0.2)
    with pytest.raises(SerlibError, match=r"a message of shape \(7,\) is not a row of this network's 441,924 weights"):
        twin.teach(np.zeros(7, np.float32), twin.clients(spoken.train, by="one")[0])
    with pytest.raises(SerlibError, match="no clips to deal out"):
        twin.clients(spoken.train[:0], by="actor")


def test_a_client_counts_by_its_clips(lesson):
    three, one = Client("three", np.ones((3, 1)), np.zeros(3, int)), Client("one", np.ones((1, 1)), np.zeros(1, int))
    for average in (federated.fed_avg, lesson["fed_avg"]):
        history = average(np.zeros((1, 1)), [three, one], 2, lambda weights, client: weights + len(client))
        assert [weights.item() for weights in history] == [0, 2.5, 5]


def test_local_steps_are_those_of_torch(x, corpus):
    import torch

    [client] = federated.clients(x, corpus, LABELS, by="one")
    sent = np.random.default_rng(1).normal(size=(x.shape[1], len(LABELS)))
    weights = torch.tensor(sent, requires_grad=True)
    optimizer = torch.optim.SGD([weights], lr=0.2)
    for _ in range(4):
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(torch.tensor(client.x) @ weights, torch.tensor(client.y))
        (loss + 0.3 / 2 * ((weights - torch.tensor(sent)) ** 2).sum()).backward()  # the proximal term of FedProx
        optimizer.step()
    ours = federated.local_steps(sent, client, steps=4, rate=0.2, pull=0.3)
    assert np.allclose(ours, weights.detach().numpy(), atol=1e-12)
    assert not np.allclose(ours, federated.local_steps(sent, client, steps=4, rate=0.2))


def test_gradients_of_clips_are_those_of_torch_and_average_to_a_step(x, corpus):
    import torch

    [client] = federated.clients(x, corpus[:7], LABELS, by="one")
    weights = np.random.default_rng(1).normal(size=(x.shape[1], len(LABELS)))
    rows = federated.clip_gradients(weights, client)
    for row, own, y in zip(rows, client.x, client.y, strict=True):
        asked = torch.tensor(weights, requires_grad=True)
        torch.nn.functional.cross_entropy(torch.tensor(own) @ asked, torch.tensor(y)).backward()
        assert np.allclose(row, asked.grad.numpy(), atol=1e-12)
    assert np.allclose(weights - rows.mean(0), federated.local_steps(weights, client, steps=1, rate=1))
    said = federated.shares(weights, client.x)[np.arange(7), client.y]
    assert np.allclose(federated.losses(weights, client), -np.log(said))


def test_clips_are_dealt_out_as_asked(x, corpus):
    def dealt(by, seed=101):
        return {client.name: client for client in federated.clients(x, corpus, LABELS, by, seed)}

    assert {name: len(client) for name, client in dealt("actor").items()} == {f"actor 0{i}": 15 for i in range(1, 5)}
    assert [len(client) for client in dealt("even").values()] == [15] * 4
    sizes = [len(client) for client in dealt("unequal").values()]  # 60 in parts like 1, 1/2, 1/3, 1/4
    assert sizes == [29, 14, 10, 7]
    single = dealt("emotion")
    assert list(single) == ["angry 1", "calm 1", "sad 1"]
    assert all(set(client.y) == {LABELS.index(name[:-2])} for name, client in single.items())
    own = dealt("actor")["actor 03"]
    assert np.array_equal(own.x, x.loc[corpus["actor"] == "03"]) and own.y.tolist() == [0] * 5 + [1] * 5 + [2] * 5
    assert not np.array_equal(dealt("even")["part 01"].x, dealt("even", seed=1)["part 01"].x)
    assert np.array_equal(dealt("even")["part 01"].x, dealt("even")["part 01"].x)


def test_bad_clients_get_a_sentence(x, corpus):
    with pytest.raises(SerlibError, match="client actor 07 has no clips; leave it out"):
        Client("actor 07", x.to_numpy()[:0], np.array([], int))
    with pytest.raises(SerlibError, match="no clips to deal out"):
        federated.clients(x, corpus[:0], LABELS, by="actor")
    with pytest.raises(SerlibError, match="cannot be dealt out by 'actors'; did you mean actor"):
        federated.clients(x, corpus, LABELS, by="actors")
    with pytest.raises(SerlibError, match="sad is not among the labels angry, calm"):
        federated.clients(x, corpus, LABELS[:2], by="actor")


def test_a_client_comes_back_out_of_its_file_and_another_file_is_none(x, corpus, tmp_path):
    [client] = federated.clients(x, corpus, LABELS, by="one")
    federated.write_client(client, tmp_path / "all.npz")
    back = federated.read_client(tmp_path / "all.npz")
    assert back.name == "all" and np.array_equal(back.x, client.x) and np.array_equal(back.y, client.y)
    np.savez(tmp_path / "other.npz", x=client.x)
    (tmp_path / "cut.npz").write_bytes((tmp_path / "all.npz").read_bytes()[:200])
    for name in ("other.npz", "cut.npz", "nowhere.npz"):
        with pytest.raises(SerlibError, match=f"{name} holds no clips of a client"):
            federated.read_client(tmp_path / name)


def test_own_averages_are_scikit_learns_of_each_actors_training_clips(x, corpus):
    from sklearn.preprocessing import StandardScaler

    clips = corpus.assign(path=corpus.index, seconds=2.0).sample(frac=1, random_state=1)
    split = Split("toy", clips[:40], clips[40:45], clips[45:])
    all_clips = federated.standardized(x, split)
    scaler = StandardScaler().fit(x.loc[split.train.index])
    expected = scaler.transform(x.loc[all_clips.index])
    expected[:, -1] = 0  # a constant feature
    assert np.allclose(all_clips.to_numpy()[:, :-1], expected, atol=1e-6) and set(all_clips.iloc[:, -1]) == {1}
    own = federated.standardized(x, split, own=True)
    taught, asked = (part.index[part["actor"] == "02"] for part in (split.train, split.test))
    expected = StandardScaler().fit(x.loc[taught]).transform(x.loc[asked])
    assert np.allclose(own.loc[asked].to_numpy()[:, :-2], expected[:, :-1], atol=1e-6)
    strangers = clips["actor"] == "04"
    with pytest.raises(SerlibError, match="actor 04 has no training clips to be measured from"):
        federated.standardized(x, Split("new", clips[~strangers], clips[:0], clips[strangers]), own=True)


def test_noise_has_the_size_that_was_asked_for_and_no_message_is_longer_than_the_bound():
    rows = np.random.default_rng(0).normal(size=(5, 40, 50)).astype(np.float32)  # lengths about 45
    quiet = federated.noisy_mean(rows, 1e9, 0, np.random.default_rng(0))
    assert np.allclose(quiet, rows.mean(0), atol=1e-6) and quiet.dtype == np.float32
    short = federated.noisy_mean(rows, 2, 0, np.random.default_rng(0))
    unit = rows / np.linalg.norm(rows.reshape(5, -1), axis=1)[:, None, None]
    assert np.allclose(short, 2 * unit.mean(0), atol=1e-6)
    loud = federated.noisy_mean(rows, 2, 3, np.random.default_rng(0)) - short
    assert loud.std() == pytest.approx(3 * 2 / 5, rel=0.05)


def test_epsilon_is_exact_and_no_more_than_opacus_counts():
    """delta of that epsilon, by integrating what the definition says; then Renyi's bound, which is a little looser."""
    from scipy.integrate import quad
    from scipy.stats import norm

    for noise, rounds, delta in [(5, 25, 1e-5), (1, 10, 1e-3), (0.5, 40, 1e-2), (4, 3, 1e-2)]:
        found, spread = federated.epsilon(noise, rounds, delta), noise / np.sqrt(rounds)
        excess = lambda t: max(0, norm.pdf(t, 1, spread) - np.exp(found) * norm.pdf(t, 0, spread))  # noqa: E731, B023
        edge = found * spread**2 + 0.5  # where the two densities are e^epsilon apart
        assert quad(excess, edge, edge + 12 * spread)[0] == pytest.approx(delta, rel=1e-3)
    assert federated.epsilon(0, 10, 1e-3) == np.inf
    assert federated.epsilon(100, 1, 0.01) == 0
    for (noise, rounds, delta), (renyi, gauss, exact) in OPACUS.items():
        ours = federated.epsilon(noise, rounds, delta)
        assert ours <= exact < ours + 0.02  # Opacus's error is 0.01 at most, on the safe side
        assert 1.05 * ours < renyi < 1.15 * ours and gauss > ours


@pytest.mark.parametrize("asked", OPACUS)
@pytest.mark.filterwarnings("ignore")
def test_what_opacus_counts_is_what_stands_above(asked):
    accountants = pytest.importorskip("opacus.accountants", reason="needs opacus, of the extra dev")
    counted = []
    for kind in (accountants.RDPAccountant, accountants.GaussianAccountant, accountants.PRVAccountant):
        counting = kind()
        counting.history = [(asked[0], 1.0, asked[1])]  # every message in every round
        counted.append(float(counting.get_epsilon(delta=asked[2])))
    assert counted == pytest.approx(OPACUS[asked], rel=1e-3)


SYSTEMS = ("head, federated", "head, one place", "twin, federated", "twin, one place")


def test_committed_answers_of_the_twin_are_of_test_clips_and_its_message_has_the_weights_of_its_run(ravdess_names):
    mini = ser.start("mini")
    table, split = mini.answers("federated"), ser.stratified_split(ravdess_names)  # mini's clips have the same names
    assert list(table.index) == list(split.test.index) and set(table["emotion"]) == set(split.labels)
    assert (table[["actor", "emotion"]].to_numpy(str) == split.test[["actor", "emotion"]].to_numpy(str)).all()
    rounds = {system: [int(c.split(" | ")[1]) for c in table if c.startswith(f"{system} | ")] for system in SYSTEMS}
    assert all(found == rounds[SYSTEMS[0]] and found[0] == 0 for found in rounds.values())
    assert len(table.columns) == 2 + 4 * len(rounds[SYSTEMS[0]])
    assert set(table.to_numpy()[:, 1:].ravel()) == set(split.labels)
    assert mini.run("hubert-base").info["trainable_parameters"] == 442_952
    # no clip was heard before the first round, so that both twins, and both heads, answer the same
    for what in ("head", "twin"):
        assert (table[f"{what}, federated | 0"] == table[f"{what}, one place | 0"]).all()


def test_membership_is_the_area_that_scikit_learn_and_scipy_find():
    from scipy.stats import mannwhitneyu
    from sklearn.metrics import roc_auc_score

    random = np.random.default_rng(0)
    inside, outside = random.normal(size=80).round(1), random.normal(0.5, 1, size=60).round(1)
    auc, low, high = federated.membership(inside, outside)
    assert auc == pytest.approx(roc_auc_score(np.r_[np.ones(80), np.zeros(60)], -np.r_[inside, outside]))
    assert auc == pytest.approx(mannwhitneyu(outside, inside).statistic / (80 * 60))
    drawn = [federated.membership(random.choice(inside, 80), random.choice(outside, 60))[0] for _ in range(2000)]
    assert (low, high) == pytest.approx(tuple(np.quantile(drawn, (0.025, 0.975))), abs=0.015)
    assert federated.membership(inside, inside)[0] == 0.5
