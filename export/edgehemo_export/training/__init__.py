"""What every training shares: the loop, arithmetic, statistics, parts of the cards."""
