"""What is wrong with an image file."""

from hanlab.errors import UsageError


class ImageError(UsageError):
    """An image file that no device would take, or that cannot be read (exit code 2)."""
