from pathlib import Path

import numpy as np
import pytest
from pyarrow import parquet

from promet.core.errors import UsageError
from promet.core.files import read_json, write_json
from promet.network import dataset
from promet.network.data import read_members
from promet.network.settings import Dataset

HEAD = "split\tpatient\tpart\tstratum\tfreeze\tdate\n"


@pytest.fixture
def study(tmp_path: Path, write_patient):
    """Six training, four validation, two test patients, one prospective; splits 00 and 01."""
    names = [f"P{n:02d}" for n in range(13)]
    part = ["training"] * 6 + ["validation"] * 4 + ["test"] * 2
    rows = [f"00\t{n}\t{p}\t0\t\t2026-01-01\n" for n, p in zip(names, part, strict=False)]
    rows += [f"01\t{n}\t{p}\t0\t\t2026-01-01\n" for n, p in zip(names, part[::-1], strict=False)]
    (tmp_path / "registry").mkdir()
    (tmp_path / "registry/ledger.tsv").write_text(HEAD + "".join(rows))
    (tmp_path / "cohort.tsv").write_text(
        "\ufeffpatient\trole\tsynchronous_metastasis\n"
        + "".join(f"{n}\tdevelopment\t{i % 2}\n" for i, n in enumerate(names))
    )
    rng = np.random.default_rng(0)
    for name in names:
        write_patient(tmp_path / "patients", name, rng.random((2, 8, 16, 16), dtype=np.float32))

    def run(split: int = 0, out: str = "out/dataset.json"):
        return dataset.run(
            dataset.Inputs(
                tmp_path / "patients", tmp_path / "registry/ledger.tsv", tmp_path / "cohort.tsv", split
            ),
            Dataset(),
            tmp_path / out,
            "pin",
        )

    run.folder = tmp_path
    run.write_patient = lambda *a: write_patient(tmp_path / "patients", *a)
    return run


def test_members_are_the_fit_parts_of_the_split(study) -> None:
    record = study()
    table = parquet.read_table(study.folder / "out/members.parquet").to_pydict()
    assert table["patient"] == [f"P{n:02d}" for n in range(10)]
    assert table["part"] == ["training"] * 6 + ["validation"] * 4
    assert table["label"] == [n % 2 for n in range(10)]
    assert set(read_json(study.folder / "out/fit.json")) == {"digest", "training", "validation"}
    assert record.values["training_positive"] == 3
    study(split=1, out="other/dataset.json")
    other = parquet.read_table(study.folder / "other/members.parquet").to_pydict()
    assert other["patient"] == [f"P{n:02d}" for n in range(2, 12)]


def test_fit_digest_changes_with_a_fit_tensor_only(study) -> None:
    fit = study.folder / "out/fit.json"
    study()
    before = fit.read_bytes()
    study.write_patient("P11", np.zeros((2, 8, 16, 16), np.float32))  # a test patient
    study.write_patient("P12", np.zeros((2, 8, 16, 16), np.float32))  # a prospective one
    study()
    assert fit.read_bytes() == before
    study.write_patient("P03", np.zeros((2, 8, 16, 16), np.float32))
    study()
    assert fit.read_bytes() != before


def test_no_lesion_and_quarantined_are_left_out_with_a_word(study) -> None:
    study.write_patient("P02", None, "no-lesion")
    record = study()
    assert read_json(study.folder / "out/fit.json")["training"] == 5
    assert any("P02 (training)" in sentence and "no-lesion" in sentence for sentence in record.warnings)


def test_too_many_quarantined_stop_the_run(study) -> None:
    study.write_patient("P02", None, "quarantined")
    with pytest.raises(UsageError, match="Quarantined: 1 of 6 patients of the training part"):
        study()


def test_frozen_member_that_turns_bad_stops_the_run(study) -> None:
    study.write_patient("P02", None, "quarantined")
    paths = [study.folder / name for name in ("patients", "registry/ledger.tsv", "cohort.tsv")]
    call = dataset.Inputs(*paths, 0), Dataset(max_quarantine=0.5), study.folder / "out/dataset.json", "pin"
    assert dataset.run(*call).ok
    write_json(study.folder / "registry/freeze.json", {"name": "v1"})
    with pytest.raises(UsageError, match="frozen") as caught:
        dataset.run(*call)
    assert caught.value.code == "E_FROZEN_MEMBER"


def test_who_was_bad_at_the_freeze_stays_out_when_mended(study) -> None:
    before = study()
    write_json(study.folder / "registry/freeze.json", {"name": "v1", "excluded": ["P02"]})
    after = study()
    assert after.values["training"] == before.values["training"] - 1
    assert any("P02" in sentence and "frozen" in sentence for sentence in after.warnings)


def test_a_renamed_member_changes_neither_the_digest_nor_the_order(study) -> None:
    study()
    before = (study.folder / "out/fit.json").read_bytes()
    table = parquet.read_table(study.folder / "out/members.parquet").to_pydict()
    for path in (study.folder / "cohort.tsv", study.folder / "registry/ledger.tsv"):
        path.write_text(path.read_text().replace("P04", "Z9"))
    (study.folder / "patients/P04").rename(study.folder / "patients/Z9")
    write_json(study.folder / "registry/renamed.json", {"Z9": "P04"})
    assert study().ok and (study.folder / "out/fit.json").read_bytes() == before
    digest, members = read_members(study.folder / "out/fit.json")
    assert [m.patient for m in members] == [name.replace("P04", "Z9") for name in table["patient"]]
    assert [m.tensor_digest for m in members] == table["tensor_digest"]
    (study.folder / "registry/renamed.json").unlink()
    study()
    assert read_members(study.folder / "out/fit.json")[0] != digest


def test_missing_label(study) -> None:
    cohort = study.folder / "cohort.tsv"
    cohort.write_text(cohort.read_text().replace("P04\tdevelopment\t0", "P04\tdevelopment\t"))
    record = study()
    assert record.values["training"] == 5
    assert any("P04 (training) is only scored" in sentence for sentence in record.warnings)
    cohort.write_text(cohort.read_text().replace("P04\tdevelopment\t", "P04\tdevelopment\t2"))
    with pytest.raises(UsageError, match="P04"):
        study()


def test_missing_label_of_a_frozen_study(study) -> None:
    cohort = study.folder / "cohort.tsv"
    write_json(study.folder / "registry/freeze.json", {"name": "v1"})
    cohort.write_text(cohort.read_text().replace("P04\tdevelopment\t0", "P04\tdevelopment\t"))
    with pytest.raises(UsageError, match="P04") as error:
        study()
    assert error.value.code == "E_MODEL_LOCKED"


def test_left_the_table(study) -> None:
    cohort = study.folder / "cohort.tsv"
    cohort.write_text(
        "".join(line for line in cohort.read_text().splitlines(True) if not line.startswith("P04"))
    )
    record = study()
    assert record.values["training"] == 5
    assert any("P04" in sentence and "no longer" in sentence for sentence in record.warnings)
