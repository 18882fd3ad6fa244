"""The report of a run: one web page, one spreadsheet per device, and a summary on the terminal.

Read the modules in this order: `data` (the results that a report needs) and `store` (results as a
file); `pareto`, `plots` and `policy_figure` (figures); `targets`, `sections` and `html` (the page);
`summary` (spreadsheets and the terminal).
"""
