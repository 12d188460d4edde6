"""Masks by external programs (imaging.segment.sources): a stand-in plays the network."""

import copy
import json
import shlex
import sys
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from pydantic import ValidationError
from test_organs import IMAGES, changed, patient

from promet.config import load
from promet.core.errors import DataError, UsageError
from promet.core.sidecar import NO_LESION, QUARANTINED
from promet.imaging import convert, jobs, organs, segment
from promet.imaging.programs import weights_digest
from promet.imaging.settings import Convert, Imaging, Organs, Segment, Source
from promet.workflow.buckets import ImagePins
from promet.workflow.stages import PATIENT_STAGES

# Writes boxes (z, y, x) of its first volume's voxels with a number each, and what it was told.
PROGRAM = """
import json, os, sys
import numpy as np, SimpleITK as sitk
pet, ct, out, weights, device = sys.argv[1:6]
image = sitk.ReadImage(pet)
told = {told!r}
with open(told, "w") as handle:
    keys = {{k: image.GetMetaData(k) for k in image.GetMetaDataKeys()}}
    json.dump([sys.argv[1:], float(sitk.GetArrayFromImage(image).max()), keys, ct and sitk.ReadImage(ct).GetPixelIDTypeAsString()], handle)
if {code}:
    sys.exit({code})
array = np.zeros(image.GetSize()[::-1], np.uint8)
for number, box in {boxes!r}:
    array[tuple(slice(*b) for b in box)] = number
mask = sitk.GetImageFromArray(array)
mask.CopyInformation(image)
sitk.WriteImage(mask, os.path.join(out, "mask.nii.gz"))
"""
PROSTATE, LESION = (1, ((1, 6), (6, 13), (4, 11))), (2, ((2, 5), (8, 11), (6, 9)))


@pytest.fixture
def net(tmp_path):
    """net(boxes, code, changes) -> entry of a program that makes both masks, and what it was told."""
    weights = tmp_path / "weights"
    weights.mkdir()
    (weights / "model.pt").write_bytes(b"weights")

    def install(boxes=(PROSTATE, LESION), code=0, **entry):
        script = tmp_path / "net.py"
        script.write_text(PROGRAM.format(told=str(tmp_path / "told"), boxes=list(boxes), code=code))
        given = {
            "command": f"{shlex.join([sys.executable, str(script)])} {{pet}} {{ct}} {{out}} {{weights}} {{device}}",
            "inputs": ["pet", "ct"],
            "outputs": {"prostate": "mask.nii.gz", "lesions": "mask.nii.gz"},
            "labels": {"lesions": 2},
            "version": "1.3",
            "weights": str(weights),
            "weights_digest": weights_digest(weights),
        }
        return Source.model_validate(given | entry)

    return install


def run(tmp_path, source, registry, folder):
    """convert, organs, segment."""
    convert.run(convert.Inputs("P1", registry), Convert(), folder / "convert.json", "p")
    made = organs.run(
        organs.Inputs("P1", registry, sources={"net": source}), Organs(), folder / "organs.json", "p"
    )
    return made, segment.run(
        segment.Inputs(folder, "P1", registry, organs=True), Segment(), folder / "segment.json", "p"
    )


def voxels(path):
    return np.argwhere(sitk.GetArrayFromImage(sitk.ReadImage(str(path))))


def box_of(box):
    return np.argwhere(np.ones([b - a for a, b in box[1]])) + [a for a, _ in box[1]]


def test_both_masks(tmp_path, net):
    registry, folder = patient(tmp_path)
    made, done = run(tmp_path, net(), registry, folder)
    assert made.ok and set(made.products) == {"source_prostate.nii.gz", "source_lesions.nii.gz"}
    assert done.ok, done.reason
    assert done.values["organ_source"] == "net 1.3" and done.values["lesion_source"] == "given by net 1.3"
    np.testing.assert_array_equal(voxels(folder / "lesions.nii.gz"), box_of(LESION))
    np.testing.assert_array_equal(
        voxels(folder / "prostate.nii.gz"), box_of(PROSTATE)
    )  # any number is prostate here
    words, top, texts, kind = json.loads((tmp_path / "told").read_text())
    assert top == pytest.approx(10.0) and "16" in kind and words[4] == "cpu"
    assert not any("PHANTOM" in value for value in texts.values())
    assert done.inputs.keys() == {"convert", "organs"}


