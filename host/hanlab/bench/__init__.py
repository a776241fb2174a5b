"""The bench: emulated boards, the wires between them, and their common clock.

It carries octets and time and knows no protocol; only the radio knows as much of a frame as a
transceiver does (its length, its addresses, whether it wants an acknowledgement).
"""
