"""Files that are whole or not there, locks, hashes, and the cache: everything that outlives a process."""
