"""The terminal: progress and messages, safe display of foreign text, and signals."""
