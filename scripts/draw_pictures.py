"""Draw the pictures of the book's prose chapters as SVG files in ``book/images``, and its mark in ``_static``.

The pictures explain ideas; only ``strangers`` shows data, which it reads from results/. They carry their own background
and both a light and a dark palette, so they stay legible whatever theme the reader has chosen.
Run: ``python scripts/draw_pictures.py``.
"""

import csv
import math
import random
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "book" / "images"

# Okabe-Ito colors, which color-blind readers can tell apart; the dark set is the same hues, lighter.
LIGHT = {
    "bg": "#f6f7f9", "ink": "#1f2933", "soft": "#52606d", "line": "#9aa5b1", "box": "#ffffff",
    "tint": "#dce9f3", "mask": "#cbd2d9",
    "blue": "#0072b2", "orange": "#c24e00", "green": "#00795a", "pink": "#a8487f",
}  # fmt: skip
DARK = {
    "bg": "#1b2027", "ink": "#eef1f4", "soft": "#b3bdc8", "line": "#66727f", "box": "#262d36",
    "tint": "#22384a", "mask": "#4a5562",
    "blue": "#56b4e9", "orange": "#f5a04d", "green": "#3ecf9f", "pink": "#e39ac4",
}  # fmt: skip
HUES = ("blue", "orange", "green", "pink")


def palette(colors: dict[str, str]) -> str:
    return " ".join(f"--{name}: {value};" for name, value in colors.items())


STYLE = (
    f":root {{ {palette(LIGHT)} }}\n"
    f"@media (prefers-color-scheme: dark) {{ :root {{ {palette(DARK)} }} }}\n"
    "text { font: 16.5px 'Segoe UI', Roboto, 'Helvetica Neue', Arial, 'DejaVu Sans', sans-serif; }\n"
    "text { fill: var(--ink); } .soft { fill: var(--soft); font-size: 14.5px; } .bold { font-weight: 600; }\n"
    ".mid { text-anchor: middle; } .end { text-anchor: end; }\n"
    ".mono { font-family: 'DejaVu Sans Mono', Menlo, Consolas, monospace; }"
)


class Picture:
    """A list of SVG elements with the few shapes that the pictures share."""

    def __init__(self, width: int, height: int, description: str) -> None:
        self.size = (width, height)
        self.description = description
        self.parts: list[str] = []

    def text(self, x: float, y: float, words: str, kind: str = "", hue: str = "") -> None:
        fill = f' style="fill: var(--{hue})"' if hue else ""
        self.parts.append(f'<text x="{x:g}" y="{y:g}" class="{kind}"{fill}>{words}</text>')

    def box(self, x: float, y: float, w: float, h: float, fill: str = "box", edge: str = "line", r: int = 6) -> None:
        style = f"fill: var(--{fill}); stroke: var(--{edge})"
        place = f'x="{x:g}" y="{y:g}" width="{w:g}" height="{h:g}" rx="{r}"'
        self.parts.append(f'<rect {place} style="{style}"/>')

    def path(self, d: str, hue: str = "soft", width: float = 1.6, extra: str = "") -> None:
        style = f"fill: none; stroke: var(--{hue}); stroke-width: {width:g}"
        self.parts.append(f'<path d="{d}" style="{style}" {extra}/>')

    def arrow(self, x1: float, y1: float, x2: float, y2: float, hue: str = "soft") -> None:
        angle = math.atan2(y2 - y1, x2 - x1)
        barbs = (angle + 0.45, angle - 0.45)
        (ax, ay), (bx, by) = ((x2 - 8 * math.cos(a), y2 - 8 * math.sin(a)) for a in barbs)
        self.path(f"M{x1:g} {y1:g}L{x2:g} {y2:g}M{ax:.1f} {ay:.1f}L{x2:g} {y2:g}L{bx:.1f} {by:.1f}", hue)

    def wave(self, x: float, y: float, w: float, hue: str = "ink", seed: int = 1, height: float = 16) -> None:
        """A made-up voice: a fast oscillation under three syllable-like bumps."""
        rng = random.Random(seed)
        bumps = [(rng.uniform(0.1, 0.9), rng.uniform(0.06, 0.12), rng.uniform(0.6, 1)) for _ in range(4)]
        points = []
        for i in range(int(w)):
            t = i / w
            level = min(1, sum(a * math.exp(-(((t - c) / s) ** 2)) for c, s, a in bumps)) + 0.05
            offset = height * level * math.sin(i * 1.3) * (0.7 + 0.3 * math.sin(i * 0.37))
            points.append(f"{x + i:g} {y + offset:.1f}")
        self.path("M" + "L".join(points), hue, 1.2)

    def tiles(self, x: float, y: float, labels: list[str], hues: list[str], step: float = 34, size: float = 26) -> None:
        for i, (label, hue) in enumerate(zip(labels, hues, strict=True)):
            fill, edge = ("mask", "soft") if hue == "mask" else ("box", hue)
            self.box(x + i * step, y, size, size, fill, edge, 4)
            self.text(x + i * step + size / 2, y + size / 2 + 5, label, "mid mono", hue)

    def save(self, name: str) -> None:
        w, h = self.size
        FOLDER.mkdir(parents=True, exist_ok=True)
        (FOLDER / name).write_text(
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {w} {h}" '
            f'width="{w}" height="{h}" role="img">\n'
            f"<title>{self.description}</title>\n<style>\n{STYLE}\n</style>\n"
            f'<rect width="{w}" height="{h}" rx="12" style="fill: var(--bg)"/>\n'
            + "\n".join(self.parts)
            + "\n</svg>\n",
            encoding="utf-8",
        )


