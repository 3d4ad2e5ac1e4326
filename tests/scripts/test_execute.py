"""`make execute` and `make setup` in a copy with three tiny notebooks and a one-line serlib."""

import ast
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import sysconfig
import time
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

ROOT = Path(__file__).parents[2]
COPIED = ["Makefile", "requirements.lock", "pyproject.toml", "scripts"]
# What make would take over from the make that runs these tests, or from the user's shell.
FOREIGN = ("MAKEFLAGS", "MFLAGS", "MAKELEVEL", "PROFILE", "ONLY", "PARAMS", "LAUNCH", "PYTHON", "RAVDESS_DIR", "WITH",
           "SERLIB_MODELS", "SERLIB_CACHE", "SERLIB_HOME", "HF_HOME", "PYTHONPATH", "OMP_NUM_THREADS")  # fmt: skip
SHOWN = "EPOCHS, PROFILE, serlib.VALUE, os.environ.get('LAUNCHED')"
THREADS = "os.environ.get('OMP_NUM_THREADS')"


class Project:
    """The copy, and what ran in it: each notebook adds its number to the file `ran`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in COPIED:
            source = ROOT / name
            (shutil.copytree if source.is_dir() else shutil.copy2)(source, folder / name)
        (folder / "serlib").mkdir()
        self.write("serlib/__init__.py", "VALUE = 1\n")
        (folder / "serlib" / "twins").mkdir()
        self.write("serlib/twins/weights.bin", "weights")
        (folder / "notebooks").mkdir()
        for name in ("00_first", "03_train", "09_judge"):
            self.notebook(name)
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder / ".venv"], check=True)
        self.write_environment()

    def write_environment(self) -> None:
        """Let .venv see the installed packages, but this folder's serlib, and mark it as what make made."""
        packages = next((self.folder / ".venv" / "lib").glob("python*/site-packages"))
        # Paths in a .pth are searched, but .pth files inside them (the editable install) are not followed.
        (packages / "copy.pth").write_text(f"{self.folder}\n{sysconfig.get_path('purelib')}\n")
        (self.folder / ".venv" / ".installed").touch()
        self.write(".venv/.complete", f"{self.folder}\n")

    def write(self, name: str, text: str) -> None:
        (self.folder / name).write_text(text)

    def notebook(self, name: str, last: str = SHOWN) -> None:
        parameters = new_code_cell("PROFILE = 'auto'\nEPOCHS = 1", metadata={"tags": ["parameters"]})
        counted = f"import os, serlib\nprint({name[:2]!r}, file=open('../ran', 'a'))"
        cells = [new_markdown_cell("# Toy"), parameters, new_code_cell(counted), new_code_cell(last)]
        nbformat.write(new_notebook(cells=cells), self.folder / "notebooks" / f"{name}.ipynb")

    def command(self, *arguments: str) -> dict:
        environment = {key: value for key, value in os.environ.items() if key not in FOREIGN}
        return {"args": ["make", *arguments], "cwd": self.folder, "env": environment, "text": True}

    def make(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess:
        command = self.command(*arguments)
        return subprocess.run(**command | {"env": command["env"] | environment}, capture_output=True)

    def execute(self, *arguments: str, **environment: str) -> list[str]:
        """Make execute, which must succeed; return the numbers of the notebooks that ran, in their order."""
        result = self.make("execute", *arguments, **environment)
        assert result.returncode == 0, result.stdout + result.stderr
        return self.ran()

    def ran(self) -> list[str]:
        path = self.folder / "ran"
        numbers = path.read_text().split() if path.exists() else []
        path.unlink(missing_ok=True)
        return numbers

    def executed(self, name: str, profile: str = "mini") -> Path:
        return self.folder / "build" / "executed" / profile / f"{name}.ipynb"

    def shown(self, name: str, profile: str = "mini") -> str:
        """The last output of an executed copy."""
        return nbformat.read(self.executed(name, profile), 4).cells[-1].outputs[-1].data["text/plain"]


@pytest.fixture(scope="module")
def first(tmp_path_factory) -> tuple[Project, subprocess.CompletedProcess]:
    """A project whose three notebooks ran at once, two at a time. Tests look at it and leave it so."""
    project = Project(tmp_path_factory.mktemp("first"))
    return project, project.make("execute", "-j2")


@pytest.fixture
def project(first, tmp_path) -> Project:
    """A copy of the project after its first run, with every date kept."""
    folder = tmp_path / "copy"
    shutil.copytree(first[0].folder, folder, symlinks=True)
    project = Project.__new__(Project)
    project.folder = folder
    project.write_environment()
    project.ran()
    return project


@pytest.mark.slow
def test_the_first_run_runs_all_and_the_judging_last(first):
    project, result = first
    assert result.returncode == 0, result.stdout + result.stderr
    ran = (project.folder / "ran").read_text().split()
    assert sorted(ran) == ["00", "03", "09"] and ran[-1] == "09"
    assert project.shown("00_first") == "(1, 'mini', 1, None)"
    record = json.loads(project.executed("00_first").with_suffix(".json").read_text())
    assert record["seconds"] > 0 and record["peak_memory_mb"] > 20 and record["stderr"] == 0
    table = result.stdout[result.stdout.index("peak MB") :]
    assert [line.split()[0] for line in table.splitlines()[1:]] == ["00_first", "03_train", "09_judge", "all"]


@pytest.mark.slow
def test_an_executed_copy_tells_nothing_of_the_machine(first):
    text = first[0].executed("00_first").read_text()
    assert str(first[0].folder) not in text and "papermill" not in text
    tags = [cell["metadata"].get("tags", []) for cell in json.loads(text)["cells"]]
    assert ["injected-parameters", "remove-cell"] in tags


def test_nothing_changed_means_nothing_runs(project, record_property):
    for path in ["notebooks/00_first.ipynb", "serlib/__init__.py"]:
        (project.folder / path).touch()  # a checkout makes files younger, not different
    begin = time.perf_counter()
    assert project.execute() == []
    record_property("no-op seconds", round(time.perf_counter() - begin, 2))


@pytest.mark.slow
def test_a_changed_training_notebook_reruns_with_what_judges_it(project):
    project.notebook("03_train", last="'changed'")
    assert project.execute() == ["03", "09"]


@pytest.mark.slow
def test_changed_results_rerun_what_shows_them(project):
    """The scoreboard of a training notebook has rows of others, which may come from results/; 00 has none."""
    (project.folder / "results" / "mini").mkdir(parents=True)
    project.write("results/mini/predictions.csv", "clip\n")
    assert project.execute() == ["03", "09"]
    (project.folder / "results" / "laptop").mkdir()
    project.write("results/laptop/leaderboard.csv", "protocol\n")  # shown by every profile
    assert project.execute() == ["03", "09"]
    project.execute("PROFILE=laptop")
    project.write("results/mini/federated.csv", "clip\n")  # and so is what mini's answered
    assert project.execute("PROFILE=laptop") == ["03", "09"]


@pytest.mark.slow
@pytest.mark.parametrize("change", ["edited", "data file lost"])
def test_a_changed_serlib_reruns(project, change):
    if change == "edited":
        project.write("serlib/__init__.py", "VALUE = 2\n")
    else:
        (project.folder / "serlib" / "twins" / "weights.bin").unlink()
    assert project.execute("ONLY=00") == ["00"]
    assert ("2" in project.shown("00_first")) == (change == "edited")
    assert project.execute("ONLY=00") == []


@pytest.mark.slow
def test_profile_params_and_launch_reach_the_notebook_and_count_as_inputs(project):
    options = ["ONLY=00", "PROFILE=other", "PARAMS=-p EPOCHS 2", "LAUNCH=env LAUNCHED=yes"]
    assert project.execute(*options) == ["00"]
    assert project.shown("00_first", "other") == "(2, 'other', 1, 'yes')"
    assert project.shown("00_first") == "(1, 'mini', 1, None)"
    assert project.execute(*options) == []
    assert project.execute("ONLY=00", "PROFILE=other") == ["00"]
    assert project.execute("ONLY=00", "PROFILE=other", "RAVDESS_DIR=elsewhere") == ["00"]


@pytest.mark.slow
def test_notebooks_side_by_side_share_the_cores(project):
    """Two that each take all cores wait for each other; mini's twins are small, and take one wherever they run."""
    half = repr(str(max(1, os.cpu_count() // 2)))
    wanted = [(["PROFILE=other", "-j2"], half), (["PROFILE=other"], "None"), (["PROFILE=other", "-j"], "None")]
    wanted += [(["PROFILE=other", "-j2", "LAUNCH=env"], "None"), ([], "'1'"), (["-j2"], "'1'")]
    for options, threads in wanted:
        project.notebook("00_first", f"{len(options)}, {THREADS}")
        assert project.execute("ONLY=00", *options) == ["00"]
        profile = "other" if options[:1] == ["PROFILE=other"] else "mini"
        assert project.shown("00_first", profile) == f"({len(options)}, {threads})"
        project.executed("00_first", profile).unlink()


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="needs sockets that are files")
def test_a_kernel_takes_no_port_that_another_could_take_first(project, tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))  # where the sockets of all kernels lie
    look = "import json, sys; told = json.load(open(sys.argv[sys.argv.index('-f') + 1])); told['transport']"
    project.notebook("00_first", last=look)
    assert project.execute("ONLY=00") == ["00"] and project.shown("00_first") == "'ipc'"
    assert not list(tmp_path.glob("ser-*"))


def test_only_a_known_notebook(project):
    for only in ("77", "03 77"):
        result = project.make("execute", f"ONLY={only}")
        assert result.returncode and project.ran() == []
        assert "ONLY=77 names no notebook; there are 00_first 03_train 09_judge" in result.stderr


@pytest.mark.slow
def test_folders_are_those_of_where_make_is_called(project):
    """Papermill runs a kernel beside its notebook, where data/rav is another folder; ~ may be no shell's to expand."""
    names = ("RAVDESS_DIR", "SERLIB_MODELS", "SERLIB_CACHE", "SERLIB_HOME", "HF_HOME")
    project.notebook("00_first", f"[os.environ.get(name) for name in {names}]")
    home = str(project.folder / "home")
    given = ["RAVDESS_DIR=data/rav", "SERLIB_MODELS=~/models", "SERLIB_CACHE=../kept", f"SERLIB_HOME={home}"]
    assert project.execute("ONLY=00", *given, HOME=home) == ["00"]
    above = project.folder
    expected = [str(above / "data/rav"), f"{home}/models", str(above.parent / "kept"), home, None]
    assert ast.literal_eval(project.shown("00_first")) == expected
    project.notebook("00_first", f"[os.environ.get(name) for name in {names}], 2")
    assert project.execute("ONLY=00", RAVDESS_DIR="data/rav", HF_HOME="hub") == ["00"]
    assert ast.literal_eval(project.shown("00_first")) == ([expected[0], None, None, None, str(above / "hub")], 2)


def test_every_folder_that_serlib_takes_from_the_environment_is_meant():
    """The list of scripts/execute.py, against what the package asks for."""
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in (ROOT / "serlib").rglob("*.py")]
    calls = [
        node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Call)
    ]  # an example in a docstring is none
    asked = {call.args[0].value for call in calls if getattr(call.func, "id", None) == "named_folder"}
    script = ast.parse((ROOT / "scripts" / "execute.py").read_text(encoding="utf-8"))
    (listed,) = (ast.literal_eval(node.value) for node in script.body
                 if isinstance(node, ast.Assign) and node.targets[0].id == "FOLDERS")  # fmt: skip
    assert {"RAVDESS_DIR", "SERLIB_MODELS", "SERLIB_CACHE", "SERLIB_HOME"} <= asked <= set(listed)
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert asked <= set(re.search(r"^VALUES := (.+)", makefile, re.MULTILINE)[1].split())


