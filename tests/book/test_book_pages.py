"""The chapters in book/: the page contract, the quizzes, the citations, and what a fork publishes with."""

import ast
import re
import shutil
import tomllib
from pathlib import Path

import nbformat
import numpy as np
import pandas as pd
import pytest
import yaml

import serlib
from serlib.judge import metrics, predictions
from serlib.lesson import start
from serlib.train.backbones import BACKBONES, SIX, backbone
from serlib.train.planner import plan

ROOT = Path(__file__).parents[2]
CHAPTERS = sorted((ROOT / "book").glob("*.md"))
QUIZZES = [page for page in CHAPTERS if page.stem.startswith("quiz_")]
CITE = re.compile(r"\{cite(?::\w+)?\}`([^`]+)`")
ANSWER = re.compile(r'<details class="quiz"><summary>([^<]+)</summary>\n\n(.+?)\n\n</details>', re.DOTALL)
FENCE = re.compile(r"^(`{3,}).*?^\1", re.MULTILINE | re.DOTALL)


@pytest.fixture(params=CHAPTERS, ids=lambda page: page.stem)
def chapter(request) -> str:
    return request.param.read_text(encoding="utf-8")


def headings(text: str) -> list[tuple[int, str]]:
    found = re.findall(r"^(#+) +(.+)$", FENCE.sub("", text), re.MULTILINE)
    return [(len(marks), title) for marks, title in found]


def contents() -> list[str]:
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text())
    return [toc["root"], *(chapter["file"] for part in toc["parts"] for chapter in part["chapters"])]


def test_every_chapter_is_in_the_contents():
    assert sorted(file for file in contents() if file.startswith("book/")) == [f"book/{p.stem}" for p in CHAPTERS]


def test_every_part_ends_with_a_quiz():
    parts = yaml.safe_load((ROOT / "_toc.yml").read_text())["parts"]
    last = [part["chapters"][-1]["file"] for part in parts]
    assert all(name.startswith("book/quiz_") for name in last) and len(set(last)) == len(QUIZZES) >= 7


def minutes(page: str) -> tuple[int, int, int]:
    """What the head of a page says of reading, and of computing with mini and laptop, at most."""
    if page.startswith("book/"):
        text = (ROOT / f"{page}.md").read_text(encoding="utf-8")
        return int(re.search(r"\*\*Minutes:\*\*\s(\d+)", text)[1]), 0, 0
    cells = nbformat.read(ROOT / f"{page}.ipynb", as_version=4).cells
    opening = "\n".join(cell.source for cell in cells[:3] if cell.cell_type == "markdown")
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in re.findall(r"^\|.+", opening, re.MULTILINE)
    ]
    of = {profile: row for row in rows for profile in row[0].split(", ")}
    mini, laptop = (of.get(profile) or of["every profile"] for profile in ("mini", "laptop"))
    return int(mini[2]), *(max(map(int, re.findall(r"\d+", row[3]))) for row in (mini, laptop))


def test_the_table_of_times_adds_up_the_heads_of_the_pages():
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text())
    page = (ROOT / "book" / "costs.md").read_text(encoding="utf-8")
    so_far = np.zeros(3, int)
    for part in toc["parts"]:
        files = [chapter["file"] for chapter in part["chapters"]]
        files = [toc["root"], *files] if part is toc["parts"][0] else files
        own = np.sum([minutes(file) for file in files], axis=0)
        so_far += own
        assert f"| {part['caption']} | {' | '.join(map(str, [*own, *so_far]))} |" in page
    kit = (ROOT / "book" / "instructor.md").read_text(encoding="utf-8")
    assert [f"at most {m} for all nineteen" in kit for m in so_far[1:]] == [True, True]
    assert f"computing on `mini` takes {so_far[1]} minutes in all" in page
    assert f"| CPU, {so_far[2]} minutes |" in (ROOT / "book" / "how_to_use.md").read_text(encoding="utf-8")


