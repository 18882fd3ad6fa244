"""Corrections of summed kernel latencies by whole networks that were measured."""
