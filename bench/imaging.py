"""CPU time and peak memory from DICOM to tensor for one patient, against the plain way, in one run, interleaved.

Ours: the commands convert, segment, crop and normalise as the pipeline starts them, each in its own process, start-up
counted. The plain way, in one process: SimpleITK's series reader for PET and CT, both written as whole-body float
.nii.gz, masks brought to the PET by the same function, the same cuboid. Both may use one thread.

Beside it what a small patient costs, where most is Python starting: each of the six stages as its rule starts it, and the same
patients in two buckets. With PROMET_BEFORE=FOLDER, a checkout of another version, also its stages, in turn with ours, and
the ratio. Writes bench/results/imaging.json.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import sys
import tempfile
from pathlib import Path

import numpy as np

from promet.core.files import write_json

SLICES, PET, CT = 400, (200, 4.07, 2.5), (512, 1.37, 2.5)  # matrix, pixel in mm, slice distance in mm
STAGES = ("convert", "segment", "crop", "normalise")
ALL, WITH_SOURCES = (*STAGES, "measure", "picture"), ("convert", "segment")
PATIENTS = 8
ROOT = Path(__file__).parents[1]
SOURCES = {"ours": str(ROOT)} | (
    {"before": os.environ["PROMET_BEFORE"]} if "PROMET_BEFORE" in os.environ else {}
)
START, CENTRE = (
    (-405.0, -350.0, -1000.0),
    (2.0, 20.0, -860.0),
)  # mm: corner of the images, middle of the prostate


def write_series(folder: Path, kind: str, seed: int = 1) -> None:
    """A noisy body with a hot prostate: a PET in Bq/ml with a slope per slice, or a CT in Hounsfield units."""
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.sequence import Sequence
    from pydicom.uid import ExplicitVRLittleEndian

    matrix, pixel, gap = PET if kind == "PT" else CT
    rng = np.random.default_rng(seed)
    y, x = np.ogrid[:matrix, :matrix]
    away = np.hypot((x - matrix / 2) / 0.3, (y - matrix / 2) / 0.22) / matrix
    hot = np.hypot(x * pixel + START[0] - CENTRE[0], y * pixel + START[1] - CENTRE[1])
    folder.mkdir(parents=True)
    for index in range(SLICES):
        depth = START[2] + index * gap
        data = Dataset()
        data.Modality = kind
        data.SOPClassUID = "1.2.840.10008.5.1.4.1.1." + ("128" if kind == "PT" else "2")
        data.SeriesInstanceUID, data.SOPInstanceUID = (
            f"1.2.3.{len(kind)}{matrix}",
            f"1.2.3.{matrix}.{index + 1}",
        )
        data.FrameOfReferenceUID, data.PatientID, data.PatientName = "1.2.3.4", "PHANTOM1", "PHANTOM^ONE"
        data.ImageType, data.SeriesDate, data.SeriesTime = ["ORIGINAL", "PRIMARY"], "20250102", "110000"
        data.AcquisitionDate, data.AcquisitionTime = "20250102", f"11{index // 50 * 2:02d}00"
        data.ImagePositionPatient = [START[0], START[1], depth]
        data.ImageOrientationPatient, data.PixelSpacing = [1, 0, 0, 0, 1, 0], [pixel, pixel]
        data.SliceThickness, data.InstanceNumber, data.RescaleIntercept = gap, index + 1, 0
        if kind == "PT":
            slope = 1.0 + 0.3 * rng.random()
            level = 4000 * (away < 1) * rng.gamma(8, 1 / 8, (matrix, matrix))
            level = level + 60000 * np.exp(-(hot**2 + (depth - CENTRE[2]) ** 2) / 200)
            data.RescaleSlope, data.Units, data.DecayCorrection = f"{slope:.6f}", "BQML", "START"
            data.CorrectedImage, data.PatientWeight = ["ATTN", "DECY"], 80
            data.ActualFrameDuration, data.FrameReferenceTime = 120000, 60000.0 + index // 50 * 120000
            dose = Dataset()
            dose.RadiopharmaceuticalStartTime, dose.RadionuclideTotalDose = "100000", 3e8
            dose.RadionuclideHalfLife = 6586.2
            data.RadiopharmaceuticalInformationSequence = Sequence([dose])
            values = np.clip(level / float(data.RescaleSlope) / 4, 0, 32767)
            data.RescaleSlope = f"{slope * 4:.6f}"
        else:
            values = np.where(away < 1, 1040, 24) + rng.normal(0, 12, (matrix, matrix))
            data.RescaleSlope, data.RescaleIntercept = 1, -1024
        data.Rows = data.Columns = matrix
        data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
        data.BitsAllocated = data.BitsStored = 16
        data.HighBit, data.PixelRepresentation = 15, 1
        data.PixelData = values.astype(np.int16).tobytes()
        meta = FileMetaDataset()
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = data.SOPClassUID, data.SOPInstanceUID
        data.file_meta = meta
        data.save_as(folder / f"{index:04d}", enforce_file_format=True)


def write_mask(path: Path, radius: float) -> None:
    """A ball around the prostate's middle on the CT grid, as TotalSegmentator writes it."""
    import SimpleITK as sitk

    matrix, pixel, gap = CT
    mask = np.zeros((SLICES, matrix, matrix), np.uint8)
    spans = [
        (start + step * np.arange(n) - middle) ** 2
        for start, step, n, middle in zip(
            START[::-1], (gap, pixel, pixel), mask.shape, CENTRE[::-1], strict=True
        )
    ]
    mask[sum(np.ix_(*spans)) <= radius**2] = 1
    image = sitk.GetImageFromArray(mask)
    image.SetSpacing((pixel, pixel, gap))
    image.SetOrigin(START)
    sitk.WriteImage(image, str(path))


