"""The language of search spaces and the spaces written in it; free of torch.

Read in this order: `choice` (placeholders), `quant` and `ops` (what a node is), `graph` (how nodes
meet), `space` (genotypes), `costs` (what a genotype costs); then `residual` for a whole space.
"""
