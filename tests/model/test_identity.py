"""What is known of a bundle: that it agrees with itself, with the record of the job, with a digest received separately."""

import json
import re
import shutil

import pytest

from promet.core import checksums
from promet.core.errors import PrometError
from promet.core.pin import pin
from promet.model import clinic
from promet.model.opened import load


@pytest.fixture
def copy(model, tmp_path):
    return shutil.copytree(model, tmp_path / "model")


def code(*words):
    with pytest.raises(PrometError) as error:
        load(*words)
    return error.value.code


def forge(folder):
    """One mean changed and the list written again."""
    path = folder / "models/naive_bayes.json"
    fitted = json.loads(path.read_text())
    fitted["models"]["multimodal"]["features"]["psa"]["mean"][1] += 1
    path.write_text(json.dumps(fitted))
    checksums.write(folder, sorted(checksums.read(folder)))


def test_a_forged_list_is_not_the_one_that_the_record_names(copy, capsys):
    forge(copy)
    assert clinic.verify(copy) == 2
    assert "SHA256SUMS: not the list that bundle.json names" in capsys.readouterr().out
    assert code(copy) == "E_MODEL_CHANGED"


@pytest.mark.parametrize("edit", ["values", "products", "text", "both"])
def test_a_forged_record_is_told_by_its_own_digest(copy, edit):
    forge(copy)
    path = copy / "bundle.json"
    record = json.loads(path.read_text())
    now = checksums.identity(copy)
    if edit in ("values", "both"):
        record["values"]["model"] = now
    if edit in ("products", "both"):
        record["products"]["SHA256SUMS"] = now
    path.write_text("no json" if edit == "text" else json.dumps(record))
    assert code(copy) == "E_MODEL_CHANGED"


def test_only_a_digest_received_separately_shows_a_whole_forgery(copy, model, capsys):
    true = checksums.identity(model)
    forge(copy)
    path = copy / "bundle.json"
    record = json.loads(path.read_text())
    record["values"]["model"] = record["products"]["SHA256SUMS"] = checksums.identity(copy)
    record["digest"] = pin([sorted(record["products"].items()), record["values"]])
    path.write_text(json.dumps(record))
    assert clinic.verify(copy) == 0
    said = capsys.readouterr().out
    assert "agrees with the model's own list" in said and "is not known" in said and "--digest" in said
    assert "as it was locked" not in said
    assert code(copy, true) == "E_MODEL_DIGEST"
    with pytest.raises(PrometError):
        clinic.verify(copy, true)


@pytest.mark.parametrize("spelling", ["{}", " {}\n", "sha256:{}", "{upper}"])
def test_the_digest_that_verify_prints_is_the_one_to_give(model, spelling, capsys):
    clinic.verify(model)
    (printed,) = re.findall(r"digest ([0-9a-f]{64})", capsys.readouterr().out)
    given = spelling.format(printed, upper=printed.upper())
    assert clinic.verify(model, given) == 0
    assert "this is the model that was locked" in capsys.readouterr().out
    assert load(model, given).compared and not load(model).compared


@pytest.mark.parametrize("given", ["", " ", "abc", "0" * 63, "0" * 65, "g" * 64])
def test_what_is_no_whole_digest_is_refused(model, given):
    assert code(model, given) == "E_MODEL_DIGEST_FORM"


@pytest.mark.parametrize("ends", ["crlf", "bom", "order", "upper", "star"])
def test_line_ends_are_no_other_model(copy, model, ends):
    path = copy / "SHA256SUMS"
    lines = path.read_text().splitlines()
    text = {
        "crlf": "\r\n".join(lines) + "\r\n",
        "bom": "\ufeff" + "\n".join(lines),
        "order": "\n".join(reversed(lines)),
        "upper": "\n".join(line[:64].upper() + line[64:] for line in lines),
        "star": "\n".join(line.replace("  ", " *", 1) for line in lines),
    }[ends]
    path.write_bytes(text.encode())
    assert load(copy, checksums.identity(model)).digest == load(model).digest


def test_a_name_twice_in_the_list_is_damage(copy):
    path = copy / "SHA256SUMS"
    path.write_text(path.read_text() + "0" * 64 + "  LICENSE\n")
    assert code(copy) == "E_CHECKSUMS_BROKEN"


def test_the_record_may_stay_at_home(copy, capsys):
    (copy / "bundle.json").unlink()
    assert clinic.verify(copy) == 0
    assert "was not sent along" in capsys.readouterr().out


@pytest.mark.parametrize("name", [".DS_Store", "models/.DS_Store", "._model", "docs/Thumbs.db"])
def test_what_a_file_manager_left_is_to_be_deleted(copy, name, capsys):
    (copy / name).write_bytes(b"x")
    assert clinic.verify(copy) == 2
    assert "delete it" in capsys.readouterr().out
    with pytest.raises(PrometError, match="delete it"):
        load(copy)
