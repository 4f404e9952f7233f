"""What `esen relax` does from end to end."""
