"""Zero-cost proxies and learned predictors of a subnet's loss.

Read the modules in this order: `predictor` (the protocol), `features`, `ridge`, `pairs`,
`gaussian` and `trees`, `weisfeiler_lehman` (operators as graphs), `held_out` and `calibrated`
(errors that are known), `ensemble` and `auto`, `rank` (how good a ranking is), then `proxies`.
"""
