"""Fine-tuning with and without attribution losses and negatives, over seeds (paper B)."""
