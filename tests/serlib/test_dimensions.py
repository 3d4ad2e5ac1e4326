"""Agreement of numbers against cases worked by hand and another formula, and the map of emotions."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import pearsonr

from serlib.data.ravdess import EMOTIONS
from serlib.errors import SerlibError
from serlib.judge import predictions
from serlib.judge.dimensions import VALENCE_AROUSAL, concordance, on_the_map


@pytest.mark.parametrize(
    ("said", "true", "by_hand"),
    [
        ([1, 2, 3], [1, 2, 3], 1),
        ([3, 2, 1], [1, 2, 3], -1),  # 2 * -2/3 / (2/3 + 2/3 + 0)
        ([2, 3, 4], [1, 2, 3], 4 / 7),  # 2 * 2/3 / (2/3 + 2/3 + 1): a perfect correlation, one too high each time
        ([1.5, 2, 2.5], [1, 2, 3], 4 / 5),  # 2 * 1/3 / (1/6 + 2/3 + 0): as timid as half
        ([2, 2, 2], [1, 2, 3], 0),
        ([1, 1, 3, 3], [1, 3, 1, 3], 0),
    ],
)
def test_cases_worked_by_hand(said, true, by_hand):
    assert concordance(said, true) == pytest.approx(by_hand, abs=1e-12)
    assert concordance(true, said) == pytest.approx(by_hand, abs=1e-12), "neither list is the better one"


def test_it_is_correlation_times_what_lin_calls_the_bias_correction():
    """Lin (1989): rho_c = rho C_b, where C_b has the ratio of the spreads and the distance of the means."""
    rng = np.random.default_rng(16)
    true = rng.normal(0.2, 1, 200)
    said = 0.5 * true + rng.normal(0.6, 0.4, 200)
    ratio, distance = said.std() / true.std(), (said.mean() - true.mean()) / np.sqrt(said.std() * true.std())
    correction = 2 / (ratio + 1 / ratio + distance**2)
    assert concordance(said, true) == pytest.approx(pearsonr(said, true).statistic * correction, abs=1e-12)


@pytest.mark.parametrize(
    ("said", "true", "sentence"),
    [
        ([1, 2], [1, 2, 3], "two lists of numbers of one length"),
        (["high", "low"], [1, 2], "two lists of numbers of one length"),
        ([[1, 2]], [[1, 2]], "two lists of numbers of one length"),
        ([1], [1], "needs two clips or more"),
        ([1, np.nan], [1, 2], "needs two clips or more, and a number for each"),
        ([1, 1], [1, 1], "one and the same number"),
    ],
)
def test_what_cannot_agree(said, true, sentence):
    with pytest.raises(SerlibError, match=sentence):
        concordance(said, true)


def test_the_map_has_every_emotion_where_people_put_its_word():
    assert set(VALENCE_AROUSAL) == {*EMOTIONS, "bored"}
    # Warriner et al. (2013): happy 8.47 and 6.05 of 9, calm 6.89 and 1.67
    assert VALENCE_AROUSAL["happy"] == (0.8675, 0.2625) and VALENCE_AROUSAL["calm"] == (0.4725, -0.8325)
    assert all(-1 <= number <= 1 for place in VALENCE_AROUSAL.values() for number in place)


def voter(shares: list[list[float]], truth: list[str], labels: tuple[str, ...]) -> pd.DataFrame:
    clips = pd.DataFrame({"emotion": truth, "actor": "1"}, index=[f"clip{k}" for k in range(len(truth))])
    return predictions.make(clips, np.array(shares), labels, "test")


def test_a_place_is_the_average_of_places():
    frame = voter([[1, 0], [0.25, 0.75]], ["happy", "sad"], ("happy", "sad"))
    places = on_the_map(frame)
    (happy, excited), (sad, tired) = VALENCE_AROUSAL["happy"], VALENCE_AROUSAL["sad"]
    assert places.loc["clip0"].to_list() == pytest.approx([happy, excited, happy, excited])
    mixed = [0.25 * happy + 0.75 * sad, 0.25 * excited + 0.75 * tired, sad, tired]
    assert places.loc["clip1"].to_list() == pytest.approx(mixed)


def test_an_emotion_that_is_not_on_the_map():
    with pytest.raises(SerlibError, match="proud is not on the map; known names are"):
        on_the_map(voter([[1, 0]], ["happy"], ("happy", "proud")))
