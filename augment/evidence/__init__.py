"""Is it so, and by how much: statistics, the verdict, and guards against numbers that mean nothing."""
