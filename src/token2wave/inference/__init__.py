"""What a finished model needs, without any deep-learning framework."""
