"""Networks as they are trained: the seam to skorch, several at once, what they see."""
