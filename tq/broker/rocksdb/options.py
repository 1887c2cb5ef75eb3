"""How our databases are tuned: bounded memory, cheap writes, and the one recovery mode that hides nothing.

Memory of one database: its block cache, its write buffers (`WRITE_BUFFERS_BYTES`), and while it is opened the writes
its logs still hold (`WAL_BYTES_MAX`).
"""

from __future__ import annotations

from typing import NamedTuple

from rocksdict import BlockBasedOptions, Cache, DBCompressionType, DBRecoveryMode, Options

WRITE_BUFFERS_BYTES = 32 * 1024**2
"""All write buffers together; over it the largest is flushed."""
WAL_BYTES_MAX = 64 * 1024**2
"""Logs longer than this together make RocksDB flush what they still protect: it bounds replay at start."""
OPEN_FILES_MAX = 256
"""Table files kept open. At 64 MiB each this covers 16 GiB before any is closed and opened again."""
LOG_FILES_KEPT = 3
LOG_FILE_BYTES_MAX = 4 * 1024**2
"""RocksDB's own diary (`LOG`), for people."""


class Family(NamedTuple):
    """How one column family is used.

    has_point_lookups: keys that do not exist are asked for often; a bloom filter answers without the disk.
    is_cold: written once and rarely read; compressed harder.
    buffer_bytes: the family's own write buffer.
    """

    name: str
    has_point_lookups: bool = False
    is_cold: bool = False
    buffer_bytes: int = 8 * 1024**2


def database_options(*, create: bool) -> Options:
    options = Options(raw_mode=True)
    options.create_if_missing(create)
    options.create_missing_column_families(create)
    # The default, point-in-time, takes a flipped bit for the end of the log and opens with half of it.
    options.set_wal_recovery_mode(DBRecoveryMode.tolerate_corrupted_tail_records())
    options.set_paranoid_checks(True)
    options.set_db_write_buffer_size(WRITE_BUFFERS_BYTES)
    options.set_max_total_wal_size(WAL_BYTES_MAX)
    options.set_max_open_files(OPEN_FILES_MAX)
    options.set_max_background_jobs(2)
    options.set_bytes_per_sync(1024**2)
    options.set_keep_log_file_num(LOG_FILES_KEPT)
    options.set_max_log_file_size(LOG_FILE_BYTES_MAX)
    options.set_stats_dump_period_sec(0)
    options.set_stats_persist_period_sec(0)
    return options


def family_options(family: Family, cache: Cache, *, create: bool) -> Options:
    options = database_options(create=create)
    options.set_write_buffer_size(family.buffer_bytes)
    options.set_compression_type(DBCompressionType.zstd() if family.is_cold else DBCompressionType.lz4())
    options.set_level_compaction_dynamic_level_bytes(True)
    table = BlockBasedOptions()
    table.set_block_cache(cache)
    table.set_block_size(16 * 1024 if family.is_cold else 8 * 1024)
    table.set_cache_index_and_filter_blocks(True)
    table.set_pin_l0_filter_and_index_blocks_in_cache(True)
    table.set_format_version(5)
    if family.has_point_lookups:
        table.set_bloom_filter(10, block_based=False)
        # The same for the rows that are still in the write buffer, where most of them are.
        options.set_memtable_prefix_bloom_ratio(0.1)
        options.set_memtable_whole_key_filtering(True)
    options.set_block_based_table_factory(table)
    return options
