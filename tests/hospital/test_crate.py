"""promet crate: a study without its patients, every byte of which promet verify watches."""

import json
import re
import socket
from pathlib import Path

import pytest
from small_study import study
from tests.study_on_paper import paper  # noqa: F401

from promet.core.errors import PrometError
from promet.core.files import digest_file
from promet.hospital.crate import crate, is_crate, named, verify

OUT = Path("crate")


def files(folder=OUT):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


@pytest.fixture
def made(paper):  # noqa: F811
    study(paper)
    assert crate(paper.configfiles, OUT, "2026-01-31") == 0
    return paper


def test_what_is_in_it(made):
    held = files()
    metadata = json.loads(held.pop("ro-crate-metadata.json"))
    told = {entity["@id"]: entity for entity in metadata["@graph"]}
    held.pop("SHA256SUMS")
    assert {
        "results/split-00/metrics.json",
        "results/report.html",
        "model/models/model.json",
        "model/SHA256SUMS",
    } < set(held)
    assert {part["@id"] for part in told["./"]["hasPart"]} == set(held)
    for name in held:
        assert told[name]["sha256"] == digest_file(OUT / name)
        assert told[name]["contentSize"] == str(len(held[name]))
    assert told["./"]["datePublished"] == "2026-01-31" and told["#cohort"]["description"] == "7 patients"
    assert told["#cohort"]["sha256"] == digest_file("cohort.tsv")
    assert {part["@id"] for part in told["#run"]["result"]} <= set(held)
    assert held["LICENSE"] == Path("licence.txt").read_bytes()


def test_nobody_and_no_place_in_it(made):
    everything = b"".join(files().values()) + "".join(files()).encode()
    for name in made.rows:
        assert not re.search(rb"\b" + name.encode() + rb"\b", everything), name
    for word in (str(Path.cwd()), str(Path.home()) + "/", socket.gethostname()):
        assert word.encode() not in everything
    assert not any(name.endswith((".tsv", ".parquet", ".log")) or "patients" in name for name in files())


def test_same_study_same_bytes(made):
    before = files()
    assert crate(made.configfiles, Path("again"), "2026-01-31") == 0
    assert files(Path("again")) == before
    assert crate(made.configfiles, OUT, "2026-01-31") == 0  # over itself
    assert files() == before


def test_a_changed_byte_anywhere_is_found(made, capsys):
    assert verify(OUT) == 0
    for name, content in sorted(files().items()):
        for place in (0, len(content) // 2, len(content) - 1):
            for flip in (1, 32):
                changed = bytearray(content)
                changed[place] ^= flip
                (OUT / name).write_bytes(changed)
                try:
                    assert verify(OUT) == 2, (name, place)
                except PrometError as error:  # the list itself
                    assert name == "SHA256SUMS" and error.code == "E_CHECKSUMS_BROKEN"
        (OUT / name).unlink()
        if name != "SHA256SUMS":
            assert verify(OUT) == 2 and is_crate(OUT)
        (OUT / name).write_bytes(content)
    (OUT / "more").write_text("")
    assert verify(OUT) == 2
    assert "more: not listed" in capsys.readouterr().out


def test_what_shows_a_patient_is_left_out(paper, capsys):  # noqa: F811
    study(paper, report="<td>D3</td>", model=False)
    assert crate(paper.configfiles, OUT, "") == 0
    assert "results/report.html" not in files()
    assert "left out: results/report.html" in capsys.readouterr().out
    assert not re.search(rb"report\.html\"", files()["ro-crate-metadata.json"])


def test_patients_that_the_configuration_names(paper):  # noqa: F811
    paper.config["network"] |= {"attention": {"patients": ["D1", "P0"]}}
    study(paper)
    assert crate(paper.configfiles, OUT, "") == 0
    assert b"2 named" in files()["configuration.yaml"] and b"P0" not in files()["configuration.yaml"]
    paper.config["report"] = {"question": "Who is D1?"}
    paper.save()
    with pytest.raises(PrometError) as error:
        crate(paper.configfiles, Path("other"), "")
    assert error.value.code == "E_CRATE_NAMES"


def test_refusals(paper):  # noqa: F811
    plan = study(paper)

    def code(out=OUT, date="2026-01-31"):
        with pytest.raises(PrometError) as error:
            crate(paper.configfiles, out, date)
        return error.value.code

    assert code(date="31.1.2026") == "E_CRATE_DATE"
    assert code(Path("results/crate")) == code(Path("D1")) == code(Path("cohort.tsv")) == "E_CRATE_PLACE"
    assert crate(paper.configfiles, OUT, "2026-01-31") == 0
    (OUT / "mine.txt").write_text("keep")
    assert code() == "E_CRATE_PLACE" and (OUT / "mine.txt").exists()
    Path(plan.beside("evaluate", "metrics.json", split="00")).write_text("{}")
    assert code(Path("new")) == "E_PRODUCT_BROKEN"
    paper.config["model"] = {}
    paper.save()
    assert code(Path("new")) == "E_CRATE_LICENCE"
    assert not Path("new").exists()


def test_the_date_of_a_frozen_study_is_that_of_its_freeze(paper):  # noqa: F811
    study(paper)
    assert crate(paper.configfiles, OUT, "") == 0
    assert b'"datePublished": "2026-02-01"' in files()["ro-crate-metadata.json"]


def test_names_are_words():
    pattern = named({"D1", "12", "ab-3"})
    assert pattern.search(b">D1<") and pattern.search(b'"ab-3"')
    assert not pattern.search(b"D12 xD1 D1-2 12 ab-33")
    assert not named({"1", "22"}).search(b"1 22")
