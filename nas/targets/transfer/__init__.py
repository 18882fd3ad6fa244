"""Transfer: the latency of a new device, from known devices and a few measured networks."""
