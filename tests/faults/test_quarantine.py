"""Bad inputs in one cohort: each has its code and its sentence, each takes out one patient, and the run goes on."""

import json
import os
import re
from collections import Counter

import pandas as pd
import pytest
from bad_inputs import CASES, CUBOID, MARK, organ, series, volume

from promet.core.errors import UsageError
from promet.core.sidecar import NO_LESION, OK, QUARANTINED, Sidecar
from promet.imaging import convert, crop, gather, measure, normalise, segment
from promet.imaging.check import check_images
from promet.imaging.dicom import files as dicom
from promet.imaging.settings import Convert, Imaging, Measure, Normalise, Segment
from promet.study.registry import MISSING
from promet.study.table import read

ORDER = ("convert", "segment", "crop", "normalise", "measure")
BAD = [name for name, case in CASES.items() if case.code]


def chain(name, case, registry, folder):
    """All stages of one patient, as the pipeline runs them; each returns whatever happens to the patient."""

    def out(stage):
        return folder / f"{stage}.json"

    convert.run(convert.Inputs(name, registry), Convert(), out("convert"), "p")
    segment.run(segment.Inputs(out("segment").parent, name, registry), Segment(), out("segment"), "p")
    crop.run(out("crop").parent, CUBOID.model_copy(update=case.extra), out("crop"), "p")
    normalise.run(out("normalise").parent, Normalise(), out("normalise"), "p")
    measure.run(out("measure").parent, Measure(), out("measure"), "p")


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    """Every case one after the other in one study; a case that raised would end the run here."""
    root = tmp_path_factory.mktemp("faults")
    lines, names = ["patient\tsource\tpath\tdigest\tfiles\tbytes"], list(CASES)
    for name, case in CASES.items():
        folder = root / "data" / MARK / name
        given = {"pet": None, "prostate": None, **case.make(folder)}
        if given["pet"] is None and case.code != "E_SOURCE_NOT_GIVEN":
            given["pet"] = series(folder / "good pet")
        if given["prostate"] is None and case.code != "E_MASK_MISSING":
            given["prostate"] = volume(folder / "good.nii.gz", organ())
        lines += [  # as intake writes them
            f"{name}\t{source}\t{path}\t{'x' if path.exists() else MISSING}\t1\t1"
            for source, path in given.items()
            if path
        ]
    registry = root / "images.tsv"
    registry.write_text("\n".join(lines) + "\n")
    with pytest.MonkeyPatch.context() as patch:

        def locked(path, *rest, **more):
            if "locked" in str(path):  # permissions do not bind root, who may run the tests
                raise PermissionError(13, "Permission denied", str(path))
            return open(path, *rest, **more)

        patch.setattr(dicom, "open", locked, raising=False)
        for name in names:
            chain(name, CASES[name], registry, root / "patients" / name)
    gather.run(gather.Inputs(root / "patients", names), None, root / "gather" / "gather.json", "p")
    return root


def records(root, name):
    return {stage: Sidecar.read(root / "patients" / name / f"{stage}.json") for stage in ORDER}


def test_the_table_is_long_enough():
    """Every bad input has its own code, but for NaN and infinity, which are one fault."""
    codes = Counter(CASES[name].code for name in BAD)
    assert len(codes) >= 85
    assert [code for code, count in codes.items() if count > 1] == ["E_PET_NAN"]


@pytest.mark.parametrize("name", BAD)
def test_code_and_sentence(cohort, name):
    case, found = CASES[name], records(cohort, name)
    first = next(stage for stage in ORDER if found[stage].status != OK)
    assert (first, found[first].status, found[first].code) == (case.stage, QUARANTINED, case.code), found[
        first
    ].reason
    assert case.says in found[first].reason
    assert found[first].reason.count("Expected: ") == 1
    for stage in ORDER[ORDER.index(first) + 1 :]:
        if stage == "measure" and first == "normalise":
            continue  # measures do not need the cuboid
        assert (found[stage].status, found[stage].code, found[stage].origin) == (
            QUARANTINED,
            case.code,
            first,
        )
        assert not found[stage].products
    left = {path.name for path in (cohort / "patients" / name).iterdir()} - {
        f"{stage}.json" for stage in ORDER
    }
    assert left == {product for record in found.values() for product in record.products}


