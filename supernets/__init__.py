"""Weights shared by every network of a space: elastic operators, quantizers, extraction.

Read in this order: `quantizers` (fake quantization with learned steps), `elastic` (one slicing
function per operator), `supernet`, then `extract` and `deploy` (what leaves the supernet).
"""
