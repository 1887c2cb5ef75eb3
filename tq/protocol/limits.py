"""The limits of the wire, each with its reason. They are enforced where bytes are read, before anything is kept."""

from __future__ import annotations

from tq.task import PAYLOAD_BYTES_MAX

PROTOCOL_VERSION = 1
"""The highest version this side speaks."""

HELLO_ROLES = ("client", "worker")

# ---------------------------------------------------------------- frames

FRAME_BYTES_MAX = PAYLOAD_BYTES_MAX + 6 * 1024 * 1024
"""Longest frame a broker reads (16 MiB): one task with the largest payload and all its fields, or a batch of
10,000 tasks with 1,600 bytes each. It bounds what one connection can make the broker hold."""
PEER_FRAME_BYTES_MAX = 2 * FRAME_BYTES_MAX
"""Longest frame a client or worker reads (32 MiB): a view of one task can carry the largest payload, the largest
result and a hundred tracebacks together."""
HELLO_FRAME_BYTES_MAX = 64 * 1024
"""Longest frame before the hello is accepted: a stranger may not make us hold more than this."""
HELLO_WAIT_MS = 10_000
"""A connection that has not said hello by then is closed by the door: it is a stranger or a stuck peer."""
REQUESTS_MAX = 10_000
"""Unanswered requests per connection and direction. A peer that wants more in flight should batch."""

# ---------------------------------------------------------------- lists

BATCH_ITEMS_MAX = 10_000
"""Tasks in a Submit, items in a Settle or Extend, ids in a Watch, held leases in a Register: what one log entry can
apply without making everybody else wait for tens of milliseconds. REST allows 1,000."""
NAMES_MAX = 1_000
"""Queues or task types one worker may name."""
METADATA_ITEMS_MAX = 1_000
"""Entries of a task's metadata map; its bytes are bounded by `task.METADATA_BYTES_MAX`."""
PROGRESS_CHARS_MAX = 1_000
"""A progress text is a status line, not a log."""
TEXT_CHARS_MAX = 1_000
"""Reasons, host names and versions: a line for people."""
PATH_CHARS_MAX = 4_096
"""A directory name, the longest Linux takes."""
TOKEN_CHARS_MAX = 4_096
"""An API key; room for a signed token."""

PEER_LIST_ITEMS_MAX = 100_000
"""What a client or worker takes from its broker in one list: statistics of every queue, say."""
PEER_TEXT_CHARS_MAX = 1_000_000
"""The same for one text."""

# ---------------------------------------------------------------- numbers

INT_MAX = 2**63 - 1
"""Every integer on the wire fits a signed 64-bit one, so that every language can hold it."""
TIME_MS_MAX = 253_402_300_799_999
"""The last millisecond of the year 9999: what ISO 8601 text and most date libraries can show."""
REQUEST_ID_MAX = INT_MAX
CAPACITY_MAX = 10_000
"""Slots of one worker."""
CLAIM_TASKS_MAX = 1_000
CLAIM_WAIT_MS_MAX = 30_000
GET_WAIT_MS_MAX = 300_000
"""Five minutes: a longer wait is asked again, so that a lost connection is noticed. Watch waits for ever."""
PAGE_TASKS_MAX = 1_000
PAGE_OFFSET_MAX = 100_000
"""Skipping costs the broker work for every task skipped; a cursor costs nothing."""
PURGE_TASKS_MAX = 10_000
CHANGE_TASKS_MAX = 1_000
"""Tasks one CancelMany, RetryMany, ForgetMany or Import changes: a step of a walk that shows its progress and can be stopped."""
FAILURES_MAX = 100
FINGERPRINT_CHARS_MAX = 64
HEARTBEAT_MS_MIN, HEARTBEAT_MS_MAX = 100, 3_600_000
HEARTBEAT_MS_ADVISED = 15_000
FACTOR_PERMILLE_MAX = 1_000_000
"""A thousandfold delay from one failure to the next is a mistake in units."""
