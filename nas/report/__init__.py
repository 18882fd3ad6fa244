"""What a run found, as one page, one table per device and a few lines on the console.

Read in this order: `data` (what a report needs to know; `store` keeps it in a file), `pareto`,
`plots` and `policy` (figures), `targets`, `sections` and `html` (the page), `tables` (spreadsheets
and the console).
"""
