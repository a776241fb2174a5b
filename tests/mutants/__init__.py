"""Small wrong changes to host and firmware, each with the tests that have to fail for it (`make mutants`)."""
