"""Processes beside the server that run codecs, so that a fault of a codec ends one of them and nothing else."""
