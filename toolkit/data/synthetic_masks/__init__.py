"""synthetic_masks."""
