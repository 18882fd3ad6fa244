"""The sensitivity of a network to the precision of each weight and of each layer's inputs.

Sensitivities are measured once on a float network and serve every budget and every device. Their
sum is a cost of whole policies that needs no further forward pass. Read the modules in this order:
`values` (sensitivities as numbers, and as a cost), `study` (the network and what to try), then the
kinds, which `nas.parts` names: `noise`, `outputs`, `curvature`; at last `interaction` (what two
layers lose together).
"""

from predictors.proxies.sensitivity.curvature import hessian_trace, output_fisher
from predictors.proxies.sensitivity.interaction import (
    InteractionCost,
    Interactions,
    interactions,
    neighbours,
    pairwise,
)
from predictors.proxies.sensitivity.noise import noise, sqnr, squared_error, weight_noise
from predictors.proxies.sensitivity.outputs import output_distance, together
from predictors.proxies.sensitivity.study import (
    Entry,
    Sensitivity,
    Site,
    Study,
    measured,
    weight_names,
)
from predictors.proxies.sensitivity.values import (
    SensitivityCost,
    Values,
    open_precisions,
    repaired,
    repaired_cost,
)

__all__ = [
    "Entry",
    "InteractionCost",
    "Interactions",
    "Sensitivity",
    "SensitivityCost",
    "Site",
    "Study",
    "Values",
    "hessian_trace",
    "interactions",
    "measured",
    "neighbours",
    "noise",
    "open_precisions",
    "output_distance",
    "output_fisher",
    "pairwise",
    "repaired",
    "repaired_cost",
    "sqnr",
    "squared_error",
    "together",
    "weight_names",
    "weight_noise",
]
