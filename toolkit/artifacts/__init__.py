"""Frozen values that pass between stages; each holds the digest of its parent.

    Split ─▶ TrainedModel ─▶ IrModel (+ Parity) ─▶ Bundle ─▶ BenchRecord
                                                     └─────▶ Deployment

`parent` walks one step back, so any figure in a report leads to the bytes of the model, the split of the data and the
versions that made it. Paths are relative to the workspace. Digests are lower-case SHA-256 in hex.
"""
