"""Players: the sound inside the page plays, is small, says what it is, and gives nothing away."""

import base64
import io
import json
import re
import shutil
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
import soundfile

from serlib.data import audio
from serlib.errors import SerlibError
from serlib.judge import predictions
from serlib.show import players
from serlib.show.plots import EMOTION_COLORS


@pytest.fixture
def rows(tmp_path):
    """Four clips of a chirping tone with pauses, 4 s each, as rows of a corpus."""
    t = np.arange(4 * audio.RATE) / audio.RATE
    frame = []
    for i, emotion in enumerate(["angry", "calm", "happy", "sad"]):
        tone = 0.3 * np.sin(2 * np.pi * (150 + 60 * i + 40 * np.sin(3 * t)) * t) * (np.sin(4 * t) > 0)
        path = tmp_path / f"secret{i}.wav"
        soundfile.write(path, tone, audio.RATE)
        frame.append(
            dict(
                clip=f"03-01-0{i + 1}-01-02-01-07",
                path=str(path),
                actor="07",
                sex="male",
                emotion=emotion,
                intensity="normal",
                statement=2,
            )
        )
    return pd.DataFrame(frame).set_index("clip")


def sounds(html: str) -> list[tuple[np.ndarray, int]]:
    data = re.findall(r'src="data:audio/\w+;base64,([^"]+)"', html)
    return [soundfile.read(io.BytesIO(base64.b64decode(piece))) for piece in data]


class Tags(HTMLParser):
    """Collect start tags and see that each opened one is closed."""

    def __init__(self, html: str):
        super().__init__()
        self.seen, self.open = [], []
        self.feed(html)
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))
        self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def all(self, tag):
        return [attrs for name, attrs in self.seen if name == tag]


