"""The functions and results for Python: `nas.search` and `nas.run`.

Read the modules in this order: `objective` (a user's function as an evaluator), `problem` (targets
and objectives as goals), `network`, `evaluated` and `study` (the result of a search), `frames` and
`showing` (data frames, figures and the report), `searching`, and `runs`.
"""
