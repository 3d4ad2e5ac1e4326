"""Hand-made features: what is no clip, or too short for a pitch, is said before anything is measured."""

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import soundfile

from serlib.data.acoustics import SHORTEST, acoustic_features, describe
from serlib.data.audio import RATE
from serlib.errors import SerlibError


@pytest.mark.parametrize(
    "odd",
    [None, "a.wav", [0.0] * RATE, np.zeros((RATE, 2)), np.zeros(RATE, int), pd.Series([0.0])],
    ids=lambda o: str(type(o)),
)
def test_what_are_no_samples_is_said(odd):
    with pytest.raises(SerlibError, match="the samples of a clip are a row of numbers"):
        describe(odd)


def test_the_shortest_clip_has_features_and_a_shorter_one_a_sentence(tmp_path):
    """Praat ends raw below three periods of the lowest pitch."""
    tone = 0.1 * np.sin(2 * np.pi * 200 * np.arange(RATE) / RATE).astype(np.float32)
    n = round(SHORTEST * RATE)
    assert all(np.isfinite(list(describe(tone[:n]).values())))
    with pytest.raises(SerlibError, match=f"{n - 1} samples are too short for a pitch"):
        describe(tone[: n - 1])
    files = [tmp_path / "long.wav", tmp_path / "short.wav"]
    for file, length in zip(files, (n, n - 1), strict=True):
        soundfile.write(file, tone[:length], RATE)
    with pytest.raises(SerlibError, match="1 clip.* shorter than 0.06 s, the first: short; .* leave them out"):
        acoustic_features(pd.DataFrame({"path": files, "emotion": ["sad", "glad"]}))


@pytest.mark.slow
def test_a_script_without_a_guard_measures_once(tmp_path):
    """Its processes would otherwise begin with the script, and so without end."""
    soundfile.write(tmp_path / "a.wav", 0.1 * np.sin(2 * np.pi * 200 * np.arange(RATE) / RATE), RATE)
    script = tmp_path / "plain.py"
    script.write_text(
        "import pandas as pd\nfrom serlib.data.acoustics import acoustic_features\nprint('begun')\n"
        f"print(len(acoustic_features(pd.DataFrame({{'path': [{str(tmp_path / 'a.wav')!r}], 'emotion': ['sad']}}))))\n"
    )
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True)
    assert done.stdout.splitlines() == ["begun", "1"], done.stderr


@pytest.mark.parametrize("odd", [None, "ravdess", [], pd.DataFrame()], ids=lambda o: str(type(o)))
def test_what_is_no_corpus_is_said(odd):
    with pytest.raises(SerlibError, match="a corpus"):
        acoustic_features(odd)
