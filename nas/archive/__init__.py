"""The archive: the durable ledger of true evaluations.

Read in this order: `archive`, `studies` and `trials` (the Optuna study that it is), `journal`,
`records` and `sealing` (its file), `database`; `sharing` for tables and merging.
"""
