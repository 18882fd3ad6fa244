"""Second-order sensitivities: the trace of the Hessian, and the diagonal Fisher at the outputs.

Both take the distance of the output from that in full precision as the loss. At full precision its
gradient is 0 and its Hessian is J' H J, where J is the derivative of the output and H the Hessian
of the distance by the output. No labels are needed; for the Kullback-Leibler divergence, J' H J is
the Fisher information.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor, nn

from predictors.proxies.probe import Inputs
from predictors.proxies.rounding import rounded
from predictors.proxies.sensitivity.noise import squared
from predictors.proxies.sensitivity.study import Entry, Site, Study, Walk

PROBES = 8
DRAWS = 4
_STEPS = 24


def hessian_trace(study: Study, wanted: Sequence[Entry]) -> Iterator[tuple[Entry, float]]:
    """Half the mean eigenvalue of a tensor's Hessian times its squared rounding error.

    This is the expected rise of the loss by an error of random direction (HAWQ-V2, Dong et al.
    2020, equation 6, with the half of Taylor's series). The trace of J' H J is the mean square of
    J' times a random output whose covariance is H: unlike a product with random signs of all
    weights (Hutchinson 1990), the estimate for a tensor has no terms of other tensors and is never
    negative.
    """
    sites = list(dict.fromkeys(entry.site for entry in wanted))
    errors: dict[Entry, float] = defaultdict(float)
    for number, batch in enumerate(study.batches):
        share = len(study.references()[number]) / sum(map(len, study.references()))
        traces, read = _traces(study, sites, number, batch)
        for entry in wanted:
            x = read[entry.site]
            error = sum(squared(_rounded(one, entry) - one) for one in x)
            elements = sum(one.numel() for one in x)
            errors[entry] += share * traces[entry.site] / elements * error / 2
    yield from errors.items()


def _rounded(x: Tensor, entry: Entry) -> Tensor:
    return rounded(x, entry.quant, channels=0 if entry.site.tensor == "weight" else 1)


def traces(study: Study) -> dict[Site, float]:
    """The trace of the Hessian of the mean distance, by each weight or each layer's inputs."""
    sites, found = list(study.precisions), dict.fromkeys(study.precisions, 0.0)
    for number, batch in enumerate(study.batches):
        share = len(study.references()[number]) / sum(map(len, study.references()))
        for site, value in _traces(study, sites, number, batch)[0].items():
            found[site] += share * value
    return found


def _traces(
    study: Study, sites: Sequence[Site], number: int, batch: Inputs
) -> tuple[dict[Site, float], dict[Site, list[Tensor]]]:
    """The estimated traces for one batch, and the tensors at the sites."""
    with torch.inference_mode(mode=False), torch.enable_grad():
        out, tensors = _open(study, sites, batch)
        flat = [x for site in sites for x in tensors[site]]
        sums = dict.fromkeys(sites, 0.0)
        for slopes in _slopes(study, number, out, flat, draws=PROBES):
            pairs = iter(slopes)
            for site in sites:
                for _ in tensors[site]:
                    sums[site] += float(next(pairs).double().square().sum()) / PROBES
        return sums, {site: [x.detach() for x in tensors[site]] for site in sites}


def _open(
    study: Study, sites: Sequence[Site], batch: Inputs
) -> tuple[Tensor, dict[Site, list[Tensor]]]:
    """The outputs with gradients by the tensors at the sites, and those tensors."""
    weights = {
        study.weights[site.address]: nn.Parameter(study.weight(site.address).clone())
        for site in sites
        if site.tensor == "weight"
    }
    marks = frozenset(study.nodes[site.address] for site in sites if site.tensor == "activation")
    out, walk = study.walk(batch, tensors=weights, marks=marks)
    tensors: dict[Site, list[Tensor]] = {
        site: [weights[study.weights[site.address]]]
        if site.tensor == "weight"
        else walk.marked[study.nodes[site.address]]
        for site in sites
    }
    return out, tensors


def output_fisher(study: Study, wanted: Sequence[Entry]) -> Iterator[tuple[Entry, float]]:
    """Half the sum over a layer's outputs of their Fisher information times their squared error.

    The error is that of the layer alone, whose inputs are those in full precision. With the
    gradients of labels in place of the Fisher information, this is the score of NVIDIA ModelOpt.
    """
    found: dict[Entry, float] = dict.fromkeys(wanted, 0.0)
    nodes = list(dict.fromkeys(study.nodes[entry.site.address] for entry in wanted))
    for number, batch in enumerate(study.batches):
        share = len(study.references()[number]) / sum(map(len, study.references()))
        with torch.inference_mode(mode=False), torch.enable_grad():
            out, walk = study.walk(batch, keep=True, marks=frozenset(nodes))
            given = [walk.given[node] for node in nodes]
            fisher = _fisher(study, number, out, given)
        with torch.no_grad():
            for entry in wanted:
                node = study.nodes[entry.site.address]
                error = _replayed(study, walk, entry) - walk.given[node].detach()
                weighted = fisher[nodes.index(node)] * error.double().square()
                found[entry] += share * float(weighted.sum()) / 2
    yield from found.items()


def _fisher(study: Study, number: int, out: Tensor, given: Sequence[Tensor]) -> list[Tensor]:
    """The diagonal of the Hessian of the distance by each of the tensors `given`."""
    sums = [torch.zeros_like(x, dtype=torch.float64) for x in given]
    for slopes in _slopes(study, number, out, given, draws=DRAWS):
        for fisher, slope in zip(sums, slopes, strict=True):
            fisher.add_(slope.double().square() / DRAWS)
    return sums


def _slopes(
    study: Study, number: int, out: Tensor, tensors: Sequence[Tensor], *, draws: int
) -> Iterator[Sequence[Tensor]]:
    """J' times random outputs, of which each has the Hessian of the distance as its covariance."""
    reference = study.references()[number].clone()
    generator = study.generator(number)
    hessian = hessian_product(lambda y: study.distance(y, reference), out.detach())
    for _ in range(draws):
        normal = torch.randn(out.shape, generator=generator, dtype=torch.float64)
        drawn = root_product(hessian, normal.to(out.device)).to(out)
        yield torch.autograd.grad(out, tensors, drawn, retain_graph=True, materialize_grads=True)


def _replayed(study: Study, walk: Walk, entry: Entry) -> Tensor:
    node = study.nodes[entry.site.address]
    if entry.site.tensor == "activation":
        return walk.again(node, quant=entry.quant)
    name = study.weights[entry.site.address]
    return walk.again(node, weight=(name, study.rounded_weight(entry)))


def hessian_product(loss: Callable[[Tensor], Tensor], at: Tensor) -> Callable[[Tensor], Tensor]:
    """The function that multiplies a tensor by the Hessian of a loss at `at`, in float64."""
    with torch.inference_mode(mode=False), torch.enable_grad():
        y = at.detach().double().clone().requires_grad_()
        (slope,) = torch.autograd.grad(loss(y), y, create_graph=True)

    def product(v: Tensor) -> Tensor:
        return torch.autograd.grad(slope, y, v, retain_graph=True, materialize_grads=True)[0]

    return product


def root_product(hessian: Callable[[Tensor], Tensor], v: Tensor) -> Tensor:
    """The square root of a Hessian times `v`, by Lanczos' iteration (Golub and Van Loan, 10.1).

    Args:
        hessian: Multiplies by a symmetric matrix without negative eigenvalues.
        v: Any tensor, float64.
    """
    basis, diagonal, beside = [v / v.norm().clamp_min(1e-300)], list[Tensor](), list[Tensor]()
    for _ in range(min(_STEPS, v.numel())):
        w = hessian(basis[-1])
        diagonal.append((w * basis[-1]).sum())
        for _ in range(2):  # twice is enough for vectors that stay orthogonal
            for one in basis:
                w = w - (w * one).sum() * one
        beside.append(w.norm())
        if beside[-1] <= 1e-10 * max(float(one.abs()) for one in diagonal):
            break
        basis.append(w / beside[-1])
    size = len(diagonal)
    small = torch.diag(torch.stack(diagonal))
    for row, value in enumerate(beside[: size - 1]):
        small[row, row + 1] = small[row + 1, row] = value
    values, vectors = torch.linalg.eigh(small)
    weights = vectors @ (values.clamp_min(0.0).sqrt() * vectors[0]) * v.norm()
    return torch.einsum("k,k...->...", weights, torch.stack(basis[:size]))
