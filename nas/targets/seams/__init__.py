"""Seams: what the kernels around a tensor cost together, beyond what each of them costs alone."""
