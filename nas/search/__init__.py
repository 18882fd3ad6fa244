"""Searchers: who proposes which subnets to evaluate next.

Read in this order: `base` (ask and tell), `proposer`, `random`, `evolution` (pymoo), `guided`,
`learned_cost`, `loop`, `named`. Peers: `regularized`, `local`, `linas`, `boshnas`,
`policy_gradient`, `samplers`.
"""
