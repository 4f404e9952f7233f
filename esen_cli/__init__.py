"""The command line of esen."""
