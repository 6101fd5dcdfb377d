"""Captures: images that the app stores on the device to be labeled; off by default.

    results ─▶ policy ─▶ (8) ─▶ recorder: masks, JPEG, disk

The policy looks at each result on the results thread and costs microseconds; all else is on the recorder's thread, which has
the lowest priority. What does not fit in the queue is counted and lost, so that captures never delay a frame.
"""
