"""Supernets: weights that all networks of a space share, their training, and extraction of subnets.

Read the modules in this order: `quantizers` (fake quantization with learned steps), `elastic`
(how operators compute with shared weights), `supernet`, `training`; then `extract` and `deploy`
(how a subnet leaves the supernet).
"""
