"""A network as plain torch: a module's source and a file of integers, free of this engine."""
