"""Fixtures that several test files share: the real data where there are any, and a tiny corpus."""

import gc
import json
import os
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import nbformat
import numpy as np
import pandas as pd
import pytest
import soundfile
import yaml

# Before torch is imported: `make test` runs a process a core, and threads that wait for each other on busy cores take
# twenty times as long as one that waits for none.
os.environ.setdefault("OMP_NUM_THREADS", "1")

ROOT = Path(__file__).parents[1]
# What these fixtures do takes seconds, and so does every test that asks for one of them.
SLOW = {"browser", "half_dir", "loaded", "ravdess_dir", "spoken_dir", "whisper_dir"}


@pytest.hookimpl(tryfirst=True)  # before pytest looks which marks are asked for
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what is slow, and put the files with the most of it first.

    `make test` hands out whole files in this order: a long one that came last would leave the other cores idle.
    """
    slow = Counter()
    for item in items:
        if SLOW & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.slow)
        slow[item.path] += item.get_closest_marker("slow") is not None
    if "PYTEST_XDIST_WORKER" in os.environ:
        items.sort(key=lambda item: -slow[item.path])  # tests of a file stay together and in their order


def pytest_collection_finish() -> None:
    """Let collections of garbage pass over what the imports made, for good: each of them took half a second."""
    gc.collect()
    gc.freeze()


# Reads a program a line, and runs each in a fork of itself, which has loaded what takes seconds to load. What serlib
# imports of its own, and whether it does, is as in a new process.
LOADED = """
import atexit, gc, json, os, sys, traceback
import accelerate, datasets, librosa, matplotlib.pyplot, pandas, peft, scipy.io, scipy.stats, seaborn, soundfile, torch
import sklearn.linear_model, sklearn.pipeline, transformers.pipelines, transformers.trainer
from transformers.models.hubert import modeling_hubert
from transformers.models.unispeech import modeling_unispeech
from transformers.models.wav2vec2 import feature_extraction_wav2vec2, modeling_wav2vec2

gc.collect()
gc.freeze()
for line in sys.stdin:
    child = os.fork()
    if child == 0:
        break
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
else:
    sys.exit()
told = json.loads(line)
os.chdir(told["folder"])
os.environ.clear()
os.environ.update(told["environment"])
for number, name in enumerate((os.devnull, *told["written"])):
    os.dup2(os.open(name, os.O_WRONLY | os.O_CREAT if number else os.O_RDONLY, 0o600), number)
sys.argv[1:], ended = told["arguments"], 0
try:
    exec(compile(told["code"], "<string>", "exec"), {"__name__": "__main__"})
except SystemExit as leaving:
    ended = leaving.code or 0
    if not isinstance(ended, int):
        print(ended, file=sys.stderr)
        ended = 1
except BaseException:
    traceback.print_exc()
    ended = 1
