"""hanlab: a SMETS1 home area network on a desk."""
