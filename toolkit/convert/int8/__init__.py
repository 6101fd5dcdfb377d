"""INT8 quantization."""
