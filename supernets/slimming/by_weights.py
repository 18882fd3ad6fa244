"""Importance by the sizes of weights, for which no data are needed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from search_spaces.channel_groups import Coupling
from supernets.channels import rows_of_units
from supernets.post_training.reference import Reference
from supernets.slimming.readings import readings, weight_of


def filter_norm(reference: Reference, found: Coupling) -> Mapping[str, Tensor]:
    """The sum of the sizes of the weights that make a unit (Li et al. 2017, section 3.1)."""
    network, scores = reference.network, dict[str, Tensor]()
    for name in found.free:
        made = [
            rows_of_units(replace(along, axes=(0,)), weight_of(network, along.address), name)
            for along in found.of(name)
            if not along.reads and along.name == "weight" and along.address in network.parameters
        ]
        if made:
            scores[name] = torch.stack([rows.abs().sum(1) for rows in made]).sum(0)
    return scores


def reading_norm(reference: Reference, found: Coupling) -> Mapping[str, Tensor]:
    """The sum of the sizes of the weights that read a unit (Cai et al. 2020, section 3.3)."""
    network = reference.network
    return {
        name: torch.stack([one.units_of_weight(network, name).abs().sum(1) for one in here]).sum(0)
        for name, here in readings(network, found).items()
    }
