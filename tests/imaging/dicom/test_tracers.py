"""Which tracer a PET shows: names in every spelling, DICOM's own list of codes, and the table against the header."""

import random

import pytest
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes

from promet.core.errors import DataError
from promet.core.sidecar import QUARANTINED
from promet.imaging import convert
from promet.imaging.check import check_images
from promet.imaging.dicom import tracers
from promet.imaging.dicom.files import Header
from promet.imaging.settings import Convert, Imaging
from promet.phantom import reference
from promet.study import news, registry

# Names as vendors, agencies and DICOM (CID 4021) write them.
SPELLED = {
    "FDG": (
        "18F-FDG|FDG -- fluorodeoxyglucose|Fluorodeoxyglucose F^18^|F-18 FDG|[18F]FDG|Fludeoxyglucose|18FFDG|"
        "2-[18F]fluoro-2-deoxy-D-glucose|Fluordesoxyglucose|<sup>18</sup>F-FDG|¹⁸F-FDG|fluorodeoxyglucose (18F)"
    ),
    "choline": "18F-Fluorocholine|F18-choline|FCH|[18F]FCH|18F-FCH|11C-Cholin|Fluorocholine F^18^|Colina|Choline C^11^|FEC",
    "fluciclovine": "Fluciclovine F^18^|FACBC|Axumin|18F-fluciclovine",
    "FAPI": "68Ga-FAPI-04|FAPI-46|[18F]FAPI-74|Ga68 FAPI",
    "sodium fluoride": "18F-NaF|NaF|Sodium fluoride F^18^|[18F]Fluoride",
    "somatostatin analogue": "68Ga-DOTATATE|Ga-68 DOTATOC|Dotatate Ga^68^|Edotreotide Ga^68^|64Cu-DOTATATE",
    "acetate": "11C-acetate|Acetate C^11^",
    "DCFPyL": "18F-DCFPyL|DCFPyL|PYLARIFY|Piflufolastat F^18^|piflufolastat F 18|[18F]DCFPyL|18FDCFPyL",
    "PSMA-11": "68Ga-PSMA-11|PSMA-11 Ga^68^|[68Ga]Ga-PSMA-HBED-CC|68Ga PSMA11|gozetotide|Illuccix|Locametz|PSMA_11",
    "PSMA-1007": "18F-PSMA-1007|PSMA 1007|F-18-PSMA1007|PSMA-1007 F^18^|[18F]PSMA-1007",
    "AlF-PSMA-11": "[18F]AlF-PSMA-11|18F-AlF-PSMA11",
    "PSMA-617": "PSMA-617 Ga^68^|68Ga-PSMA-617",
    "PSMA-I&T": "68Ga-PSMA I&T|PSMA-I&T|PSMA I and T",
    "rhPSMA-7": "rhPSMA-7.3|18F-flotufolastat|POSLUMA",
    "PSMA ligand": "PSMA|68Ga-PSMA|F18 PSMA|PSMA PET",
}
UNKNOWN = [
    "",
    "Solution",
    "Unknown",
    "F-18",
    "18F",
    "Fluorine",
    "^18^Fluorine",
    "Ga-68",
    "Gallium",
    "tracer",
    "Other",
]


@pytest.mark.parametrize(("name", "text"), [(n, t) for n, all_ in SPELLED.items() for t in all_.split("|")])
def test_every_spelling(name, text):
    rng = random.Random(text)
    for way in (
        str,
        str.upper,
        str.lower,
        lambda t: t.replace("-", " "),
        lambda t: t.replace(" ", "_"),
        lambda t: f" {t} ",
    ):
        assert tracers.in_text(way(text)) == {name}, way(text)
    assert tracers.in_text(f"{text} {rng.randint(50, 400)} MBq") == {name}


@pytest.mark.parametrize("text", UNKNOWN)
def test_what_names_no_tracer(text):
    assert tracers.in_text(text) == set()


def header(text=None, code=None, meaning=None):
    dose, head = Dataset(), Dataset()
    dose.RadionuclideTotalDose = "3e8"
    if text is not None:
        dose.Radiopharmaceutical = text
    if code is not None:
        item = Dataset()
        item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = code, "SCT", meaning or "x"
        dose.RadiopharmaceuticalCodeSequence = [item]
    head.RadiopharmaceuticalInformationSequence = [dose]
    return Header(head)


