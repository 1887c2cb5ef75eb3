/**
 * @file The shapes that go over the wire, as `docs/rest.md` has them, and those the pages share. Types only: nothing
 * here runs.
 */

/** @typedef {'pending'|'in_progress'|'completed'|'failed'|'dead_letter'|'scheduled'|'blocked'|'cancelled'|'expired'} Status */
/** @typedef {'submit_tasks'|'read_tasks'|'cancel_tasks'|'work_tasks'|'admin'} Permission */

/**
 * @typedef {object} Attempt One run. outcome: null while it runs.
 * @property {number} number
 * @property {string} worker_id
 * @property {string|null} started_at
 * @property {string|null} ended_at
 * @property {string|null} outcome
 * @property {string|null} error
 * @property {number} fencing_token
 */

/**
 * @typedef {object} RetryPolicy
 * @property {string} strategy
 * @property {number} base_seconds
 * @property {number} factor
 * @property {number} cap_seconds
 * @property {number} jitter
 * @property {number[]} delays_seconds
 */

/**
 * @typedef {object} Task
 * @property {string} task_id
 * @property {string} task_type
 * @property {string} queue
 * @property {Status} status
 * @property {string} state_reason
 * @property {number} priority
 * @property {string} created_at
 * @property {string} updated_at
 * @property {string|null} started_at
 * @property {string|null} ended_at
 * @property {string|null} schedule_at
 * @property {string|null} expires_at
 * @property {number} timeout_seconds
 * @property {number} max_retries
 * @property {number} retry_count
 * @property {RetryPolicy} retry
 * @property {string|null} worker_id
 * @property {string|null} result base64
 * @property {number|null} [result_bytes]
 * @property {string|null} error
 * @property {{fraction: number, text: string}|null} progress
 * @property {Attempt[]} attempts
 * @property {Object<string, number>} counters
 * @property {string|null} payload base64
 * @property {number|null} payload_bytes
 * @property {string[]} dependencies
 * @property {string|null} unique_key
 * @property {Object<string, string>} metadata
 */

/**
 * @typedef {object} TaskList A page of tasks. next_cursor: null = there is no page after it.
 * @property {Task[]} tasks
 * @property {number} total
 * @property {number} limit
 * @property {number} offset
 * @property {string|null} next_cursor
 */

/** @typedef {{high: number, normal: number, low: number}} Tiers */

/**
 * @typedef {object} Queue in_per_minute, out_per_minute: tasks that came and that ended in the last minute.
 * @property {string} queue
 * @property {number} pending
 * @property {number} in_progress
 * @property {number} scheduled
 * @property {number} blocked
 * @property {number} retrying
 * @property {number} dead_letter
 * @property {number} oldest_pending_age_ms
 * @property {boolean} paused
 * @property {string} paused_reason
 * @property {string[]} unserved
 * @property {number|null} [in_per_minute]
 * @property {number|null} [out_per_minute]
 * @property {{task_type: string, pending: number, workers: number}[]} [task_types]
 */

/**
 * @typedef {object} Minute What happened within one minute, so far.
 * @property {string} at
 * @property {number} submitted
 * @property {number} completed
 * @property {number} failed
 * @property {Tiers} depth
 */

/** @typedef {{p50: number|null, p99: number|null}} Percentiles milliseconds; null = nothing ran */
/** @typedef {{window_seconds: number, queue_wait_ms: Percentiles, run_ms: Percentiles}} Latency */

/**
 * @typedef {object} Stats
 * @property {number} pending_count
 * @property {number} in_progress_count
 * @property {number} scheduled_count
 * @property {number} blocked_count
 * @property {number} retrying_count
 * @property {number} completed_count
 * @property {number} dead_letter_count
 * @property {number} cancelled_count
 * @property {number} expired_count
 * @property {number} completed_last_hour
 * @property {number} failed_last_hour
 * @property {number} worker_count
 * @property {number} avg_processing_time_ms
 * @property {number} oldest_pending_age_ms
 * @property {Tiers} queue_depth_by_priority
 * @property {Queue[]} queues
 * @property {string} durability
 * @property {Minute} [minute] in events of the live feed
 * @property {Latency} [latency] in events of the live feed
 */

/** @typedef {(number|null)[]} Points one number a step; null = not known */

/**
 * @typedef {object} Series The last hour. The last point is the step that runs now.
 * @property {string} now
 * @property {number} step_seconds
 * @property {string} start
 * @property {Points} submitted
 * @property {Points} completed
 * @property {Points} failed
 * @property {{high: Points, normal: Points, low: Points}} depth
 * @property {Latency} latency
 */

