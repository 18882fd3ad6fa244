"""Facts that reports and files tell: what was read, how a network is used, figures and noise."""
