"""DICOM SEG (binary, fractional, label map) to a volume on its own grid."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import SimpleITK as sitk
from pydicom.dataset import Dataset

from promet.core.errors import DataError
from promet.imaging.dicom import Header, frames_of, pixels
from promet.imaging.roi import Chooser, Contoured, missing


def read(
    data: Dataset, reference: sitk.Image, choose: Chooser, ct: Path | None, told: list[str]
) -> Contoured:
    """The united chosen segments as 0/1 volume; frames that are not stored are empty.

    Raises:
        DataError: E_MASK_ROI_MISSING, E_MASK_NO_FRAME, E_MASK_SEG_KIND, E_MASK_SEG_GEOMETRY (frames without place),
            E_MASK_UNEVEN, E_MASK_TRUNCATED (pixels incomplete).
    """
    segments = {
        int(s.SegmentNumber): str(s.get("SegmentLabel", "")) for s in data.get("SegmentSequence") or ()
    }
    chosen = choose.pick(segments)
    kind = str(data.get("SegmentationType", ""))
    if kind not in ("BINARY", "FRACTIONAL", "LABELMAP"):
        raise _format("is of no known kind", "E_MASK_SEG_KIND")
    if kind == "LABELMAP":
        chosen.discard(0)  # background
    if not chosen:
        raise missing(len(segments), "segments")
    if len(chosen) > 1:
        told.append(f"{len(chosen)} segments fit and were united")
    frames = [
        f
        for f in frames_of(data, "MASK")
        if kind == "LABELMAP" or int(f.header.number("ReferencedSegmentNumber") or 0) in chosen
    ]
    if not frames:
        raise DataError(
            "E_MASK_NO_FRAME", "The fitting segment has no frame", "a segment that marks something"
        )
    axes, places, steps = _places([f.header for f in frames])
    everywhere = _places([f.header for f in frames_of(data, "MASK")])[1] @ axes[:, 2]
    depths, thick = places @ axes[:, 2], frames[0].header
    gap = _gap(everywhere, thick.number("SpacingBetweenSlices"), thick.number("SliceThickness"))
    rows = np.round((depths - depths.min()) / gap).astype(int)
    if np.abs(depths - depths.min() - rows * gap).max() > 0.1 * gap:
        raise _format("has frames that are not evenly spaced", "E_MASK_UNEVEN")
    shape = (int(data.Rows), int(data.Columns))
    volume = np.zeros((rows.max() + 1, *shape), bool)
    most = float(data.get("MaximumFractionalValue", 255) or 255)
    for frame, row in zip(frames, rows, strict=True):
        if kind == "BINARY":
            volume[row] |= _bits(data, frame.index, shape)
        elif kind == "FRACTIONAL":
            volume[row] |= pixels(frame, "MASK") >= 0.5 * most
        else:
            volume[row] |= np.isin(pixels(frame, "MASK"), sorted(chosen))
    image = sitk.GetImageFromArray(volume.astype(np.uint8))
    image.SetSpacing([float(steps[1]), float(steps[0]), gap])
    image.SetDirection(axes.ravel().tolist())
    image.SetOrigin(places[int(np.argmin(depths))].tolist())
    return Contoured(image, Header(data).text("FrameOfReferenceUID"))


def _bits(data: Dataset, index: int, shape: tuple[int, int]) -> np.ndarray:
    """Frame ``index`` of one-bit pixels: frames follow each other without padding, lowest bit first."""
    size = shape[0] * shape[1]
    try:
        if (
            data.file_meta.TransferSyntaxUID.is_compressed
            and not data.file_meta.TransferSyntaxUID.is_deflated
        ):
            from pydicom.pixels import pixel_array

            return np.asarray(pixel_array(data, index=index, raw=True)).reshape(shape) != 0
        first, last = index * size // 8, -(-(index + 1) * size // 8)
        bits = np.unpackbits(np.frombuffer(data.PixelData[first:last], np.uint8), bitorder="little")
        return bits[index * size - first * 8 :][:size].reshape(shape) != 0
    except Exception:  # decoders raise many kinds
        raise DataError(
            "E_MASK_TRUNCATED", "The pixels of the segmentation are incomplete", "a whole file", "Copy again"
        ) from None


def _places(headers: list[Header]) -> tuple[np.ndarray, np.ndarray, tuple[float, ...]]:
    places, turns = (
        [h.numbers("ImagePositionPatient", 3) for h in headers],
        [h.numbers("ImageOrientationPatient", 6) for h in headers],
    )
    steps = headers[0].numbers("PixelSpacing", 2)
    if steps is None or any(p is None for p in places) or any(t is None for t in turns):
        raise _format("does not place its frames in the body")
    if np.ptp(np.array(turns), 0).max() > 1e-3:
        raise _format("has frames of different orientation")
    row, column = np.array(turns[0][:3]), np.array(turns[0][3:])
    axes = np.column_stack([row, column, np.cross(row, column)])
    if np.abs(axes.T @ axes - np.eye(3)).max() > 0.01:
        raise _format("has no right-angled orientation")
    left, _, right = np.linalg.svd(axes)
    return left @ right, np.array(places), steps


def _gap(depths: np.ndarray, said: float | None, thickness: float | None) -> float:
    """Distance of frames in mm: the smallest found, or the one the file states when planes are not stored."""
    found = np.diff(np.unique(np.round(depths, 3)))
    found = found[found > 0.01]
    if len(found) == 0:
        said = said or thickness
        if not said:
            raise _format("has one plane and does not say how thick it is")
        return abs(said)
    gap = float(found.min())
    if said and abs(said) < gap and np.abs(found / said - np.round(found / said)).max() < 0.05:
        return abs(said)  # sparse: empty planes are not stored
    return float(np.mean(found[found < 1.5 * gap]))


def _format(found: str, code: str = "E_MASK_SEG_GEOMETRY") -> DataError:
    return DataError(
        code, f"The segmentation {found}", "a standard DICOM SEG", "Export it again or use NIfTI"
    )
