"""Settings that users write: reading TOML files, explaining their faults, finding outside paths."""
