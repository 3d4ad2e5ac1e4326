"""The project as a whole: versions agree, arrows point one way, nothing is dead, pages tell the truth."""

import ast
import json
import re
import shutil
import subprocess
import sys
import tomllib
from functools import cache
from importlib import metadata
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[2]
ARCHITECTURE = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
PACKAGE = ROOT / "serlib"
MODULES = {
    ".".join(path.relative_to(PACKAGE).with_suffix("").parts): path
    for path in sorted(PACKAGE.rglob("*.py"))
    if path.stem != "__init__"
}
# The module that a distribution is imported as, where its name does not say so.
IMPORTED_AS = {
    "huggingface-hub": "huggingface_hub",
    "ipython": "IPython",
    "lazy-loader": "lazy_loader",
    "onnx-ir": "onnx_ir",
    "praat-parselmouth": "parselmouth",
    "scikit-learn": "sklearn",
}


def requirements(lines: list[str]) -> dict[str, Requirement]:
    return {canonicalize_name(r.name): r for r in map(Requirement, lines)}


def floors() -> dict[str, Requirement]:
    # Flower wants older versions than the lock has: for an environment of its own.
    extras = [lines for extra, lines in PROJECT["optional-dependencies"].items() if extra != "flower"]
    return requirements(PROJECT["dependencies"] + [line for extra in extras for line in extra])


def lock() -> dict[str, Requirement]:
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    return requirements([line for line in lines if not line.startswith("#")])


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def room(module: str) -> str:
    return module.split(".")[0]


def rows(heading: str) -> dict[str, list[str]]:
    """The rows of the first table below a heading of ARCHITECTURE.md by their first cell, a name in backticks."""
    table = re.search(rf"^## {re.escape(heading)}\n.*?\n\n(\|.*?)\n\n", ARCHITECTURE, re.MULTILINE | re.DOTALL)[1]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()[2:]]
    return {first.strip("`"): others for first, *others in cells}


def in_backticks(text: str) -> set[str]:
    return set(re.findall(r"`([^`]+)`", text))


# What a room may know besides itself, and the libraries that stay out of it.
KNOWS = {name: in_backticks(knows) for name, (_, knows, _) in rows("Rooms and arrows").items()}
WITHOUT = {name: in_backticks(without) for name, (*_, without) in rows("Rooms and arrows").items()}


def own_imports(path: Path) -> set[str]:
    """The modules of serlib that a module imports, at its top or inside a function."""
    named = set()
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "serlib":
            named |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            named |= {alias.name for alias in node.names}
    return {name.removeprefix("serlib.") for name in named} & set(MODULES)


def libraries(path: Path) -> set[str]:
    """What a module imports that is not serlib's, at its top or inside a function."""
    imported = set()
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            imported |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            imported.add(node.module.split(".")[0])
    return imported - {"serlib"}


def page_code() -> str:
    """The Python of the page on extending, which a test of the book runs: what it shows to outsiders is a use."""
    page = (ROOT / "book" / "extending.md").read_text(encoding="utf-8")
    return "\n".join(re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL))


def notebook_code() -> str:
    """All code of all notebooks, without the lines that only IPython understands."""
    lines = []
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
            if cell["cell_type"] == "code":
                source = "".join(cell["source"])
                lines += [re.sub(r"^(\s*)[%!].*", r"\1pass", line) for line in source.splitlines()]
    return "\n".join(lines)


def tracked() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("needs the git clone")
    return [ROOT / name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]


@cache
def names_used(code: ast.AST) -> frozenset[str]:
    used = set()
    for node in ast.walk(code):
        if isinstance(node, ast.Name):
            used.add(node.id)
        elif isinstance(node, ast.Attribute):
            used.add(node.attr)
        elif isinstance(node, ast.ImportFrom):
            used |= {alias.name for alias in node.names}
    return frozenset(used)


@cache
def names_shown() -> frozenset[str]:
    """What the notebooks and the page on extending use."""
    return names_used(ast.parse(notebook_code())) | names_used(ast.parse(page_code()))


def test_environment_names_the_floors_of_the_project():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    pip = next(entry["pip"] for entry in environment if isinstance(entry, dict))
    named = requirements([line for line in pip if not line.startswith("--")])
    assert {name: str(r.specifier) for name, r in named.items()} == {
        name: str(r.specifier) for name, r in floors().items()
    }
    assert f"python{PROJECT['requires-python']}" in environment


def test_the_lock_satisfies_every_floor():
    locked = lock()
    for name, requirement in floors().items():
        version = str(locked[name].specifier).removeprefix("==")
        assert Version(version) in requirement.specifier, f"{name} {version}"


def test_the_lock_is_exact_and_names_no_place():
    for line in (ROOT / "requirements.lock").read_text().splitlines():
        assert line.startswith("#") or re.fullmatch(r"[\w.-]+==[\w.]+( ; [\w =\"<>.]+)?", line), line


