#!/bin/sh
# Run a command, the tests, with IPC objects of its own, and fail if it leaves
# one behind.
#
# Where it is permitted the command has an IPC namespace and an empty /dev/shm
# of its own, for two reasons:
# - What is there at the end is what the tests left, whatever its name or key:
#   an object without a key, a temporary name and a POSIX queue too.
# - Segments, sets and queues of other programs, and limits that were set for
#   them, leave the tests neither too little nor too much room.
# Processes, users and their limits stay those of the machine. The tests do not
# rely on being alone: tests/elsewhere.sh runs them where they are not.
#
# An ordinary user needs a user namespace for that, and is root in it. The tests
# would test something else as root: so the command runs in a second one, where
# the user has their own number again.
#
# Where it is not permitted, what carries the mark of the run is looked for.
set -u

# What a run in a namespace of its own has left.
all_left() {
	for kind in shm msg sem; do
		awk -v kind=$kind 'NR > 1 { print kind ":id:" $2, "key", $1 }' /proc/sysvipc/$kind
	done
	ls -A /dev/shm
	# The kernel lists queues where they are mounted.
	mkdir /dev/shm/queues
	mount -t mqueue none /dev/shm/queues &&
		find /dev/shm/queues -mindepth 1 | sed 's,^/dev/shm/queues,mq:,'
}

# What carries the mark: names, and keys as tests/util has them.
marked_left() {
	for kind in shm msg sem; do
		awk -v kind=$kind -v first=$((1073741824 + mark * 1024)) '
			NR > 1 && $1 >= first && $1 < first + 1024 { print kind ":id:" $2, "key", $1 }' /proc/sysvipc/$kind
	done
	find /dev/shm -mindepth 1 -maxdepth 1 -name "*ipcutils-test-$mark-*"
}

# End with the command's status, or with 1 if there is something left.
judge() {
	status=$1 left=$2
	if [ -n "$left" ]; then
		printf 'tests: objects are left behind:\n%s\n' "$left" >&2
		[ "$status" -ne 0 ] || status=1
	fi
	exit "$status"
}

namespaces='unshare --ipc --mount'
[ "$(id -u)" -eq 0 ] || namespaces='unshare --map-root-user --ipc --mount'

case ${1-} in
--inside)
	as=$2
	shift 2
	mount -t tmpfs -o mode=1777 tmpfs /dev/shm || exit 125
	$as "$@"
	judge $? "$(all_left)"
	;;
*)
	if $namespaces mount -t tmpfs tmpfs /dev/shm 2>/dev/null; then
		[ "$(id -u)" -eq 0 ] || as="unshare --user --map-user=$(id -u) --map-group=$(id -g)"
		exec $namespaces "$0" --inside "${as-}" "$@"
	fi
	echo 'tests: namespaces are not permitted here: not judged are left objects without key, temporary names, and POSIX queues' >&2
	mark=$(($(od -An -N4 -tu4 /dev/urandom) % 1048576))
	IPCUTILS_TEST_MARK=$mark "$@"
	judge $? "$(marked_left)"
	;;
esac