HOSTILE = """a 'b' "c" $(touch x1) $(shell touch x2) `touch x3`; touch x4 & -j4;touch${IFS}x5 # $HOME \\ $$ %"""


@pytest.mark.slow
@pytest.mark.parametrize("way", ["command line", "environment"])
def test_a_value_is_nobodys_text(project, way):
    """A folder may be called anything: neither make nor the shell runs what is in its name."""
    project.notebook("00_first", "os.environ['RAVDESS_DIR'], EPOCHS")
    params = f"-p EPOCHS '{HOSTILE.replace(chr(39), '')}'"
    values = {"PROFILE": "laptop", "RAVDESS_DIR": f"/data/{HOSTILE}", "PARAMS": params}
    if way == "environment":
        assert project.execute("ONLY=00", **values) == ["00"]
    else:
        assert project.execute("ONLY=00", *(f"{name}={value}" for name, value in values.items())) == ["00"]
    shown = ast.literal_eval(project.shown("00_first", "laptop"))
    assert shown == (f"/data/{HOSTILE}", HOSTILE.replace("'", ""))
    assert not [*project.folder.rglob("x[1-5]*")]
    assert project.execute("ONLY=00", **values) == [], "the same value is the same input"


@pytest.mark.parametrize("way", ["command line", "environment"])
@pytest.mark.parametrize("name", ["PROFILE", "WITH", "ONLY"])
@pytest.mark.parametrize(
    "value", ["../../out", "..", "a/b", "$(shell touch x1)", "`touch x2`", "a;touch x3", "a b", "ä"]
)
def test_a_name_that_would_leave_build_is_refused(first, way, name, value):
    """Nothing is made, so all share the first project."""
    project = first[0]
    given = ([f"{name}={value}"], {}) if way == "command line" else ([], {name: value})
    result = project.make("execute", "--dry-run", *given[0], **given[1])
    assert result.returncode and f"{name}=" in result.stderr, result.stdout
    assert not [*project.folder.glob("x[1-3]*")]


