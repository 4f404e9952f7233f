"""Figures, one file per kind. They are drawn without pyplot, so that no display and no global state is needed."""
