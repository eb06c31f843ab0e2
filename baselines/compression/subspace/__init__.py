"""Ways to train few numbers instead of all."""
