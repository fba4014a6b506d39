"""Images, networks and gradient ascent. Knows nothing of databases; TensorFlow is in `tf` alone."""
