# Freezes the firmware into a MicroPython build; boards/README.md has the commands. MicroPython's own tool executes
# this file.
include("$(PORT_DIR)/boards/manifest.py")
# What chip.py needs of micropython-lib for a cable to a chip that has USB.
require("usb-device-cdc")
package("smets1", base_path=".")
module("main.py", base_path=".")
module("chip.py", base_path="../boards/ports")
module("cable.py", base_path="../boards/ports")
module("ble.py", base_path="../boards/ports")
module("watchdog.py", base_path="../boards/ports")
module("boot.py", base_path="../boards/ports")
