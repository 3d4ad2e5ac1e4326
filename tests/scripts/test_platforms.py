"""What a reader on Windows or a Mac runs: held by reading and by pretending, for no such machine runs these tests."""

import ast
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = sorted([*(ROOT / "serlib").rglob("*.py"), *(ROOT / "scripts").rglob("*.py")])
# What the standard library has on Unix alone.
MODULES = (
    "crypt",
    "fcntl",
    "grp",
    "nis",
    "posix",
    "pty",
    "pwd",
    "readline",
    "resource",
    "spwd",
    "syslog",
    "termios",
    "tty",
)
NAMES = {
    "os": {"chown", "fork", "forkpty", "getegid", "geteuid", "getgid", "getgroups", "getloadavg", "getpgid", "getpgrp",
           "getsid", "getuid", "killpg", "mkfifo", "mknod", "nice", "openpty", "posix_fadvise", "posix_spawn", "pread",
           "pwrite", "sched_getaffinity", "sched_setaffinity", "sendfile", "setpgid", "setsid", "setuid", "statvfs",
           "sync", "sysconf", "uname", "wait3", "wait4", "WNOHANG", "O_NONBLOCK", "O_DIRECTORY", "O_CLOEXEC"},
    "signal": {"SIGALRM", "SIGCHLD", "SIGCONT", "SIGHUP", "SIGKILL", "SIGPIPE", "SIGQUIT", "SIGSTOP", "SIGTSTP",
               "SIGUSR1", "SIGUSR2", "alarm", "pause", "pthread_kill", "setitimer", "sigwait"},
}  # fmt: skip

# Runs in a process of its own: serlib is given the standard library that Windows has, other packages keep theirs.
WITHOUT_UNIX = f"""
import builtins, os, pkgutil, signal, sys
import accelerate, datasets, IPython.display, librosa, matplotlib.pyplot, peft, scipy.stats, seaborn, sklearn.pipeline
import torch, transformers  # what serlib stands on, as it is on this machine

whole = builtins.__import__

def windows_import(name, globals=None, locals=None, fromlist=(), level=0):
    if name.split(".")[0] in {MODULES} and (globals or {{}}).get("__name__", "").split(".")[0] == "serlib":
        raise ModuleNotFoundError(f"No module named {{name!r}}")
    return whole(name, globals, locals, fromlist, level)

builtins.__import__ = windows_import
import serlib
for found in pkgutil.walk_packages(serlib.__path__, "serlib."):
    if not found.name.endswith("__main__"):
        __import__(found.name)
for module, names in {NAMES}.items():
    for name in names:
        if hasattr(sys.modules[module], name) and name not in ("WNOHANG", "fork", "getpid"):
            delattr(sys.modules[module], name)
lesson = serlib.start("mini", epochs=1)
from serlib.train.planner import _cpu
from serlib.train.run import _peak_memory
print(_cpu(64).memory, _peak_memory())
"""


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


@pytest.mark.slow
def test_the_package_loads_and_starts_without_what_only_unix_has(program):
    """`ser.start` died on `import resource` on Windows."""
    result = program(WITHOUT_UNIX, cwd=ROOT)
    assert result.returncode == 0, result.stderr
    assert "profile mini" in result.stdout and result.stdout.split()[-2:] == ["inf", "None"]


def ancestors(path: Path) -> dict[ast.AST, ast.AST]:
    return {child: node for node in ast.walk(tree(path)) for child in ast.iter_child_nodes(node)}


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_what_only_unix_has_is_asked_for_first(path):
    """A module in a `try`, a name behind `hasattr` in the same statement."""
    above = ancestors(path)
    faults = []
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]
            if {name.split(".")[0] for name in names} & set(MODULES) and not isinstance(above[node], ast.Try):
                faults.append(f"line {node.lineno}: import {names[0]}")
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            if node.attr in NAMES.get(node.value.id, ()):
                statement = node
                while not isinstance(statement, ast.stmt):
                    statement = above[statement]
                if f"hasattr({node.value.id}, '{node.attr}')" not in ast.unparse(statement):
                    faults.append(f"line {node.lineno}: {node.value.id}.{node.attr}")
    assert not faults


def calls(path: Path) -> list[tuple[str, ast.Call]]:
    found = [node for node in ast.walk(tree(path)) if isinstance(node, ast.Call)]
    return [(getattr(call.func, "attr", getattr(call.func, "id", "")), call) for call in found]


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_text_is_read_and_written_in_utf_8(path):
    """Windows takes another encoding where none is named."""
    faults = []
    for name, call in calls(path):
        options = {option.arg for option in call.keywords}
        modes = [a.value for a in call.args[:2] if isinstance(a, ast.Constant) and set(str(a.value)) <= set("rwabx+t")]
        binary = any("b" in mode for mode in modes) or any(isinstance(a, ast.IfExp) for a in call.args)
        is_text = name in ("read_text", "write_text") or (name == "open" and not binary) or "text" in options & {"text"}
        if is_text and "encoding" not in options and "urlopen" not in ast.unparse(call.func):
            faults.append(f"line {call.lineno}: {ast.unparse(call)[:80]}")
    assert not faults


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_processes_are_started_in_a_way_that_is_named(path):
    """Linux forks where nothing is said, Windows and Macs spawn: what works here would fail there."""
    asked = "hasattr(os, 'fork')" in ast.unparse(tree(path))  # and so it has said that it needs Linux
    for name, call in calls(path):
        text = ast.unparse(call)
        named = text.startswith("multiprocessing.get_context(")
        assert named or not (
            name in ("Pool", "Process", "ProcessPoolExecutor") and text.startswith(("multiproc", name))
        )
        assert asked or "'fork'" not in text
