# Executes a program with what a careless caller may leave in its process: every signal ignored that can be, and blocked,
# and a file mode mask that leaves nobody anything.
import os
import signal
import sys

for each in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
    signal.signal(each, signal.SIG_IGN)
signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
os.umask(0o777)
os.execv(sys.argv[1], sys.argv[1:])
