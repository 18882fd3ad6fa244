"""A run: its plan, its folder, its steps in order, and the reuse of finished runs.

Read the modules in this order: `plan`, `target_costs`, `folder`, `pipeline`, `steps`, `measuring`
(the one way from a genotype to a deployed network); then `retarget`, `sweep` and `experience`.

The package can be called: `nas.run(...)` is `nas.api.runs.run`.
"""

from nas.callable_room import make_callable

make_callable(__name__, "nas.api.runs:run")
