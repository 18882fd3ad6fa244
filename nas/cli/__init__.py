"""The command line, with one file per command; `main` puts the commands together.

A command loads the engine only when it runs, so that help and wrong usage are shown at once.
"""
