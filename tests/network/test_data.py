from pathlib import Path

import pytest

import promet.network
from promet.core.errors import IntegrityError, UsageError
from promet.network.data import Member, fit_digest, load_tensors, read_members, require_both_labels


def test_fit_digest_sees_every_field_and_no_order() -> None:
    members = [Member("A", "training", 0, "x"), Member("B", "validation", 1, "y")]
    assert fit_digest(members) == fit_digest(members[::-1])
    others = [
        Member("C", "training", 0, "x"),
        Member("A", "validation", 0, "x"),
        Member("A", "training", 1, "x"),
        Member("A", "training", 0, "z"),
    ]
    assert len({fit_digest(members), *(fit_digest([other, members[1]]) for other in others)}) == 5


def test_members_that_do_not_match_the_digest(make_fit) -> None:
    fit, _ = make_fit()
    digest, members = read_members(fit)
    assert len(digest) == 24
    assert len(members) == 20
    fit.write_text('{"digest": "000000"}')
    with pytest.raises(IntegrityError, match="does not match"):
        read_members(fit)


def test_tensors_must_have_the_recorded_bytes(make_fit) -> None:
    fit, patients = make_fit()
    _, members = read_members(fit)
    wanted = [(member.patient, member.tensor_digest) for member in members]
    assert load_tensors(patients, wanted).shape == (20, 2, 8, 16, 16)
    tensor = patients / "P003/tensor.npy"
    content = bytearray(tensor.read_bytes())
    content[-1] ^= 1
    tensor.write_bytes(content)
    with pytest.raises(IntegrityError, match="P003 is not the recorded one"):
        load_tensors(patients, wanted)
    tensor.unlink()
    with pytest.raises(IntegrityError, match="P003 is missing"):
        load_tensors(patients, wanted)


def test_a_part_without_both_labels() -> None:
    members = [
        Member("A", "training", 0, ""),
        Member("B", "training", 1, ""),
        Member("C", "validation", 1, ""),
    ]
    with pytest.raises(UsageError, match="validation part has 1 patient with and 0 without"):
        require_both_labels(members)


def test_no_pickle_and_no_other_room() -> None:
    for path in Path(promet.network.__file__).parent.rglob("*.py"):
        text = path.read_text(encoding="utf-8").replace("allow_pickle=False", "")
        for word in (
            "pickle",
            "torch.load",
            "torch.save",
            "joblib",
            "promet.imaging",
            "promet.workflow",
            "promet.fusion",
        ):
            assert word not in text, f"{word} in {path.name}"