def stem(p: Picture, x: float, masked: tuple[int, ...], n: int = 12, seed: int = 1) -> None:
    """The part that all four models share: wave, convolutions, masked frames, transformer."""
    w = n * 34 - 8
    p.wave(x, 38, w, "ink", seed)
    p.text(x - 14, 43, "sound", "soft end")
    p.arrow(x + w / 2, 60, x + w / 2, 76)
    p.box(x, 78, w, 30, "tint", "blue")
    p.text(x + w / 2, 98, "convolutions: one frame every 20 ms", "mid")
    p.arrow(x + w / 2, 108, x + w / 2, 124)
    p.tiles(x, 126, ["" for _ in range(n)], ["mask" if i in masked else "blue" for i in range(n)])
    p.text(x - 14, 144, "frames", "soft end")
    first, last = masked[0], masked[-1]
    p.text(x + (first + last) * 17 + 13, 168, "hidden", "mid soft")
    p.arrow(x + w / 2, 174, x + w / 2, 190)
    p.box(x, 192, w, 34, "tint", "blue")
    p.text(x + w / 2, 214, "transformer", "mid bold")


def wav2vec2() -> None:
    p = Picture(820, 330, "wav2vec 2.0: pick the true code of a hidden frame out of a line-up")
    stem(p, 84, (4, 5, 6, 7))
    p.arrow(84 + 5 * 34 + 13, 226, 84 + 5 * 34 + 13, 258, "orange")
    p.box(84 + 5 * 34 - 58, 260, 142, 44, "box", "orange")
    p.text(84 + 5 * 34 + 13, 278, "guess at one", "mid")
    p.text(84 + 5 * 34 + 13, 296, "hidden frame", "mid")
    p.path("M486 139H560", "green")
    p.arrow(540, 139, 574, 139, "green")
    p.box(576, 117, 210, 46, "box", "green")
    p.text(681, 136, "quantizer: names every", "mid")
    p.text(681, 154, "true frame by a code", "mid")
    p.arrow(681, 163, 681, 196, "green")
    p.text(681, 214, "the line-up", "mid bold")
    p.tiles(582, 224, ["a", "f", "c", "k", "b", "e"], ["soft", "soft", "green", "soft", "soft", "soft"])
    p.text(663, 268, "↑", "mid", "green")
    p.text(663, 286, "true code", "mid soft")
    p.text(681, 310, "others: from the same clip", "mid soft")
    p.arrow(337, 282, 572, 240, "orange")
    p.text(452, 246, "which one?", "mid", "orange")
    p.save("wav2vec2.svg")


