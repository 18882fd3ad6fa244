"""One subnet measured: here, or on a Ray cluster.

Read in this order: `evaluation` (what was measured, and who measures), `measurements` (the same as
arrays), `answers` (per image, and what stops early), `supernet_evaluator`; then the way to Ray:
`connection`, `crew`, `dispatch` and `cluster`.
"""
