"""Latency tables: rows by kernel, as CSV or Parquet."""
