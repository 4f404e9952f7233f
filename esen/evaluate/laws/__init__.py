"""Tests of the laws of physics that a potential should obey, on the user's own potential and structures."""
