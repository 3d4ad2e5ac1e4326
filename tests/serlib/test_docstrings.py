"""A docstring says of every argument what it is, what comes back, and shows one example that runs."""

import inspect
import re

import pytest

import serlib
from serlib.judge.metrics import Report
from serlib.judge.scoreboard import Scoreboard
from serlib.judge.voting import Vote
from serlib.lesson import Lesson, Profile
from serlib.train.backbones import Backbone
from serlib.train.heads import Fitted, Logistic
from serlib.train.planner import Cost, Device
from serlib.train.run import Run, Runs

RETURNED = (Backbone, Cost, Device, Fitted, Lesson, Logistic, Profile, Report, Run, Runs, Scoreboard, Vote)


def described() -> dict[str, object]:
    """Return what a reader looks up: the flat names, and the parts of what they return."""
    flat = {name: getattr(serlib, name) for name in dir(serlib) if not name.startswith("_")}
    found = {name: value for name, value in flat.items() if callable(value)}
    for kind in {*RETURNED, *(value for value in found.values() if inspect.isclass(value))}:
        found[kind.__name__] = kind
        for name, part in vars(kind).items():
            if not name.startswith("_") and (inspect.isroutine(part) or isinstance(part, property)):
                found[f"{kind.__name__}.{name}"] = getattr(part, "__func__", part)
    return found


DESCRIBED = described()


def section(text: str, title: str) -> str:
    found = re.search(rf"^{title}\n-+\n(.*?)(?=^\w[^\n]*\n---|\Z)", text, re.MULTILINE | re.DOTALL)
    return found[1] if found else ""


@pytest.mark.parametrize("name", sorted(DESCRIBED))
def test_an_example_stands_in_every_docstring(name):
    assert ">>> " in inspect.getdoc(DESCRIBED[name])


def told(name: str) -> list[str]:
    names = re.findall(r"^\w.*", section(inspect.getdoc(DESCRIBED[name]), "Parameters"), re.MULTILINE)
    return [one for line in names for one in line.split(", ")]


@pytest.mark.parametrize("name", sorted(name for name, value in DESCRIBED.items() if inspect.isfunction(value)))
def test_sections_name_every_argument_and_what_comes_back(name):
    signature = inspect.signature(DESCRIBED[name])
    assert told(name) == [one for one in signature.parameters if one not in ("self", "cls")]
    back = section(inspect.getdoc(DESCRIBED[name]), "Returns")
    assert bool(back) == (signature.return_annotation is not None)


@pytest.mark.parametrize("name", ["Probe", "Recipe"])
def test_every_setting_of_a_recipe_is_described(name):
    assert told(name) == list(inspect.signature(DESCRIBED[name]).parameters)
