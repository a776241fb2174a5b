# What the heap really held at its fullest: the figure that says whether a board is large enough.
import gc


class HeapWatch:
    """Octets. Call sample() where the most is in use; total is the whole heap, lowest the least free seen."""

    def __init__(self):
        gc.collect()
        free = gc.mem_free()
        used = gc.mem_alloc()
        self.lowest = free
        self.total = free + used

    def sample(self):
        """Octets free now, rubbish not counted."""
        gc.collect()
        free = gc.mem_free()
        if free < self.lowest:
            self.lowest = free
        return free
