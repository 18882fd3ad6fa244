"""A user's own trained network, the samples it reads, and the policy that is returned.

Read the modules in this order: `model` (a network that can be used, or one sentence why not),
`samples` (the batches of a loader, and their parts), `distance` (how far outputs are from those of
the float network), `evaluator` (policies as evaluations), `uniform` (the same format everywhere),
`choosing` (the policy that a device gets: never one that a uniform policy dominates).
"""
