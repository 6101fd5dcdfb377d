"""The device code: all that runs on a device, and nothing else of the toolkit.

It ships inside each release as `device/` and runs there as `python -m device COMMAND`; in the repository it runs as
`python -m toolkit.device COMMAND`. Python 3.9 or later; the standard library, NumPy, OpenCV and OpenVINO (2021.4, 2022
or current) are all it imports.
"""