def test_sentences_are_their_own(cohort):
    reasons = {}
    for name in BAD:
        reasons.setdefault(records(cohort, name)[CASES[name].stage].reason, []).append(name)
    same = [names for names in reasons.values() if len(names) > 1]
    assert same == [["nan", "infinite"]]


def test_nobody_else_is_lost(cohort):
    """The good patients between the bad ones are whole, and the tables name all."""
    table = pd.read_parquet(cohort / "gather" / "patients.parquet").set_index("patient")
    assert set(table.index) == set(CASES)
    for name, case in CASES.items():
        wanted = QUARANTINED if case.code else NO_LESION if case.stage == NO_LESION else OK
        assert (table.status[name], table.code[name]) == (
            wanted,
            case.code or ("NO_LESION" if wanted == NO_LESION else ""),
        )
    assert {name for name in CASES if records(cohort, name)["normalise"].ok} == {
        "good",
        "good-rtstruct",
        "weight-in-grams",
    }
    grams = records(cohort, "weight-in-grams")["convert"]
    assert any("grams" in sentence for sentence in grams.warnings)
    assert grams.values["suv_max"] == records(cohort, "good")["convert"].values["suv_max"]
    assert records(cohort, "empty-lesion-map")["measure"].values["organ_suv_max"] == pytest.approx(6, rel=0.1)
    listed = pd.read_csv(cohort / "gather" / "exclusions.tsv", sep="\t", keep_default_na=False)
    assert set(listed["patient"]) == {*BAD, "empty-lesion-map"}


def test_no_record_shows_a_name(cohort):
    for folder, _, names in os.walk(cohort / "patients"):
        for name in names:
            if name.endswith(".json"):
                with open(os.path.join(folder, name), encoding="utf-8") as handle:
                    shown = json.dumps({**json.load(handle), "stage": ""})
                assert not re.search(rf"{MARK}|PHANTOM|1\.2\.3\.|2025010|/data/", shown), shown


@pytest.mark.parametrize("pseudonym", ["../../etc", "a/b", ".", "..", "-rf", "a b", "con", "ä", "a\x00b"])
def test_pseudonym_cannot_leave_its_folder(tmp_path, pseudonym):
    path = tmp_path / "cohort.tsv"
    path.write_text(f"patient\tpet\n{pseudonym}\tscan\n", encoding="utf-8")
    with pytest.raises(UsageError) as caught:
        read(path)
    assert caught.value.code in ("E_COHORT_IDS", "E_TABLE_DAMAGED")


# What only the pixels of a DICOM PET or the cuboid can tell is not found before the stages run.
LATER = {"huge", "nothing-in-the-box"}
TABLE = {
    "symlink-loop",
    "no-pet",
    "no-mask",
    "unreadable-folder",
}  # promet check finds these (the last as a path)


def test_a_look_finds_the_rest_before_anything_is_made(cohort):
    lines = (cohort / "images.tsv").read_text().splitlines()[1:]
    rows: dict[str, dict[str, str]] = {}
    for line in lines:
        patient, source, path, *_ = line.split("\t")
        rows.setdefault(patient, {})[source] = path
    table = cohort / "cohort.tsv"
    cells = [
        [f"P-{name}", *(row.get(c, "") for c in ("pet", "ct", "prostate", "lesions"))]
        for name, row in rows.items()
    ]
    table.write_text(
        "\n".join(["patient\tpet\tct\tprostate\tlesions", *("\t".join(c) for c in cells)]) + "\n"
    )
    found = {fault.patient[2:]: fault.code for fault in check_images(table, Imaging())}
    assert found == {name: CASES[name].code for name in BAD if name not in LATER | TABLE}
    assert len(found) > 50
