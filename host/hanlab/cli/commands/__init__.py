"""The commands as a shell sees them: arguments, options, help. What they do is imported when they run."""
