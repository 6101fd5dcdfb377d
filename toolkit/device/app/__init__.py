"""The live app: `python -m device serve RELEASE`.

    camera ─▶ capture ─▶ decode ─▶ inference ─▶ results ─▶ page, stream, API, metrics, alerts
                      2         2            16

Each stage is a thread of its own (decoding has several), and what lies between two of them is a queue of the size shown, which
drops its oldest frame when it is full. Inference keeps as many queries in flight as the accelerator holds. Only the standard
library, NumPy, OpenCV and OpenVINO are imported; picamera2 where a Pi's own camera is asked for.
"""
