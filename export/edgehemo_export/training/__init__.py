"""What every training shares: the loop and its arithmetic."""
