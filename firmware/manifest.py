# Freezes the firmware into a MicroPython build: `make BOARD=RPI_PICO FROZEN_MANIFEST=…/manifest.py`.
# MicroPython's own tool executes this file.
include("$(PORT_DIR)/boards/manifest.py")
package("smets1", base_path=".")
module("main.py", base_path=".")
module("chip.py", base_path="../boards/ports")
module("ble.py", base_path="../boards/ports")
