"""`esen phonons`: phonons of potentials, against each other and against a reference."""
