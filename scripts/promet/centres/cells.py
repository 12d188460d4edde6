"""Small cells: which counts may be shown, so that no few patients can be told from a table, directly or by subtraction."""

from __future__ import annotations

from collections.abc import Sequence

DEFAULT, FLOOR = 10, 5  # OpenSAFELY redacts up to 7; DataSHIELD's users ask for 5 to 10


def shown(part: int, whole: int, limit: int, nobody: bool = True) -> int | str:
    """A count ``part`` of ``whole`` patients: itself, or "<limit", or ">rest" where the rest would be small.

    ``nobody``: whether 0 (and everyone) may be told; not where it says of each patient what happened.
    """
    if part < limit and not (nobody and part == 0):
        return f"<{limit}"
    rest = whole - part
    return part if rest >= limit or (nobody and rest == 0) else f">{max(whole - limit, 0)}"


def hidden(groups: Sequence[Sequence[int]], limit: int) -> set[int]:
    """Groups of a partition whose counts may not be shown.

    Args:
        groups: of each group the counts that must not be small (with the event, without it).

    Returns:
        Those with a small count and, while what is hidden would follow by subtraction from the whole, the next smallest one.
    """
    gone = {i for i, counts in enumerate(groups) if min(counts) < limit}
    while gone and len(gone) < len(groups):
        together = [sum(groups[i][k] for i in gone) for k in range(len(groups[0]))]
        if len(gone) > 1 and min(together) >= limit:
            break
        gone.add(min((i for i in range(len(groups)) if i not in gone), key=lambda i: (min(groups[i]), i)))
    return gone
