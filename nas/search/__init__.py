"""Searchers: methods that propose which subnets to evaluate next.

Read the modules in this order: `searcher` (the protocol: ask and tell), `proposer`, `random`,
`evolution` (pymoo), `guided`, `learned_cost`, `loop`, `named`. Published methods to compare with:
`regularized`, `local`, `linas`, `boshnas`, `policy_gradient`, `samplers`.

The package can be called: `nas.search(...)` is `nas.api.searching.search`.
"""

from nas.callable_room import make_callable

make_callable(__name__, "nas.api.searching:search")