atexit._run_exitfuncs()
sys.stdout.flush()
os._exit(ended)  # an end as usual takes half a second, for all that was loaded
"""


@pytest.fixture(scope="session")
def loaded():
    """The process that runs programs in forks of itself; None where a system has no forks."""
    if not hasattr(os, "fork"):
        yield None
        return
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", LOADED], stdin=pipe, stdout=pipe, text=True) as process:
        yield process


@pytest.fixture
def program(loaded, tmp_path_factory) -> Callable:
    """Run some Python as a program of its own, which finds torch and its like loaded.

    Not for what asks how packages are imported, or under which environment: they were before.
    """

    def run(
        code: str, *arguments: Path | str, cwd: Path | str = ".", **environment: str
    ) -> subprocess.CompletedProcess:
        command, given = [sys.executable, "-c", code, *map(str, arguments)], os.environ | environment
        if loaded is None:
            return subprocess.run(command, env=given, cwd=cwd, capture_output=True, text=True)
        folder = tmp_path_factory.mktemp("program")
        written = [folder / name for name in ("stdout", "stderr")]
        told = {"code": code, "arguments": command[3:], "environment": given, "folder": os.path.abspath(cwd)}
        print(json.dumps(told | {"written": list(map(str, written))}), file=loaded.stdin, flush=True)
        ended = loaded.stdout.readline()
        return subprocess.CompletedProcess(command, int(ended), *(path.read_text() for path in written))

    return run


@pytest.fixture
def killed_in_file() -> Callable:
    """Run a program that the kernel kills, as rudely as SIGKILL, in the middle of its first file of so many bytes.

    No test waits for a moment and kills then: on a busy machine it would come too late.
    """

    def run(size: int, code: str, *arguments: Path | str) -> None:
        if not hasattr(signal, "SIGXFSZ"):
            pytest.skip("needs a system that limits files")
        limit = "import resource, signal, sys\nsys.dont_write_bytecode = True\n"
        limit += "signal.signal(signal.SIGXFSZ, signal.SIG_DFL)\n"
        limit += f"resource.setrlimit(resource.RLIMIT_FSIZE, ({size}, {size}))\n"
        command = [sys.executable, "-c", limit + code, *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == -signal.SIGXFSZ, done.stderr

    return run


@pytest.fixture(scope="session")
def address() -> str:
    """OWNER/REPO, from the one place where it stands."""
    url = yaml.safe_load((ROOT / "_config.yml").read_text())["repository"]["url"]
    return url.removeprefix("https://github.com/")


@pytest.fixture(scope="module")
def browser():
    """Chromium without a window; playwright allows one at a time, so a test asks for this one."""
    chromium = next(filter(None, map(shutil.which, ["chromium", "chromium-browser", "google-chrome"])), None)
    if not chromium:
        pytest.skip("needs Chromium on the PATH")
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as driver:
        options = ["--no-sandbox", "--autoplay-policy=no-user-gesture-required", "--mute-audio"]
        browser = driver.chromium.launch(executable_path=chromium, args=options)
        yield browser
        browser.close()


# Waits in the page's own time, in which whatever was to come earlier has come, however busy the machine is.
SETTLED = "ms => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(done, ms))))"


@pytest.fixture(scope="session")
def markdown() -> Callable:
    """Return the Markdown of a page: all of a chapter, the cells that are not code of a notebook."""

    def read(page: Path) -> str:
        text = page.read_text(encoding="utf-8")
        if page.suffix == ".ipynb":
            text = "\n\n".join(c.source for c in nbformat.reads(text, as_version=4).cells if c.cell_type == "markdown")
        return text

    return read


@pytest.fixture(scope="session")
def settle() -> Callable:
    """Let a page do what it does so many milliseconds after something changed."""
    return lambda page, milliseconds: page.evaluate(SETTLED, milliseconds)


@pytest.fixture(scope="session")
def ravdess_dir() -> Path:
    """The folder of the real recordings."""
    folder = os.environ.get("RAVDESS_DIR")
    if not folder or not Path(folder).is_dir():
        pytest.skip("needs the real recordings: set RAVDESS_DIR")
    return Path(folder)


@pytest.fixture(scope="session")
def whisper_dir() -> Path:
    """The folder of the pretrained Whisper tiny.en."""
    folder = Path(os.environ.get("SERLIB_MODELS", "")) / "whisper-tiny.en"
    if not os.environ.get("SERLIB_MODELS") or not folder.is_dir():
        pytest.skip("needs pretrained weights: set SERLIB_MODELS to the folder that holds whisper-tiny.en")
    return folder


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch) -> Path:
    """Every test has a cache of its own, and sees real recordings only through ``ravdess_dir``."""
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("SERLIB_CACHE", str(folder))
    monkeypatch.delenv("RAVDESS_DIR", raising=False)
    return folder


@pytest.fixture(scope="session")
def tiny_dir(tmp_path_factory) -> Path:
    """4 actors x 2 emotions x 2 takes of 0.6 s in RAVDESS's naming: happy is a tone, sad is noise."""
    folder = tmp_path_factory.mktemp("tiny")
    time = np.arange(9_600) / 16_000
    for actor in range(1, 5):
        random = np.random.default_rng(actor)
        (folder / f"Actor_{actor:02d}").mkdir()
        for repetition in (1, 2):
            tone = 0.3 * np.sin(2 * np.pi * (150 + 50 * actor + 10 * repetition) * time)
            noise = 0.1 * random.standard_normal(len(time))
            for emotion, samples in (("03", tone), ("04", noise)):
                name = f"03-01-{emotion}-01-01-{repetition:02d}-{actor:02d}.wav"
                soundfile.write(folder / f"Actor_{actor:02d}" / name, samples, 16_000, subtype="PCM_16")
    return folder


