"""What every evaluation shares: statistics, parts of the cards, explanations, tiled inference."""
