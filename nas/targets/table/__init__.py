"""Latency tables: one row per kernel, as CSV or Parquet.

Read the modules in this order: `rows` (the key and the figures of a row), `operator_text` (the
text of an operator), `latency_table`; then the modules that read files: `columns`, `row_reader`,
`operator_reader`, `operator_syntax`, `old_columns` (tables of an older format), `csv_file`,
`parquet`; at last `nearest`.
"""
