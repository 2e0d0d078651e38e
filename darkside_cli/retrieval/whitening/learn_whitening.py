"""Whitening learned from descriptors: discriminatively, from pairs (Lw), or by PCA.

Lw is Mikolajczyk and Matas, ICCV 2007, as in Radenović et al., TPAMI 2019, section 3.4: ``C_S`` is the mean of
``(f_i - f_j)(f_i - f_j)^T`` over matching pairs; its inverse square root takes the variation within places away, and a
rotation orders what is left by how much descriptors differ in it. PCA whitening is Jégou and Chum, ECCV 2012; its
shrinkage as in cirtorch. The shrinkage of few pairs' covariance is Chen et al., IEEE TSP 2010. Everything is computed
in float64, blocks of descriptors at a time.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solve_triangular

from darkside_cli.errors import UsageError
from darkside_cli.events import Emit, Notice, ignore
from darkside_cli.metrics.ranking import IntArray
from darkside_cli.networks.weights import Whitening

Matrix = NDArray[np.float64]
Rows = NDArray[Any]

# What is tried to add to the diagonal of a covariance that is not positive definite: this, ten times this, …
_FIRST_ADDED, _MOST_ADDED = 1e-10, 1e10
_BLOCK_VALUES = 1 << 22


def learn_whitening(
    descriptors: Rows,
    query_index: IntArray,
    positive_index: IntArray,
    *,
    shrink: bool = False,
    emit: Emit = ignore,
) -> Whitening:
    """Learn Lw from ``descriptors`` (N, D) and pairs of them that match, (P,) each.

    The mean is that of the queries, the rotation comes from all descriptors. Rows of the projection (D, D) come by
    decreasing eigenvalue, each with its largest component positive. Rows of ``descriptors`` that are not finite are
    images without one: they and their pairs are passed over, which is told.

    With fewer pairs than dimensions the covariance of the differences has no Cholesky factor; then, as published, 1e-10
    is added to its diagonal, or 1e-9, …, whatever suffices, and told: what such a whitening does in the dimensions in
    which no pair differs is up to chance. ``shrink`` brings the covariance of so few pairs nearer to one that is the
    same in all directions instead, by as much as :func:`shrinkage` says.

    Raises UsageError if there are no pairs, an index is out of range, or descriptors are no table of numbers.
    """
    _check(descriptors)
    queries, positives = (
        np.asarray(index, dtype=np.int64).reshape(-1) for index in (query_index, positive_index)
    )
    if len(queries) != len(positives):
        raise UsageError(f"{len(queries)} queries and {len(positives)} positives are no pairs")
    ends = np.concatenate([queries, positives])
    if len(ends) and not (ends.min() >= 0 and ends.max() < len(descriptors)):
        raise UsageError("a pair has an image without a row among the descriptors", hint="give all of them")
    finite = _finite(descriptors, emit)
    usable = finite[queries] & finite[positives]
    if not usable.any():
        raise UsageError(
            f"none of {len(queries)} pairs has descriptors of both images",
            hint="whitening needs matching pairs",
        )
    queries, positives = queries[usable], positives[usable]
    few = len(queries) < descriptors.shape[1]
    mean = _mean(descriptors, queries)
    within = np.zeros((descriptors.shape[1],) * 2)
    for start in range(0, len(queries), _height(descriptors)):
        here = slice(start, start + _height(descriptors))
        difference = _float64(descriptors[queries[here]]) - _float64(descriptors[positives[here]])
        within += difference.T @ difference
    within /= len(queries)
    shrunk = shrinkage(within, len(queries)) if few and shrink else 0.0
    if few:
        done = f"; their covariance was shrunk by {shrunk:.0%} to make up for it" if shrunk else ""
        emit(
            Notice(
                f"{len(queries)} pairs are few for {descriptors.shape[1]} dimensions: a whitening needs several times "
                f"as many pairs as dimensions{done}",
                level="warning",
            )
        )
    within += shrunk * (np.trace(within) / len(within) * np.eye(len(within)) - within)
    factor, added = _cholesky(within, emit)
    unmix = solve_triangular(factor, np.eye(len(factor)), lower=True)
    between = np.zeros_like(within)
    for part in _blocks(descriptors, np.flatnonzero(finite)):
        mixed = (part - mean) @ unmix.T
        between += mixed.T @ mixed
    _, vectors = _eigen(between)
    metadata = {
        "method": "lw",
        "pairs": len(queries),
        "images": int(finite.sum()),
        "added_to_diagonal": added,
        **({"shrunk": shrunk} if shrunk else {}),
    }
    return Whitening(mean, _with_signs(vectors.T @ unmix), metadata)


def shrinkage(covariance: Matrix, samples: int) -> float:
    """How far, 0 to 1, to bring a covariance (D, D) of few ``samples`` towards ``trace / D`` on the diagonal alone.

    The oracle approximating shrinkage, equation 23 of Chen, Wiesel, Eldar and Hero, "Shrinkage Algorithms for MMSE
    Covariance Estimation", IEEE TSP 2010. 0 where nothing varies.
    """
    dim = len(covariance)
    squares, trace = float((covariance**2).sum()), float(np.trace(covariance))
    apart = squares - trace**2 / dim
    if not trace > 0:
        return 0.0
    if apart <= 0:
        return 1.0
    return min(1.0, ((1 - 2 / dim) * squares + trace**2) / ((samples + 1 - 2 / dim) * apart))


def pca_whitening(
    descriptors: Rows,
    *,
    shrink: int | None = None,
    weights: NDArray[np.float64] | None = None,
    emit: Emit = ignore,
) -> Whitening:
    """Learn a PCA whitening from ``descriptors`` (N, D): ``diag(v)^(-1/2) V^T`` of their covariance.

    ``weights`` (N,), positive: how much each counts in mean and covariance; alike without them.

    ``shrink`` k makes eigenvalues ``(1 - b) v + b`` with b the k-th largest (counted from 1), so that small ones are
    not blown up. Without it, dimensions in which descriptors do not differ are left out, and that is told. Rows that
    are not finite are passed over.

    Raises UsageError if fewer than two descriptors are there, all are the same, ``shrink`` is out of range, or the
    eigenvalue it names is above 1.
    """
    _check(descriptors)
    dim = descriptors.shape[1]
    if shrink is not None and not 1 <= shrink <= dim:
        raise UsageError(f"shrinkage by eigenvalue {shrink} of {dim}", hint=f"give 1 to {dim}")
    finite = _finite(descriptors, emit)
    chosen = np.flatnonzero(finite)
    if len(chosen) < 2:
        raise UsageError(f"{len(chosen)} descriptors are too few to whiten", hint="give a few thousand")
    shares = None if weights is None else weights[chosen] / weights[chosen].sum()
    mean = _mean(descriptors, chosen, shares)
    covariance = np.zeros((dim, dim))
    for first, part in zip(
        range(0, len(chosen), _height(descriptors)), _blocks(descriptors, chosen), strict=True
    ):
        apart = part - mean
        counted = apart if shares is None else apart * shares[first : first + len(part), None]
        covariance += counted.T @ apart
    values, vectors = _eigen(covariance if shares is not None else covariance / len(chosen))
    if values[0] <= 0:
        raise UsageError("all descriptors are the same", hint="give descriptors of different images")
    if shrink is not None:
        if values[shrink - 1] > 1:
            raise UsageError(
                "shrinkage is for descriptors of unit length", hint="normalise them, or leave it out"
            )
        # Rounding makes zeros a little less than zero; that must not come before what is added.
        values = (1 - values[shrink - 1]) * values.clip(min=0) + values[shrink - 1]
    rank = int((values > values[0] * dim * np.finfo(np.float64).eps).sum())
    if rank < dim:
        emit(
            Notice(
                f"{len(chosen)} descriptors differ in {rank} of {dim} dimensions only: the whitening gives {rank}",
                level="warning",
            )
        )
    projection = vectors[:, :rank].T / np.sqrt(values[:rank, None])
    metadata = {"method": "pca", "images": len(chosen), "shrink": shrink}
    return Whitening(mean, _with_signs(projection), metadata)


def _check(descriptors: Rows) -> None:
    if descriptors.ndim != 2 or not np.issubdtype(descriptors.dtype, np.floating) or 0 in descriptors.shape:
        raise UsageError(
            f"descriptors are a table (N, D) of numbers, not {descriptors.shape} {descriptors.dtype}",
            hint="one row an image",
        )


def _height(descriptors: Rows) -> int:
    return max(1, _BLOCK_VALUES // int(descriptors.shape[1]))


def _mean(descriptors: Rows, rows: IntArray, shares: NDArray[np.float64] | None = None) -> Matrix:
    total, first = np.zeros(descriptors.shape[1]), 0
    for part in _blocks(descriptors, rows):
        total += part.sum(axis=0) if shares is None else shares[first : first + len(part)] @ part
        first += len(part)
    return total if shares is not None else total / len(rows)


def _float64(rows: Rows) -> Matrix:
    return np.asarray(rows, dtype=np.float64)


def _blocks(descriptors: Rows, rows: IntArray) -> Iterator[Matrix]:
    for start in range(0, len(rows), _height(descriptors)):
        yield _float64(descriptors[rows[start : start + _height(descriptors)]])


def _finite(descriptors: Rows, emit: Emit) -> NDArray[np.bool_]:
    height = _height(descriptors)
    parts = [
        np.isfinite(descriptors[first : first + height]).all(axis=1)
        for first in range(0, len(descriptors), height)
    ]
    finite: NDArray[np.bool_] = np.concatenate(parts)
    lost = len(finite) - int(finite.sum())
    if lost:
        emit(
            Notice(f"{lost} of {len(finite)} images have no descriptor and are passed over", level="warning")
        )
    return finite


def _cholesky(matrix: Matrix, emit: Emit) -> tuple[Matrix, float]:
    """Lower factor of ``matrix`` with as little added to its diagonal as lets it have one, and how much that is."""
    try:
        return _float64(np.linalg.cholesky(matrix)), 0.0
    except np.linalg.LinAlgError:
        pass
    added = _FIRST_ADDED
    while added <= _MOST_ADDED:
        try:
            factor = _float64(np.linalg.cholesky(matrix + added * np.eye(len(matrix))))
        except np.linalg.LinAlgError:
            added *= 10
            continue
        emit(
            Notice(
                f"the pairs' covariance is not positive definite: {added:.0e} was added to its diagonal",
                level="warning",
            )
        )
        return factor, added
    raise UsageError("the pairs' covariance has no Cholesky factor", hint="check the descriptors")


def _eigen(matrix: Matrix) -> tuple[Matrix, Matrix]:
    """Eigenvalues (D,), largest first, and eigenvectors (D, D), one a column, of a symmetric matrix."""
    values, vectors = np.linalg.eigh((matrix + matrix.T) / 2)
    return values[::-1], vectors[:, ::-1]


def _with_signs(projection: Matrix) -> Matrix:
    """Give each row the sign that makes its largest component positive: solvers leave that to chance."""
    largest = np.abs(projection).argmax(axis=1)
    signs = np.where(projection[np.arange(len(projection)), largest] < 0, -1.0, 1.0)
    return projection * signs[:, None]
