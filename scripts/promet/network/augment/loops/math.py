"""Functions that compiled loops call without leaving their vectors, float32."""

from __future__ import annotations

import numpy as np

from promet.network.compiled import compiled

# Adding and subtracting 1.5 * 2^23 leaves no bits for a fraction: rounds half to even, without a call.
ROUND = np.float32(1.5 * 2**23)
# Least-maximum polynomials, lowest power first; errors 3e-8, 8e-8 (relative), 5e-9 (relative) and 5e-8.
LOG2 = (1.442695, -0.72134735, 0.48091064, -0.36070368, 0.28791623, -0.23894494, 0.21571591, -0.20726909)
LOG2 = tuple(np.float32(term) for term in (*LOG2, 0.12583538))  # log2(1 + t) / t, 1 + t from 0.707 to 1.414
EXP2 = (1.00000007, 0.69314697, 0.2402212, 0.05550713, 0.00967554, 0.00132765)
EXP2 = tuple(np.float32(term) for term in EXP2)  # 2^t, t from -0.5 to 0.5
SINE = (3.14159264, -5.16770968, 2.55006973, -0.59824213, 0.07756039)
SINE = tuple(np.float32(term) for term in SINE)  # sin(pi t) / t in t^2, t from -0.5 to 0.5
COSINE = (0.99999995, -4.93479286, 4.05841192, -1.33188016, 0.21969679)
COSINE = tuple(np.float32(term) for term in COSINE)  # cos(pi t) in t^2


@compiled
def polynomial(x: float, terms: tuple[float, ...]) -> float:
    """Sum of terms times powers of x, lowest power first."""
    value = terms[-1]
    for k in range(len(terms) - 2, -1, -1):
        value = value * x + terms[k]
    return value


@compiled
def log2(x: float) -> float:
    """Of a float32 that is positive and not subnormal; without a call, so that loops stay vectors."""
    bits = np.float32(x).view(np.int32)
    power = np.int32(np.int32(bits - np.int32(0x3F3504F3)) >> np.int32(23))  # 0 from 0.707 to 1.414
    t = np.int32(bits - np.int32(power << np.int32(23))).view(np.float32) - np.float32(1)
    return t * polynomial(t, LOG2) + np.float32(power)


@compiled
def exp2(x: float) -> float:
    """Of a float32 below 127; 2^-126 for what is smaller."""
    x = np.float32(-126) if x < np.float32(-126) else x
    whole = x + ROUND - ROUND
    scale = np.int32((np.int32(whole) + np.int32(127)) << np.int32(23)).view(np.float32)
    return polynomial(x - whole, EXP2) * scale
