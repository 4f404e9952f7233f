"""What a potential is worth: errors, and the physics that follows from it. Sees only `Potential`."""
