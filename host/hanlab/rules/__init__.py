"""The rules that the public documents name: a table, and which tests show that they are kept."""
