"""Augmentation of training images that follows from seed, epoch and index."""
