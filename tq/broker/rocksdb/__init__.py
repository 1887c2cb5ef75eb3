"""RocksDB, opened so that it never holds less than was synced without saying so; shared by store and journal."""
