"""Settings that people write: TOML files, what is wrong with them in words, what leads outside."""