def plain(root: Path, out: Path) -> None:
    """What a first script does: read both series whole, write both, resample, cut."""
    import SimpleITK as sitk
    from pydicom import dcmread

    from promet.imaging.crop import crop
    from promet.imaging.geometry import to_grid  # the same masks, so that the cuboids can be compared
    from promet.imaging.settings import Crop

    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    images = {}
    for kind in ("pet", "ct"):
        reader = sitk.ImageSeriesReader()
        names = reader.GetGDCMSeriesFileNames(str(root / kind))
        reader.SetFileNames(names)
        reader.SetOutputPixelType(sitk.sitkFloat32)
        images[kind] = reader.Execute()
        if kind == "pet":
            head = dcmread(names[0], stop_before_pixels=True)
            dose = head.RadiopharmaceuticalInformationSequence[0]
            left = 2 ** (-3600 / float(dose.RadionuclideHalfLife))
            factor = float(head.PatientWeight) * 1000 / (float(dose.RadionuclideTotalDose) * left)
            images[kind] = images[kind] * factor
        sitk.WriteImage(images[kind], str(out / f"{kind}.nii.gz"))
    on_pet = [
        to_grid(sitk.ReadImage(str(root / f"{name}.nii.gz")), images["pet"])
        for name in ("prostate", "lesions")
    ]
    cuboid, _, _ = crop(images["pet"], *on_pet, Crop())
    np.save(out / "cuboid.npy", cuboid)


def timed(words: list[str], door: list[str] | None = None, **more: str) -> tuple[float, float, float]:
    """CPU seconds, wall seconds and peak memory (MiB) of one command of Python, or of ``door``; ``more``: of its environment."""
    import time

    start = time.perf_counter()
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PATH": path, **more}
    process = os.posix_spawnp(
        (door or [sys.executable])[0], [*(door or [sys.executable]), *words], environment
    )
    _, status, usage = os.wait4(process, 0)
    if status:
        raise RuntimeError(f"{' '.join(words[:6])} ended with {status}")
    return usage.ru_utime + usage.ru_stime, time.perf_counter() - start, usage.ru_maxrss / 1024


def ours(root: Path, out: Path) -> dict[str, tuple[float, float, float]]:
    """The four stages as the pipeline starts them."""
    registry = root / "images.tsv"
    who = ["--patient", "P1", "--registry", str(registry)]
    found = {}
    for stage in STAGES:
        words = ["-m", "promet.cli", "imaging", stage, "--out", str(out / f"{stage}.json"), "--pin", "x"]
        found[stage] = timed([*words, *(who if stage in ("convert", "segment") else [])])
    return found


