"""The latency of a new device from known ones and a few measured networks."""
