"""Which model, at which quantization and context, a host's GPUs can hold, and why. Pure: nothing here does I/O
except reading corral's own tables."""