def small(root: Path) -> dict:
    """CPU seconds per small patient: by stage, in all, in buckets, and of another version as a ratio to ours."""
    from promet.core.job import CHECKED
    from promet.core.pin import canonical
    from promet.imaging.settings import Imaging
    from promet.phantom.cohort import write_cohort
    from promet.study import ledger, news, registry, table
    from promet.workflow.planned import VARIABLE, sources

    write_cohort(root, development=PATIENTS, metachronous=0, prospective=0, small=True)
    cohort, images, book = root / "cohort.tsv", root / "registry/images.tsv", root / "ledger.tsv"
    rows = table.read(cohort)
    news.intake(rows, root, root / "registry")
    book.write_text("\t".join(ledger.COLUMNS) + "\n")
    settings, known = Imaging().model_dump(mode="json"), registry.read(images)
    found: dict[str, list[float]] = {}
    for row in rows:
        patient = row["patient"]
        for stage in ALL:
            words, told = ["--pin", "x", "--settings", canonical(settings[stage])], {CHECKED: "1"}
            if stage in WITH_SOURCES:
                words += ["--patient", patient, "--registry", str(images)]
                read = sources(settings, stage, known[patient], row, cohort)
                told[VARIABLE] = json.dumps({"sources": read})
            words += ["--tracer", row["tracer"]] * (stage == "convert")
            words += ["--crop", canonical(settings["crop"])] * (stage == "picture")
            for name, source in SOURCES.items():
                out = root / name / patient / f"{stage}.json"
                out.parent.mkdir(parents=True, exist_ok=True)
                door = ["sh", f"{source}/envs/bin/promet"]
                used = timed(["imaging", stage, "--out", str(out), *words], door, **told)
                found.setdefault(f"{name} {stage}", []).append(used[0])
    shared = 0.0
    for bucket in ("rest-0", "view-0"):
        told = {
            "bucket": bucket,
            "number": 1,
            "patients": root / "shared",
            "cohort": cohort,
            "registry": images,
        }
        told |= {"ledger": book, "out": root / bucket / "bucket.json"}
        words = [word for option, value in told.items() for word in (f"--{option}", str(value))]
        shared += timed(["imaging", "bucket", *words], ["sh", f"{ROOT}/envs/bin/promet"])[0]
    each = {name: round(statistics.median(values), 3) for name, values in found.items()}
    sums = {name: sum(each[f"{name} {stage}"] for stage in ALL) for name in SOURCES}
    return {
        "patients": len(rows),
        "stages_cpu_s": {stage: each[f"ours {stage}"] for stage in ALL},
        "sum_cpu_s": round(sums["ours"], 3),
        "in_buckets_cpu_s": round(shared / len(rows), 3),
        **({"ratio_to_before": round(sums["ours"] / sums["before"], 3)} if "before" in sums else {}),
    }


def main(repeats: int = 3) -> None:
    """Measure, print a table, write the JSON."""
    root = Path(tempfile.mkdtemp())
    try:
        print(f"writing {SLICES} + {SLICES} slices ...", flush=True)
        # in a process of its own: a child's peak memory counts from that of its parent
        timed(["-m", "bench.imaging", "make", str(root)])
        lines = [
            f"P1\t{n}\t{root / (n if n in ('pet', 'ct') else n + '.nii.gz')}\tx\t1\t1"
            for n in ("pet", "ct", "prostate", "lesions")
        ]
        (root / "images.tsv").write_text(
            "\n".join(["patient\tsource\tpath\tdigest\tfiles\tbytes", *lines]) + "\n"
        )
        mine, theirs = [], []
        for _ in range(repeats):
            for name in ("ours", "plain"):
                (root / name).mkdir(exist_ok=True)
            mine.append(ours(root, root / "ours"))
            theirs.append(timed(["-m", "bench.imaging", "plain", str(root), str(root / "plain")]))
        result = summarise(mine, theirs, root) | {"small_patient": small(root / "small")}
    finally:
        shutil.rmtree(root)
    write_json("bench/results/imaging.json", result)
    print(json.dumps(result, indent=2))


def summarise(mine: list[dict], theirs: list[tuple], root: Path) -> dict:
    """Medians, their ratio, and how far the two cuboids are apart."""

    def middle(values: list[float]) -> float:
        return round(statistics.median(values), 3)

    cpu = [sum(stage[0] for stage in run.values()) for run in mine]
    records = json.loads((root / "ours" / "normalise.json").read_text())
    a, b = np.load(root / "ours" / "cuboid.npy"), np.load(root / "plain" / "cuboid.npy")
    differ = np.abs(a[0] - b[0])
    return {
        "status": records["status"],
        "cpu_s": {"ours": middle(cpu), "plain": middle([run[0] for run in theirs])},
        "cpu_ratio": middle([run[0] / own for run, own in zip(theirs, cpu, strict=True)]),
        "wall_s": {
            "ours": middle([sum(stage[1] for stage in run.values()) for run in mine]),
            "plain": middle([run[1] for run in theirs]),
        },
        "peak_mib": {
            "ours": middle([max(stage[2] for stage in run.values()) for run in mine]),
            "plain": middle([run[2] for run in theirs]),
        },
        "stages_cpu_s": {stage: middle([run[stage][0] for run in mine]) for stage in STAGES},
        "cuboid": {
            "lesion_voxels_of_either": int(np.count_nonzero((a[1] > 0) | (b[1] > 0))),
            "lesion_voxels_that_differ": int(np.count_nonzero(a[1] != b[1])),
            "suv_max": float(a[0].max()),
            "suv_largest_difference_in_both_organs": float(differ[(a[0] > 0) & (b[0] > 0)].max()),
        },
        "runs": len(cpu),
    }


if __name__ == "__main__":
    if sys.argv[1] == "make":
        made = Path(sys.argv[2])
        write_series(made / "pet", "PT")
        write_series(made / "ct", "CT", 2)
        write_mask(made / "prostate.nii.gz", 22.0)
        write_mask(made / "lesions.nii.gz", 9.0)
    else:
        plain(Path(sys.argv[2]), Path(sys.argv[3]))