def test_the_lock_has_all_that_its_own_packages_need():
    """They are installed without their dependencies, so what the lock forgets is missing until somebody imports it."""
    locked = lock()
    for name in locked:
        try:
            needed = map(Requirement, metadata.requires(name) or [])
        except metadata.PackageNotFoundError:  # another system's, or of a newer lock than this environment's
            continue
        for requirement in needed:
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                found = locked.get(canonicalize_name(requirement.name))
                assert found, f"{name} needs {requirement}"
                version = str(found.specifier).removeprefix("==")
                assert requirement.specifier.contains(version, prereleases=True), f"{name} needs {requirement}"


@pytest.mark.slow
def test_serlib_imports_what_it_declares_and_nothing_else():
    imported = set()
    for path in [*MODULES.values(), *PACKAGE.rglob("__init__.py")]:
        imported |= libraries(path)
    imported -= {*sys.stdlib_module_names, "google"}  # google.colab is Colab's own
    declared = {Requirement(line).name for line in PROJECT["dependencies"]}
    modules = {IMPORTED_AS.get(name, name) for name in declared}
    extras = [line for extra in ("onnx", "rooms", "track") for line in PROJECT["optional-dependencies"][extra]]
    on_demand = {IMPORTED_AS.get(name, name) for name in (Requirement(line).name for line in extras)}
    undeclared = imported - modules - on_demand
    assert not undeclared
    notebooks = {name for name in modules if re.search(rf"^\s*(import|from) {name}\b", notebook_code(), re.M)}
    idle = modules - imported - notebooks
    assert not idle


@pytest.mark.parametrize("module", MODULES)
def test_arrows_point_the_way_that_the_page_on_architecture_draws(module):
    own = room(module)
    assert not {room(name) for name in own_imports(MODULES[module])} - KNOWS[own] - {own}
    assert not libraries(MODULES[module]) & WITHOUT[own]


def test_the_page_on_architecture_has_every_room_and_draws_no_circle():
    assert set(KNOWS) == {room(module) for module in MODULES}
    assert set().union(*KNOWS.values()) <= set(KNOWS)
    assert set().union(*WITHOUT.values()) <= {IMPORTED_AS.get(name, name) for name in floors()}
    for name, known in KNOWS.items():
        assert all(name not in KNOWS[other] and KNOWS[other] <= known for other in known), name


def test_the_page_on_architecture_lists_every_module_and_script_once():
    listed = ARCHITECTURE[ARCHITECTURE.index("\n## Every module\n") : ARCHITECTURE.index("\n## From a clip")]
    names = re.findall(r"\]\(([^)]+)\)", listed)
    there = [*MODULES.values(), *(ROOT / "scripts").rglob("*.py")]
    assert sorted(names) == sorted(path.relative_to(ROOT).as_posix() for path in there)


def test_the_page_on_architecture_has_every_profile():
    from serlib.lesson import PROFILES

    assert list(rows("Profiles")) == list(PROFILES)


# A file as prose, comments and commands name it, without a link; a pattern with a star or a NAME is none.
FOLDERS = "tests|scripts|serlib|book|notebooks|results"
FILE = re.compile(rf"(?<![\w./-])(?:{FOLDERS})/(?!\S*(?:NAME|NN))[\w./-]*\.(?:py|md|sh|csv|ipynb)\b(?!\*)")


def test_every_file_that_a_page_or_a_comment_names_is_there():
    """Tests make files of their own, which are not asked for."""
    for path in tracked():
        written = path.suffix in {".md", ".py", ".toml", ".yml", ".sh"} or path.name in {"Makefile", "run"}
        if written and (ROOT / "tests") not in path.parents:
            named = set(FILE.findall(path.read_text(encoding="utf-8")))
            lost = {name for name in named if not (ROOT / name).exists()}
            assert not lost, path.relative_to(ROOT)


def test_every_link_of_a_page_of_the_repository_leads_to_a_file():
    for page in ROOT.glob("*.md"):
        links = re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))
        lost = [link for link in links if "://" not in link and not (ROOT / link).exists()]
        assert not lost, page.name


def test_no_circle_of_modules():
    arrows = {module: own_imports(path) for module, path in MODULES.items()}
    while free := [module for module, targets in arrows.items() if not targets & set(arrows)]:
        for module in free:
            del arrows[module]
    assert not arrows


