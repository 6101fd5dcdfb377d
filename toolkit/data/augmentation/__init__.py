"""Augmentation of training images, determined by seed, epoch and index."""
