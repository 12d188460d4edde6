"""DICOM SEG (binary, fractional, label map) to a volume on its own grid."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import numpy as np
import SimpleITK as sitk
from pydicom.dataset import Dataset

from promet.core.errors import DataError
from promet.imaging.dicom.files import Frame, Header, frames_of, pixels
from promet.imaging.masks.roi import (
    Chooser,
    Contoured,
    Part,
    missing,
    numbered,
    says_nothing,
    unite,
    unusable,
)
from promet.imaging.masks.scans import Around


def read(
    data: Dataset, reference: sitk.Image, choose: Chooser, around: Around | None, told: list[str]
) -> Contoured:
    """The united chosen segments as 0/1 volume; frames that are not stored are empty.

    Raises:
        DataError: E_MASK_ROI_MISSING, E_MASK_NO_FRAME, E_MASK_SEG_KIND, E_MASK_SEG_GEOMETRY (frames without place),
            E_MASK_SEG_FRAMES (of no segment), E_MASK_UNEVEN, E_MASK_TRUNCATED (pixels incomplete), E_MASK_SEG_PIXELS (other pixels than announced),
            E_MASK_VALUES, E_MASK_UNUSABLE (marked, but below one half), E_MASK_AMBIGUOUS.
    """
    names = segments(data)
    labels = numbered((number, label) for number, label, _ in names)
    chosen = choose.pick(labels, told) or choose.pick(
        {number: kind for number, _, kind in names if kind}, told
    )
    kind = str(data.get("SegmentationType", ""))
    if kind not in ("BINARY", "FRACTIONAL", "LABELMAP"):
        raise _format("is of no known kind", "E_MASK_SEG_KIND")
    if kind == "LABELMAP":
        chosen.discard(0)  # background
    if not chosen:
        raise missing(choose, len(names), "segments")
    if len(chosen) > 1:
        told.append(f"{len(chosen)} segments fit and were united")
    every = frames_of(data, "MASK")
    bits = _bits(data, kind, every, told)
    if kind != "LABELMAP" and any(_segment(frame) not in labels for frame in every):
        raise _format("has frames that belong to no segment", "E_MASK_SEG_FRAMES")
    frames = [f for f in every if kind == "LABELMAP" or _segment(f) in chosen]
    if not frames:
        raise DataError(
            "E_MASK_NO_FRAME", "The fitting segment has no frame", "a segment that marks something"
        )
    grid = _Grid(every, frames, reference, around or Around(), data)
    if kind == "LABELMAP":
        found: set[int] = set()

        def plane(frame: Frame) -> np.ndarray:
            values = pixels(frame, "MASK")
            found.update(np.unique(values).tolist())
            return np.isin(values, sorted(chosen))

        volume = grid.volume(frames, plane)
        if not volume.any() and found - set(labels) - {0}:
            raise unusable("with numbers that no segment of the file has")
        return grid.contoured(volume)
    parts = []
    for number in sorted(chosen):
        own = [f for f in frames if _segment(f) == number]
        if kind == "BINARY":
            volume = grid.volume(own, lambda frame: _plane(data, frame, bits, grid.shape[1:]))
        else:
            volume = _fractional(data, grid, own)
        if volume.any():
            parts.append(Part.of(volume))
    return grid.contoured(unite(parts, grid.shape, grid.voxel_ml, told, choose.label != "any"))


def segments(data: Dataset) -> list[tuple[int, str, str]]:
    """Number and label of each segment, and the meaning of its property type where the label says nothing (else '')."""
    return [
        (int(s.SegmentNumber), label, _meaning(s) if says_nothing(label) else "")
        for s in data.get("SegmentSequence") or ()
        for label in [str(s.get("SegmentLabel") or "")]
    ]


def _meaning(segment: Dataset) -> str:
    kinds = segment.get("SegmentedPropertyTypeCodeSequence") or ()
    return str(kinds[0].get("CodeMeaning") or "").strip() if len(kinds) else ""


def _segment(frame: Frame) -> int:
    return int(frame.header.number("ReferencedSegmentNumber") or 0)


def _drawn_on(data: Dataset, frames: list[Frame]) -> tuple[set[str], bool]:
    """SOPInstanceUIDs of the images that the frames were drawn on, or else of the series that the file names (True)."""
    found = {
        str(image.get("ReferencedSOPInstanceUID", ""))
        for frame in frames
        for derived in frame.header.raw("DerivationImageSequence") or ()
        for image in derived.get("SourceImageSequence") or ()
    }
    listed = {
        str(image.get("ReferencedSOPInstanceUID", ""))
        for series in data.get("ReferencedSeriesSequence") or ()
        for image in series.get("ReferencedInstanceSequence") or ()
    }
    return (found or listed) - {""}, not found


class _Grid:
    """Where the frames lie, and the volume that they make."""

    def __init__(
        self,
        every: list[Frame],
        frames: list[Frame],
        reference: sitk.Image,
        around: Around,
        data: Dataset,
    ) -> None:
        self.axes, places, self.steps = _places([f.header for f in frames])
        self.frame = Header(data).text("FrameOfReferenceUID")
        self.drawn, self.listed = drawn, _ = _drawn_on(data, frames)
        normal = self.axes[:, 2]
        everywhere, depths = _places([f.header for f in every])[1] @ normal, places @ normal
        head = frames[0].header
        stated, thick = (abs(head.number(k) or 0) for k in ("SpacingBetweenSlices", "SliceThickness"))
        images = around.gap(drawn, self.frame, normal, np.unique(np.round(everywhere, 2)), ask=False)
        images = images or _reference_gap(reference, self.axes, self.steps, everywhere) or 0
        if stated:
            _check_stated(everywhere, stated, images, thick)
        self.gap = _gap(everywhere, stated or images, thick)
        rows = np.round((depths - depths.min()) / self.gap).astype(int)
        if np.abs(depths - depths.min() - rows * self.gap).max() > 0.1 * self.gap:
            raise _format("has frames that are not evenly spaced", "E_MASK_UNEVEN")
        self.origin = places[int(np.argmin(depths))]
        self.shape = (int(rows.max()) + 1, int(data.Rows), int(data.Columns))
        self._row = {id(frame): row for frame, row in zip(frames, rows, strict=True)}

    @property
    def voxel_ml(self) -> float:
        """Volume of a voxel."""
        return self.steps[0] * self.steps[1] * self.gap / 1000

    def volume(self, frames: list[Frame], plane: Callable[[Frame], np.ndarray]) -> np.ndarray:
        """bool (z, y, x) of the frames, each as ``plane(frame)`` marks it."""
        volume = np.zeros(self.shape, bool)
        for frame in frames:
            volume[self._row[id(frame)]] |= plane(frame)
        return volume

    def contoured(self, volume: np.ndarray) -> Contoured:
        """The volume at its place."""
        image = sitk.GetImageFromArray(volume.astype(np.uint8))
        image.SetSpacing([float(self.steps[1]), float(self.steps[0]), self.gap])
        image.SetDirection(self.axes.ravel().tolist())
        image.SetOrigin(self.origin.tolist())
        return Contoured(image, self.frame, self.drawn, listed=self.listed)


def _bits(data: Dataset, kind: str, frames: list[Frame], told: list[str]) -> int:
    """Bits of a voxel in the file: 1, or those allocated.

    Frames or segments padded to whole bytes, and one bit said to be eight, are met: only the length tells.
    """
    bits = int(data.get("BitsAllocated", 0))
    if "PixelData" not in data or not bits:
        raise _incomplete()
    if int(data.get("SamplesPerPixel", 1)) != 1 or (bits == 1 and kind != "BINARY"):
        raise _pixels("has pixels that are not of its kind")
    syntax = data.file_meta.get("TransferSyntaxUID") if hasattr(data, "file_meta") else None
    if syntax is not None and syntax.is_compressed and not syntax.is_deflated:
        return bits
    size, raw = int(data.Rows) * int(data.Columns), data.PixelData
    voxels = len(frames) * size
    needed = -(-voxels * bits // 8)
    if not needed <= len(raw) <= needed + needed % 2:
        raise _pixels(f"holds {len(raw)} bytes of pixels instead of {needed}")
    if bits == 1 and any(np.unpackbits(np.frombuffer(raw, np.uint8), bitorder="little")[voxels:]):
        raise _pixels("holds pixels behind its last frame")
    if bits == 1 and size % 8 and len(frames) > 1:
        sizes = Counter(_segment(frame) for frame in frames).values()
        padded = {len(frames) * -(-size // 8)}
        padded |= {sum(-(-n * size // 8) for n in sizes)} if len(sizes) > 1 else set()
        if {-(-n // 2) for n in padded} & {len(raw) // 2}:
            told.append(
                "The pixels would take as many bytes if every frame or segment were padded to whole bytes, as some "
                "programs do against the standard: please check the picture"
            )
    return bits


def _plane(data: Dataset, frame: Frame, bits: int, shape: tuple[int, int]) -> np.ndarray:
    """A frame of a binary segmentation: frames follow each other without padding, lowest bit first."""
    if bits != 1:
        return pixels(frame, "MASK") != 0
    size, index = shape[0] * shape[1], frame.index
    try:
        if (
            data.file_meta.TransferSyntaxUID.is_compressed
            and not data.file_meta.TransferSyntaxUID.is_deflated
        ):
            from pydicom.pixels import pixel_array

            return np.asarray(pixel_array(data, index=index, raw=True)).reshape(shape) != 0
        first, last = index * size // 8, -(-(index + 1) * size // 8)
        found = np.unpackbits(np.frombuffer(data.PixelData[first:last], np.uint8), bitorder="little")
        return found[index * size - first * 8 :][:size].reshape(shape) != 0
    except Exception:  # decoders raise many kinds
        raise _incomplete() from None


def _fractional(data: Dataset, grid: _Grid, frames: list[Frame]) -> np.ndarray:
    most = float(data.get("MaximumFractionalValue", 255) or 255)
    highest = 0.0

    def plane(frame: Frame) -> np.ndarray:
        nonlocal highest
        values = pixels(frame, "MASK")
        highest = max(highest, float(values.max()))
        return values >= 0.5 * most

    volume = grid.volume(frames, plane)
    if highest > most:
        raise DataError(
            "E_MASK_VALUES",
            f"The segmentation holds fractions up to {highest:g} of {most:g} (MaximumFractionalValue)",
            "fractions of the maximum",
            "Export it again",
        )
    if highest and not volume.any():
        raise unusable(f"its highest fraction is {highest:g} of {most:g} (MaximumFractionalValue)")
    return volume


def _places(headers: list[Header]) -> tuple[np.ndarray, np.ndarray, tuple[float, ...]]:
    places, turns = (
        [h.numbers("ImagePositionPatient", 3) for h in headers],
        [h.numbers("ImageOrientationPatient", 6) for h in headers],
    )
    steps = headers[0].numbers("PixelSpacing", 2)
    if steps is None or min(steps) <= 0 or any(p is None for p in places) or any(t is None for t in turns):
        raise _format("does not place its frames in the body")
    if np.ptp(np.array(turns), 0).max() > 1e-3:
        raise _format("has frames of different orientation")
    row, column = np.array(turns[0][:3]), np.array(turns[0][3:])
    axes = np.column_stack([row, column, np.cross(row, column)])
    if np.abs(axes.T @ axes - np.eye(3)).max() > 0.01:
        raise _format("has no right-angled orientation")
    left, _, right = np.linalg.svd(axes)
    return left @ right, np.array(places), steps


def _gap(depths: np.ndarray, step: float, thick: float) -> float:
    """Distance of planes in mm. Planes that hold nothing need not be stored, so frames may lie further apart.

    Args:
        depths: of all frames.
        step: of the planes, as the file or the images it was drawn on say; or 0.
        thick: SliceThickness, or 0; less than the step where slices leave gaps, more where they overlap.
    """
    found = np.diff(np.unique(np.round(depths, 3)))
    found = found[found > 0.01]
    least = float(found.min()) if len(found) else 0.0
    sparse = least > (1.5 * step if step else 1.9 * thick)
    step = step or thick
    if not least and not step:
        raise _format("has one plane and does not say how thick it is")
    if not least:
        return step
    if not step or not sparse:
        return float(np.mean(found[found < 1.5 * least]))
    if np.abs(found / step - np.round(found / step)).max() >= 0.05:
        raise _format(
            f"has planes {least:.3g} mm apart but {step:.3g} mm thick, and does not say what lies between"
        )
    return step


def _check_stated(depths: np.ndarray, stated: float, images: float, thick: float) -> None:
    """Refuse a SpacingBetweenSlices that leaves all planes apart, as far as the images or SliceThickness say that planes are.

    Args: as of ``_gap``; images: the distance of those it was drawn on, or 0.
    """
    found = np.diff(np.unique(np.round(depths, 3)))
    found = found[found > 0.01]
    if len(found) < 2 or found.min() <= 1.5 * stated or abs(images / stated - 1) < 0.05:
        return
    least = float(found.min())
    even = np.abs(found / least - np.round(found / least)).max() < 0.05
    if even and any(abs(least / told - 1) < 0.05 for told in (images, thick) if told):
        raise _format(
            f"has planes {least:.3g} mm apart, as thick as they are, but says {stated:.3g} mm (SpacingBetweenSlices)"
        )


def _reference_gap(
    reference: sitk.Image, axes: np.ndarray, steps: tuple[float, ...], depths: np.ndarray
) -> float | None:
    """Slice distance of the PET where the frames were drawn on its very voxels."""
    grid, spacing = np.reshape(reference.GetDirection(), (3, 3)), np.array(reference.GetSpacing())
    order = np.argmax(np.abs(grid.T @ axes), axis=0)  # axis of the PET along each of row, column, normal
    if np.abs(np.abs(grid.T @ axes)[order, range(3)] - 1).max() > 1e-4:
        return None
    if np.abs(spacing[order[:2]] / [steps[1], steps[0]] - 1).max() > 1e-3:
        return None
    step = float(spacing[order[2]])
    planes = (depths - np.array(reference.GetOrigin()) @ axes[:, 2]) / step
    return step if np.abs(planes - np.round(planes)).max() < 0.05 else None


def _format(found: str, code: str = "E_MASK_SEG_GEOMETRY") -> DataError:
    return DataError(
        code, f"The segmentation {found}", "a standard DICOM SEG", "Export it again or use NIfTI"
    )


def _pixels(found: str) -> DataError:
    return DataError(
        "E_MASK_SEG_PIXELS",
        f"The segmentation {found}",
        "one bit a voxel without padding between frames, or one byte",
        "Copy it again, export it with another program, or use NIfTI",
    )


def _incomplete() -> DataError:
    return DataError(
        "E_MASK_TRUNCATED", "The pixels of the segmentation are incomplete", "a whole file", "Copy again"
    )
