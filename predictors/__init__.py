"""Zero-cost proxies and learned predictors of a subnet's loss.

Read in this order: `base` (the protocol), `features`, `ridge`, `gaussian` and `ensemble`, `rank`
(how good is a ranking), then `proxies`.
"""