def test_ports_and_addresses_are_values_too(project):
    project.write("scripts/address.py", "import sys; print(sys.argv[1:])")
    result = project.make("address", f"PYTHON={sys.executable}", f"URL={HOSTILE}")
    assert result.returncode == 0 and result.stdout.strip() == repr([HOSTILE])
    (project.folder / "build" / "site").mkdir(parents=True)
    result = project.make("serve", f"PORT={HOSTILE}")
    assert result.returncode and f"http://localhost:{HOSTILE} - stop" in result.stdout
    assert not [*project.folder.rglob("x[1-5]*")]


def test_a_clone_may_lie_anywhere(project):
    """Where the folder itself is called such a thing, too."""
    moved = project.folder.with_name(HOSTILE.replace("/", "").replace("%", "")[:100])
    project.folder.rename(moved)
    project.folder = moved
    project.write_environment()
    assert "--editable" not in project.make("--dry-run", "setup").stdout
    project.write(".venv/.complete", "another folder\n")
    assert "--editable" in project.make("--dry-run", "setup").stdout
    assert not [*moved.glob("x[1-5]*")]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("params", "sentence"),
    [
        (
            "-p EPOCH 2",
            "notebooks/00_first.ipynb has no parameter EPOCH, nor has another notebook; did you mean EPOCHS?",
        ),
        ("-p epochs 2", "did you mean EPOCHS?"),
        ("-p SEED 2", "did you mean EPOCHS or PROFILE or STEPS?"),
        ("-p EPOCHS", "expected 2 arguments"),
        ("-p EPOCHS '2", "PARAMS=-p EPOCHS '2 cannot be read (No closing quotation)"),
        ("EPOCHS=2", "unrecognized arguments: EPOCHS=2"),
    ],
)
def test_an_unknown_parameter_stops_the_run(project, params, sentence):
    """Once it was a line on stderr, and the default was trained for hours."""
    add_steps(project)
    result = project.make("execute", "ONLY=00", f"PARAMS={params}")
    assert result.returncode and sentence in result.stderr and "Traceback" not in result.stderr
    assert project.ran() == []


