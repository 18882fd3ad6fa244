"""What a person sees: progress, text of others made safe, and signals."""