def test_the_codes_of_dicoms_list_say_what_their_names_say():
    """Every code of CID 4021; those of SNOMED RT, which older scanners write, mean the same."""
    listed = codes.CID4021
    for name in listed.dir():
        code = getattr(listed, name)
        found = tracers.in_header(header(code=code.value))
        assert found == (tracers.in_text(code.meaning) or {tracers.OTHER}), code
        psma = any(word in code.meaning for word in ("PSMA", "Piflufolastat", "DCFBC", "J591", "7E11"))
        assert psma == (tracers.kind(next(iter(found))) == tracers.PSMA), code
    assert tracers.in_header(header(code="C-B1031")) == {"FDG"}
    assert tracers.in_header(header(code="35321007", meaning="Traceur")) == {"FDG"}


@pytest.mark.parametrize("text", [t for names in SPELLED.values() for t in names.split("|")[:2]])
def test_text_and_code_of_a_header_that_differ_are_both_told(text):
    found = tracers.in_header(header(text, "126758"))
    assert "PSMA-1007" in found and found >= tracers.in_text(text)
    contradict = not tracers.alike(set(tracers.in_text(text)), {"PSMA-1007"})
    assert bool(tracers.doubts(found)) == contradict


@pytest.mark.parametrize(
    ("names", "life", "table", "refused"),
    [
        ({"DCFPyL"}, 6586.2, "18F-DCFPyL", False),
        ({"DCFPyL"}, 6586.2, "DCFPyL", False),
        ({"DCFPyL"}, 6586.2, "", False),
        (set(), 6586.2, "18F-PSMA-1007", False),
        ({"PSMA ligand"}, 4062.6, "68Ga-PSMA-11", False),
        ({"PSMA-11"}, 4062.6, "68Ga PSMA", False),
        ({"DCFPyL"}, 6586.2, "site 2 protocol", False),
        ({"FDG"}, 6586.2, "18F-DCFPyL", True),
        ({"DCFPyL"}, 6586.2, "18F-PSMA-1007", True),
        ({"DCFPyL"}, 6586.2, "FDG", True),
        (set(), 6586.2, "68Ga-PSMA-11", True),
        ({"PSMA ligand"}, 4062.6, "18F-PSMA", True),
        (set(), None, "18F-PSMA-1007", False),
    ],
)
def test_the_table_must_not_contradict_the_header(names, life, table, refused):
    if not refused:
        tracers.require_alike(names, life, table)
        return
    with pytest.raises(DataError) as error:
        tracers.require_alike(names, life, table)
    assert error.value.code == "E_TRACER_CONFLICT"


@pytest.fixture
def images(tmp_path):
    """A registered patient whose header says DCFPyL, and a table of this patient with a tracer."""
    paths = reference.write(tmp_path / "A", "18F-DCFPyL")
    row = {
        "patient": "A",
        "ct": "",
        **{name: str(path.relative_to(tmp_path)) for name, path in paths.items()},
    }
    news.intake([row], tmp_path, tmp_path / "registry")

    def table(tracer):
        cells = {**row, "tracer": tracer}
        lines = ["\t".join(cells), "\t".join(cells.values())]
        (tmp_path / "cohort.tsv").write_text("\n".join(lines) + "\n")
        return tmp_path / "cohort.tsv"

    return registry.images_path(tmp_path / "registry"), table


@pytest.mark.parametrize("tracer", ["18F-PSMA-1007", "[18F]FDG", "68Ga-PSMA-11"])
def test_in_the_pipeline_and_before_it_the_patient_is_quarantined(images, tmp_path, tracer):
    registered, table = images
    record = convert.run(
        convert.Inputs("A", registered, tracer), Convert(), tmp_path / "made/convert.json", ""
    )
    assert (record.status, record.code) == (QUARANTINED, "E_TRACER_CONFLICT")
    (fault,) = check_images(table(tracer), Imaging())
    assert (fault.patient, fault.column, fault.code) == ("A", "pet", "E_TRACER_CONFLICT")


def test_a_table_that_agrees_or_says_nothing_changes_nothing(images, tmp_path):
    registered, table = images
    for tracer in ("18F-DCFPyL", "F-18 piflufolastat", "", "PSMA"):
        record = convert.run(
            convert.Inputs("A", registered, tracer), Convert(), tmp_path / "made/convert.json", ""
        )
        assert record.ok and record.values["tracers"] == ["DCFPyL"]
        assert list(check_images(table(tracer), Imaging())) == []


def test_free_text_of_a_header_never_leaves(caplog):
    found = tracers.in_header(header("DOE^JOHN 18F-FDG"))
    assert found == {"FDG"} and "DOE" not in tracers.listed(found)
    with pytest.raises(DataError) as error:
        tracers.require_alike({"DCFPyL"}, None, "FDG for Mr Doe")
    assert "Doe" not in str(error.value)