def add_steps(project):
    cell = new_code_cell("STEPS: int = 5  # of pre-training", metadata={"tags": ["parameters"]})
    cells = [cell, new_code_cell("print('03', file=open('../ran', 'a'))"), new_code_cell("STEPS")]
    nbformat.write(new_notebook(cells=cells), project.folder / "notebooks" / "03_train.ipynb")


@pytest.mark.slow
def test_a_parameter_of_another_notebook_is_passed_over_with_a_line(project):
    """PARAMS goes to all notebooks, and few of them have each parameter."""
    add_steps(project)
    result = project.make("execute", "PARAMS=-p STEPS 7")
    assert result.returncode == 0, result.stderr
    assert project.ran()[-1] == "09" and project.shown("03_train") == "7"
    for name in ("00_first", "09_judge"):
        assert f"notebooks/{name}.ipynb has no parameter STEPS and runs without it" in result.stdout
    assert "03_train.ipynb has no" not in result.stdout.replace("has no parameter PROFILE", "")


@pytest.mark.slow
def test_a_failing_notebook_is_named_kept_and_gone_on_from(project):
    project.notebook("03_train", last="# why\n1 / 0")
    result = project.make("execute")
    assert result.returncode
    sentence = "notebooks/03_train.ipynb failed in cell 4: # why\n  ZeroDivisionError: division by zero"
    assert sentence in result.stderr
    failed = project.executed("03_train").with_suffix(".failed.ipynb")
    assert str(failed.relative_to(project.folder)) in result.stderr
    assert "ZeroDivisionError" in failed.read_text()
    assert project.ran() == ["03"]
    project.notebook("03_train", last="'mended'")
    assert project.execute() == ["03", "09"]
    assert not failed.exists()


