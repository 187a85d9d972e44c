#!/bin/sh
# Move a file through shared memory and back, and see that it is the same.
set -eu

dir=$(mktemp -d)
segment=/ipcutils-demo-$$
trap 'rm -rf "$dir"; ipcunlink "shm:$segment" 2>/dev/null || :' EXIT

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
run "ipcunlink shm:$key shm:$segment"
