"""Run one notebook with papermill: `python scripts/execute.py SOURCE TARGET [--jobs N] [-p NAME VALUE]...`.

``--jobs`` says how many notebooks share this machine's cores, ``--params`` holds more of ``-p`` as one text. A
parameter that no notebook of the folder has stops the run; one that only others have is passed over with a line. A
relative folder named in the environment is one of where this is called, though the kernel runs beside its notebook.
TARGET is written whole or not at all, with a .json of seconds and memory beside it. A notebook that fails leaves a
.failed.ipynb, three lines that say where and why, and exit code 1.
"""

import argparse
import ast
import atexit
import json
import os
import shlex
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from difflib import get_close_matches
from pathlib import Path
from queue import Empty

# Before papermill is imported: the kernel is this interpreter's own, and nothing draws bars into outputs.
os.environ |= {
    "JUPYTER_PREFER_ENV_PATH": "1",
    "TQDM_DISABLE": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "TRANSFORMERS_VERBOSITY": "error",
    "PYDEVD_DISABLE_FILE_VALIDATION": "1",
}

import nbformat
import papermill
import psutil
from jupyter_client import AsyncKernelClient, AsyncKernelManager
from papermill.exceptions import PapermillExecutionError
from traitlets import Type, default

# What names a folder for serlib and the hub; a kernel would look for a relative one in its own folder.
FOLDERS = ("RAVDESS_DIR", "CORPORA_DIR", "SERLIB_MODELS", "SERLIB_CACHE", "SERLIB_HOME", "HF_HOME", "HF_HUB_CACHE")


LOOK_AGAIN = 5  # seconds


class PatientChannel(AsyncKernelClient.shell_channel_class.default_value):  # its name differs from version to version
    """Looks every few seconds whether an answer is there that nobody was told of.

    While a cell with a widget runs, nbclient sends on the very socket on which it waits for the answer, past asyncio.
    Should the answer arrive just then, its only signal is used up by the sending, and the wait would never end
    (nbclient issue 312; the same in ipykernel's pull request 1529).
    """

    async def get_msg(self, timeout: float | None = None) -> dict:
        while timeout is None:
            with suppress(Empty):
                return await super().get_msg(LOOK_AGAIN)
        return await super().get_msg(timeout)


class PatientClient(AsyncKernelClient):
    """A kernel's client that misses no answer."""

    shell_channel_class = Type(PatientChannel)


class Kernels(AsyncKernelManager):
    """What starts kernels for nbclient, with such a client.

    It talks to them through sockets that are files, where a system has such. A kernel binds its ports a second after
    they were found free, and on a machine that starts several kernels at once another may have taken one by then.
    """

    client_factory = Type(PatientClient, klass=AsyncKernelClient)

    @default("transport")
    def _files_where_there_are_such(self) -> str:
        return "ipc" if os.name == "posix" else "tcp"

    @default("ip")
    def _own_folder(self) -> str:
        if self.transport == "tcp":
            return "127.0.0.1"
        folder = tempfile.mkdtemp(prefix="ser-")  # a short path: a socket's has 107 letters at most
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        return f"{folder}/kernel"


class MemoryMeter(threading.Thread):
    """Remembers the greatest resident memory (MB) of the processes below this one, looking twice a second."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.peak_mb = 0.0
        self.start()

    def run(self) -> None:
        this = psutil.Process()
        while True:
            total = 0
            for process in this.children(recursive=True):
                try:
                    total += process.memory_info().rss
                except psutil.NoSuchProcess:
                    pass
            self.peak_mb = max(self.peak_mb, total / 1e6)
            time.sleep(0.5)


def typed(text: str) -> object:
    """Read a parameter as papermill does: a Python number, truth value or None, else the text."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def known_parameters(notebook: Path) -> set[str]:
    """Return the names that the parameters cell of a notebook sets."""
    cells = nbformat.read(notebook, as_version=4).cells
    code = "\n".join(cell.source for cell in cells if "parameters" in cell.metadata.get("tags", []))
    names = [node for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Name)]
    return {name.id for name in names if isinstance(name.ctx, ast.Store)}


def parameters_of(source: Path, given: Sequence[tuple[str, str]]) -> dict[str, object]:
    """Return those of the given parameters that the notebook has; leave with a sentence where no notebook has one."""
    own = known_parameters(source)
    found = {name: typed(value) for name, value in given}
    if others := found.keys() - own:
        elsewhere = own.union(*map(known_parameters, source.parent.glob("[0-9]*.ipynb")))
        for name in sorted(others):
            if name not in elsewhere:
                near = get_close_matches(name.upper(), elsewhere) or sorted(elsewhere)
                sys.exit(
                    f"{source} has no parameter {name}, nor has another notebook; did you mean {' or '.join(near)}?"
                )
            print(f"{source} has no parameter {name} and runs without it", flush=True)
    return {name: value for name, value in found.items() if name in own}