@pytest.mark.slow
def test_a_kernel_that_dies_is_named(project):
    project.notebook("00_first", last="import os; os._exit(1)")
    result = project.make("execute", "ONLY=00")
    assert result.returncode and "notebooks/00_first.ipynb failed" in result.stderr
    assert "DeadKernelError" in result.stderr


@pytest.mark.slow
@pytest.mark.parametrize("signal_", [signal.SIGTERM, signal.SIGKILL])
def test_a_killed_execution_leaves_nothing_taken_for_whole(project, signal_):
    shutil.rmtree(project.folder / "build" / "executed")
    project.notebook("00_first", last="import time; time.sleep(3_600)")
    process = subprocess.Popen(**project.command("execute", "ONLY=00"), start_new_session=True)
    while not (project.folder / "ran").exists():
        assert process.poll() is None
        time.sleep(0.1)
    os.killpg(process.pid, signal_)
    assert process.wait() != 0
    assert project.ran() == ["00"]
    allowed = {"00_first.partial.ipynb"} if signal_ == signal.SIGKILL else set()

    def left() -> set[str]:
        return {path.name for path in project.executed("00_first").parent.glob("*")}

    patience = time.monotonic() + 600
    while not left() <= allowed and time.monotonic() < patience:  # make goes before what it has started
        time.sleep(0.1)
    assert left() <= allowed
    project.notebook("00_first")
    assert project.execute("ONLY=00") == ["00"]
    assert project.executed("00_first").exists()


