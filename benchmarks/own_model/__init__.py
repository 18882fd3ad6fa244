"""The tables of "your own trained network": tracing, precision, slimming, speed."""
