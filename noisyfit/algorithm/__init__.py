"""Algorithm 1 of the paper, and all that belongs to one fit."""
