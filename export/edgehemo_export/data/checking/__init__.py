"""What is wrong with a folder of data: each finding with its files and what to do."""