/**
 * @typedef {object} Failure
 * @property {string} at
 * @property {string} task_id
 * @property {string} task_type
 * @property {string} queue
 * @property {Status} status
 * @property {number} attempt
 * @property {string|null} worker_id
 * @property {string} outcome
 * @property {string} error
 */

/**
 * @typedef {object} Worker
 * @property {string} worker_id
 * @property {string} session_id
 * @property {string} host
 * @property {number} pid
 * @property {string} version
 * @property {'active'|'draining'|'disconnected'} status
 * @property {number} capacity
 * @property {string[]} queues
 * @property {string[]} task_types
 * @property {string[]} tasks ids
 * @property {number} cpu_percent
 * @property {number} memory_bytes
 * @property {string|null} last_heartbeat
 * @property {string|null} connected_at
 */

/**
 * @typedef {object} Member role: leader, follower, candidate, observer, standalone, unreachable.
 * @property {string} node_id
 * @property {string} address
 * @property {string} role
 * @property {number} term
 * @property {number} commit_index
 * @property {number} applied_index
 * @property {number} lag
 * @property {boolean} is_self
 * @property {boolean} is_joining it votes as soon as it has caught up
 * @property {string} client_address empty = not known
 * @property {number|null} snapshot_age_ms null = none yet
 * @property {string} version empty = not known
 */

/** @typedef {{leader: string|null, members: Member[]}} Cluster */

/**
 * @typedef {object} Health
 * @property {'healthy'|'degraded'} status
 * @property {boolean} is_leader
 * @property {string|null} leader
 * @property {number} connected_workers
 * @property {number} pending_tasks
 * @property {string} durability
 * @property {string[]} problems
 */

/**
 * @typedef {object} Me Who holds the key.
 * @property {string} name
 * @property {Permission[]} permissions
 * @property {boolean} keys_on
 * @property {string} version
 * @property {string} node_id
 */

/**
 * @typedef {object} DeadGroup
 * @property {string} fingerprint
 * @property {string} task_type
 * @property {string} queue
 * @property {string} error
 * @property {number} count
 * @property {string} first_seen
 * @property {string} last_seen
 * @property {string} sample_task_id
 */

/** @typedef {{groups: DeadGroup[], total: number, scanned: number, complete: boolean}} DeadGroups */
/** @typedef {{status?: string, task_type?: string, queue?: string, fingerprint?: string}} TaskFilter */
/** @typedef {'cancel'|'retry'|'delete'} BulkAction */
/** @typedef {{done: number, skipped: number, next_cursor: string|null}} BulkStep */

/**
 * @typedef {object} WorkerUpdate
 * @property {string} worker_id
 * @property {string} session_id
 * @property {string} change
 */

/** @typedef {'off'|'connecting'|'live'|'polling'|'stale'} LiveState */

/**
 * @typedef {object} Shared What every page may look at.
 * @property {Me|null} me
 * @property {Stats|null} stats
 * @property {Health|null} health what the node said of itself last; null = it does not answer
 * @property {LiveState} live
 * @property {number|null} staleSinceMs when the picture stopped moving; null = it moves
 * @property {number} tick grows whenever pages should look whether what they show is old
 */

/**
 * @typedef {object} Route Where the visitor is.
 * @property {string} path
 * @property {string[]} params what the path's pattern caught
 * @property {URLSearchParams} query
 */

/**
 * @typedef {object} View What a page may use while it is shown.
 * @property {Route} route
 * @property {Shared} shared
 * @property {AbortSignal} signal aborted when the page is left
 * @property {() => void} redraw draw again from what is known
 * @property {() => Promise<void>} reload read again, then draw
 * @property {(changes: Object<string, string|null>, how?: {replace?: boolean}) => void} setQuery null takes a parameter away
 * @property {(permission: Permission) => boolean} may
 */

/**
 * @template D, S
 * @typedef {object} Page
 * @property {string} name
 * @property {string} heading
 * @property {(route: Route) => string} title
 * @property {Record<string, import('../components/asked.js').Check>} [asks] what its address may ask for; without: anything
 * @property {(view: View) => Node} [filters] shown, too, where the address asks for what cannot be
 * @property {() => S} state what the page remembers while it is shown
 * @property {(view: View, state: S) => Promise<D>} load
 * @property {(view: View, data: D, state: S) => Node[]} draw
 * @property {number|((data: D|null) => number)} everyMs the least time between two readings while the picture moves
 * @property {(shared: Shared) => string} [movedBy] what it shows is as it was while this is the same; it is read again all
 *   the same, but seldom
 * @property {number} [restMsMax] the longest rest of a broker that is slow to answer, where news must not wait for long
 * @property {boolean} [needsNoLeader] it can be read, in part at least, while the cluster has none
 * @property {(view: View, state: S) => () => void} [open] called once; what it returns is called at the end
 */

export {};