@pytest.mark.slow
def test_the_gpu_minutes_of_the_sessions_are_the_planners():
    of = {}
    for profile, device in (("t4", "T4"), ("paper", "A100-40"), ("best", "A100-40")):
        lesson = start(profile)
        of[profile] = {key: plan(backbone(key), lesson.recipe_for(backbone(key)), device).minutes for key in SIX}
    six = {profile: sum(found.values()) for profile, found in of.items()}
    page = (ROOT / "book" / "costs.md").read_text(encoding="utf-8")
    assert f"| {six['t4']:.0f} min | {six['paper']:.0f} min | {six['best']:.0f} min |" in page
    evening, all_six = 360, round(six["t4"])  # of the exercise: by the table, and with half as much again
    assert 2 * all_six < evening < 3 * all_six and 1.5 * all_six < evening < 2 * 1.5 * all_six
    answer = f"fit, {2 * all_six} minutes, and three do not, {3 * all_six}."
    cautious = f"one series takes {int(1.5 * all_six + 0.5)} and two take {3 * all_six}."
    assert answer in page and cautious in page
    kit = (ROOT / "book" / "instructor.md").read_text(encoding="utf-8")
    base, most = of["t4"]["hubert-base"], max(of["t4"].values())
    for said in (
        f"{base:.0f} on a T4, for HuBERT base",
        f"{six['t4']:.0f} on a T4 or {six['paper']:.0f} on an A100, the six",
        f"{base:.0f} on a T4 for each student, and up to {most:.0f} more",
        f"{5 * round(six['t4'])} on a T4 or {5 * round(six['paper'])} on an A100",
    ):
        assert said in kit


def test_next_leads_to_the_next_page():
    pages = contents()
    for page, following in zip(pages, pages[1:], strict=False):
        if page.startswith("book/"):
            text = (ROOT / f"{page}.md").read_text(encoding="utf-8")
            assert following.rpartition("/")[2] in text[text.rindex("\n## Next") :], page


def test_opens_with_objectives_needs_and_minutes(chapter):
    opening = chapter[: chapter.index("\n## ")]
    assert re.search(r"^\*\*You will\*\*\n\n- \S", opening, re.MULTILINE)
    assert re.search(r"^\*\*Needs:\*\* \S.*?\*\*Minutes:\*\*\s\d", opening, re.MULTILINE | re.DOTALL)


def test_closes_with_what_we_learned_and_next(chapter):
    sections = [title for level, title in headings(chapter) if level == 2]
    assert sections[-2:] == ["What we learned", "Next"]
    closing = chapter[chapter.rindex("\n## Next") :]
    assert re.search(r"\]\([\w./]+\.(?:md|ipynb)\)", closing)
    assert closing.count("\n- ") == 0 and len(closing.splitlines()) < 12, "this stands below the end of the page"


def test_the_table_of_variables_has_every_folder_that_serlib_asks_for():
    source = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "serlib").rglob("*.py"))
    asked = set(re.findall(r'named_folder\("([A-Z_]+)"\)', source)) - {"NO_SUCH_VARIABLE"} | {"HF_HOME"}
    page = (ROOT / "book" / "how_to_use.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^\| `([A-Z_]+)` \|", page, re.MULTILINE)) == asked
    assert f"{['Four', 'Five', 'Six', 'Seven'][len(asked) - 4]} environment variables" in page


def test_headings_step_down_one_level_at_a_time(chapter):
    levels = [level for level, _ in headings(chapter)]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after <= before + 1 for before, after in zip(levels, levels[1:], strict=False))


def test_has_an_exercise_with_a_folded_answer(chapter):
    exercise = re.search(r"^#{2,3} Exercise.*", chapter, re.MULTILINE)
    assert exercise
    assert re.search(r"<details[^>]*>\s*<summary>", chapter[exercise.end() :])
    assert chapter.count("<details") == chapter.count("</details>")


def test_every_figure_has_alternative_text(chapter):
    for figure in re.findall(r"^```\{figure\}.*?^```", chapter, re.MULTILINE | re.DOTALL):
        assert re.search(r"^:alt: (?:\S+ ){5}", figure, re.MULTILINE), figure


def test_every_source_is_known_and_every_known_source_is_used():
    entries = re.findall(r"^@\w+\{([^,]+),", (ROOT / "book" / "references.bib").read_text(), re.MULTILINE)
    assert len(entries) == len(set(entries))
    text = "".join(page.read_text(encoding="utf-8") for page in CHAPTERS)
    cited = {key.strip() for keys in CITE.findall(text) for key in keys.split(",")}
    assert cited == set(entries)