@pytest.mark.parametrize("module", MODULES)
def test_every_public_name_is_used_outside_its_module(module):
    """Tests do not count: what only a test calls is called by nobody."""
    public = {
        node.name
        for node in tree(MODULES[module]).body
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_")
    }
    # A class is used by whoever calls the function that returns it, or looks into a table of it.
    nodes = list(ast.walk(tree(MODULES[module])))
    notes = [node.returns for node in nodes if isinstance(node, ast.FunctionDef) and node.returns]
    tables = [node.value for node in tree(MODULES[module]).body if isinstance(node, ast.Assign)]
    handed_out = {name for node in notes + tables for name in re.findall(r"\w+", ast.unparse(node))}
    used = names_shown() | handed_out
    for path in [*MODULES.values(), *(ROOT / "scripts").rglob("*.py")]:
        if path != MODULES[module]:
            used |= names_used(tree(path))
    dead = public - used
    assert not dead


def test_no_path_of_one_machine():
    # In pieces, so that this file does not hold what it looks for.
    machine = re.compile("|".join(["/wo" "rk/", "/fa" "rm/", "/tm" "p/[a-z]", r"\.\./sha" "red", "/ro" "ot/",
                                   "/ho" "me/(?!web_user|pyodide)[a-z]", "/Use" "rs/[a-z]"]))  # fmt: skip
    # web_user and pyodide are nobody: homes inside a browser of what emscripten compiled.
    no_text = {".safetensors", ".png", ".mp3", ".npz", ".woff2", ".ttf", ".gz", ".zip"}
    for path in tracked():
        # Pyodide's own home of its only user is no path of a machine.
        if path.suffix not in no_text and ".ci" not in path.parts and path.name != "pyodide.asm.mjs":
            found = machine.search(path.read_text(encoding="utf-8"))
            assert not found, f"{path.relative_to(ROOT)}: {found}"


def test_no_notebook_holds_outputs():
    for path in (ROOT / "notebooks").glob("*.ipynb"):
        for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
            assert not cell.get("outputs") and not cell.get("execution_count"), path.name


def targets() -> set[str]:
    return set(re.findall(r"^([a-z-]+):(?!=)", (ROOT / "Makefile").read_text(), re.MULTILINE))


@pytest.mark.parametrize("page", [ROOT / "README.md", *(ROOT / "book").glob("*.md")], ids=lambda p: p.name)
def test_every_make_command_of_a_page_exists(page):
    commands = set(re.findall(r"(?:`|^\s*)make ([a-z-]+)", page.read_text(encoding="utf-8"), re.MULTILINE))
    assert commands <= targets()
    assert page.name != "README.md" or {"setup", "execute", "book", "test", "lint"} <= commands


def test_help_lists_every_target():
    result = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True)
    assert set(re.findall(r"^make ([a-z-]+) +\S", result.stdout, re.MULTILINE)) == targets()


def test_the_hooks_before_a_commit_are_make_lint_and_download_nothing():
    repositories = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    assert [repository["repo"] for repository in repositories] == ["local"]
    hooks = repositories[0]["hooks"]
    assert {hook["language"] for hook in hooks} == {"system"}
    recipe = re.search(r"^lint:.*\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text(), re.MULTILINE)[1]
    linted = re.findall(r"\$\(VENV\) (-m ruff \w+|-m \w+|\S+)", recipe)
    hooked = [re.match(r"\.venv/bin/python (-m ruff \w+|-m \w+|\S+)", hook["entry"])[1] for hook in hooks]
    assert hooked == linted and len(linted) == 4


def test_address_changes_everywhere_and_back(tmp_path, address):
    for name in ["scripts", "book", "notebooks"]:
        shutil.copytree(ROOT / name, tmp_path / name)
    for name in ["_config.yml", "pyproject.toml", "README.md"]:
        shutil.copy(ROOT / name, tmp_path / name)
    badge = "https://colab.research.google.com/github/{}/blob/main/notebooks/00_toy.ipynb"
    install = "git+https://github.com/{}\\n https://github.com/{}-other https://{}.github.io/{}/"
    toy = tmp_path / "notebooks" / "00_toy.ipynb"
    toy.write_text(badge.format(address) + install.format(address, address, *address.split("/")))
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}

    def set_address(url: str) -> subprocess.CompletedProcess:
        command = [sys.executable, tmp_path / "scripts" / "address.py", url]
        return subprocess.run(command, capture_output=True, text=True)

    assert set_address("https://github.com/New-Owner/a.book/").returncode == 0
    moved = "New-Owner/a.book"
    assert toy.read_text() == badge.format(moved) + install.format(moved, address, "new-owner", "a.book")
    assert f"url: https://github.com/{moved}\n" in (tmp_path / "_config.yml").read_text()
    for path in tmp_path.rglob("*"):
        if path.is_file() and path != toy and path.suffix in {".ipynb", ".md", ".toml", ".yml"}:
            assert not re.search(rf"{re.escape(address)}(?![\w-])", path.read_text(encoding="utf-8")), path
    assert set_address(f"https://github.com/{address}").returncode == 0
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
    refused = set_address("https://example.org/owner/repo")
    assert refused.returncode and "make address URL=https://github.com/OWNER/REPO" in refused.stderr
