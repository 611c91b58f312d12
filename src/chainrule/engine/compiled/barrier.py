"""Where the threads of a step meet, as a part of the step functions."""

from __future__ import annotations

from chainrule.engine.compiled.intrinsics import atomic_add, atomic_load, pause

__all__ = ["SPINS", "arrive", "wait"]

# Spin this often before giving the processor to another thread.
SPINS = 4000


def arrive(thread):
    """Count this thread's arrival at a barrier; returns the count at which all threads have arrived."""
    if thread.threads == 1:
        return 0
    return (atomic_add(thread.barrier) // thread.threads + 1) * thread.threads


def wait(thread, goal, sched_yield):
    """Wait until all threads have arrived. Returns False if one of them failed and never will."""
    spins = 0
    while thread.threads > 1 and atomic_load(thread.barrier) < goal:
        spins += 1
        if spins < SPINS:
            pause()
        else:
            sched_yield()
            if atomic_load(thread.barrier + 8) != 0:
                return False
    return True
