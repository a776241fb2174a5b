# Runs inside the MicroPython VM: `micropython run.py FIRMWARE_DIR TEST_FILE [FUNCTION]`.
# Prints "ok NAME" or "FAIL NAME" with the traceback; exit 1 if any failed.
import asyncio
import sys

firmware, path = sys.argv[1], sys.argv[2]
wanted = sys.argv[3] if len(sys.argv) > 3 else None
sys.path.insert(0, firmware)
folder, _, name = path.rpartition("/")
sys.path.insert(0, folder)
module = __import__(name[: -len(".py")])

failed = 0
for test in sorted(n for n in dir(module) if n.startswith("test_")):
    if wanted and test != wanted:
        continue
    try:
        result = getattr(module, test)()
        if hasattr(result, "send"):  # async def
            asyncio.run(result)
        print("ok", test)
    except Exception as e:
        failed += 1
        print("FAIL", test)
        sys.print_exception(e)
sys.exit(1 if failed else 0)
