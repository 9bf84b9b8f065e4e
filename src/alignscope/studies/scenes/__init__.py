"""Objects or scenes (paper C): attention, diagnostic objects, ablation and states of captioners."""
