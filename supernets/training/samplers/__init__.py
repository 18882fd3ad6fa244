"""Samplers of the subnets of steps: `sampler` has the base class, other modules a sampler each."""

from supernets.training.samplers.sampler import Sampler, Sandwich
from supernets.training.samplers.sandwich import UniformSandwich, sandwich

__all__ = ["Sampler", "Sandwich", "UniformSandwich", "sandwich"]