def xlsr53() -> None:
    p = Picture(820, 300, "XLSR-53: one model and one set of codes for fifty-three languages")
    languages = ("English", "Tamil", "Swahili", "… and 50 more")
    for i, (name, hue) in enumerate(zip(languages, HUES, strict=True)):
        y = 56 + i * 62
        p.text(20, y + 5, name, "", hue)
        p.wave(150, y, 122, hue, seed=i + 3)
        p.arrow(276, y, 326, 150 + (y - 150) * 0.35, hue)
    p.box(330, 96, 168, 108, "tint", "blue")
    p.text(414, 136, "one wav2vec 2.0", "mid bold")
    p.text(414, 158, "same convolutions,", "mid soft")
    p.text(414, 176, "same transformer", "mid soft")
    p.arrow(498, 150, 556, 150)
    p.text(680, 44, "one shared set of codes", "mid bold")
    rows = ("acfck", "cbaec", "kabcf", "becak")
    for i, (row, hue) in enumerate(zip(rows, HUES, strict=True)):
        p.tiles(590, 62 + i * 48, list(row), [hue] * 5, step=37, size=30)
    p.text(680, 276, "the same code serves many languages", "mid soft")
    p.save("xlsr53.svg")


def hubert() -> None:
    p = Picture(820, 330, "HuBERT: cluster the frames first, then predict the cluster of each hidden frame")
    stem(p, 84, (4, 5, 6, 7), seed=5)
    names = ["3", "3", "7", "7", "2", "2", "5", "5", "3", "7", "7", "2"]
    hues = {"3": "blue", "7": "green", "2": "orange", "5": "pink"}
    p.arrow(84 + 5.5 * 34 + 13, 226, 84 + 5.5 * 34 + 13, 246, "ink")
    p.tiles(84 + 4 * 34, 250, ["?"] * 4, ["ink"] * 4)
    p.text(70, 268, "guesses", "soft end")
    p.tiles(84, 290, names, [hues[n] for n in names])
    p.text(70, 308, "answers", "soft end")
    p.box(600, 76, 196, 138, "box", "line")
    centers = ((636, 116), (750, 112), (646, 180), (748, 178))
    rng = random.Random(4)
    for (cx, cy), name in zip(centers, ("3", "7", "2", "5"), strict=True):
        for _ in range(9):
            dot = f'cx="{cx + rng.gauss(0, 11):.1f}" cy="{cy + rng.gauss(0, 9):.1f}" r="3.6"'
            p.parts.append(f'<circle {dot} style="fill: var(--{hues[name]}); opacity: .75"/>')
        p.text(cx + 22, cy - 12, name, "bold mono", hues[name])
    p.text(698, 44, "k-means: groups of", "mid bold")
    p.text(698, 62, "similar frames", "mid bold")
    p.path("M486 38H556V116H580")
    p.arrow(578, 116, 596, 116)
    p.text(492, 68, "first:", "soft")
    p.text(492, 86, "MFCCs", "soft")
    p.path("M486 209H540V170H580")
    p.arrow(578, 170, 596, 170)
    p.text(500, 232, "later: its own middle layer", "soft")
    p.path("M698 214V303H520")
    p.arrow(540, 303, 494, 303)
    p.text(516, 280, "group numbers become", "soft")
    p.text(516, 296, "the answers", "soft")
    p.text(708, 264, "train, regroup,", "soft")
    p.text(708, 282, "repeat", "soft")
    p.save("hubert.svg")


