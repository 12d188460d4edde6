"""promet alone says what to do next, and promet demo does what one would type."""

from contextlib import redirect_stdout
from pathlib import Path

import pytest
from typer.testing import CliRunner

from promet.app import app
from promet.commands import demo as demos
from promet.core.bar import counting
from promet.core.errors import EXIT_REFUSED
from promet.study.table import COLUMNS

REPORT = "results/paper/report/report.html"


def said(monkeypatch, place: Path) -> list[str]:
    monkeypatch.chdir(place)
    done = CliRunner().invoke(app, [])
    assert done.exit_code == 0, done.output
    lines = done.output.splitlines()
    assert len(lines) == 3 and "promet --help" in lines[2]
    return lines


def test_each_state_of_a_folder_has_its_next_step(tmp_path, monkeypatch):
    here, then, _ = said(monkeypatch, tmp_path)
    assert "promet demo" in here and "copy" in then and "config/cohort.tsv" in then
    template = Path(then.split("copy ")[1].split(" to ")[0]).read_text().splitlines()
    assert len(template) == 1 and {"patient", "pet"} < set(template[0].split("\t")) <= set(COLUMNS)

    table = tmp_path / "config/cohort.tsv"
    table.parent.mkdir()
    table.write_text("\t".join(COLUMNS) + "\n")
    assert "fill in config/cohort.tsv" in said(monkeypatch, tmp_path)[1]

    table.write_text("\t".join(COLUMNS) + "\n" + "P1\n\nP2\n")
    here, then, _ = said(monkeypatch, tmp_path)
    assert "2 patients" in here and then.index("promet check") < then.index("promet intake")

    (tmp_path / "registry/paper").mkdir(parents=True)
    (tmp_path / "registry/paper/ledger.tsv").touch()
    assert "promet run" in said(monkeypatch, tmp_path)[1]

    (tmp_path / REPORT).parent.mkdir(parents=True)
    (tmp_path / REPORT).touch()
    here, then, _ = said(monkeypatch, tmp_path)
    assert REPORT in here and "promet status" in then


@pytest.fixture
def steps(tmp_path, monkeypatch):
    """The demo in an empty folder with its steps written down instead of done."""
    monkeypatch.chdir(tmp_path)
    found = []

    def write_cohort(folder, key, **size):
        found.append("phantom")
        demos.EXPORT.mkdir(parents=True)

    def from_dicom(export, key, table):
        found.append("from-dicom")
        table.touch()
        return 0

    def from_redcap(export, mapping, key, table):
        found.append("from-redcap")
        demos.FILLED.touch()
        return 0

    for name in ("check", "intake", "run"):
        monkeypatch.setattr(demos, name, lambda files, *rest, name=name: found.append((name, *files)) or 0)
    return found, (write_cohort, from_dicom, from_redcap)


def test_the_demo_is_what_one_would_type_in_this_order(steps, capsys):
    found, rooms = steps
    assert demos.demo(*rooms, ["--cores", "1"]) == 0
    settings = Path("demo/demo.yaml")
    assert found == [
        "phantom",
        "from-dicom",
        "from-redcap",
        ("check", settings),
        ("intake", settings),
        ("run", settings),
    ]
    assert settings.read_text() == (Path(__file__).parents[2] / "config/demo.yaml").read_text()
    out = capsys.readouterr().out
    assert (
        "step 1 of 6: promet phantom demo --key " in out
        and "step 6 of 6: promet run -c demo/demo.yaml\n" in out
    )
    # A second time: the cohort and what was changed in the settings stay.
    settings.write_text("study: demo\n")
    assert demos.demo(*rooms, []) == 0
    assert found.count("phantom") == 1 and settings.read_text() == "study: demo\n"


def test_a_step_that_does_not_end_well_ends_the_demo(steps, monkeypatch):
    found, rooms = steps
    monkeypatch.setattr(demos, "intake", lambda *_: EXIT_REFUSED)
    assert demos.demo(*rooms, []) == EXIT_REFUSED
    assert [step[0] for step in found] == ["p", "f", "f", "check"]


def test_a_version():
    done = CliRunner().invoke(app, ["--version"])
    assert done.exit_code == 0 and done.output.startswith("promet ")


def test_a_count_without_a_terminal(capsys):
    with counting("phantom", 2, "patient") as told:
        told(1)
    assert capsys.readouterr().out == "phantom: 2 patients\n"
    with redirect_stdout(None), counting("phantom", 2, "patient") as told:
        told(2)
