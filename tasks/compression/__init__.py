"""How few bytes keep the quality: of vectors, of a network's weights, and of the numbers that training needs."""