def unispeech() -> None:
    p = Picture(820, 330, "UniSpeech: spell labeled speech in phonemes, solve the line-up on all speech")
    p.text(30, 40, "labeled speech", "bold", "green")
    p.wave(30, 72, 190, "green", seed=8)
    p.tiles(30, 102, ["k", "ɪ", "d", "z"], ["green"] * 4)
    p.text(172, 120, "phonemes", "soft")
    p.text(30, 216, "unlabeled speech", "bold", "blue")
    p.wave(30, 248, 190, "blue", seed=9)
    p.text(30, 290, "no text at all", "soft")
    p.arrow(228, 78, 284, 132, "green")
    p.arrow(228, 246, 284, 196, "blue")
    p.box(288, 112, 160, 104, "tint", "blue")
    p.text(368, 148, "convolutions", "mid")
    p.text(368, 168, "+ transformer", "mid")
    p.text(368, 196, "some frames hidden", "mid soft")
    p.arrow(448, 136, 524, 90, "green")
    p.arrow(448, 192, 524, 236, "blue")
    p.box(528, 44, 262, 88, "box", "green")
    p.text(659, 70, "1  spell the phonemes (CTC)", "mid bold", "green")
    p.tiles(575, 84, ["k", "k", "ɪ", "d", "z"], ["green"] * 5)
    p.box(528, 196, 262, 88, "box", "blue")
    p.text(659, 222, "2  solve the line-up (contrast)", "mid bold", "blue")
    p.tiles(575, 236, ["a", "f", "c", "k", "b"], ["soft", "soft", "blue", "soft", "soft"])
    p.path("M640 196V140", "orange", extra='stroke-dasharray="5 4"')
    p.arrow(640, 150, 640, 134, "orange")
    p.text(652, 161, "a code may stand in", "soft")
    p.text(652, 179, "for an output", "soft")
    p.save("unispeech.svg")


def splits() -> None:
    """A row is an actor, a square a few clips; the idea counts, not the exact tally."""
    p = Picture(820, 372, "A random split puts every actor on both sides; a split by actor on one side only")
    rng = random.Random(101)
    held_out = {1, 5, 8, 10}
    for x, title, by_actor in ((30, "random split", False), (430, "split by actor", True)):
        p.text(x + 52, 34, title, "bold")
        for row in range(12):
            y = 50 + row * 22
            p.text(x, y + 13, f"actor {row + 1}", "soft")
            tests = set(range(12)) if row in held_out else set()
            if not by_actor:
                tests = set(rng.sample(range(12), rng.choice((2, 2, 3))))
            for column in range(12):
                side = "orange" if column in tests else "blue"
                p.box(x + 58 + column * 25, y, 20, 16, side if side == "orange" else "tint", side, 3)
    p.box(30, 332, 18, 16, "tint", "blue", 3)
    p.text(56, 345, "training clips", "")
    p.box(180, 332, 18, 16, "orange", "orange", 3)
    p.text(206, 345, "test clips", "")
    p.text(430, 345, "left: no voice is new;  right: every test voice is new", "soft")
    p.save("splits.svg")


def voice() -> None:
    p = Picture(820, 250, "Pitch, energy, rate and voice quality of two ways of speaking")
    titles = ("pitch", "energy", "rate", "voice quality")
    notes = ("how high, how lively", "how loud, when", "how fast, which pauses", "how tense, how breathy")
    for i, (title, note) in enumerate(zip(titles, notes, strict=True)):
        x = 24 + i * 197
        p.box(x, 44, 181, 140, "box", "line")
        p.text(x + 90, 32, title, "mid bold")
        p.text(x + 90, 204, note, "mid soft")
    ts = [t / 60 for t in range(61)]

    def curve(x: float, y: float, f, hue: str, dash: str = "") -> None:
        p.path("M" + "L".join(f"{x + 165 * t:.1f} {y - f(t):.1f}" for t in ts), hue, 2.6, dash)

    dashed = 'stroke-dasharray="7 5"'
    curve(32, 120, lambda t: 30 + 26 * math.sin(7 * t) * (1 - 0.4 * t) - 10 * t, "orange")
    curve(32, 150, lambda t: 14 + 6 * math.sin(6 * t) - 14 * t, "blue", dashed)
    curve(229, 168, lambda t: 100 * abs(math.sin(9.2 * t + 0.2)) ** 0.6 * (1 - 0.2 * t), "orange")
    curve(229, 168, lambda t: 42 * abs(math.sin(7.1 * t + 0.2)) ** 0.8 * (1 - 0.4 * t), "blue", dashed)
    for widths, y, hue in (((20, 16, 24, 14, 18), 78, "orange"), ((26, 32, 38), 128, "blue")):
        start = 430
        for width in widths:
            p.box(start, y, width, 26, hue, hue, 3)
            start += width + (6 if hue == "orange" else 22)
    for harmonic in range(10):
        x = 633 + harmonic * 16
        for dx, level, hue in ((0, 104 * 0.90**harmonic, "orange"), (6, 88 * 0.68**harmonic + 3, "blue")):
            p.box(x + dx, 172 - level, 5, level, hue, hue, 1)
    p.path("M250 232H290", "orange", 3)
    p.text(298, 237, "agitated")
    p.path("M420 232H460", "blue", 3, dashed)
    p.text(468, 237, "calm")
    p.text(520, 237, "(drawn to explain, not measured)", "soft")
    p.save("voice.svg")


