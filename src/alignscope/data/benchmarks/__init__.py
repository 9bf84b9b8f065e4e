"""One small file per public benchmark."""
