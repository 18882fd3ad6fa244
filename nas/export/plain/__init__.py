"""Export as plain torch, free of this engine: the source of a module and a file of integers."""
