"""The live app: `python -m device serve RELEASE`.

    camera ─▶ capture ─▶ decode ─▶ inference ─▶ results ─▶ page, stream, API, metrics, alerts
                      2         2            16

Each stage runs on its own thread; decoding uses several. The queue between two stages has the size shown and drops
its oldest frame when it is full. Inference keeps as many queries in flight as the accelerator holds. Imports only the
standard library, NumPy, OpenCV and OpenVINO, and picamera2 for a Raspberry Pi camera.
"""
