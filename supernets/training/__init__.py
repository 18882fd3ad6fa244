"""Training of a supernet: one loop whose methods are small parts chosen by name.

Read the modules in this order: `schedule` (settings, steps, learning rates), `context` (what parts
are made from), `samplers` (the subnets of a step), `students` (their losses), `callbacks`, `step`,
`train`, `fine_tune` (a few epochs from trained weights).
"""
