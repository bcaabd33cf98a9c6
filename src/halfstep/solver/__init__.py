"""Where half-steps run: threads on one machine today; a GPU or a cluster would join behind the same protocol."""
