"""What layers lose at a precision, seen at their own outputs, for which no network runs.

A layer's output error for weights that are off by `D` is `sum over rows d of d H d'`, where `H` is
the second moment of the layer's inputs in the float network. Times the slope of a loss of the whole
network, it foretells what the network loses (the linearity of Malinovskii et al. 2024, HIGGS).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from search_spaces.quant import Quant
from supernets.post_training.error_feedback import error_feedback, output_error
from supernets.post_training.lattice import lattice_of, matrices
from supernets.post_training.moments import second_moments
from supernets.post_training.nearest import rounded
from supernets.post_training.reference import Reference


@dataclass(frozen=True)
class OutputError:
    """The mean squared error of a layer's outputs, summed over channels.

    Attributes:
        nearest: With the weight rounded to the nearest.
        feedback: With the weight rounded with error feedback, as `gptq` does.
    """

    nearest: float
    feedback: float


def output_errors(
    reference: Reference, precisions: Mapping[str, Sequence[Quant]]
) -> dict[str, dict[Quant, OutputError]]:
    """The output errors of layers at some precisions, by address.

    Layers whose output is no product of a matrix with columns, such as embeddings, are left out.

    Args:
        reference: The float network and its calibration batches.
        precisions: Address -> the precisions of its weight.
    """
    network = reference.network
    found: dict[str, dict[Quant, OutputError]] = {}
    with torch.no_grad():
        grams = second_moments(network, reference.batches, precisions.keys())
        for address, gram in grams.items():
            held = network.weight(address)
            assert isinstance(held, np.ndarray)
            matrix = matrices(torch.from_numpy(held), len(gram))
            found[address] = {}
            for quant in precisions[address]:
                encoded = rounded(held, quant)
                near = torch.from_numpy(encoded.values()).reshape(matrix.shape)
                fed = error_feedback(matrix, gram, lattice_of(encoded, len(gram)))
                found[address][quant] = OutputError(
                    *(float(output_error(one - matrix, gram).sum()) for one in (near, fed))
                )
    return found
