"""Programs that run by the system's own Python on an installed device, without edgehemo."""
