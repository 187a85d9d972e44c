#!/bin/sh
# Run a command, and fail if it leaves IPC objects behind: names of the tests in
# /dev/shm, temporary names of the tools, or System V objects that were not
# there before.
set -u

objects() {
	for kind in shm msg sem; do
		awk -v kind="$kind" -v uid="$(id -u)" '
			NR == 1 { for (i = 1; i <= NF; i++) if ($i == "uid") column = i; next }
			$column == uid { print kind ":id:" $2, "key", $1 }' "/proc/sysvipc/$kind"
	done
	find /dev/shm -mindepth 1 -maxdepth 1 -user "$(id -u)" \
		\( -name '*ipcutils-test*' -o -name '.ipcutils.*' \)
}

before=$(objects)
"$@"
status=$?
after=$(objects)
if [ "$before" != "$after" ]; then
	echo "tests: objects differ after the run; before:" >&2
	echo "$before" >&2
	echo "after:" >&2
	echo "$after" >&2
	[ "$status" -ne 0 ] || status=1
fi
exit "$status"
