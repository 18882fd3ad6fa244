"""Evaluation of subnets, in this process or on a Ray cluster.

Read the modules in this order: `evaluation` (a result, and the protocol of evaluators),
`measurements` (results as arrays), `answers` (per sample, and early stopping),
`supernet_evaluator`; then evaluation on Ray: `connection`, `crew`, `dispatch` and `cluster`.
"""
