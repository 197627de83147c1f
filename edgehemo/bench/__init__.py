"""How long a screening and each artefact take on this machine."""
