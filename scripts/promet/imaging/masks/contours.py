"""The contours of one structure on one plane to an area.

Identical contours count once. One that lies wholly inside another is a hole, and one inside a hole an island: exporters
draw holes so. Those that overlap in part are united. Exclusive or is for CLOSEDPLANAR_XOR alone, which DICOM defines so
(PS3.3 C.8.8.6.3). Neither order, direction nor first point of contours matters.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

SAME = 0.5  # mm; outlines nowhere further apart than twice this, and less than this on average, are one drawn twice
SAMPLES = 400  # of a line, where it is compared with another


@dataclass
class Area:
    """What the contours of a plane enclose, in pixels.

    Attributes:
        inside: bool (row, column).
        filled: pixels if holes were filled.
        xor: pixels by exclusive or of all contours.
        copies, holes: contours that are copies of others, that are holes.
        partial: whether contours overlap in part.
    """

    inside: np.ndarray
    filled: int
    xor: int
    copies: int = 0
    holes: int = 0
    partial: bool = False


@dataclass
class _Outline:
    points: np.ndarray  # pixels
    raster: np.ndarray
    area: int


def fill(contours: list[np.ndarray], xor: list[bool], shape: tuple[int, int], step: float) -> Area:
    """The area of the contours of one plane.

    Args:
        contours: (n, 2) row and column each, pixel centres at whole numbers.
        xor: whether each is of the type CLOSEDPLANAR_XOR.
        shape: rows, columns.
        step: mm of a pixel.
    """
    if len(contours) == 1:
        area = _raster(contours[0], shape)
        return Area(area, np.count_nonzero(area), np.count_nonzero(area))
    plain, copies = _distinct([c for c, x in zip(contours, xor, strict=True) if not x], shape, step)
    toggling, more = _distinct([c for c, x in zip(contours, xor, strict=True) if x], shape, step)
    inside, either = np.zeros(shape, bool), np.zeros(shape, bool)
    for outline in toggling:
        inside ^= outline.raster
    either |= inside
    depth, around = _nest(plain, step)
    for index, outline in enumerate(plain):
        if depth[index] % 2:
            continue
        region = outline.raster
        for hole, holders in enumerate(around):
            if index in holders and depth[hole] == depth[index] + 1:
                region = region & ~plain[hole].raster
        inside |= region
        either |= outline.raster
    odd = np.zeros(shape, bool)
    for outline in (*plain, *toggling):
        odd ^= outline.raster
    partial = any(
        _overlap(a, b, step)
        for j, b in enumerate(plain)
        for i, a in enumerate(plain[:j])
        if i not in around[j] and j not in around[i]
    )
    return Area(
        inside,
        np.count_nonzero(either),
        np.count_nonzero(odd),
        copies + more,
        sum(level % 2 for level in depth),
        partial,
    )


def inside(points: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Pixels of ``shape`` whose centre a polygon encloses by the even-odd rule.

    The same as skimage.draw.polygon2mask but for centres that lie exactly on an edge, in time of the
    outline's length instead of pixels times points.

    Args:
        points: (n, 2) row and column, pixel centres at whole numbers; all rows within 0 .. shape[0] - 1.
    """
    ahead = np.roll(points, -1, 0)
    down = (points[:, 0] > ahead[:, 0])[:, None]  # each edge from its upper end, whichever way it was drawn
    start, end = np.where(down, ahead, points), np.where(down, points, ahead)
    first = np.ceil(start[:, 0]).astype(int)
    count = np.maximum(np.ceil(end[:, 0]).astype(int) - first, 0)  # rows r with start <= r < end
    edge = np.repeat(np.arange(len(points)), count)
    row = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count) + first[edge]
    (r0, c0), (r1, c1) = start[edge].T, end[edge].T
    column = np.ceil(c0 + (row - r0) * (c1 - c0) / (r1 - r0)).astype(int)
    crossings = np.zeros((shape[0], shape[1] + 1), np.int32)
    np.add.at(crossings, (row, np.clip(column, 0, shape[1])), 1)
    return np.cumsum(crossings[:, :-1], axis=1) % 2 == 1


