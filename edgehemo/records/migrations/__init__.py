"""The numbered SQL files that bring a store from one version to the next; forward only."""