@pytest.fixture
def own_folder(tiny_dir, tmp_path) -> Path:
    """A copy of the tiny folder that a test may spoil."""
    return Path(shutil.copytree(tiny_dir, tmp_path / "recordings"))


@pytest.fixture
def tiny_corpus(tiny_dir) -> pd.DataFrame:
    """The tiny folder as a corpus: 16 clips, marked synthetic."""
    from serlib.data.ravdess import ravdess

    corpus = ravdess(tiny_dir)
    corpus.attrs |= {"name": "tiny", "synthetic": True}
    return corpus


@pytest.fixture(scope="session")
def ravdess_names() -> pd.DataFrame:
    """The 1,440 official clips of RAVDESS as a corpus without sound, from the published naming rule alone."""
    emotions = ("neutral", "calm", "happy", "sad", "angry", "fearful", "disgust", "surprised")
    rows = []
    for actor in range(1, 25):
        for code, emotion in enumerate(emotions, start=1):
            for intensity in (1, 2) if emotion != "neutral" else (1,):
                for statement in (1, 2):
                    for repetition in (1, 2):
                        numbers = (3, 1, code, intensity, statement, repetition, actor)
                        rows.append(
                            {
                                "clip": "-".join(f"{n:02d}" for n in numbers),
                                "path": "",
                                "actor": f"{actor:02d}",
                                "sex": "male" if actor % 2 else "female",
                                "emotion": emotion,
                                "intensity": "normal" if intensity == 1 else "strong",
                                "statement": statement,
                                "repetition": repetition,
                                "seconds": 3.7,
                            }
                        )
    corpus = pd.DataFrame(rows).set_index("clip")
    corpus.attrs = {"name": "ravdess", "synthetic": False}
    return corpus


@pytest.fixture(scope="session")
def spoken_dir(tmp_path_factory) -> Path:
    """96 spoken clips in RAVDESS's naming: 6 synthetic actors, 4 emotions, both statements, both takes."""
    from serlib.data import synth
    from serlib.data.ravdess import STATEMENTS, parse_name

    home = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        home = home.parent  # one folder for all processes of this run: the first speaks, the others wait for it
    names = [
        f"03-01-{emotion}-02-{statement}-{take}-{actor:02d}"
        for actor in range(1, 7)
        for emotion in ("03", "04", "05", "08")
        for statement in ("01", "02")
        for take in ("01", "02")
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SERLIB_CACHE", str(home / "spoken"))
        return synth.corpus_folder({name: parse_name(name) for name in names}, STATEMENTS)


@pytest.fixture(scope="session")
def half_dir(spoken_dir, tmp_path_factory) -> Path:
    """48 of the spoken clips, those of the first statement: enough for what is not about how well is learned."""
    folder = tmp_path_factory.mktemp("half") / "recordings"
    return Path(shutil.copytree(spoken_dir, folder, ignore=shutil.ignore_patterns("03-01-*-02-0?-??.wav")))


@pytest.fixture
def spoken(spoken_dir) -> pd.DataFrame:
    """The spoken folder as a corpus: 96 clips of angry, happy, sad and surprised."""
    from serlib.data.ravdess import ravdess

    corpus = ravdess(spoken_dir)
    corpus.attrs |= {"name": "mini", "synthetic": True}
    return corpus
