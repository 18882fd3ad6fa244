"""Benchmarks of zero-cost proxies and learned predictors."""
