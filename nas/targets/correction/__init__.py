"""Corrections of predicted latencies by whole networks that were measured."""