def ravdess() -> None:
    """The 60 clips of one actor: emotions down, intensity and sentence across, two takes in each box."""
    p = Picture(820, 372, "The 60 clips of one actor")
    emotions = ("angry", "calm", "disgust", "fearful", "happy", "neutral", "sad", "surprised")
    for group, (intensity, hue) in enumerate((("normal", "blue"), ("strong", "orange"))):
        p.text(150 + group * 330 + 150, 30, f"{intensity} intensity", "mid bold", hue)
        for column, sentence in enumerate(("Kids are talking ...", "Dogs are sitting ...")):
            p.text(150 + group * 330 + column * 160 + 70, 54, sentence, "mid soft")
    for row, emotion in enumerate(emotions):
        y = 68 + row * 36
        p.text(130, y + 20, emotion, "end")
        for group, hue in enumerate(("blue", "orange")):
            for column in range(2):
                x = 150 + group * 330 + column * 160
                if emotion == "neutral" and group:
                    p.text(x + 70, y + 20, "(none)", "mid soft")
                    continue
                p.box(x, y, 140, 30, "box", "line")
                for take in range(2):
                    p.box(x + 8 + take * 64, y + 5, 60, 20, "tint", hue, 3)
                    p.text(x + 38 + take * 64, y + 20, f"take {take + 1}", "mid soft")
    p.save("ravdess.svg")


def federated() -> None:
    """Three phones learn from speech that stays with them; only changes of the weights travel."""
    p = Picture(820, 250, "Federated learning: the speech stays, the weights travel")
    p.box(350, 20, 120, 60, "tint", "blue")
    p.text(410, 47, "server", "mid bold")
    p.text(410, 68, "averages", "mid soft")
    for i in range(3):
        x = 90 + i * 250
        p.box(x, 140, 140, 84, "box", "line")
        p.wave(x + 14, 165, 110, "ink", seed=i + 3, height=12)
        p.text(x + 70, 208, "speech stays here", "mid soft")
        p.arrow(x + 50, 136, 370 + i * 30, 84, "orange")
        p.arrow(390 + i * 30, 84, x + 86, 136, "blue")
    p.text(30, 60, "up: changes of the weights", "soft", "orange")
    p.text(30, 84, "down: the new average", "soft", "blue")
    p.save("federated.svg")


