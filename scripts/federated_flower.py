"""Notebook 17 over several processes or machines: Flower carries the messages, `pip install "serlib[flower]"` first.

    python scripts/federated_flower.py clips FOLDER                    # actor-01.npz and so on: a file for each client
    python scripts/federated_flower.py server --port 9092              # where the averaging happens
    python scripts/federated_flower.py client SERVER:9092 actor-07.npz # on each telephone, with its own file
    python scripts/federated_flower.py run SERVER:9092 --clients 24    # starts the rounds, shows how they go

Options that none of these knows go to Flower's own program. Without a certificate among them, such as `server
--ssl-certfile` with `client --root-certificates`, messages are not encrypted: right for one machine, not for two.
"""

import argparse
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import serlib as ser
from serlib import federated
from serlib.errors import SerlibError

APP = Path(__file__).parent / "flower"


def program(name: str) -> str:
    """Return where one of Flower's programs is."""
    found = shutil.which(name, path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")
    if not found:
        raise SerlibError(f'There is no {name} here; install Flower with pip install "serlib[flower]".')
    return found


def demand_server(address: str) -> None:
    """Raise SerlibError where nobody listens."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=10).close()
    except (OSError, ValueError, OverflowError) as error:
        raise SerlibError(f"No server answers at {address}; start it first, or give its HOST:PORT.") from error


def free_port() -> str:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return str(taken.getsockname()[1])


def started(name: str, *options: str, more: Sequence[str] = (), **environment: str) -> int:
    """Run one of Flower's programs to its end, and return its exit code."""
    # Its helpers are found beside this Python, and serlib where this script found it.
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    home = os.pathsep.join([str(Path(ser.__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    environment |= {"PATH": path, "PYTHONPATH": home, "FLWR_TELEMETRY_ENABLED": "0"}
    secret = any(option.startswith(("--ssl", "--root-certificates")) for option in more)
    open_to_all = [] if secret or name == "flwr" else ["--insecure"]
    return subprocess.run([program(name), *options, *open_to_all, *more], env=os.environ | environment).returncode


def clips(folder: Path, profile: str) -> None:
    """Write a file for each actor, measured from his or her own average, so that nothing else need be shared."""
    lesson = ser.start(profile)
    split = ser.stratified_split(lesson.corpus())
    features = ser.layer_averages(lesson.backbone("frozen"), split, lesson.probe_recipe)
    x = federated.standardized(features, split, own=True)
    folder.mkdir(parents=True, exist_ok=True)
    for client in federated.clients(x, split.train, split.labels, by="actor"):
        federated.write_client(client, folder / f"{client.name.replace(' ', '-')}.npz")
    print(f"{folder} has a file for each actor; run with --features {x.shape[1]}.")


def client(server: str, file: Path, more: Sequence[str]) -> None:
    """Learn from the clips of a file whenever the server asks, until it is stopped or the server is gone."""
    federated.read_client(file)  # what is wrong with it is said here, and not in the first round
    demand_server(server)
    options = ("--superlink", server, "--port", free_port(), "--node-config", f'clips="{file.resolve().as_posix()}"')
    if started("flower-supernode", *options, "--max-wait-time", "60", more=more):
        raise SerlibError(f"The server at {server} is gone; start it again, then this client.")


def run(server: str, settings: dict[str, object], more: Sequence[str]) -> None:
    """Send the app to the server, and show its log until the rounds are over."""
    demand_server(server)
    told = " ".join(
        f'{name}="{value}"' if isinstance(value, Path) else f"{name}={value}" for name, value in settings.items()
    )
    with TemporaryDirectory() as home:
        lines = ["[superlink]", 'default = "ours"', "[superlink.ours]", f'address = "{server}"', "insecure = true"]
        Path(home, "config.toml").write_text("\n".join(lines) + "\n", encoding="utf-8")
        if started("flwr", "run", str(APP), "ours", "--stream", "--run-config", told, more=more, FLWR_HOME=home):
            raise SerlibError(f"The server at {server} did not take the app; what Flower says stands above.")


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    tasks = parser.add_subparsers(dest="task", required=True)
    task = tasks.add_parser("clips")
    task.add_argument("folder", type=Path)
    task.add_argument("--profile", default="mini")
    task = tasks.add_parser("server")
    task.add_argument("--port", default="9092")
    task = tasks.add_parser("client")
    task.add_argument("server")
    task.add_argument("file", type=Path)
    task = tasks.add_parser("run")
    task.add_argument("server")
    task.add_argument("--weights", type=Path, default=Path("weights.npy"))
    task.add_argument("--patience", type=float, default=60.0)
    for name, default in (("clients", 24), ("rounds", 30), ("features", 769), ("emotions", 8)):
        task.add_argument(f"--{name}", type=int, default=default)
    given, more = parser.parse_known_args(arguments)
    if given.task == "clips":
        clips(given.folder, given.profile)
    elif given.task == "client":
        client(given.server, given.file, more)
    elif given.task == "server":
        started("flower-superlink", "--port", given.port, "--disable-runtime-dependency-installation", more=more)
    else:
        names = ("clients", "rounds", "features", "emotions", "patience")
        settings = {name: getattr(given, name) for name in names} | {"weights": given.weights.resolve()}
        run(given.server, settings, more)


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except SerlibError as error:
        sys.exit(str(error))
