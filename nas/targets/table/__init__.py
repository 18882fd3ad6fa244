"""Latency tables: rows by kernel, as CSV or Parquet.

Read in this order: `rows` (what a row is about), `operator_text` (how it writes an operator),
`latency_table`; then how files are read: `columns`, `row_reader`, `operator_reader`,
`operator_syntax`, `old_columns` (tables of before), `csv_file`, `parquet`; `nearest`.
"""
