"""The audit of a model, the attribution of captions and one pair looked at: what they measure, judge and save."""
