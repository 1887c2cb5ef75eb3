"""What to do with an answer that is too large for one frame: say it in two."""

from __future__ import annotations

from tq.verbs import Abort, Claimed, Deliver, Push, Reply, TaskEnded, Watching


def split_push(push: Push) -> tuple[Push, Push] | None:
    """Two pushes that say the same; None when there is nothing left to divide."""
    if isinstance(push, Deliver) and len(push.tasks) > 1:
        middle = len(push.tasks) // 2
        return Deliver(push.tasks[:middle]), Deliver(push.tasks[middle:])
    if isinstance(push, TaskEnded) and len(push.tasks) > 1:
        middle = len(push.tasks) // 2
        return TaskEnded(push.tasks[:middle]), TaskEnded(push.tasks[middle:])
    if isinstance(push, Abort) and len(push.items) > 1:
        middle = len(push.items) // 2
        return Abort(push.items[:middle]), Abort(push.items[middle:])
    return None


def split_reply(reply: Reply) -> tuple[Reply, Push] | None:
    """A shorter reply and a push with the rest, where the one who asked takes both alike; None otherwise."""
    if isinstance(reply, Claimed) and reply.tasks:
        middle = len(reply.tasks) // 2
        return Claimed(reply.tasks[:middle]), Deliver(reply.tasks[middle:])
    if isinstance(reply, Watching) and reply.ended:
        middle = len(reply.ended) // 2
        return Watching(reply.ended[:middle], reply.unknown), TaskEnded(reply.ended[middle:])
    return None