@pytest.mark.parametrize("quiz", QUIZZES, ids=lambda page: page.stem)
def test_every_answer_of_a_quiz_says_why_and_one_is_right(quiz):
    questions = re.split(r"^### Exercise \d+$", quiz.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
    assert len(questions) >= 5
    places = []
    for question in questions:
        answers = ANSWER.findall(question)
        verdicts = [re.match(r"\*\*(Right|Not yet)\.\*\* ", reason) for _, reason in answers]
        assert len(answers) >= 3 and all(verdicts), question
        assert [verdict[1] for verdict in verdicts].count("Right") == 1, question
        assert all(len(reason.split()) >= 6 for _, reason in answers), question
        places.append([verdict[1] for verdict in verdicts].index("Right"))
    assert len(set(places)) > 1, "the right answer always stands in the same place"


def test_the_vote_of_the_page_on_extending_is_a_voter():
    page = (ROOT / "book" / "extending.md").read_text(encoding="utf-8")
    code = next(block for block in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if "def surest" in block)
    names = {}
    exec(code, names)
    truth = pd.DataFrame({"actor": ["01", "01", "02"], "emotion": ["calm", "sad", "sad"]}, index=["a", "b", "c"])
    truth.index.name = "clip"
    sure = predictions.make(truth, np.array([[0.9, 0.1], [0.9, 0.1], [0.6, 0.4]]), ("calm", "sad"), "test")
    unsure = predictions.make(truth, np.array([[0.45, 0.55], [0.4, 0.6], [0.1, 0.9]]), ("calm", "sad"), "test")
    vote = names["surest"]([unsure, sure])
    assert list(vote["predicted"]) == ["calm", "calm", "sad"]
    assert metrics.accuracy(vote) == pytest.approx(2 / 3)


SECTION = "## Judge somebody else's predictions"


@pytest.mark.slow
def test_the_code_of_the_page_on_somebody_elses_predictions_runs(ravdess_names, tmp_path, monkeypatch):
    """In a folder with the page's own file, grown to the whole corpus; beside our committed runs on its folds."""
    page = (ROOT / "book" / "extending.md").read_text(encoding="utf-8")
    section = page[page.index(SECTION) :].split("\n## ")[0]
    header, *rows = re.search(r"```text\n(file,.*?)\n```", section, re.DOTALL)[1].splitlines()
    assert all(len(row.split(",")) == 9 and Path(row.split(",")[0]).stem in ravdess_names.index for row in rows)
    given, random = {row.split(",")[0]: row for row in rows}, np.random.default_rng(0)
    for clip, actor in ravdess_names["actor"].items():
        path = f"Actor_{actor}/{clip}.wav"
        given.setdefault(path, ",".join([path, *map(str, random.normal(size=8).round(1))]))
    (tmp_path / "theirs.csv").write_text("\n".join([header, *given.values()]) + "\n")
    shutil.copytree(ROOT / "results" / "laptop", tmp_path / "results" / "laptop")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SERLIB_HOME", str(tmp_path))
    lesson = start("laptop")
    monkeypatch.setattr(type(lesson), "corpus", lambda lesson: ravdess_names)

    names = {"ser": serlib, "lesson": lesson}
    for block in re.findall(r"^```python\n(.*?)^```", section, re.MULTILINE | re.DOTALL):
        exec(compile(block, "extending.md", "exec"), names)
    theirs = names["theirs"].set_index("clip")
    for path, row in list(given.items())[:2]:  # those that the page prints
        answer = theirs.loc[Path(path).stem]
        assert answer["predicted"] == answer["emotion"], "the page's two clips are right"
        logits = np.array(row.split(",")[1:], float)
        share = (np.exp(logits) / np.exp(logits).sum()).max()
        assert answer[f"p_{answer['predicted']}"] == pytest.approx(share, abs=1e-6)
    assert len(theirs) == len(names["ours"]) == 1440 and set(theirs["corpus"]) == {"ravdess"}


def test_the_code_of_the_page_on_extending_runs(spoken_dir, tmp_path, monkeypatch):
    """In its order, in a folder of its own: a small spoken corpus, a tiny WavLM in the place of the real."""
    from transformers import Wav2Vec2FeatureExtractor, WavLMConfig, WavLMModel

    page = (ROOT / "book" / "extending.md").read_text(encoding="utf-8")
    tiny = WavLMConfig(
        hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32, conv_dim=(8,) * 7,
        num_conv_pos_embeddings=8, num_conv_pos_embedding_groups=2,
    )  # fmt: skip
    for part in (WavLMModel(tiny), Wav2Vec2FeatureExtractor()):
        part.save_pretrained(tmp_path / "models" / "microsoft" / "wavlm-base")
    shutil.copytree(ROOT / "results" / "laptop", tmp_path / "results" / "laptop")
    # The page's own CSV, with the clips of one voice for each of its actors, and more of them.
    table = re.search(r"```text\n(path,emotion,actor\n.*?)```", page, re.DOTALL)[1].split()
    (tmp_path / "berlin" / "wav").mkdir(parents=True)
    clips = sorted(spoken_dir.rglob("*.wav"))
    actors = dict(zip(("01", "02", "03", "04"), ("03", "08", "09", "10"), strict=True))
    emotions = {"03": "happy", "04": "sad", "05": "angry", "08": "surprised"}
    for clip in clips:
        if (voice := clip.stem[-2:]) in actors:
            table.append(f"wav/{clip.name},{emotions[clip.stem[6:8]]},{actors[voice]}")
            shutil.copy(clip, tmp_path / "berlin" / "wav")
    for line in table[1:3]:
        shutil.copy(clips[0], tmp_path / "berlin" / line.split(",")[0])
    (tmp_path / "berlin" / "corpus.csv").write_text("\n".join(table) + "\n")
    monkeypatch.chdir(tmp_path)
    for name, value in (("RAVDESS_DIR", spoken_dir), ("SERLIB_MODELS", tmp_path / "models"), ("SERLIB_HOME", tmp_path)):
        monkeypatch.setenv(name, str(value))

    names = {}
    shown = []
    page = re.sub(rf"{SECTION}\n.*?(?=\n## )", "", page, flags=re.DOTALL)  # which the test above runs
    for block in re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL):
        *lines, last = ast.parse(block).body
        exec(compile(ast.Module(lines, []), "extending.md", "exec"), names)
        if isinstance(last, ast.Expr):  # what a notebook would show below the cell
            shown.append(eval(compile(ast.Expression(last.value), "extending.md", "eval"), names))
        else:
            exec(compile(ast.Module([last], []), "extending.md", "exec"), names)
    assert names["run"].info["checkpoint"] == "microsoft/wavlm-base"
    assert len(names["run"].predictions) == len(names["split"].validation) + len(names["split"].test)
    assert [sorted(fold.test["actor"].unique()) for fold in names["folds"]] == [["03", "08"], ["09", "10"]]
    assert len(names["jury"]) == 7 and shown[-1].at[0, "a"] == "surest"


