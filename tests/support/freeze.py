"""Stops one thread of a process, as a debugger does, until its standard input ends.

    freeze.py PID NAME

Says `frozen` once the thread of that name stands still. Exits with 3 where the system does not allow it.
"""

import ctypes
import os
import sys

PTRACE_SEIZE = 0x4206
PTRACE_INTERRUPT = 0x4207
WALL = 0x40000000

pid, name = sys.argv[1:]
tasks = f"/proc/{pid}/task"
threads = [int(task) for task in os.listdir(tasks) if open(f"{tasks}/{task}/comm").read().strip() == name]
assert len(threads) == 1, f"{len(threads)} threads are called {name}"
libc = ctypes.CDLL(None, use_errno=True)
libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
for request in (PTRACE_SEIZE, PTRACE_INTERRUPT):
    if libc.ptrace(request, threads[0], None, None) == -1:
        print(f"ptrace: {os.strerror(ctypes.get_errno())}", flush=True)
        sys.exit(3)
os.waitpid(threads[0], WALL)
print("frozen", flush=True)
# The end of this process lets the thread go on.
sys.stdin.read()
