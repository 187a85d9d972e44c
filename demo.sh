#!/bin/sh
# Move a file through shared memory and back, and see that it is the same; then
# messages through a queue, which ipcls shows, a semaphore around a command, and a lock.
set -eu

dir=$(mktemp -d)
segment=/ipcutils-demo-$$
queue=/ipcutils-demo-queue-$$
slots=/ipcutils-demo-slots-$$
lock=/ipcutils-demo-lock-$$
trap 'rm -rf "$dir"; ipcunlink "shm:$segment" "mq:$queue" "sem:$slots" "lock:$lock" 2>/dev/null || :' EXIT

run() {
	echo "\$ $*"
	sh -c "$*"
}

cd "$dir"
head -c 8M /dev/urandom >file
run "cat file | shmput $segment"
run "ls -l /dev/shm$segment"
run "shmcat $segment | cmp - file && echo the same"

key=$(ftok file)
run "echo through a System V segment | shmput ftok:file"
run "shmcat $key"
run "seq 3 | mqsend -c --max-messages 4 --message-size 64 -l $queue"
run "ipcls -o state,size,use,age,address shm:$segment shm:$key mq:$queue"
run "mqrecv --drain -J $queue"
run "semop -c 1 $slots -1 -- sh -c 'semop --get $slots; echo held'"
run "shmlock $lock -- sh -c 'echo alone in here; shmlock --status $lock'"
run "ipcunlink shm:$key shm:$segment mq:$queue sem:$slots lock:$lock"
