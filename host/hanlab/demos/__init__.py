"""The failure catalogue: what goes wrong with firmware updates in the field, as runnable data."""
