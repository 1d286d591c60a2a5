"""Text to 3D assets that look right from every side and stand on their own."""

__version__ = '0.1.0'
