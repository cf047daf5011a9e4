"""Principal components, quickly: what a bottleneck and a smaller student see."""

from __future__ import annotations

import numpy as np

from aarlab.w2s.task import Floats


def principal(a: Floats, keep: int, power: float = 0.5) -> Floats:
    """Directions (d, k) of the first k = min(keep, n, d) principal components of a centred matrix a (n, d).

    `a @ principal(a, k)` are the components, scaled by variance^(1/2 - power): power 0 keeps them as they are, 1/2
    whitens them. Subspace iteration from a fixed start (Halko et al. 2011): an exact decomposition of a thousand
    columns would cost more than all heads together.
    """
    n, d = a.shape
    keep = min(keep, d, n)
    basis = np.random.default_rng(0).standard_normal((d, min(keep + 12, d)), np.float32)
    for _ in range(4):
        basis = np.linalg.qr(a.T @ (a @ basis))[0]
    inside = a @ basis
    values, turn = np.linalg.eigh(inside.T @ inside / np.float32(n))
    values, turn = values[::-1][:keep], turn[:, ::-1][:, :keep]
    found: Floats = (basis @ (turn / np.maximum(values, 1e-6) ** np.float32(power))).astype(np.float32)
    return found
