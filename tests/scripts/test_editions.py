"""The class editions: no solution in the student's, and every solution of the instructor's passes its check."""

import ast
import importlib.util
import io
import re
import sys
from contextlib import redirect_stdout, suppress
from pathlib import Path

import nbformat
import numpy as np
import pandas as pd
import pytest

import serlib as ser

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb"))
CHECK = re.compile(r"^ser\.check\.\w+\(", re.MULTILINE)


@pytest.fixture(scope="module")
def editions():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "scripts"))
        spec = importlib.util.spec_from_file_location("editions", ROOT / "scripts" / "editions.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        yield module
    sys.modules.pop("address", None)


@pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.stem)
def notebook(request) -> nbformat.NotebookNode:
    return nbformat.read(request.param, as_version=4)


@pytest.fixture
def context(notebook, ravdess_names) -> dict:
    """What the exercises of a notebook stand on: its imports, functions and constants, and small tables."""
    split = ser.stratified_split(ravdess_names)
    names = {
        "ser": ser,
        "split": split,
        "quiz": ravdess_names.groupby("emotion").head(1),
        "table": pd.DataFrame({"emotion": ["calm", "sad", "sad"], "seconds_active": [1.5, 2.0, 2.1]}),
    }
    for cell in notebook.cells:
        if cell.cell_type == "code" and not re.search(r"^[%!]|google\.colab", cell.source, re.MULTILINE):
            for statement in ast.parse(cell.source).body:
                text = ast.unparse(statement)
                alone = isinstance(statement, ast.Import | ast.ImportFrom | ast.FunctionDef)
                if alone or re.match(r"(\(?[A-Z]+, )*[A-Z]+\)? = |xlarge = ", text):
                    with suppress(NameError):  # a default that a trained model gives; no exercise calls such a function
                        exec(text, names)
    return names | {"np": np}


def said(source: str, names: dict) -> str:
    """Run an exercise cell up to its check, and return what the check printed."""
    until = ast.parse(source)
    checks = [i for i, statement in enumerate(until.body) if CHECK.match(ast.unparse(statement))]
    until.body = until.body[: checks[0] + 1]
    with redirect_stdout(io.StringIO()) as out:
        exec(compile(until, "exercise", "exec"), dict(names))
    return out.getvalue()


def exercises(notebook: nbformat.NotebookNode) -> list[str]:
    return [cell.source for cell in notebook.cells if cell.cell_type == "code" and CHECK.search(cell.source)]


def test_every_solution_passes_its_check(editions, notebook, context):
    cells = exercises(editions.edition(notebook, "instructor"))
    assert len(cells) == len(exercises(notebook)) >= 2
    for cell in cells:
        assert said(cell, context).startswith("Right: "), cell


def spoiled(answer):
    """A wrong answer of the same kind as a right one: as close to it as a hasty student comes."""
    if callable(answer):
        return lambda *given, **named: spoiled(answer(*given, **named))
    if isinstance(answer, (bool, np.bool_)):
        return not answer
    if isinstance(answer, str):
        return "calm" if answer != "calm" else "angry"
    if isinstance(answer, dict):
        return {key: spoiled(value) for key, value in answer.items()}
    if isinstance(answer, (set, frozenset)):
        return set(list(answer)[1:])
    if isinstance(answer, (list, tuple)):
        return type(answer)(map(spoiled, answer))
    return answer + 1


def test_every_solution_spoiled_is_told_what_is_wrong(editions, notebook, context, monkeypatch):
    """The right answer goes through its check once more, made wrong on the way."""
    for cell in exercises(editions.edition(notebook, "instructor")):
        name = CHECK.search(cell)[0].removeprefix("ser.check.").rstrip("(")
        check = getattr(ser.check, name)
        monkeypatch.setattr(ser.check, name, lambda answer, *given, check=check: check(spoiled(answer), *given))
        told = said(cell, context)
        reason = told.startswith("Not yet: ") and len(told.split()) > 6 and "stopped the check" not in told
        assert reason, f"{name} says of a wrong answer: {told}"
        monkeypatch.setattr(ser.check, name, check)


def test_every_blank_is_told_that_it_is_blank(editions, notebook, context):
    for cell in exercises(editions.edition(notebook, "student")):
        assert said(cell, context).startswith("Not "), cell


def test_the_students_edition_has_no_solution_and_lacks_nothing_else(editions, notebook):
    student = editions.edition(notebook, "student")
    nbformat.validate(student)
    text = "\n".join(cell.source for cell in student.cells)
    assert "olution</summary>" not in text and "colab.research" not in text and "](../" not in text
    source = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.source for cell in student.cells if cell.cell_type == "code"] == source
    headings = [line for cell in notebook.cells for line in cell.source.splitlines() if line.startswith("## ")]
    assert [line for line in text.splitlines() if line.startswith("## ")] == [
        line for line in headings if line in text.splitlines()
    ]
    assert {"## What we learned", "## Next"} <= set(text.splitlines())


def test_the_instructors_edition_shows_every_solution(editions, notebook):
    instructor = editions.edition(notebook, "instructor")
    nbformat.validate(instructor)
    folds = sum(cell.source.count("olution</summary>") for cell in notebook.cells)
    text = "\n".join(cell.source for cell in instructor.cells)
    assert text.count("<details open>") >= folds and "answer = None" not in text


def test_solved_keeps_what_the_exercise_gives(editions):
    cell = "k = 3\nanswer = None  # a number\nser.check.wilson(answer);"
    assert editions.solved(cell, "answer = k + 1\n") == "k = 3\nanswer = k + 1\n\nser.check.wilson(answer);"
    cell = "def f(x):\n    return ...\n\n\nser.check.field(f)"
    solution = "def f(x):\n    return x\n\n\nser.check.field(f)\nf(2)\n"
    assert editions.solved(cell, solution) == solution.strip()
