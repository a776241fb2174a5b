# Runs after each reset, also a soft one that leaves the board at its REPL: see watchdog.py.
import watchdog

watchdog.at_repl()