def publishable(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Take out what is for machines: papermill's paths and times, widget state, injected cells' sight."""
    for key in ("papermill", "widgets"):
        notebook.metadata.pop(key, None)
    for cell in notebook.cells:
        cell.metadata.pop("papermill", None)
        cell.metadata.pop("execution", None)
        if "injected-parameters" in cell.metadata.get("tags", []):
            cell.metadata.tags.append("remove-cell")
    return notebook


def where(source: Path, cell_index: int, failed: Path) -> str:
    """Name the failing cell as the author counts: among all cells of the source, without papermill's own."""
    cells = nbformat.read(failed, as_version=4).cells
    own = [cell for cell in cells if "papermill-error-cell-tag" not in cell.metadata.get("tags", [])]
    number = sum("injected-parameters" not in c.metadata.get("tags", []) for c in own[: cell_index + 1])
    first_line = (own[cell_index].source.strip().splitlines() or [""])[0]
    return f"{source} failed in cell {number}: {first_line}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path)
    parser.add_argument("--jobs", type=int, default=1)
    more = argparse.ArgumentParser(add_help=False)
    for each in (parser, more):
        each.add_argument("-p", nargs=2, action="append", default=[], metavar=("NAME", "VALUE"), dest="parameters")
    parser.add_argument("--params", default="")
    arguments = parser.parse_args()
    source, target = arguments.source, arguments.target
    try:
        given = [*arguments.parameters, *more.parse_args(shlex.split(arguments.params)).parameters]
    except ValueError as error:
        sys.exit(f"PARAMS={arguments.params} cannot be read ({error}); it should look like -p EPOCHS 2")
    parameters = parameters_of(source, given)
    for name in FOLDERS:
        if os.environ.get(name):
            os.environ[name] = os.path.abspath(os.path.expanduser(os.environ[name]))
    # Two that each take all cores wait for each other most of the time, and so do the threads of one beside any other
    # work; the twins of mini are so small that a second thread gains them a tenth at best.
    threads = 1 if parameters.get("PROFILE") == "mini" else max(1, (os.cpu_count() or 1) // arguments.jobs)
    if parameters.get("PROFILE") == "mini" or arguments.jobs > 1:
        os.environ.setdefault("OMP_NUM_THREADS", str(threads))
    partial, failed = target.with_suffix(".partial.ipynb"), target.with_suffix(".failed.ipynb")
    record = target.with_suffix(".json")

    # A scheduler ends a job with SIGTERM: leave by way of the `finally`, and let papermill stop the kernel.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    target.parent.mkdir(parents=True, exist_ok=True)
    print(f"{source} ...", flush=True)
    memory, begin = MemoryMeter(), time.perf_counter()
    try:
        papermill.execute_notebook(
            source, partial, parameters,
            cwd=source.parent, progress_bar=False, kernel_name="python3", language="python",
            kernel_manager_class=Kernels,
            extra_arguments=["--log-level=CRITICAL"],  # what the kernel says of its sockets is not for readers
        )  # fmt: skip
    except (KeyboardInterrupt, SystemExit):
        partial.unlink(missing_ok=True)
        raise
    except PapermillExecutionError as error:
        os.replace(partial, failed)
        place = where(source, error.cell_index, failed)
        sys.exit(f"{place}\n  {error.ename}: {error.evalue}\n  The copy up to there: {failed}")
    except Exception as error:  # a kernel that died, a full disk, a file that is no notebook
        place = f"{source} failed"
        if partial.exists():
            os.replace(partial, failed)
            place += f"; the copy up to there: {failed}"
        sys.exit(f"{place}\n  {type(error).__name__}: {error}")

    seconds = round(time.perf_counter() - begin, 1)
    notebook = publishable(nbformat.read(partial, as_version=4))
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    warnings = sum(output.get("name") == "stderr" for output in outputs)
    partial_record = partial.with_suffix(".json")
    facts = {"seconds": seconds, "peak_memory_mb": round(memory.peak_mb), "stderr": warnings}
    partial_record.write_text(json.dumps(facts), encoding="utf-8")
    nbformat.write(notebook, partial)
    os.replace(partial_record, record)
    os.replace(partial, target)
    failed.unlink(missing_ok=True)
    print(f"{source} done in {seconds:.0f} s, {memory.peak_mb:.0f} MB", flush=True)


if __name__ == "__main__":
    main()
