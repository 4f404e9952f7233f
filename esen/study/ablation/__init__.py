"""`esen ablate`: variants of a recipe × seeds, trained and tested, each cell in a folder and a process of its own."""
