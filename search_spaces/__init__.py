"""The language of search spaces and the spaces written in it; free of torch.

Read the modules in this order: `choice` (placeholders), `quant` and `ops` (the operator of a node),
`graph` (how nodes are connected), `space` (genotypes), `costs` (what a genotype costs). Then read
`residual` for a complete space.
"""
