"""Zero-cost proxies and learned predictors of a subnet's loss.

Read the modules in this order: `predictor` (the protocol), `features`, `ridge`, `gaussian` and
`ensemble`, `rank` (how good a ranking is), then `proxies`.
"""
