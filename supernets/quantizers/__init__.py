"""Quantizers: tensors rounded to values that codes of few bits stand for.

`quantizer` has the base class, `fake_quantize` the rounding with its gradients, and every other
module a quantizer.
"""

from supernets.quantizers.double_rounding import DoubleRounding
from supernets.quantizers.learned_steps import LearnedSteps
from supernets.quantizers.quantizer import Quantizer
from supernets.quantizers.statistical import StatisticalScales

__all__ = ["DoubleRounding", "LearnedSteps", "Quantizer", "StatisticalScales"]
