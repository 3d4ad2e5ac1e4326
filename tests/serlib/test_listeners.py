"""What people heard: every table is written here by hand, in the layout of the real one."""

import os
import sys
import zipfile
from pathlib import Path
from xml.sax.saxutils import escape

import pandas as pd
import pytest

import serlib as ser
from serlib.errors import SerlibError

ROOT = Path(__file__).parents[2]
# As in erkennung.txt: Latin-1, tabs, spaces of no break, commas in numbers, the last line without an end.
EMODB = (
    "Nr.\tSatz\terkannt\tnatuerlich\n"
    "1\xa0\xa0\t03a01Ab.wav\t65,00\xa0\xa0\t35,00\xa0\n"
    "2\xa0\xa0\t03a01Fa.wav\t95,24\xa0\t80,95\xa0\n"
    "3\xa0\xa0\t16b10Wb.wav\t100,00\xa0\t75,00\xa0"
)
# As the sheet Speech of S1 Table: a title, the header, videos before sound, a note at the end.
S1 = [
    ["Table S1. Ratings of speech", "", "", ""],
    ["Filename", "Modality", "PropCorr", "UHR"],
    ["01-01-03-01-01-01-01.mp4", "AV", "0.9", "0.7"],
    ["02-01-03-01-01-01-01.mp4", "VO", "", ""],
    ["03-01-03-01-01-01-01.wav", "AO", "0", "0"],
    ["03-01-05-02-02-01-02.wav", "AO", "0.8", "0.63"],
    ["03-01-01-01-01-01-24.wav", "AO", "1", "0.69"],
    ["AO = audio only", "", "", ""],
]
SONG = [["Filename", "Modality", "PropCorr"], ["03-02-03-01-01-01-01.wav", "AO", "0.4"]]
HEARD = {"03-01-03-01-01-01-01": 0.0, "03-01-05-02-02-01-02": 0.8, "03-01-01-01-01-01-24": 1.0}


def workbook(path: Path, sheets: dict[str, list[list[str]]]) -> Path:
    """Write a workbook with the least that makes one, without the library that reads it."""
    main, package = (
        f"http://schemas.openxmlformats.org/{name}" for name in ("spreadsheetml/2006/main", "package/2006")
    )
    office = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    kinds = "application/vnd.openxmlformats-officedocument.spreadsheetml."
    parts = [("xl/workbook.xml", "sheet.main")] + [(f"xl/s{n}.xml", "worksheet") for n in range(len(sheets))]
    types = "".join(f'<Override PartName="/{part}" ContentType="{kinds}{kind}+xml"/>' for part, kind in parts)
    rels = '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
    listed = "".join(f'<sheet name="{name}" sheetId="{n + 1}" r:id="r{n}"/>' for n, name in enumerate(sheets))
    links = "".join(
        f'<Relationship Id="r{n}" Type="{office}/worksheet" Target="s{n}.xml"/>' for n in range(len(sheets))
    )
    root = f'<Relationship Id="r" Type="{office}/officeDocument" Target="xl/workbook.xml"/>'
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("[Content_Types].xml", f'<Types xmlns="{package}/content-types">{rels}{types}</Types>')
        file.writestr("_rels/.rels", f'<Relationships xmlns="{package}/relationships">{root}</Relationships>')
        file.writestr(
            "xl/_rels/workbook.xml.rels", f'<Relationships xmlns="{package}/relationships">{links}</Relationships>'
        )
        file.writestr(
            "xl/workbook.xml", f'<workbook xmlns="{main}" xmlns:r="{office}"><sheets>{listed}</sheets></workbook>'
        )
        for n, rows in enumerate(sheets.values()):
            lines = ["".join(cell_of(cell) for cell in row) for row in rows]
            data = "".join(f"<row>{line}</row>" for line in lines)
            file.writestr(f"xl/s{n}.xml", f'<worksheet xmlns="{main}"><sheetData>{data}</sheetData></worksheet>')
    return path


