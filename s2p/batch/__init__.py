"""Many structures at once, on cores or a cluster."""