@pytest.mark.slow
def test_setup_imports_librosa_in_any_order_of_sets():
    """EAGER_IMPORT=1 of its lazy loader went through a set, and with one seed of hashes in eight met a circle."""
    lines = (ROOT / "Makefile").read_text(encoding="utf-8").splitlines()
    [command] = [line.strip().lstrip("@") for line in lines if "$(VENV) -c" in line and "librosa" in line]
    environment = os.environ | {"PYTHONHASHSEED": "6"}
    subprocess.run(command.replace("$(VENV)", sys.executable), shell=True, env=environment, check=True)


def test_setup_is_made_once_and_again_when_half_made_or_moved(project):
    whole, editable = "-m venv --clear .venv", "--editable ."

    def plan() -> tuple[bool, bool]:
        result = project.make("--dry-run", "setup")
        assert result.returncode == 0, result.stderr
        # librosa compiles once, alone, before two notebooks do so at once
        assert ("librosa.__path__" in result.stdout) == (whole in result.stdout)
        return whole in result.stdout, editable in result.stdout

    assert plan() == (False, False)
    project.write(".venv/.complete", "another folder\n")
    assert plan() == (False, True)
    (project.folder / ".venv" / ".complete").unlink()
    assert plan() == (False, True)
    (project.folder / ".venv" / ".installed").unlink()
    assert plan() == (True, True)
    shutil.rmtree(project.folder / ".venv")
    assert plan() == (True, True)


def test_setup_again_when_the_lock_changed_or_another_python_is_asked_for(project):
    assert "venv --clear" not in project.make("--dry-run", "setup", f"PYTHON={sys.executable}").stdout
    fake = project.folder / "python9"
    fake.write_text("#!/bin/sh\necho '(9, 9)'\n")
    fake.chmod(0o755)
    assert "venv --clear" in project.make("--dry-run", "setup", f"PYTHON={fake}").stdout
    future = time.time() + 5
    os.utime(project.folder / "requirements.lock", (future, future))
    assert "venv --clear" in project.make("--dry-run", "setup").stdout


def test_clean_removes_only_what_make_made(project):
    (project.folder / "runs").mkdir()
    project.write("runs/mine.txt", "hours")
    before = {path.name for path in project.folder.iterdir()}
    assert project.make("clean").returncode == 0
    assert {path.name for path in project.folder.iterdir()} == before - {".venv", "build"}
    assert (project.folder / "runs" / "mine.txt").exists()


def test_an_answer_is_found_whose_signal_was_used_up(monkeypatch):
    """nbclient sends on the socket on which it waits; what arrives in that moment announces itself to the sender."""
    import asyncio

    import zmq
    import zmq.asyncio
    from jupyter_client.session import Session

    sys.path.insert(0, str(ROOT / "scripts"))
    import execute

    monkeypatch.setattr(execute, "LOOK_AGAIN", 0.2)
    session = Session(key=b"")
    kernel = zmq.Context()

    async def answer() -> dict:
        asked, answers = zmq.asyncio.Context().socket(zmq.DEALER), kernel.socket(zmq.ROUTER)
        port = answers.bind_to_random_port("tcp://127.0.0.1")
        asked.connect(f"tcp://127.0.0.1:{port}")
        channel = execute.PatientChannel(asked, session, asyncio.get_running_loop())
        session.send(asked, "execute_request")
        identity, *_ = answers.recv_multipart()
        waiting = asyncio.create_task(channel.get_msg())
        await asyncio.sleep(0.1)
        session.send(answers, "execute_reply", ident=identity)
        time.sleep(0.5)  # it arrives while the loop does something else, which reads the state of the socket
        zmq.Socket.shadow(asked.underlying).getsockopt(zmq.EVENTS)
        try:
            return await asyncio.wait_for(waiting, 60)
        finally:
            asked.close(0)
            answers.close(0)

    assert asyncio.run(answer())["header"]["msg_type"] == "execute_reply"