def test_the_readers_own_mask_counts(tmp_path, net):
    own = sitk.GetImageFromArray(np.pad(np.ones((5, 6, 6), np.uint8), 5))
    own.SetSpacing((3.0, 3.0, 5.0))
    own.SetOrigin((-21.0, -31.0, 73.0))
    sitk.WriteImage(own, str(tmp_path / "own.nii.gz"))
    registry, folder = patient(tmp_path, prostate=tmp_path / "own.nii.gz")
    _, done = run(tmp_path, net(), registry, folder)
    assert done.values["organ_source"] == "given" and done.values["lesion_source"] == "given by net 1.3"


@pytest.mark.parametrize(
    ("boxes", "status", "code"),
    [
        ([PROSTATE], NO_LESION, ""),
        ([], QUARANTINED, "E_MASK_EMPTY"),
        ([PROSTATE, (2, PROSTATE[1])], QUARANTINED, "E_MASKS_ALIKE"),
        ([(1, ((1, 4), (0, 4), (0, 4))), (2, ((9, 12), (12, 15), (12, 15)))], QUARANTINED, "E_MASK_OUTSIDE"),
    ],
)
def test_the_gates_of_any_mask(tmp_path, net, boxes, status, code):
    registry, folder = patient(tmp_path)
    source = net(boxes)
    if code == "E_MASK_OUTSIDE":
        source = net(boxes, labels={"prostate": 1, "lesions": 2})
    _, done = run(tmp_path, source, registry, folder)
    assert (done.status, done.code) == (status, code), done.reason


def test_the_sites_faults_stop_the_job(tmp_path, net):
    """Nobody is quarantined for a program that is not there, crashes, or has other weights."""
    registry, folder = patient(tmp_path)

    def refused(source):
        with pytest.raises(UsageError) as caught:
            organs.run(
                organs.Inputs("P1", registry, sources={"net": source}), Organs(), folder / "organs.json", "p"
            )
        assert not (folder / "organs.json").exists()
        return caught.value.code

    assert refused(net(command="no-such-program {out}")) == "E_PROGRAM_MISSING"
    assert refused(net(command="echo {who}")) == "E_PROGRAM_WORDS"
    assert refused(net(command="echo {pet")) == "E_PROGRAM_WORDS"
    assert refused(net(code=3)) == "E_PROGRAM_FAILED"
    assert refused(net(outputs={"prostate": "other.nii.gz"}, labels={})) == "E_PROGRAM_OUTPUT"
    source = net()
    (tmp_path / "weights/model.pt").write_bytes(b"Weights")
    assert refused(source) == "E_PROGRAM_WEIGHTS"
    gone = source.model_copy(update={"weights": str(tmp_path / "none")})
    assert refused(gone) == "E_PROGRAM_WEIGHTS"


def test_no_shell(tmp_path, net):
    registry, _ = patient(tmp_path)
    source = net(command=f"echo $(touch {tmp_path}/touched); touch {tmp_path}/touched2 {{out}}")
    with pytest.raises(UsageError):
        organs.run(
            organs.Inputs("P1", registry, sources={"net": source}), Organs(), tmp_path / "o/organs.json", "p"
        )
    assert not list(tmp_path.glob("touched*"))


def test_digest_of_weights(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name / "deep").mkdir(parents=True)
        (tmp_path / name / "deep/one").write_text("1")
        (tmp_path / name / "two").write_text("2")
    (tmp_path / "b/.DS_Store").write_text("x")
    assert weights_digest(tmp_path / "a") == weights_digest(tmp_path / "b")
    (tmp_path / "b/two").rename(tmp_path / "b/three")
    assert weights_digest(tmp_path / "a") != weights_digest(tmp_path / "b")


# The plan.

ENTRY = {"command": "net {pet} {out}", "inputs": ["pet"], "outputs": {"lesions": "l.nii.gz"}, "version": "1",
         "weights": "/w", "weights_digest": "0" * 64}  # fmt: skip


def pins(images, *, older=None, **named):
    config = load().model_dump(mode="json")["imaging"]
    config["segment"] |= {"sources": named}
    config["totalsegmentator"] |= older or {}
    made = ImagePins(Imaging.model_validate(config).model_dump(mode="json"))
    found = {stage: made.pin(stage, images) for stage in ("organs", *PATIENT_STAGES)}
    return {**found, "wanted": sorted(made.sources(images))}


