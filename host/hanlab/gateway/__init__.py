"""The DUIS gateway: the DSP's three web services over HTTP, and the way back to the users' listeners."""
