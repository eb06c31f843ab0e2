"""Methods that make the weights of a network small."""