def cell_of(cell: str) -> str:
    try:
        return f"<c><v>{float(cell)}</v></c>"
    except ValueError:
        return f'<c t="inlineStr"><is><t>{escape(cell)}</t></is></c>' if cell else "<c/>"


def written(path: Path, text: str, encoding: str = "utf-8") -> Path:
    path.write_bytes(text.encode(encoding))
    return path


def as_csv(rows: list[list[str]], separator: str = ",") -> str:
    return "\n".join(separator.join(row) for row in rows)


def corpus(folder: Path, clips: list[str], name: str = "emodb", synthetic: bool = False) -> pd.DataFrame:
    rows = {"path": [str(folder / f"{clip}.wav") for clip in clips], "emotion": "sad", "actor": "x", "seconds": 1.0}
    frame = pd.DataFrame(rows, index=pd.Index(clips, name="clip"))
    frame.attrs = {"name": name, "synthetic": synthetic}
    return frame


# What is published


def test_what_is_published_of_ravdess_agrees_with_itself():
    published = ser.listeners()
    assert (published["share"].between(0, 1)).all() and published["source"].str.contains("20").all()
    share = published["share"]
    # 24 actors: neutral 4 clips each, the seven others 8; 32 of 60 are of normal intensity.
    by_emotion = 288 * share["neutral or calm"] + 192 * share.loc["angry":"happy"].sum()
    by_intensity = 768 * share["normal intensity"] + 672 * share["strong intensity"]
    assert by_emotion / 1440 == pytest.approx(by_intensity / 1440, abs=0.005)  # the latter have two digits


# The file of EmoDB


def test_emodb_is_read_in_its_own_way_of_writing(tmp_path):
    table = ser.listeners(written(tmp_path / "erkennung.txt", EMODB, "latin-1"))
    assert table.index.name == "clip" and list(table) == ["share", "natural"]
    assert table["share"].to_dict() == {"03a01Ab": 0.65, "03a01Fa": 0.9524, "16b10Wb": 1.0}
    assert table["natural"].tolist() == [0.35, 0.8095, 0.75]


def test_a_folder_and_a_corpus_find_the_file_that_lies_with_them(tmp_path):
    written(tmp_path / "erkennung.txt", EMODB, "latin-1")
    assert len(ser.listeners(tmp_path)) == 3
    for folder in (tmp_path, tmp_path / "wav"):  # as here, and as the authors' archive has it
        heard = ser.listeners(corpus(folder, ["16b10Wb", "03a01Ab"]))
        assert heard["share"].to_dict() == {"16b10Wb": 1.0, "03a01Ab": 0.65} and list(heard.index) == [
            "16b10Wb",
            "03a01Ab",
        ]


def test_clips_without_listeners_are_left_out_and_said(tmp_path):
    written(tmp_path / "erkennung.txt", EMODB, "latin-1")
    with pytest.warns(UserWarning, match=r"left out 1 clip\(s\) that erkennung.txt does not have, the first: 08b02Wb"):
        assert list(ser.listeners(corpus(tmp_path, ["03a01Fa", "08b02Wb"])).index) == ["03a01Fa"]
    with pytest.raises(SerlibError, match="has none of the 1 clips of other; give the table of this corpus"):
        ser.listeners(corpus(tmp_path, ["sad-1"], "other"))


def test_the_edition_of_today_names_its_columns_otherwise(tmp_path):
    text = "file,emotion,emotion.confidence\nwav/03a01Fa.wav,happiness,0.9\nwav/03a01Nc.wav,neutral,1.0\n"
    table = ser.listeners(written(tmp_path / "db.emotion.csv", text))
    assert table["share"].to_dict() == {"03a01Fa": 0.9, "03a01Nc": 1.0}


# S1 Table of RAVDESS


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_of_s1_only_speech_without_video_is_kept(tmp_path, separator):
    path = written(tmp_path / "pone.0196391.s004.csv", as_csv(S1, separator), "utf-8-sig")
    assert ser.listeners(path)["share"].to_dict() == HEARD
    clips = corpus(tmp_path / "Actor_01", ["03-01-03-01-01-01-01"], "ravdess")
    assert ser.listeners(clips)["share"].to_dict() == {"03-01-03-01-01-01-01": 0.0}


