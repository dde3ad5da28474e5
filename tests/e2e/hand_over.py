"""Starts a program as systemd would, with sockets that are open already (sd_listen_fds(3)):
hand_over.py FD=NAME[,FD=NAME...] PROGRAM...; the parent passes the descriptors."""

import os
import sys


def main():
    pairs = [pair.split("=", 1) for pair in sys.argv[1].split(",")]
    # High first, so that none is overwritten on its way to 3, 4, ...
    spare = [os.dup2(int(fd), 200 + n) for n, (fd, _) in enumerate(pairs)]
    for n, fd in enumerate(spare):
        os.dup2(fd, 3 + n)
        os.close(fd)
    os.environ["LISTEN_PID"] = str(os.getpid())
    os.environ["LISTEN_FDS"] = str(len(pairs))
    if any(name for _, name in pairs):
        os.environ["LISTEN_FDNAMES"] = ":".join(name for _, name in pairs)
    os.execv(sys.argv[2], sys.argv[2:])


main()
