"""What is wanted: goals per device, what can be had at all, and Pareto fronts."""