def test_a_german_spreadsheet_writes_commas_in_numbers(tmp_path):
    rows = [[cell.replace("0.", "0,") if cell[:2] == "0." else cell for cell in row] for row in S1]
    assert ser.listeners(written(tmp_path / "s1.csv", as_csv(rows, ";")))["share"].to_dict() == HEARD


def test_the_workbook_has_its_speech_in_one_of_several_sheets(tmp_path):
    pytest.importorskip("openpyxl", reason="needs openpyxl, which serlib does without")
    path = workbook(tmp_path / "pone.0196391.s004.xlsx", {"Notes": [["Read me"]], "Speech": S1, "Song": SONG})
    assert ser.listeners(path)["share"].to_dict() == HEARD
    assert ser.listeners(tmp_path).equals(ser.listeners(path))
    with pytest.raises(SerlibError, match="has no clip of speech without video"):
        ser.listeners(workbook(tmp_path / "song.xlsx", {"Song": SONG}))
    twice = workbook(tmp_path / "twice.xlsx", {"Speech": S1, "Again": S1})
    with pytest.raises(SerlibError, match="clip 03-01-03-01-01-01-01 stands twice"):
        ser.listeners(twice)


def test_without_openpyxl_the_workbook_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "openpyxl", None)
    path = workbook(tmp_path / "pone.0196391.s004.xlsx", {"Speech": S1})
    with pytest.raises(SerlibError, match="pip install openpyxl, or save the sheet with the clips as CSV"):
        ser.listeners(path)


# What is no such table


@pytest.mark.parametrize(
    "text, sentence",
    [
        ("", "is empty"),
        (" \n\n", "is empty"),
        ("clip,emotion\na,sad\n", "needs a column Filename, Satz, file or clip, and a column PropCorr, erkannt"),
        ("share\n0.5\n", "tells no share of listeners"),
        ("clip,share\n", "has no clip of speech"),
        ("clip,share\na,0.5\nb,\n", "line 3 of .* has no share between 0 and 100 for clip b"),
        ("clip,share\na,0.5\nb", "stops in the middle of a line"),
        ("clip,share\na,much\n", "line 2 of .* has no share"),
        ("clip,share\na,nan\n", "line 2 of .* has no share"),
        ("clip,share\na,-0.5\n", "line 2 of .* has no share"),
        ("clip,share\na,101\n", "line 2 of .* has no share"),
        ("clip,share\na,0.5\na,0.6\n", "clip a stands twice"),
        ("clip,share\na.wav,0.5\nsound/a.flac,0.6\n", "clip a stands twice"),
        ('clip,share\n"a,0.5\n', "cannot be read"),
        (as_csv(SONG), "has no clip of speech without video"),
        (as_csv([*S1[:6], ["03-01-01-01-01-01-24.wav", "AO", "", ""]]), "line 7 of .* has no share"),
        (EMODB[:-20], "stops in the middle of a line"),
        (EMODB.replace("95,24", "      "), "line 3 of .* has no share between 0 and 100 for clip 03a01Fa"),
        (EMODB[:-8], "stops in the middle of a line"),
        (EMODB[:-6], "line 4 of .* has no natural"),
        ("clip,share\n\0\0", "is no text"),
    ],
)
def test_a_damaged_or_foreign_file_is_said_in_a_sentence(tmp_path, text, sentence):
    with pytest.raises(SerlibError, match=sentence) as error:
        ser.listeners(written(tmp_path / "table.csv", text))
    assert "\n" not in str(error.value) and str(error.value).endswith(".")


@pytest.mark.parametrize("data", [b"", b"no zip", b"PK\x03\x04 cut"])
def test_a_damaged_workbook_is_said_in_a_sentence(tmp_path, data):
    path = tmp_path / "pone.0196391.s004.xlsx"
    path.write_bytes(data)
    with pytest.raises(SerlibError, match="is no whole workbook|is read with openpyxl, which is not there"):
        ser.listeners(path)


