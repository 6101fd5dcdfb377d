"""Inference with OpenVINO, all supported generations."""
