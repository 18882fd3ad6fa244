"""The problem of a search: goals per device, feasibility of limits, and Pareto fronts."""
