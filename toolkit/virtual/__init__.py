"""Virtual devices: arm64 machines under QEMU with a virtual Neural Compute Stick 2, and SD card images."""
