"""Boards that are emulated RP2040s with MicroPython's own rp2 port, from a UF2 file, on the bench's clock.

Needs `hanlab[rp2040]`: PyPI's `rp2040py`. npm's `rp2040js`, which that is a port of, is faster (25 against 12 million
instructions a second); it would want node, a process and a protocol beside every lab, and its UART, flash and watchdog
the same mends.
"""
