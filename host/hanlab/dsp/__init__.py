"""The DSP: which Service Requests go on to the S1SP, what it knows of devices, whom it tells."""
