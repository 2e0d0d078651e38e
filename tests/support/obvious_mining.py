"""Mining as one would write it at once: all distances, full sorts, loops. Right and slow."""

from __future__ import annotations

import numpy as np
import torch

from darkside_cli.retrieval.mining.draws import TorchDraws


def obvious_anchors(
    pool: np.ndarray, count: int, exclude: float, include: float, draws: TorchDraws | None
) -> tuple[list[int], list[float]]:
    """Positions and similarities, from the matrix of all similarities."""
    similar = torch.from_numpy(pool) @ torch.from_numpy(pool).T
    chosen, similarities = [0], []
    while len(chosen) < count:
        nearest = similar[chosen].amax(dim=0)
        nearest[chosen] = torch.inf
        left = len(pool) - len(chosen)
        upper = max(int(left * (1 - exclude)), 1)
        lower = min(int(left * (1 - include)), upper - 1)
        candidates = nearest.argsort(stable=True)[lower:upper]
        picked = int(candidates[-1] if draws is None else candidates[draws.below(len(candidates))])
        chosen.append(picked)
        similarities.append(float(nearest[picked]))
    return chosen, similarities


def obvious_negatives(
    queries: np.ndarray, query_clusters: np.ndarray, pool: np.ndarray, pool_clusters: np.ndarray, count: int
) -> list[list[int]]:
    """Positions of the negatives, from the full ranked list of each query."""
    scores = torch.from_numpy(queries) @ torch.from_numpy(pool).T
    ranked = scores.argsort(dim=1, descending=True, stable=True).numpy()
    result = []
    for cluster, order in zip(query_clusters.tolist(), ranked, strict=True):
        seen, found = {cluster}, []
        for position in order.tolist():
            if len(found) == count:
                break
            if int(pool_clusters[position]) not in seen:
                seen.add(int(pool_clusters[position]))
                found.append(position)
        result.append(found)
    return result


def exact_rows(rng: np.random.Generator, rows: int, dim: int, *, levels: int | None = None) -> np.ndarray:
    """Descriptors whose products are exact in float32, however they are summed: equal results are equal bits.

    Components are multiples of 1/2048, so that products are multiples of 2^-22 and their sums, at most about 1, have
    as many digits as float32 has. With ``levels`` they are small whole numbers, so that many products are equal.
    """
    if levels is not None:
        return rng.integers(-levels, levels + 1, (rows, dim)).astype(np.float32)
    table = rng.standard_normal((rows, dim), dtype=np.float32)
    table /= np.linalg.norm(table, axis=1, keepdims=True)
    return (np.round(table * 2048) / 2048).astype(np.float32)
