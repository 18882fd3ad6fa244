"""Weights shared by every network of a space: elastic operators, quantizers, extraction.

Read in this order: `quantizers` (fake quantization with learned steps), `elastic` (what an operator
is to a supernet), `supernet`, `train`; then `extract` and `deploy` (what leaves the supernet).
"""
