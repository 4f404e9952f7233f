"""Many materials, one record each: shared out over processes, resumed, and safe against processes that die."""
