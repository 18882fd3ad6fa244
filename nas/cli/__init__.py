"""The command line, one file a command; `main` puts them together.

A command loads the engine when it is called, so that help and wrong usage are told at once.
"""
