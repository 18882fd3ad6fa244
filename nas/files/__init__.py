"""Files: writes that are whole or not at all, and the one reader of tables of text."""
