"""What a command does from end to end: tables, figures and files."""
