"""The workstation's part: trains, evaluates, quantises and bundles the models edgehemo runs."""
