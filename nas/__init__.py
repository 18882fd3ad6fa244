"""The engine: targets, goals, searchers, archive, Ray, export, report, tasks, command line.

Read the packages in this order: `evaluation` (how a subnet is measured), `problem` (goals per
device), `search` (which subnets are measured), `archive` (how evaluations are kept), `run` (all
steps of a run), `cli` (the command line).
"""

from nas.siblings import require_own

require_own()