def test_listen_embeds_each_clip_so_that_it_sounds_as_before(rows):
    html = players.listen(rows).data
    heard = sounds(html)
    assert len(heard) == 4
    for (samples, rate), path in zip(heard, rows["path"], strict=True):
        original = audio.read(path)
        assert rate == 16_000
        assert len(samples) >= len(original)
        # An MP3 encoder delays by a frame or two; at the best delay the envelopes agree.
        envelope = np.abs(original).reshape(-1, 400).mean(1)
        got = np.abs(samples[: len(samples) // 400 * 400]).reshape(-1, 400).mean(1)
        best = max(np.corrcoef(envelope, got[d : d + len(envelope)])[0, 1] for d in range(len(got) - len(envelope) + 1))
        assert best > 0.9


def test_table_is_accessible_and_self_contained(rows):
    html = players.listen(rows, caption="Four tones").data
    tags = Tags(html)
    assert "<caption" in html and "Four tones" in html
    assert {th.get("scope") for th in tags.all("th")} == {"col", "row"}
    labels = [a["aria-label"] for a in tags.all("audio")]
    assert labels[0] == "“Dogs are sitting by the door”, actor 07 (male), emotion angry, intensity normal"
    assert all("controls" in a and a["preload"] == "none" for a in tags.all("audio"))
    assert len(tags.all("svg")) == 4 and all(svg["aria-hidden"] == "true" for svg in tags.all("svg"))
    assert html.count("<script>") == 1, "the player's own"
    assert not re.search(r"https?:|<script \w|<link|@import|url\(", html)
    mixed = re.sub(r"color:color-mix\(in srgb,#[0-9a-f]{6} 55%,currentColor\)", "", html.partition("<script>")[0])
    assert not re.search(r"#[0-9a-fA-F]{3,6}\b|(?<!-)color:(?!inherit)", mixed), "it would vanish in the dark"


@pytest.mark.parametrize(("paper", "ink"), [("#ffffff", "#323232"), ("#14181e", "#ced6dd")], ids=["light", "dark"])
def test_an_emotion_has_its_color_and_is_seen_on_both_papers(rows, browser, paper, ink):
    """A picture needs a contrast of 3 (WCAG 1.4.11); the colors of the theme's light and dark pages."""
    page = browser.new_page()
    every = pd.concat([rows, rows]).assign(emotion=list(EMOTION_COLORS))
    page.set_content(f'<body style="background:{paper};color:{ink}">{players.listen(every).data}')
    boxes = page.locator(".ser-sound")
    drawn = boxes.evaluate_all("boxes => boxes.map(box => getComputedStyle(box).color.match(/[0-9.]+/g).map(Number))")
    assert len({tuple(color) for color in drawn}) == 8
    on = [int(paper[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    for color in drawn:
        ordered = sorted(map(luminance, (color[:3], on)))
        assert (ordered[1] + 0.05) / (ordered[0] + 0.05) > 3
    page.set_content(f"<body>{players.listen(rows, columns=[]).data}")
    hidden = page.locator(".ser-sound").evaluate_all("boxes => boxes.map(box => getComputedStyle(box).color)")
    assert len(set(hidden)) == 1, "a color would give the answer away"
    page.close()


def luminance(color) -> float:
    """WCAG 2's relative luminance of red, green and blue from 0 to 1."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in color]
    return float(np.dot(linear, [0.2126, 0.7152, 0.0722]))


def test_a_player_is_a_button_a_position_and_a_time(rows, browser):
    page = browser.new_page()
    faults = []
    page.on("pageerror", lambda error: faults.append(error))
    # One page, two outputs, as in a notebook: the second finds the first one's players ready.
    page.set_content(players.listen(rows, n=2).data + players.player(rows["path"].iloc[3], "the last").data)
    boxes = page.locator(".ser-sound")
    assert boxes.count() == 3 and page.locator(".ser-sound button").count() == 3
    assert not page.locator("audio").first.is_visible(), "the browser's own is for pages without scripts"
    first = page.get_by_role("button", name="Play: “Dogs are sitting by the door”, actor 07 (male), emotion angry")
    assert boxes.first.locator(".time").inner_text() == "4.0 s"
    first.focus()
    page.keyboard.press("Enter")
    boxes.first.get_by_role("button", name="Pause").wait_for()
    page.get_by_role("button", name="Play: the last").click()
    first.wait_for()  # which is no longer playing: one sound at a time
    page.get_by_role("button", name="Pause: the last").click()
    place = boxes.first.get_by_role("slider", name="Position in “Dogs")
    place.focus()
    page.keyboard.press("Home")
    for _ in range(50):
        page.keyboard.press("ArrowRight")
    assert boxes.first.locator("audio").evaluate("audio => audio.currentTime") == pytest.approx(2, abs=0.1)
    assert place.get_attribute("aria-valuetext").startswith("2.0 of 4.")
    assert faults == []
    page.close()


def test_a_list_shows_which_clip_is_louder(rows):
    """The heights go with the root of the peaks: a clip of a quarter is drawn half as high."""
    samples = audio.read(rows["path"].iloc[0])
    tall, low = (
        max(float(h) for h in re.findall(r"v([\d.]+)", players._waveform(gain * samples, np.abs(samples).max())))
        for gain in (1, 0.25)
    )
    assert tall == pytest.approx(18, abs=0.1) and low == pytest.approx(9, abs=0.1)


def test_no_path_of_this_machine_leaves(rows, tmp_path):
    html = players.listen(rows).data + players.player(rows["path"].iloc[0], "a tone").data
    assert str(tmp_path) not in html and "secret" not in html


def test_n_keeps_the_first(rows):
    assert len(sounds(players.listen(rows, n=3).data)) == 3


def test_mistakes_show_truth_and_what_was_heard(rows):
    mistakes = rows.assign(predicted=["sad", "sad", "calm", "calm"], confidence=[0.934, 0.9, 0.5, 0.4])
    html = players.listen(mistakes, n=2).data
    heads = re.findall(r'<th scope="col"[^>]*>([^<]+)', html)
    assert heads == ["clip", "sound", "truth", "heard", "confidence"]
    assert re.findall(r"<td[^>]*>([^<]+)</td>", html)[:3] == ["angry", "sad", "93%"]


def test_without_columns_the_ear_must_guess(rows):
    assert "angry" not in players.listen(rows, columns=[]).data


def test_text_is_escaped(rows):
    html = players.listen(rows.assign(emotion='<b>"loud"</b>'), caption="<i>").data
    assert "<b>" not in html and "<i>" not in html
    Tags(html)


def test_clips_of_any_corpus(rows):
    bare = rows[["path", "emotion"]].assign(actor="", intensity="").set_axis(["angry_7", "b", "c", "d"])
    html = players.listen(bare).data
    assert "angry_7" in html and '<th scope="col"' in html and "intensity" not in html


def test_a_clip_without_a_name_of_ravdess_is_called_by_its_own_in_every_list(rows):
    """Statement 2 of another corpus is another sentence, and its speaker says many."""
    others = rows.set_axis(["angry_7", "b", "c", "d"]).rename_axis("clip")
    labels = [a["aria-label"] for a in Tags(players.listen(others).data).all("audio")]
    assert labels[0] == "angry_7, actor 07 (male), emotion angry, intensity normal"
    assert "Dogs are" not in players.listen(others).data
    called = [clip["name"] for clip in browsed(players.browse(others).data)["clips"]]
    assert called == ["angry_7, ", "b, ", "c, ", "d, "]
    assert {clip["name"] for clip in browsed(players.browse(rows).data)["clips"]} == {""}


def test_for_guessing_by_ear_a_name_gives_nothing_away(rows):
    others = rows.set_axis(["angry_7", "b", "c", "d"]).rename_axis("clip")
    html = players.listen(others, columns=[]).data
    assert "angry" not in html
    labels = [a["aria-label"] for a in Tags(html).all("audio")]
    assert labels == [f"clip {i}, actor 07 (male)" for i in range(1, 5)]


def test_nothing_to_listen_to(rows):
    assert "No clips" in players.listen(rows.head(0)).data
    with pytest.raises(SerlibError, match="path"):
        players.listen(rows[["emotion"]])
    with pytest.raises(SerlibError, match="mood"):
        players.listen(rows, columns=["mood"])


def test_player_takes_a_file_or_samples(rows):
    samples = audio.read(rows["path"].iloc[0])
    from_file = players.player(rows["path"].iloc[0], 'a "tone"').data
    from_samples = players.player(samples, 'a "tone"', rate=16_000).data
    assert from_file == from_samples
    assert "<figcaption" in from_file and Tags(from_file).all("audio")[0]["aria-label"] == 'a "tone"'


def test_player_resamples_and_asks_for_a_rate():
    tone = np.sin(2 * np.pi * 440 * np.arange(48_000) / 48_000)
    samples, rate = sounds(players.player(tone, "a tone", rate=48_000).data)[0]
    assert rate == 16_000 and 16_000 <= len(samples) < 20_000
    with pytest.raises(SerlibError, match="rate"):
        players.player(tone, "a tone")
    with pytest.raises(SerlibError, match="mono"):
        players.player(np.zeros((2, 100)), "two", rate=16_000)


def test_what_is_no_sound_and_no_rate_gets_a_sentence():
    for odd in (None, {}, object(), pd.DataFrame(), ["a"], [], [np.nan], (x for x in (0.1, 0.2))):
        with pytest.raises(SerlibError):
            players.player(odd, "odd", rate=16_000)
        with pytest.raises(SerlibError, match="rate"):
            players.player(odd, "odd")
    for rate in (0, -1, "16000", float("inf"), True):
        with pytest.raises(SerlibError, match="in Hz"):
            players.player(np.zeros(100), "odd", rate=rate)


def test_what_is_no_table_of_clips_gets_a_sentence(rows, judged):
    for odd in (None, "abc", 3, [rows], {}, object(), rows["path"], iter([rows]), np.zeros((2, 2))):
        for show in (players.listen, players.browse, lambda odd: players.listen_confusion(judged[0], odd)):
            with pytest.raises(SerlibError, match="is no table"):
                show(odd)
    for odd in (None, "abc", [], rows):
        with pytest.raises(SerlibError, match="predictions"):
            players.listen_confusion(odd, rows)


@pytest.mark.parametrize("columns", ["emotion", 3, True, [["emotion"]], [{}]])
def test_columns_are_a_list_of_names(rows, columns):
    for show in (players.listen, players.browse):
        with pytest.raises(SerlibError, match="columns"):
            show(rows, columns=columns)


@pytest.mark.parametrize("n", ["3", -1, 1.5, [1], True])
def test_n_is_a_number_of_clips(rows, n):
    with pytest.raises(SerlibError, match="number of clips"):
        players.listen(rows, n=n)


def test_columns_may_come_from_a_generator(rows):
    assert players.listen(rows, columns=(name for name in ["emotion"])).data.count("<td") == 8


def test_silence_gives_a_flat_waveform():
    html = players.player(np.zeros(16_000), "silence", rate=16_000).data
    assert set(re.findall(r"v([\d.]+)", re.search(r' d="([^"]+)"', html)[1])) == {"0.3"}


@pytest.mark.parametrize("first, mime", [(0, "audio/mpeg"), (1, "audio/ogg"), (2, "audio/wav")])
def test_older_libsndfile_falls_back(rows, monkeypatch, first, mime):
    if first < 2 and not soundfile.check_format(*players._FORMATS[first][:2]):
        pytest.skip(f"this libsndfile does not write {mime}")
    known = {f[:2] for f in players._FORMATS[first:]}
    monkeypatch.setattr(soundfile, "check_format", lambda *f: f in known)
    html = players.listen(rows, n=1).data
    assert f'src="data:{mime};' in html
    assert sounds(html)[0][1] == 16_000


def test_four_real_seconds_stay_small(ravdess_dir):
    """27 KB a clip of 4 s, waveform and markup included, for loud and soft clips alike."""
    files = sorted(p for p in ravdess_dir.rglob("03-01-*") if p.suffix in {".wav", ".flac"})[::60]
    for path in files:
        samples = audio.read(path)
        html = players.player(samples, path.stem, rate=audio.RATE).data
        assert len(html) / (len(samples) / audio.RATE) * 4 < 27_648


def browsed(html: str) -> dict:
    """The data that the browser's script begins with."""
    return json.loads(re.search(r"= (\{.*\});$", html, re.MULTILINE)[1])


def test_browse_holds_each_combination_once_with_its_sound_and_pitch(rows):
    twice = pd.concat([rows, rows.rename(index=lambda clip: clip + "-again")])
    html = players.browse(twice).data
    data = browsed(html)
    assert data["columns"] == ["actor", "emotion", "intensity", "statement"]
    assert data["values"] == [["07"], ["angry", "calm", "happy", "sad"], ["normal"], ["2"]]
    chosen = [clip["chosen"] for clip in data["clips"]]
    assert chosen == [["07", emotion, "normal", "2"] for emotion in ("angry", "calm", "happy", "sad")]
    for clip in data["clips"]:
        samples, rate = soundfile.read(io.BytesIO(base64.b64decode(clip["sound"])))
        assert rate == audio.RATE and len(samples) / rate == pytest.approx(clip["seconds"], abs=0.1)
        assert max(clip["wave"]) == 1 and clip["seconds"] <= clip["longest"]
    # The tones lie one above the other.
    heard = [np.median([hertz for _, hertz in clip["pitch"]]) for clip in data["clips"]]
    assert min(np.diff(heard)) > 20 and heard[0] > 100
    assert len(html) < 4 * 20_000 + 10_000


def test_browse_lets_no_label_end_the_script(rows):
    html = players.browse(rows.assign(emotion="</script><b>"), columns=["emotion"], caption="<i>$data").data
    assert html.count("</script>") == 1 and "&lt;i&gt;$data" in html
    assert [clip["chosen"] for clip in browsed(html)["clips"]] == [["</script><b>"]]


def test_browse_keeps_apart_what_only_looks_alike(rows):
    """Two pairs of labels that give the same text when they are joined, whatever joins them."""
    labels = rows.assign(emotion=["a|b", "a", "x", " x"], intensity=["c", "b|c", "y", "y"])
    data = browsed(players.browse(labels, columns=["emotion", "intensity"]).data)
    assert [clip["chosen"] for clip in data["clips"]] == [["a|b", "c"], ["a", "b|c"], ["x", "y"], [" x", "y"]]


def test_browse_says_what_is_missing(rows):
    with pytest.raises(SerlibError, match="no column 'statement'"):
        players.browse(rows.drop(columns="statement"))
    with pytest.raises(SerlibError, match="no rows"):
        players.browse(rows.head(0))


@pytest.mark.parametrize("name", [None, 3, [], pd.DataFrame(), "votes"])
def test_an_unknown_explorable_names_the_known_ones(name):
    with pytest.raises(SerlibError, match="voting"):
        players.explorable(name)


@pytest.mark.parametrize("name", ["voting", "jury"])
def test_an_explorable_asks_nobody_and_closes_its_tags(name):
    html = players.explorable(name).data
    assert not re.search(r"https?://", html)
    assert html.count("<script>") == html.count("</script>") == 1
    assert html.count("<div") == html.count("</div>")


def test_a_listening_test_hides_the_labels_and_counts(rows, browser):
    page = browser.new_page(viewport={"width": 390, "height": 844})
    asked, faults = [], []
    page.route("**", lambda route: (asked.append(route.request.url), route.abort()))
    page.on("pageerror", lambda error: faults.append(error))
    page.set_content(players.listening_test(rows.iloc[[3, 0, 2, 1]]).data)
    box, status = page.locator(".ser-ear"), page.get_by_role("status")
    assert [b.inner_text() for b in box.locator(".answers button").all()] == ["angry", "calm", "happy", "sad"]
    # sad, angry, happy and calm are asked; the second answer is wrong
    for number, (said, told) in enumerate(
        [
            ("sad", "Yes, it was meant to be sad."),
            ("calm", "You heard calm; it was meant to be angry."),
            ("happy", "Yes, it was meant to be happy."),
            ("calm", "Yes, it was meant to be calm."),
        ],
        start=1,
    ):
        assert f"Sound {number} of 4" in box.inner_text()
        player = box.get_by_role("button", name=f"Play: sound {number} of 4")
        assert player.is_visible() and status.inner_text() == ""
        answer = box.get_by_role("button", name=said, exact=True)
        answer.focus()
        page.keyboard.press("Enter")
        assert status.inner_text() == told and answer.is_disabled()
        page.keyboard.press("Enter")  # on to the next: the focus is there already
    assert status.inner_text() == (
        "You named 3 of 4 (75%). Of the real actors of RAVDESS, people who only heard them named 58% at normal strength"
        " and 67% at strong (Livingstone and Russo 2018)."
    )
    assert box.locator("ol li span:last-child").all_inner_texts()[-4:] == [
        "sad, as you heard", "angry; you heard calm", "happy, as you heard", "calm, as you heard",
    ]  # fmt: skip
    assert not box.locator(".answers").is_visible() and box.locator("ol .ser-sound button").count() == 4
    box.get_by_role("button", name="Once more").click()
    assert "Sound 1 of 4" in box.inner_text() and status.inner_text() == ""
    assert asked == [] and faults == []
    page.close()


@pytest.fixture
def judged(rows):
    """The four clips six times over, and a voter: angry right, calm heard as sad with rising confidence, rest right."""
    corpus = pd.concat([rows.assign(repetition=k, actor=f"{k + 1:02d}") for k in range(6)])
    corpus.index = pd.Index([f"{clip[:-2]}{actor}" for clip, actor in zip(corpus.index, corpus["actor"], strict=True)])
    corpus.attrs = {"name": "tones", "synthetic": True}
    labels = ("angry", "calm", "happy", "sad")
    heard = corpus["emotion"].replace("calm", "sad")
    sure = 0.5 + 0.05 * corpus["repetition"]
    p = [[s if name == h else (1 - s) / 3 for name in labels] for h, s in zip(heard, sure, strict=True)]
    frame = predictions.make(corpus, p, labels, "test")
    frame.attrs["name"] = "a <voter>"
    return frame, corpus


def test_a_confusion_matrix_holds_the_surest_clips_of_each_cell(judged):
    html = players.listen_confusion(*judged).data
    data = browsed(html)
    assert data["labels"] == ["angry", "calm", "happy", "sad"]
    assert data["counts"] == [[6, 0, 0, 0], [0, 0, 0, 6], [0, 0, 6, 0], [0, 0, 0, 6]]
    assert {cell: len(clips) for cell, clips in data["clips"].items()} == {
        "0,0": 1, "1,3": 4, "2,2": 1, "3,3": 1,
    }  # fmt: skip
    captions = [clip["caption"] for clip in data["clips"]["1,3"]]
    assert captions[0] == "“Dogs are sitting by the door”, actor 06 (male): spoken calm, heard as sad, 75% sure"
    assert [caption[-8:-6] for caption in captions] == ["75", "70", "65", "60"]
    samples, _ = soundfile.read(io.BytesIO(base64.b64decode(data["clips"]["0,0"][0]["sound"])))
    assert len(samples) > audio.RATE
    assert "a &lt;voter>" in html.replace("&gt;", ">") and not re.search(r"https?:|secret", html)


def test_a_confusion_matrix_gives_every_cell_a_clip_before_any_a_second(judged, monkeypatch):
    monkeypatch.setattr(players, "_CLIPS_OF_A_MATRIX", 5)
    clips = browsed(players.listen_confusion(*judged).data)["clips"]
    assert {cell: len(found) for cell, found in clips.items()} == {
        "0,0": 1, "1,3": 2, "2,2": 1, "3,3": 1,
    }  # fmt: skip


def test_a_confusion_matrix_opens_its_cells_by_mouse_and_keyboard(judged, browser):
    asked = []
    page = browser.new_page(viewport={"width": 390, "height": 844})
    page.route("**", lambda route: (asked.append(route.request.url), route.abort()))
    page.set_content(players.listen_confusion(*judged).data)
    box, status = page.locator(".ser-confusion"), page.get_by_role("status")
    # Calm heard as sad is open from the start, and says how many clips it does not hold.
    assert status.inner_text() == (
        "6 clips of calm heard as sad; here are the 4 it was surest of, 2 more are not on this page."
    )
    assert box.locator("figure").count() == 4 and box.locator("audio").first.evaluate(
        "audio => new Promise(done => { audio.onloadedmetadata = () => done(audio.duration > 1); audio.load(); "
        "audio.preload = 'metadata'; audio.onerror = () => done(false); })"
    )
    box.get_by_role("button", name="6 of happy, heard as happy").click()
    assert box.locator("[aria-pressed=true]").count() == 1 and box.locator("figure").count() == 1
    assert "spoken happy, heard as happy" in box.locator("figcaption").inner_text()
    # Up and left of it nothing is; down is sad; from there Enter opens.
    for key in ("ArrowUp", "ArrowLeft", "ArrowRight", "ArrowDown"):
        page.keyboard.press(key)
    assert page.evaluate("document.activeElement.ariaLabel") == "6 of happy, heard as happy"
    box.get_by_role("button", name="6 of sad, heard as sad").focus()
    page.keyboard.press("ArrowUp")
    page.keyboard.press("ArrowUp")
    assert page.evaluate("document.activeElement.ariaLabel") == "6 of calm, heard as sad"
    page.keyboard.press("Enter")
    assert box.locator("figure").count() == 4
    assert page.evaluate("document.documentElement.scrollWidth") <= 390 and asked == []
    page.close()


def test_the_terms_of_ravdess_stand_below_its_clips_and_below_no_others(rows):
    def shown(table: pd.DataFrame) -> list[str]:
        return [players.listen(table.query("emotion == 'sad'")).data, players.browse(table).data]

    assert not any("CC BY" in html for html in shown(rows))
    rows.attrs["name"] = "ravdess"
    for html in shown(rows):
        assert "Livingstone and F. A. Russo" in html and "CC BY-NC-SA 4.0</a>: for non-commercial use" in html
        Tags(html)


def listened(monkeypatch, folder, answer):
    """Show the microphone, and return what is shown: its HTML, the box for sounds, and what answers print."""
    shown = []
    monkeypatch.setattr(players, "display", lambda *parts: shown.extend(parts))
    players.microphone(answer, folder)
    return shown


def test_what_the_browser_writes_into_the_box_becomes_a_take(monkeypatch, tmp_path):
    takes = []
    page, mail, below = listened(monkeypatch, tmp_path, takes.append)
    assert mail.layout.display == "none" and f".{mail._dom_classes[0]} textarea" in page.data
    samples = (0.5 * np.sin(np.arange(1600) / 5) * 32767).astype("<i2")
    for _ in range(2):
        mail.value = json.dumps({"name": "your voice", "sound": base64.b64encode(samples.tobytes()).decode()})
        assert mail.value == ""  # a notebook that is saved with its widgets holds no voice
    assert [path.name for path in takes] == ["take 1.wav", "take 2.wav"]
    kept, rate = soundfile.read(takes[1], dtype="int16")
    assert rate == audio.RATE and (kept == samples).all()


def test_a_microphone_needs_a_folder_and_a_function(tmp_path):
    with pytest.raises(SerlibError, match="There is no folder .*nowhere to keep sounds in"):
        players.microphone(print, tmp_path / "nowhere")
    with pytest.raises(SerlibError, match="without brackets"):
        players.microphone(None, tmp_path)


@pytest.fixture
def mouth(browser, tmp_path):
    """A page of Chromium whose microphone plays a tone of 220 Hz."""
    tone = tmp_path / "tone.wav"
    soundfile.write(tone, 0.3 * np.sin(2 * np.pi * 220 * np.arange(3 * audio.RATE) / audio.RATE), audio.RATE)
    options = ["--no-sandbox", "--mute-audio", "--autoplay-policy=no-user-gesture-required"]
    options += ["--use-fake-device-for-media-stream", f"--use-file-for-fake-audio-capture={tone}"]
    chromium = next(filter(None, map(shutil.which, ["chromium", "chromium-browser", "google-chrome"])))
    another = browser.browser_type.launch(executable_path=chromium, args=options)
    yield another.new_context(permissions=["microphone"]).new_page()
    another.close()


def opened(mouth, page, mail):
    """Put what a notebook shows into a page, with a box that stands for the widget's, and return the widget."""
    box = f'<div class="{mail._dom_classes[0]}"><textarea></textarea></div>'
    mouth.route("http://localhost/", lambda route: route.fulfill(body=page.data + box, content_type="text/html"))
    mouth.goto("http://localhost/")  # a secure context, as a notebook's page is
    return mail


@pytest.mark.slow
def test_the_browser_records_what_python_gets(monkeypatch, tmp_path, mouth):
    """Recorded, and given as a file."""
    takes = []
    mail = opened(mouth, *listened(monkeypatch, tmp_path, takes.append)[:2])

    def sent() -> str:
        mouth.wait_for_function("document.querySelector('textarea').value")
        written = mouth.evaluate(
            "() => { const box = document.querySelector('textarea'), it = box.value; box.value = ''; return it; }"
        )
        mail.value = written
        return mouth.get_by_role("status").inner_text()

    mouth.get_by_role("button", name="Record 3 seconds").click()
    assert sent() == "your voice is on its way to Python, whose answer appears below."
    samples = audio.read(takes[0])
    assert len(samples) / audio.RATE == pytest.approx(3, abs=0.1)
    spectrum = np.abs(np.fft.rfft(samples))
    assert spectrum.argmax() * audio.RATE / len(samples) == pytest.approx(220, abs=3)
    given = tmp_path / "<b>mine.wav"
    wanted = (0.4 * np.sin(np.arange(audio.RATE) / 9)).astype(np.float32)
    soundfile.write(given, wanted, audio.RATE)
    mouth.locator("input[type=file]").set_input_files(given)
    assert sent().startswith("<b>mine.wav is on its way")
    assert np.abs(audio.read(takes[1]) - wanted).max() < 1e-3
    mouth.evaluate("document.querySelector('textarea').remove()")
    mouth.locator("input[type=file]").set_input_files(given)
    mouth.get_by_text("Python does not answer. Run the cell again.").wait_for()


@pytest.mark.slow
def test_a_recording_is_stopped_by_the_button_that_began_it(monkeypatch, tmp_path, mouth):
    takes = []
    mail = opened(mouth, *listened(monkeypatch, tmp_path, takes.append)[:2])
    # Pressed by the page itself at the first moment that it can be: a slow machine must not be late.
    mouth.evaluate("""() => {
        const record = document.querySelector("[name=record]");
        window.wide = [record.offsetWidth];
        new MutationObserver(() => {
            if (record.textContent !== "Stop") return;
            wide.push(record.offsetWidth);
            window.ready = document.activeElement === record && !record.disabled;
            record.click();
        }).observe(record, { childList: true });
    }""")
    mouth.get_by_role("button", name="Record 3 seconds").dblclick()  # the second press of it stops nothing
    mouth.wait_for_function("document.querySelector('textarea').value")
    mail.value = mouth.evaluate("document.querySelector('textarea').value")
    assert len(audio.read(takes[0])) / audio.RATE == pytest.approx(0.5, abs=0.1)
    assert mouth.evaluate("ready") and len(set(mouth.evaluate("wide"))) == 1
    record = mouth.get_by_role("button", name="Record 3 seconds")
    assert record.is_enabled() and record.evaluate("own => own === document.activeElement")