def test_the_table_of_encoders_is_the_packages_and_marks_the_one_that_cannot_be_loaded():
    page = (ROOT / "book" / "extending.md").read_text(encoding="utf-8")
    rows = [re.sub(r" \{cite\}`[^`]+`", "", line) for line in page.splitlines() if line.startswith("| ")]
    ours = [
        f"| `{row.key}` | {row.title} | {row.parameters} | {'yes' if row.needs_mask else 'no'} | {row.license} |"
        for row in BACKBONES.values()
    ]
    start = rows.index("| Name | Encoder | Million weights | Mask | License |") + 1
    assert rows[start : start + len(ours)] == ours
    assert rows[start + len(ours)].startswith("| cannot be loaded | emotion2vec+ base |")


def test_the_workflow_pins_its_actions_and_calls_targets_that_exist():
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "book.yml").read_text())
    steps = [step for job in workflow["jobs"].values() for step in job["steps"]]
    for action in (step["uses"] for step in steps if "uses" in step):
        assert re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40}", action), action
    called = {target for step in steps for target in re.findall(r"make ([\w-]+)", step.get("run", ""))}
    targets = set(re.findall(r"^([a-z-]+):(?!=)", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert {"execute", "book", "test-book", "pdf", "test"} <= called <= targets
    assert set(workflow["jobs"]["publish"]["needs"]) >= {"build", "test"}


def test_the_workflow_puts_the_pdf_where_the_pages_offer_it(address):
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "book.yml").read_text())
    steps = workflow["jobs"]["build"]["steps"]
    runs = [step.get("run", step.get("uses", "")) for step in steps]
    pdf = runs.index("cp build/book.pdf build/site/hearing-emotion.pdf")
    made, upload = runs.index("make pdf"), next(i for i, run in enumerate(runs) if "upload-pages-artifact" in run)
    assert next(i for i, run in enumerate(runs) if run.startswith("make book")) < made < pdf < upload
    owner, name = address.split("/")
    offered = f"](https://{owner.lower()}.github.io/{name}/hearing-emotion.pdf)"
    for page in ("index", "instructor"):
        assert offered in (ROOT / "book" / f"{page}.md").read_text(encoding="utf-8"), page


def test_the_citation_file_agrees_with_the_project():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    config = yaml.safe_load((ROOT / "_config.yml").read_text())
    assert citation["version"] == project["version"]
    assert citation["repository-code"] == config["repository"]["url"] == project["urls"]["Repository"]
    assert {entry["doi"] for entry in citation["references"]} == {
        "10.1504/IJDMMM.2025.146585", "10.1371/journal.pone.0196391",
    }  # fmt: skip


def test_the_terms_of_ravdess_are_said_where_its_sound_may_appear():
    for page in ("README.md", "LICENSE-TEXT", "book/index.md", "book/ravdess.md", "book/instructor.md"):
        assert "CC BY-NC-SA 4.0" in (ROOT / page).read_text(encoding="utf-8"), page