@pytest.mark.parametrize("odd", [3, b"\0", [], "", {"a": 1}, pd.Series([1]), pd.DataFrame(), "/nowhere/at/all.csv"])
def test_what_is_no_source_is_said_in_a_sentence(odd):
    with pytest.raises(SerlibError) as error:
        ser.listeners(odd)
    assert "\n" not in str(error.value)


def test_synthetic_speech_and_a_folder_without_a_table_have_no_listeners(tmp_path):
    with pytest.raises(SerlibError, match="mini is synthetic speech, which no listeners have judged"):
        ser.listeners(corpus(tmp_path, ["a"], "mini", synthetic=True))
    with pytest.raises(SerlibError, match="no table of listeners lies with the clips of ravdess; put pone.0196391"):
        ser.listeners(corpus(tmp_path, ["a"], "ravdess"))
    with pytest.raises(SerlibError, match="holds no pone.0196391.s004.xlsx, "):
        ser.listeners(tmp_path)


# The real files


@pytest.fixture
def emodb_dir() -> Path:
    folder = Path(os.environ.get("CORPORA_DIR", "")) / "emodb"
    if not os.environ.get("CORPORA_DIR") or not folder.is_dir():
        pytest.skip("needs other corpora: set CORPORA_DIR to the folder that holds emodb")
    return folder


def test_real_emodb_was_heard_by_twenty_or_so(emodb_dir):
    table = ser.listeners(emodb_dir)
    assert len(table) == 816 and table["share"].between(0.1, 1).all()
    # Every share is a whole number of 20 listeners or of 21.
    off = [(table["share"] * n - (table["share"] * n).round()).abs() for n in (20, 21)]
    assert pd.concat(off, axis=1).min(axis=1).max() < 0.002
    # pandas reads it as well, told what it is
    other = pd.read_csv(emodb_dir / "erkennung.txt", sep="\t", encoding="latin-1", dtype=str)
    shares = other["erkannt"].str.strip().str.replace(",", ".").astype(float) / 100
    assert table["share"].tolist() == pytest.approx(shares.tolist())
    assert table.index.tolist() == other["Satz"].str.removesuffix(".wav").tolist()


def test_what_is_committed_is_what_the_corpus_says(emodb_dir):
    committed, real = ser.start("laptop").listeners("emodb"), ser.listeners(emodb_dir)
    assert committed["share"].equals(real["share"][committed.index])
    assert {path.stem for path in emodb_dir.glob("*.flac")} == set(committed.index)


def test_every_committed_clip_has_a_voice_that_was_new_and_listeners():
    lesson = ser.start("laptop")
    said, heard = lesson.committed("listeners/emodb"), lesson.listeners("emodb")
    assert list(said["clip"]) == list(heard.index) and len(said) == 535
    assert (said["actor"] == said["clip"].str[:2]).all() and said["actor"].nunique() == 10
    letters = {"W": "angry", "L": "bored", "E": "disgust", "A": "fearful", "F": "happy", "T": "sad", "N": "neutral"}
    assert (said["emotion"] == said["clip"].str[5].map(letters)).all()
    assert heard["share"].between(0.8, 1).all()
    with pytest.raises(SerlibError, match="there is no file"):
        lesson.listeners("nowhere")


def test_real_s1_gives_the_published_means(ravdess_dir):
    pytest.importorskip("openpyxl", reason="needs openpyxl, which serlib does without")
    if not (ravdess_dir / "pone.0196391.s004.xlsx").is_file():
        pytest.skip("needs S1 Table of the corpus paper in the folder of RAVDESS")
    corpus = ser.ravdess(ravdess_dir)
    heard = ser.listeners(corpus)["share"]
    assert heard.groupby(corpus["intensity"]).mean().round(2).to_dict() == {"normal": 0.58, "strong": 0.67}
    emotion = corpus["emotion"].replace(["neutral", "calm"], "neutral or calm")
    published = ser.listeners()["share"].drop(["normal intensity", "strong intensity"])
    assert heard.groupby(emotion).mean().round(3).to_dict() == published.to_dict()