def once(points: np.ndarray) -> np.ndarray:
    """A closed line (n, 3) in mm without repeated points, and once around if it was written twice around."""
    points = points[np.linalg.norm(points - np.roll(points, 1, 0), axis=1) > 1e-3]
    half = len(points) // 2
    if half > 2 and len(points) == 2 * half and np.abs(points[:half] - points[half:]).max() < SAME / 2:
        return points[:half]
    return points


def _distinct(contours: list[np.ndarray], shape: tuple[int, int], step: float) -> tuple[list[_Outline], int]:
    """The outlines of some area, largest first and copies laid over each other; how many are copies."""
    kept = [
        _Outline(points, raster, np.count_nonzero(raster))
        for points in contours
        for raster in [_raster(points, shape)]
    ]
    kept = [outline for outline in kept if outline.area]
    kept.sort(key=lambda outline: (-outline.area, int(outline.raster.argmax())))
    distinct: list[_Outline] = []
    for outline in kept:
        same = next((k for k in distinct if _same(k, outline, step)), None)
        if same is None:
            distinct.append(outline)
        else:
            same.raster = same.raster | outline.raster
    return distinct, len(kept) - len(distinct)


def _raster(points: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    raster = np.zeros(shape, bool)
    low = np.maximum(np.floor(points.min(0)).astype(int) - 1, 0)
    high = np.minimum(np.ceil(points.max(0)).astype(int) + 2, shape)
    raster[low[0] : high[0], low[1] : high[1]] = inside(points - low, tuple(high - low))
    return raster


def _relation(points: np.ndarray, line: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distance (n,) of points to a closed line, and whether it encloses them (n,), by the even-odd rule."""
    points = points[:: max(1, len(points) // SAMPLES)]
    ahead = np.roll(line, -1, 0)
    along, to = ahead - line, points[:, None] - line
    share = np.clip((to * along).sum(-1) / np.maximum((along**2).sum(-1), 1e-12), 0, 1)
    distance = np.sqrt(((to - share[..., None] * along) ** 2).sum(-1)).min(1)
    above = line[:, 0] > points[:, :1]
    crosses = above != (ahead[:, 0] > points[:, :1])
    at = along[:, 1] * to[..., 0] / np.where(along[:, 0] == 0, 1, along[:, 0])
    return distance, (crosses & (to[..., 1] < at)).sum(1) % 2 == 1


def _apart(a: _Outline, b: _Outline, far: float) -> bool:
    """Whether the boxes of two lines differ by more than ``far``: quicker than the lines themselves."""
    return bool(
        np.abs(np.r_[a.points.min(0) - b.points.min(0), a.points.max(0) - b.points.max(0)]).max() > far
    )


def _same(a: _Outline, b: _Outline, step: float) -> bool:
    near = SAME / step
    if _apart(a, b, 2 * near):
        return False
    both = [_relation(one, other)[0] for one, other in ((a.points, b.points), (b.points, a.points))]
    return all(found.mean() <= near and found.max() <= 2 * near for found in both)


def _holds(outer: _Outline, inner: _Outline, step: float) -> bool:
    """Whether ``inner`` lies in ``outer``; it may touch its line."""
    if (inner.points.min(0) < outer.points.min(0) - SAME / step).any():
        return False
    if (inner.points.max(0) > outer.points.max(0) + SAME / step).any():
        return False
    distance, within = _relation(inner.points, outer.points)
    back, inside_out = _relation(outer.points, inner.points)
    return bool((within | (distance <= SAME / step)).all() and not (inside_out & (back > SAME / step)).any())


def _overlap(a: _Outline, b: _Outline, step: float) -> bool:
    """Whether they share more than touching lines do."""
    length = min(np.linalg.norm(o.points - np.roll(o.points, 1, 0), axis=1).sum() for o in (a, b))
    return np.count_nonzero(a.raster & b.raster) > min(SAME / step * length, 0.1 * min(a.area, b.area))


def _nest(outlines: list[_Outline], step: float) -> tuple[list[int], list[set[int]]]:
    """How deep each outline lies in others, and in which; outlines are sorted by area, largest first."""
    around: list[set[int]] = []
    depth: list[int] = []
    for j, inner in enumerate(outlines):
        holders = {i for i, outer in enumerate(outlines[:j]) if _holds(outer, inner, step)}
        around.append(holders)
        depth.append(max((depth[i] + 1 for i in holders), default=0))
    return depth, around
