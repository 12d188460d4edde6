"""The ledger assigns exactly, keeps everyone in place, and lets nobody leak."""

from collections import Counter

import pytest

from promet.core.errors import UsageError
from promet.study.assign import assign, extend, next_generation
from promet.study.freezing import close, freeze_name, waive, waivers
from promet.study.ledger import ASSIGNED, Entry, append, ledger_path, mend, read

RATIOS = (0.5, 0.2, 0.3)


def patients(n, positive, role="development", start=0):
    return [
        {
            "patient": f"P{start + i:04d}",
            "role": role,
            "site": "a",
            "synchronous_metastasis": str(int(i < positive)),
        }
        for i in range(n)
    ]


def grow(entries, rows, freeze="", repeats=1):
    return entries + extend(
        entries, rows, RATIOS, ["synchronous_metastasis"], repeats, "s", freeze, "2026-01-01"
    )


@pytest.mark.parametrize("salt", [str(number) for number in range(25)])
def test_the_papers_split(salt):
    strata = {row["patient"]: row["synchronous_metastasis"] for row in patients(94, 45)}
    assigned = assign(strata, [], RATIOS, 0, salt)
    assert Counter(assigned.values()) == {"training": 47, "validation": 19, "test": 28}
    for label, total in (("1", 45), ("0", 49)):
        for part, ratio in zip(ASSIGNED, RATIOS, strict=True):
            count = sum(assigned[name] == part for name in strata if strata[name] == label)
            assert abs(count - ratio * total) < 1


def test_different_splits_assign_differently():
    entries = grow([], patients(40, 20), repeats=2)
    parts = [{e.patient: e.part for e in entries if e.split == split} for split in ("00", "01")]
    assert parts[0] != parts[1]
    assert Counter(parts[0].values()) == Counter(parts[1].values())


def test_growth_moves_nobody_and_keeps_the_shares():
    entries = grow([], patients(100, 45))
    for step in range(8):
        before = list(entries)
        entries = grow(entries, patients(100, 45) + patients(10 * (step + 1), 4 * (step + 1), start=100))
        assert entries[: len(before)] == before
    count = Counter((entry.part, entry.stratum) for entry in entries)
    for label in "01":
        total = sum(count[part, label] for part in ASSIGNED)
        for part, ratio in zip(ASSIGNED, RATIOS, strict=True):
            assert abs(count[part, label] - ratio * total) <= 2


def test_order_of_rows_does_not_matter():
    assert grow([], patients(30, 14)) == grow([], patients(30, 14)[::-1])


def test_chance_of_each_part_is_its_ratio():
    counts = Counter(
        assign({f"P{i}": "x" for i in range(10)}, [], RATIOS, 0, str(s))["P0"] for s in range(600)
    )
    # 3 standard errors of a proportion at n = 600 is at most 0.061
    for part, ratio in zip(ASSIGNED, RATIOS, strict=True):
        assert abs(counts[part] / 600 - ratio) < 0.065


def test_after_the_freeze_newcomers_are_prospective(tmp_path):
    entries = grow([], patients(20, 10))
    later = grow(entries, patients(21, 10), freeze="v1")
    assert later[-1] == Entry("00", "P0020", "prospective", "0", "v1", "2026-01-01")
    append(ledger_path(tmp_path, "s"), entries)
    close(tmp_path, "s", "v1")
    assert freeze_name(tmp_path, "s") == "v1"
    with pytest.raises(UsageError, match="already frozen"):
        close(tmp_path, "s", "v2")


def test_roles():
    unlabelled = {"patient": "X", "role": "development", "site": "", "synchronous_metastasis": ""}
    prospective = {"patient": "Y", "role": "", "site": "", "synchronous_metastasis": ""}
    metachronous = {"patient": "Z", "role": "metachronous", "site": "", "synchronous_metastasis": ""}
    entries = grow([], [unlabelled, prospective, metachronous])
    assert [(entry.patient, entry.part) for entry in entries] == [("Z", "metachronous")]
    with pytest.raises(UsageError, match="one role"):
        grow(entries, [{**metachronous, "role": "development", "synchronous_metastasis": "0"}])
    trained = grow([], patients(1, 0))
    with pytest.raises(UsageError, match="one role"):
        grow(trained, patients(1, 0, role="metachronous"))


def test_a_corrected_label_moves_nobody():
    entries = grow([], patients(10, 5))
    assert grow(entries, patients(10, 6)) == entries


def test_file_is_append_only_and_a_damaged_one_is_refused(tmp_path):
    path = tmp_path / "ledger.tsv"
    first = grow([], patients(10, 5))
    append(path, first)
    before = path.read_bytes()
    append(path, grow(first, patients(12, 5))[10:])
    assert path.read_bytes().startswith(before)
    assert len(read(path)) == 12
    append(path, [])
    whole = path.read_bytes()
    path.write_bytes(b"x" * 20 + whole[20:])
    with pytest.raises(UsageError, match=r"cp .*ledger.copy.tsv"):
        read(path)
    with pytest.raises(UsageError, match="damaged"):
        append(path, first)


@pytest.mark.parametrize("end", [-9, 0, None])
def test_lost_rows_are_noticed_and_come_back(tmp_path, end):
    """Cut within a row, between two rows, or gone."""
    path = tmp_path / "ledger.tsv"
    append(path, grow([], patients(10, 5)))
    whole = path.read_bytes()
    if end is None:
        path.unlink()
    else:
        path.write_bytes(whole[:end] if end else whole[: whole.index(b"\n", 80) + 1])
    with pytest.raises(UsageError, match="lost rows"):
        read(path)
    assert mend(path)
    assert path.read_bytes() == whole
    assert not mend(path)


def test_a_second_freeze_keeps_everyone_in_place_and_assigns_the_prospective(tmp_path):
    first = grow([], patients(40, 20))
    later = grow(first, patients(60, 30), freeze="v1")
    assert Counter(entry.part for entry in later)["prospective"] == 20
    here = [row for row in patients(60, 30) if row["patient"] != first[0].patient]  # one withdrew
    second = next_generation(later, here, RATIOS, ["synchronous_metastasis"], 1, "s")
    parts = {entry.patient: entry.part for entry in second}
    assert {e.patient: e.part for e in first[1:]}.items() <= parts.items()
    assert set(parts) == {row["patient"] for row in here} and set(parts.values()) == set(ASSIGNED)
    count = Counter(parts.values())
    assert all(abs(count[part] - ratio * 59) <= 1 for part, ratio in zip(ASSIGNED, RATIOS, strict=True))


def test_a_waiver_is_for_a_fitted_patient_of_a_frozen_study_who_is_gone(tmp_path):
    entries = grow([], patients(20, 10))
    append(ledger_path(tmp_path, "s"), entries)
    fitted = next(entry.patient for entry in entries if entry.part == "training")
    tested = next(entry.patient for entry in entries if entry.part == "test")
    rows = [row for row in patients(20, 10) if row["patient"] not in (fitted, tested)]
    with pytest.raises(UsageError, match="No frozen model"):
        waive(tmp_path, "s", fitted, "why", rows)
    close(tmp_path, "s", "v1")
    with pytest.raises(UsageError, match="still stands in the table"):
        waive(tmp_path, "s", fitted, "why", patients(20, 10))
    with pytest.raises(UsageError, match="No frozen model"):
        waive(tmp_path, "s", tested, "why", rows)
    waive(tmp_path, "s", fitted, "why", rows)
    assert waivers(tmp_path, "s")[fitted]["reason"] == "why"
    assert freeze_name(tmp_path, "s") == "v1"
