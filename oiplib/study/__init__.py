"""Get or compute: joins the engine and the store, and answers questions about a network."""
