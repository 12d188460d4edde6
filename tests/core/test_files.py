"""Atomic writes and digests."""

import hashlib
import os

import pytest

from promet.core.files import atomic, digest_file, digest_files, write_json, write_text_if_changed
from promet.core.pin import canonical, pin


def test_failed_write_leaves_the_old_file_and_no_litter(tmp_path):
    target = tmp_path / "product.nii.gz"
    target.write_bytes(b"old")
    with pytest.raises(RuntimeError), atomic(target) as temporary:
        temporary.write_bytes(b"half")
        raise RuntimeError
    assert target.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["product.nii.gz"]


def test_temporary_name_keeps_the_whole_suffix(tmp_path):
    with atomic(tmp_path / "product.nii.gz") as temporary:
        assert temporary.name.endswith(".nii.gz")
        temporary.write_bytes(b"new")
    assert (tmp_path / "product.nii.gz").read_bytes() == b"new"


def test_unchanged_text_keeps_its_time(tmp_path):
    path = tmp_path / "a.txt"
    assert write_text_if_changed(path, "x")
    before = path.stat().st_mtime_ns
    assert not write_text_if_changed(path, "x")
    assert path.stat().st_mtime_ns == before
    assert write_text_if_changed(path, "y")


def test_digest_is_sha256_and_names_count(tmp_path):
    (tmp_path / "a").write_bytes(b"1")
    (tmp_path / "b").write_bytes(b"2")
    assert digest_file(tmp_path / "a") == hashlib.sha256(b"1").hexdigest()
    assert digest_files({"x": tmp_path / "a", "y": tmp_path / "b"}) != digest_files(
        {"y": tmp_path / "a", "x": tmp_path / "b"}
    )


def test_nan_is_refused_in_json(tmp_path):
    with pytest.raises(ValueError):
        write_json(tmp_path / "a.json", {"auc": float("nan")})
    assert not (tmp_path / "a.json").exists()


def test_pin_ignores_order_of_keys_and_sees_values():
    assert pin({"a": 1, "b": [1, 2]}) == pin({"b": [1, 2], "a": 1})
    assert pin({"a": 1}) != pin({"a": 2})
    assert pin([1, 2]) != pin([2, 1])
    assert len(pin(0)) == 24
    assert canonical({"b": 1, "a": "ü"}) == '{"a":"\\u00fc","b":1}'
