"""Proxies of the gradients of the summed output with respect to each sample of a batch."""

from __future__ import annotations

import itertools
from collections.abc import Mapping

import torch
from torch import Tensor

from predictors.proxies.proxy import Proxy, Value
from predictors.proxies.subject import Subject

_STABLE = 1e-5
_MANY_CLASSES = 100


def jacob_cov(subject: Subject) -> Mapping[str, Value]:
    """The proxy `jacob_cov` (Mellor et al. 2020, first version).

    It is -sum(log(v + k) + 1 / (v + k)) over the eigenvalues v of the correlation matrix of J, with
    k = 1e-5. Row n of J is the gradient of the summed output with respect to sample n, or to the
    embeddings of its tokens. A batch of one sample has no such value, nor has one in which the
    gradient of a sample is constant. Cost: one forward and one backward pass.
    """
    correlation = _correlation(subject)
    if correlation is None:
        return {}
    # Rounding may leave an eigenvalue of a correlation matrix a little below zero.
    values = torch.linalg.eigvalsh(correlation).clamp(min=0.0) + _STABLE
    return {"jacob_cov": Value(-float((values.log() + 1.0 / values).sum()))}


def epe_nas(subject: Subject) -> Mapping[str, Value]:
    """The proxy `epe_nas`: correlations of J of `jacob_cov` within each class (Lopes et al. 2021).

    With s(c) the sum of log(|r| + k) over all correlations r of two samples of class c, k = 1e-5,
    it is the sum over classes of |s|. For more than 100 classes it is the sum of |s(c) - s(d)| over
    all pairs of classes, divided by the number of classes. There is none if the targets are not one
    class for each sample. Cost: one forward and one backward pass, those of `jacob_cov`.
    """
    targets = subject.targets
    if targets.shape != (subject.count,) or targets.is_floating_point():
        return {}
    correlation = _correlation(subject)
    if correlation is None:
        return {}
    sums = []
    for kind in targets.unique().tolist():
        (of_class,) = (targets == kind).cpu().nonzero(as_tuple=True)
        inside = correlation[of_class][:, of_class]
        sums.append(float((inside.abs() + _STABLE).log().sum()))
    if len(sums) <= _MANY_CLASSES:
        return {"epe_nas": Value(sum(map(abs, sums)))}
    pairs = itertools.combinations(sums, 2)
    return {"epe_nas": Value(sum(abs(one - other) for one, other in pairs) / len(sums))}


def _correlation(subject: Subject) -> Tensor | None:
    """The correlations of the rows of J, `(n, n)`; None where they are not defined."""
    rows = subject.jacobian
    if rows is None or len(rows) < 2:
        return None
    correlation = torch.corrcoef(rows)
    return correlation if bool(correlation.isfinite().all()) else None


JACOB_COV = Proxy(jacob_cov, {"jacob_cov": True})
EPE_NAS = Proxy(epe_nas, {"epe_nas": True})
