"""What results mean: similarity, uniqueness, repetition, matching. Arrays in, arrays out."""
