"""Speed and memory of hanlab: `make bench`. Not in the package; "bench" there is the simulation."""
