"""Flower carries the same averaging between processes, and goes on without a client that dies in mid-round."""

import os
import signal
import socket
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from serlib.train import federated
from serlib.train.federated import Client

SCRIPT = Path(__file__).parents[2] / "scripts" / "federated_flower.py"


@pytest.fixture
def three() -> list[Client]:
    random = np.random.default_rng(0)
    return [
        Client(f"actor 0{k}", random.normal(size=(9 + k, 6)).astype(np.float32), random.integers(0, 3, 9 + k))
        for k in (1, 2, 3)
    ]


@pytest.mark.slow
def test_bad_input_gets_one_sentence(program, three, tmp_path):
    called = f"import runpy; runpy.run_path({str(SCRIPT)!r}, run_name='__main__')"
    good, empty = tmp_path / "good.npz", tmp_path / "empty.npz"
    federated.write_client(three[0], good)
    np.savez(empty, name="actor 07", x=three[0].x[:0], y=three[0].y[:0])
    for arguments, sentence in (
        (("client", "127.0.0.1:1", good), "No server answers at 127.0.0.1:1; start it first, or give its HOST:PORT."),
        (("client", "nowhere", good), "No server answers at nowhere; start it first, or give its HOST:PORT."),
        (("run", "127.0.0.1:1"), "No server answers at 127.0.0.1:1; start it first, or give its HOST:PORT."),
        (
            ("client", "127.0.0.1:1", empty),
            "client actor 07 has no clips; leave it out of the rounds, or give it some.",
        ),
        (
            ("client", "127.0.0.1:1", tmp_path / "none.npz"),
            f"{tmp_path / 'none.npz'} holds no clips of a client; write them with federated.write_client.",
        ),
    ):
        done = program(called, *arguments)
        assert done.returncode == 1 and done.stderr == sentence + "\n", done.stderr


@pytest.mark.slow
def test_a_client_killed_in_the_middle_of_a_round_is_left_out_and_the_others_finish(three, tmp_path):
    """The third client's file becomes a pipe: who opens its other end knows that the client is reading, in a round."""
    pytest.importorskip(
        "flwr", reason="Flower is not installed; pip install serlib[flower] in an environment of its own"
    )
    if not hasattr(os, "mkfifo"):
        pytest.skip("needs pipes with a name")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    server, running, home = f"127.0.0.1:{port}", [], os.environ | {"FLWR_HOME": str(tmp_path / "flower")}

    def start(name: str, *arguments: object) -> subprocess.Popen:
        command = [sys.executable, SCRIPT, *map(str, arguments)]
        with open(tmp_path / f"{name}.log", "w") as log:
            one = subprocess.Popen(command, stdout=log, stderr=log, env=home, cwd=tmp_path, start_new_session=True)
        running.append(one)
        return one

    def answered() -> bool:
        with socket.socket() as asking:
            return asking.connect_ex(("127.0.0.1", port)) == 0

    def said(log: str) -> str:
        return (tmp_path / f"{log}.log").read_text(errors="replace")

    files = [tmp_path / f"{client.name}.npz" for client in three]
    for client, file in zip(three, files, strict=True):
        federated.write_client(client, file)
    try:
        start("server", "server", "--port", port)
        while not answered():
            assert running[0].poll() is None, said("server")
            time.sleep(0.2)
        clients = [start(client.name, "client", server, file) for client, file in zip(three, files, strict=True)]
        for client, one in zip(three, clients, strict=True):
            while "SuperNode ID" not in said(client.name):
                assert one.poll() is None, said(client.name)
                time.sleep(0.2)
        files[2].unlink()
        os.mkfifo(files[2])
        settings = ["--clients", 3, "--rounds", 2, "--features", 6, "--emotions", 3, "--patience", 20]
        rounds = start("rounds", "run", server, *settings, "--weights", tmp_path / "weights.npy")
        with open(files[2], "wb"):  # waits until the client opens it, and lets it wait for its clips
            os.killpg(clients[2].pid, signal.SIGKILL)
            assert rounds.wait() == 0, said("rounds")
    finally:
        for one in running:
            if one.poll() is None:
                os.killpg(one.pid, signal.SIGTERM)
    assert "Sampled 3 nodes" in said("rounds") and "Received 3 results" not in said("rounds")
    assert said("rounds").count("Received 2 results") == 2
    learn = partial(federated.local_steps, steps=5, rate=25 / 6)
    ours = federated.fed_avg(np.zeros((6, 3), dtype=np.float32), three[:2], 2, learn)[-1]
    assert np.abs(np.load(tmp_path / "weights.npy") - ours).max() < 1e-6
