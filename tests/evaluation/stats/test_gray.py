"""Gray's test against R's cmprsk 2.2-11 (cuminc), with ties, and where it is not possible."""

import numpy as np
import pytest

from promet.evaluation.stats.gray import gray
from promet.evaluation.stats.product_limit import cumulative_incidence

# time:event:group of each patient, then statistic and p of cuminc for event 1
R = [
    (
        "4:1:1 9:1:0 8:0:1 12:1:0 8:2:0 8:0:1 12:1:0 8:0:1 12:2:0 11:1:0 14:1:0 14:0:0 2:1:0 5:0:0 1:2:1 13:0:0 11:1:1 13:1:1 6:2:1 "
        "14:1:0 1:1:1",
        1.368136375061231,
        0.242132338462279,
    ),
    (
        "7:0:2 2:1:2 10:2:0 3:1:1 2:1:0 7:1:2 2:1:0 6:0:2 4:1:0 11:2:2 1:2:0 13:2:1 14:0:1 6:1:1 2:0:2 13:1:2 10:1:2 10:2:1 14:1:0",
        0.658452065218780,
        0.719480372340333,
    ),
    (
        "9:0:1 1:1:0 13:2:1 7:0:1 11:1:0 9:1:2 11:1:1 11:1:0 14:1:1 12:1:0 8:1:1 6:2:2 4:0:1 13:2:1 5:0:1 11:0:1 11:2:2 5:2:2 3:2:1 "
        "2:1:0 11:1:1",
        7.0696962735614450,
        0.0291631854683567,
    ),
]


def patients(text: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    time, event, group = zip(*(cell.split(":") for cell in text.split()), strict=True)
    return np.array(time, float), np.array(event, int), np.array(group)


@pytest.mark.parametrize(("text", "statistic", "p"), R)
def test_equals_cuminc(text: str, statistic: float, p: float) -> None:
    time, event, group = patients(text)
    found = gray(time, event, group)
    assert found["statistic"] == pytest.approx(statistic, rel=1e-9) and found["p"] == pytest.approx(
        p, rel=1e-9
    )
    assert found["df"] == len(set(group)) - 1
    # neither the order of the file nor the names of the groups matter
    turn = np.random.default_rng(0).permutation(len(time))
    again = gray(
        time[turn], event[turn], np.char.add("z", np.char.translate(group, str.maketrans("012", "201")))[turn]
    )
    assert again["statistic"] == pytest.approx(statistic, rel=1e-9)


def test_cumulative_incidence_and_its_error_equal_survfit() -> None:
    """survfit(Surv(t, factor(e))) of R's survival 3.5-3 at months 4, 8, 11, 13, of the first patients above."""
    time, event, _ = patients(R[0][0])
    share = (
        [1 / 7, 1 / 7, 0.336038961038961, 0.529220779220779],
        [1 / 21, 0.148809523809524, 0.148809523809524, 0.213203463203463],
    )
    error = (
        [0.0763603548321213, 0.0763603548321213, 0.1140219797524042, 0.1220184724791180],
        [0.0464714320451682, 0.0793422674840656, 0.0793422674840656, 0.0958528648558833],
    )  # fmt: skip
    for k in (0, 1):
        times, found, se = cumulative_incidence(time, event, k + 1)
        there = np.searchsorted(times, [4, 8, 11, 13], side="right") - 1
        assert found[there] == pytest.approx(share[k], abs=1e-12)
        assert se[there] == pytest.approx(error[k], abs=1e-12)


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("1:1:0 2:1:0 3:0:0", "only one group"),
        ("1:1:0 2:0:1 3:2:0", "Fewer than two"),
        ("1:1:0 2:1:0 3:1:0 5:0:0 0:0:1 0:0:1", "while two groups are at risk"),
    ],
)
def test_not_possible_is_said(text: str, word: str) -> None:
    found = gray(*patients(text))
    assert found["statistic"] is None and found["p"] is None and word in found["notes"][0]
