"""EmoDB as a corpus, by the names of its files."""

import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from serlib.errors import SerlibError

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))

import listeners  # noqa: E402


def test_a_name_of_emodb_says_who_speaks_and_how(tmp_path):
    (tmp_path / "wav").mkdir()
    for name in ("03a01Fa", "08b10Wb", "16a05Tc", "notes", "12"):
        soundfile.write(tmp_path / "wav" / f"{name}.wav", np.zeros(1600), 16_000)
    corpus = listeners.emodb(tmp_path)
    assert corpus[["actor", "sex", "emotion"]].to_numpy().tolist() == [
        ["03", "male", "happy"], ["08", "female", "angry"], ["16", "female", "sad"],
    ]  # fmt: skip
    assert corpus.index.tolist() == ["03a01Fa", "08b10Wb", "16a05Tc"] and set(corpus["seconds"]) == {0.1}
    with pytest.raises(SerlibError, match="holds no clips of EmoDB"):
        listeners.emodb(tmp_path / "nowhere")
