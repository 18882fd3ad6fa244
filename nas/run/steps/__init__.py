"""The steps of a run, each alone: profile, train, search, export, report.

Every step reads its inputs from the plan and the run folder, writes its results to the folder, and
repeats no work. `nas.run.pipeline` runs the steps in order.
"""
