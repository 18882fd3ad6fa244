"""The steps of a run, each alone: profile, train, search, export, report.

Every step reads what it needs from the plan and the run folder, writes what it makes there, and
does nothing twice. `nas.run.pipeline` runs them in order.
"""
