# N lines of a file through a queue into a file: N INPUT OUTPUT posix|sysv.
import os
import sys

count, source, target, interface = int(sys.argv[1]), *sys.argv[2:5]
if interface == "posix":
    import posix_ipc

    queue = posix_ipc.MessageQueue(None, posix_ipc.O_CREX)
    remove = queue.unlink
else:
    import sysv_ipc

    queue = sysv_ipc.MessageQueue(None, sysv_ipc.IPC_CREX, max_message_size=8192)
    remove = queue.remove

child = os.fork()
if child == 0:
    with open(target, "wb") as output:
        for _ in range(count):
            output.write(queue.receive()[0] + b"\n")
    os._exit(0)
with open(source, "rb") as lines:
    for line in lines:
        queue.send(line[:-1])
status = os.waitpid(child, 0)[1]
remove()
sys.exit(status != 0)
