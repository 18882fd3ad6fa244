"""The archive: a durable record of all evaluations of subnets.

Read the modules in this order: `archive`; `studies` and `trials` (the Optuna study in which
evaluations are stored); `journal`, `records` and `sealing` (the file of the study); `database`;
`sharing` (tables, and merging of archives).
"""
