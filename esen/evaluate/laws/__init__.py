"""The laws of physics that a potential should obey, measured on the user's own potential and structures."""
