"""Students: how the subnets of a step learn from each other and from the targets."""