def glance() -> None:
    """The book from left to right: clips, their split, six fine-tuned networks, their answers, a vote, an interval."""
    p = Picture(960, 340, "The book at a glance: corpus, split, fine-tuning, runs, vote, comparison")
    said = ("sad", "calm", "sad", "sad", "angry", "sad")
    hues = {"sad": "blue", "calm": "green", "angry": "orange"}
    heads = ("corpus", "split", "fine-tune", "runs", "vote", "compare")
    below = ("00, 01", "02", "03 to 08", "one answer each", "09", "10, 11")
    for x, head, where in zip((74, 226, 400, 556, 700, 862), heads, below, strict=True):
        p.text(x, 34, head, "mid bold")
        p.text(x, 282, where, "mid soft")
    for i, hue in enumerate(("orange", "blue", "green", "pink")):
        p.wave(20, 78 + i * 50, 108, hue, seed=i + 2, height=18)
    squares = {"training": ("tint", "blue"), "validation": ("mask", "soft"), "test": ("box", "orange")}
    for row in range(6):
        for column in range(3):
            test, check = (row * 3 + column) % 5 == 2, (row + 2 * column) % 7 == 3
            part = "test" if test else "validation" if check else "training"
            p.box(184 + column * 30, 60 + row * 32, 24, 24, *squares[part], 4)
    for x, (part, look) in zip((150, 246, 354), squares.items(), strict=True):
        p.box(x, 308, 16, 16, *look, 3)
        p.text(x + 22, 321, part, "soft")
    names = ("wav2vec 2.0", "XLSR-53", "HuBERT base", "HuBERT x-large", "UniSpeech", "multilingual")
    for i, (name, word) in enumerate(zip(names, said, strict=True)):
        y = 56 + i * 34
        p.box(322, y, 156, 28, "tint", "blue")
        p.text(400, y + 19, name, "mid")
        p.arrow(480, y + 14, 518, y + 14)
        p.box(522, y, 68, 28, "box", hues[word])
        p.text(556, y + 19, word, "mid", hues[word])
        if i:  # five of the six vote
            p.path(f"M592 {y + 14}L650 {150 + (i - 3) * 8:.0f}", hues[word], 1.4)
        else:
            p.text(598, y + 19, "not in this jury", "soft")
    p.box(652, 112, 96, 74, "box", "blue")
    p.text(700, 142, "sad", "mid bold", "blue")
    p.text(700, 168, "3 of 5", "mid soft")
    p.arrow(138, 150, 172, 150)
    p.arrow(282, 150, 314, 150)
    p.arrow(752, 150, 784, 150)
    intervals = ((800, 850, 890, "soft"), (812, 858, 896, "soft"), (830, 874, 912, "blue"))
    for i, (low, mark, high, hue) in enumerate(intervals):
        y = 110 + i * 38
        p.path(f"M{low} {y}H{high}M{low} {y - 6}V{y + 6}M{high} {y - 6}V{y + 6}", hue, 2)
        p.parts.append(f'<circle cx="{mark}" cy="{y}" r="5" style="fill: var(--{hue})"/>')
    p.text(862, 226, "or only luck?", "mid soft")
    p.save("glance.svg")


def strangers() -> None:
    """One system on voices that it knows and on voices that it never heard: of a hundred clips, how many are right."""
    with open(ROOT / "results" / "laptop" / "leaderboard.csv", encoding="utf-8", newline="") as file:
        board = {(row["protocol"], row["entry"]): float(row["accuracy"]) for row in csv.DictReader(file)}
    entry = "kernel ridge, Whisper base"
    known, new = (
        round(100 * board[protocol, entry]) for protocol in ("random, as the paper", "five actor folds (Luna-Jiménez)")
    )
    p = Picture(430, 300, f"Of 100 clips the same system names {known} right for voices it knows, {new} for strangers")
    for y, right, hue, head in ((20, known, "blue", "voices it knows"), (160, new, "orange", "strangers")):
        p.text(24, y + 20, f"{right} of 100 clips right", "bold", hue)
        p.text(216, y + 20, head, "soft")
        for i in range(100):
            place = f'cx="{32 + i % 20 * 19.2:g}" cy="{y + 42 + i // 20 * 17:g}" r="6"'
            fill = f"var(--{hue})" if i < right else "none"
            p.parts.append(f'<circle {place} style="fill: {fill}; stroke: var(--{hue}); stroke-width: 1.4"/>')
    p.save("strangers.svg")


def mark() -> None:
    """The book's mark: one voice whose eight bars have the colors of the eight emotions; small enough for a tab."""
    sys.path.insert(0, str(ROOT))
    from serlib.show.plots import EMOTION_COLORS

    order = ("calm", "sad", "disgust", "happy", "angry", "surprised", "fearful", "neutral")
    heights = (10, 22, 34, 26, 46, 38, 24, 12)
    bars = (
        f'<rect x="{6.5 + i * 6.5:g}" y="{32 - height / 2:g}" width="4.5" height="{height}" rx="2.25" '
        f'fill="{EMOTION_COLORS[emotion]}"/>'
        for i, (emotion, height) in enumerate(zip(order, heights, strict=True))
    )
    (ROOT / "_static" / "mark.svg").write_text(
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 64 64" width="64" height="64" role="img">\n'
        "<title>Hearing emotion</title>\n"
        '<rect width="64" height="64" rx="14" fill="#ffffff"/>\n' + "\n".join(bars) + "\n</svg>\n",
        encoding="utf-8",
    )


if __name__ == "__main__":
    for draw in (mark, glance, strangers, wav2vec2, xlsr53, hubert, unispeech, splits, voice, ravdess, federated):
        draw()
