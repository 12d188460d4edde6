"""The key file: where it may lie, who may read it, and that a kill or a second command cannot spoil it."""

import fcntl
import os
import re
import stat
import subprocess

import pytest

from promet.core.errors import UsageError
from promet.hospital import keys
from promet.hospital.keys import Entry


def test_lines_are_appended_and_read_again(tmp_path):
    key = tmp_path / "safe/key.tsv"
    first = Entry("a1b2c3d4", "MAIN", "0007", "1.2.3", "1.2.4", "", "row", "")
    with keys.opened(key) as book:
        assert book.entries == []
        book.add(first)
    before = key.read_bytes()
    second = Entry("a1b2c3d4", "MAIN", "0007", "1.2.3", "1.2.9", "1.2.5", "row", "3f=2")
    with keys.opened(key) as book:
        assert book.entries == [first]
        book.add(second)
    assert key.read_bytes().startswith(before)
    assert keys.read(key) == [first, second]
    assert keys.rows_of(keys.read(key)) == {"a1b2c3d4": second}
    assert key.read_text().splitlines()[0].split("\t") == [
        *("patient", "issuer", "patient_id", "study_uid", "pet_uid", "ct_uid", "state", "decided"),
        "redcap_record",
    ]


def test_only_its_owner_may_read_it(tmp_path):
    key = tmp_path / "key.tsv"
    with keys.opened(key):
        assert stat.S_IMODE(key.stat().st_mode) == 0o600
    key.chmod(0o644)
    with keys.opened(key):
        assert stat.S_IMODE(key.stat().st_mode) == 0o600


@pytest.mark.parametrize("place", ["project/key.tsv", "project/registry/deep/key.tsv", "results/key.tsv"])
def test_not_in_the_project(tmp_path, place):
    with pytest.raises(UsageError, match="folder of the project") as refused:
        keys.require_place(tmp_path / place, [tmp_path / "project", tmp_path / "results"])
    assert refused.value.code == "E_KEY_PLACE"


def test_not_in_a_git_work_tree_nor_by_a_link_into_one(tmp_path):
    tree = tmp_path / "tree"
    subprocess.run(["git", "init", "-q", tree], check=True)
    (tree / "sub").mkdir()
    os.symlink(tree / "sub", tmp_path / "elsewhere")
    for place in (tree / "key.tsv", tree / "sub/key.tsv", tmp_path / "elsewhere/key.tsv"):
        with pytest.raises(UsageError, match="git work tree"):
            keys.require_place(place, [])
    keys.require_place(tmp_path / "key.tsv", [tree])


def test_one_command_at_a_time(tmp_path):
    key = tmp_path / "key.tsv"
    with keys.opened(key), pytest.raises(UsageError) as refused, keys.opened(key):
        pass
    assert refused.value.code == "E_KEY_HELD"
    with open(key) as handle:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)


@pytest.mark.parametrize("cut", range(1, 40))
def test_a_kill_while_a_line_is_written(tmp_path, cut):
    key = tmp_path / "key.tsv"
    one, two = Entry("aaaa0001", "", "0007", state="row"), Entry("aaaa0002", "", "0008", state="row")
    with keys.opened(key) as book:
        book.add(one, two)
    whole = key.read_bytes()
    key.write_bytes(whole[:-cut])
    assert keys.read(key) in ([one, two] if cut == 1 else [one], [])  # nothing that was not written
    with keys.opened(key) as book:
        missing = [entry for entry in (one, two) if entry not in book.entries]
        book.add(*missing)
    assert keys.read(key)[-len(missing) :] == missing or not missing
    assert set(keys.read(key)) == {one, two}


def test_a_key_that_was_written_by_hand(tmp_path):
    """As hospitals write it: commas, columns in another order, and no end of the last line."""
    key = tmp_path / "key.csv"
    key.write_text("patient,redcap_record\nP0001,1\nP0002,2")
    assert [(e.patient, e.redcap_record) for e in keys.read(key)] == [("P0001", "1"), ("P0002", "2")]
    names = ("redcap_record", "patient_id", "issuer", "patient", "study_uid", "pet_uid", "ct_uid", "state")
    key.write_text("\ufeff" + ",".join([*names, "decided"]) + "\n" + '5,"A,1",,P0005,,,,named,')
    with keys.opened(key) as book:
        book.add(Entry("P0006", "", 'B "x"'))
    five, six = keys.read(key)
    assert (five.patient, five.patient_id, five.redcap_record) == ("P0005", "A,1", "5")
    assert (six.patient, six.patient_id, six.issuer) == ("P0006", 'B "x"', "")


@pytest.mark.parametrize("text", ["name,number\nA,1\n", "patient\tissuer\nA\tb\tc\nB\tc\n", "\xff\xfe"])
def test_what_is_no_key_file_is_left_alone(tmp_path, text):
    key = tmp_path / "other.tsv"
    key.write_bytes(text.encode("latin-1"))
    with pytest.raises(UsageError) as refused, keys.opened(key):
        pass
    assert refused.value.code == "E_KEY_DAMAGED"
    assert key.read_bytes() == text.encode("latin-1")


def test_pseudonyms_are_random_and_no_number(tmp_path):
    names = set()
    for number in range(2):
        with keys.opened(tmp_path / f"{number}.tsv") as book:
            names |= {book.new_name() for _ in range(2000)}
    assert len(names) > 3990  # nothing in them follows from what the file holds
    for name in names:
        assert re.fullmatch("[0-9a-f]{8}", name)
        with pytest.raises(ValueError):
            float(name)