def test_who_is_concerned_and_what_is_pinned():
    off, on = pins(IMAGES), pins(IMAGES, net=ENTRY)
    assert on["wanted"] == ["net"] and changed(off, on) == {"organs", "segment", "wanted"}
    drawn = {**IMAGES, "lesions": {"digest": "c"}}
    assert changed(pins(drawn), pins(drawn, net=ENTRY)) == set()  # who has a mask is not touched
    lacking = pins({"pet": {"digest": "a"}}, net={**ENTRY, "inputs": ["pet", "ct"]})
    assert lacking["wanted"] == []
    for key, value in {"version": "2", "command": "net -x {pet} {out}", "weights_digest": "1" * 64}.items():
        assert changed(on, pins(IMAGES, net={**ENTRY, key: value})) == {"organs", "segment"}, key
    assert changed(on, pins(IMAGES, other=ENTRY)) == {"organs", "segment", "wanted"}  # its name
    for key, value in {"weights": "/elsewhere", "device": "gpu:1"}.items():
        assert changed(on, pins(IMAGES, net={**ENTRY, key: value})) == set(), key


def test_totalsegmentator_is_one_of_them():
    """The older key and the entry are one thing, with one pin."""
    old = pins(IMAGES, older={"use": True, "weights": "/w"})
    new = pins(IMAGES, totalsegmentator={"weights": "/elsewhere", "device": "gpu"})
    assert old == new and new["wanted"] == ["totalsegmentator"]
    assert changed(new, pins(IMAGES, totalsegmentator={"version": "2.18.0"})) == {"organs", "segment"}
    both = pins(IMAGES, totalsegmentator={}, net=ENTRY)
    assert both["wanted"] == ["net", "totalsegmentator"]


def test_a_dump_is_read_again():
    given = Imaging.model_validate(
        {"segment": {"sources": {"net": ENTRY, "totalsegmentator": {"weights": "/w"}}}}
    )
    told = given.model_dump(mode="json")
    assert told["totalsegmentator"] == {"use": True, "weights": "/w", "device": "cpu"}
    assert (
        "sources" not in told["segment"]
        and Imaging.model_validate(copy.deepcopy(told)).model_dump(mode="json") == told
    )
    assert "sources" not in Imaging().model_dump(mode="json")


@pytest.mark.parametrize(
    "named",
    [
        {"net": {**ENTRY, "version": ""}},
        {"net": {**ENTRY, "outputs": {}}},
        {"net": {**ENTRY, "weights_digest": ""}},
        {"net": {**ENTRY, "outputs": {"lesions": "../l.nii.gz"}}},
        {"net": {**ENTRY, "labels": {"prostate": 1}}},
        {"net": ENTRY, "other": ENTRY},
        {"net": {**ENTRY, "outputs": {"prostate": "p.nii.gz"}}, "totalsegmentator": {}},
        {"totalsegmentator": ENTRY},
        {"a b": ENTRY},
    ],
)
def test_entries_that_are_refused(named):
    with pytest.raises(ValidationError):
        Imaging.model_validate({"segment": {"sources": named}})


def test_the_older_key_is_told_of(tmp_path, caplog, monkeypatch):
    monkeypatch.delenv("PROMET_OLDER_KEYS_TOLD", raising=False)
    (tmp_path / "c.yaml").write_text("imaging: {totalsegmentator: {use: true}}")
    load([tmp_path / "c.yaml"])
    load([tmp_path / "c.yaml"])
    assert caplog.text.count("imaging.segment.sources.totalsegmentator") == 1
    monkeypatch.delenv("PROMET_OLDER_KEYS_TOLD", raising=False)


def test_the_rule_hands_them_over(tmp_path, net):
    """As the job's command line reads it."""
    registry, folder = patient(tmp_path)
    told = json.dumps({"net": net().model_dump(mode="json")})
    jobs.organs("P1", registry, folder / "organs.json", "p", "{}", "", "cpu", told)
    assert (folder / "source_lesions.nii.gz").exists()


def test_whose_ct_is_looked_at(tmp_path):
    from promet.imaging.check import wants_ct

    images = {"pet": Path("pet"), "ct": Path("ct")}
    assert not wants_ct(Imaging(), images)
    settings = Imaging.model_validate({"segment": {"sources": {"net": {**ENTRY, "inputs": ["ct"]}}}})
    assert wants_ct(settings, images) and not wants_ct(settings, {**images, "lesions": Path("l")})
    with pytest.raises(DataError):
        organs._volume("ct", {})
