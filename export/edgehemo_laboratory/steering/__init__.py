"""What is published for kiosks: in stages, halted by what is found, rolled back."""
