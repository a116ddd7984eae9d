"""On what is computed, and with how many processes; one generator over many images on all cores."""
