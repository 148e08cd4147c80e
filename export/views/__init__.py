"""What the network sees in training: crops laid on backgrounds, augmented, kept and batched."""
