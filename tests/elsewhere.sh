#!/usr/bin/env bash
# Run the tests where other programs are busy, and where something is missing:
# tests/elsewhere.sh [RUN]... (all if none is named). Which run failed is told
# with its log, in target/elsewhere.
#
#   neighbours  five times while others make and remove objects of every kind
#               under names and keys of every kind, hold half of what there may
#               be, run ipcls, and two of them do nothing but run
#   alone       the same once, as `make test` runs the tests
#   tmpfs       TMPDIR on a tmpfs, with a space in its name
#   nobody      as user 65534
#   bare        without strace, tmux, perl and python3
#   closed      with standard input closed
#   ignored     with SIGINT, SIGQUIT and SIGHUP ignored
#   given       with what a shell may hand on: descriptors, a umask, variables
#   C.UTF-8     with this locale, if there is one
#   de_DE.UTF-8 the same
#
# All of it happens in an IPC namespace with a small /dev/shm and low limits: a
# small machine, which goes with the last of its processes. They end with this
# script, also if that is killed.
set -euo pipefail

runs=("$@")
((${#runs[@]})) || runs=(neighbours alone tmpfs nobody bare closed ignored given C.UTF-8 de_DE.UTF-8)
export RUST_TEST_THREADS=${RUST_TEST_THREADS:-$((2 * $(nproc)))}

namespace=$(readlink /proc/self/ns/ipc)
if [[ -z ${OUTSIDE-} ]]; then
	cd "$(dirname "$0")/.."
	built=$(${CARGO:-cargo} test --workspace --locked --no-run --message-format=json)
	export OUTSIDE=$namespace
	BINARIES=$(sed -n 's/.*"profile":{[^}]*"test":true}.*"executable":"\([^"]*\)".*/\1/p' <<<"$built")
	export BINARIES
	as_root=()
	if ((EUID)); then as_root=(--map-root-user); fi
	exec unshare "${as_root[@]}" --ipc --mount tests/elsewhere.sh "${runs[@]}"
fi
[[ $OUTSIDE != "$namespace" ]]

mapfile -t binaries <<<"$BINARIES"
unset OUTSIDE BINARIES
tools=$(dirname "$(dirname "${binaries[0]}")")
logs=$(dirname "$tools")/elsewhere
work=$(mktemp -d)
chmod 755 "$work"
mkdir -p "$logs"
touch "$work/go"
running=

clean_up() {
	rm -f "$work/go"
	[[ -z $running ]] || kill "$running" 2>/dev/null || :
	wait
	umount "$work/a tmpfs" 2>/dev/null || :
	rm -rf "$work"
}
trap clean_up EXIT
trap 'exit 1' INT TERM HUP

mount -t tmpfs -o mode=1777,size=320M tmpfs /dev/shm
limits() {
	while (($#)); do
		echo "$2" >"/proc/sys/$1" 2>/dev/null || echo "elsewhere: $1 stays as it is"
		shift 2
	done
}
limits kernel/shmmni 400 kernel/shmall 81920 kernel/msgmni 100 kernel/sem '250 32000 500 100' fs/mqueue/queues_max 64

# It dies with its parent, and what it runs with it.
cat >"$work/suite" <<-END
	#!/bin/sh
	[ "\$1" ] || exec setpriv --pdeathsig KILL "\$0" again
	status=0
	for binary in ${binaries[*]@Q}; do setpriv --pdeathsig KILL "\$binary" || status=1; done
	exit \$status
END
chmod 755 "$work/suite"

# Until this script has ended, or has no need of neighbours any more.
needed() { [[ -e $work/go && -e $work/neighbours ]] && kill -0 $$ 2>/dev/null; }

neighbour_sysv() {
	local key id
	while needed; do
		key=$((RANDOM % 2 ? 0x40000000 + RANDOM * RANDOM : RANDOM))
		echo x | shmput "key:$key"
		mqsend -n -c "key:$key" hello
		semop -n -c 1,2 "key:$key" -1
		id=$(ipcmk -M 5000) && ipcrm -m "${id##* }"
		id=$(ipcmk -Q) && ipcrm -q "${id##* }"
		id=$(ipcmk -S 3) && ipcrm -s "${id##* }"
		id=$(echo x | shmput private:) && ipcunlink "shm:$id"
		# One that dies half way.
		timeout -s KILL .05 shmput --size 1M "key:$((key + 1))" < <(sleep .1)
		ipcunlink --force {shm,mq,sem}:key:"$key" shm:key:$((key + 1))
	done
}

neighbour_posix() {
	local name path
	while needed; do
		name=$'/neighbour\n\xff \x1b[31m'$RANDOM path=/dev/shm/neighbour-$RANDOM
		echo x | shmput "$name"
		semop -n -c 1 /neighbour$RANDOM -1
		mqsend -n -c --max-messages 4 --message-size 64 /neighbour hello
		seq 9 | ringput -n --restart /neighbour-ring
		shmlock -n /neighbour-lock -- true
		# As the tools name what is not yet whole.
		echo half >"/dev/shm/.ipcutils.$(tr -dc '[:lower:]' </dev/urandom | head -c 12)"
		mkdir $path.d && ln -s /etc/passwd $path.l && mkfifo $path.f
		printf '\x89ipcring and more' >$path.r && chmod 000 $path.r
		printf '\x89ipclock' >$path.k && chown 65534 $path.k
		echo short >/dev/shm/sem.neighbour$RANDOM
		ipcunlink --force "shm:$name" mq:/neighbour ring:/neighbour-ring lock:/neighbour-lock
		rm -rf $path.* /dev/shm/sem.neighbour*
	done
}

neighbour_lists() {
	while needed; do
		ipcls
		ipcls -J --orphans
		timeout 1 cat /dev/shm/neighbour* # and FIFOs
		sleep .1
	done
}

neighbour_runs() { while needed; do :; done; }

# Half of what there may be, for as long as the others are there. The bytes of
# queues are charged to the user, whose other programs need some, too.
hold() {
	local i
	for i in {1..8}; do mqsend -c --max-messages 10 --message-size 4096 "/held$i" x; done
	for i in {1..200}; do shmput --size 4K key:$((0x1000000 + i)) </dev/null; done
	for i in {1..50}; do mqsend -c key:$((0x1000000 + i)) x; semop -c 1 key:$((0x1000000 + i)); done
	shmput --size 159M private: </dev/null
	head -c 160M /dev/zero >/dev/shm/held
}

release() {
	ipcunlink mq:/held{1..8}
	ipcrm --all
	find /dev/shm -mindepth 1 -delete
}

begin_neighbours() {
	touch "$work/neighbours"
	local PATH=$tools:$PATH
	hold >"$logs/held.log" 2>&1
	# They take each other's objects away, and go on. Each is a job of its own, as
	# the kernel hangs a job up in which some are stopped, as tests are, when its
	# last tie to the session goes.
	set +e -m
	for one in sysv sysv posix posix lists runs runs; do neighbour_$one </dev/null >/dev/null 2>&1 & done
	set -e +m
}

end_neighbours() {
	rm "$work/neighbours"
	wait
	PATH=$tools:$PATH release >/dev/null 2>&1 || :
}

# Run a command as RUN, in the background, so that a signal ends it at once; a
# shell would let it ignore SIGINT then.
failed=()
run() {
	local name=$1 begin=$SECONDS status=0 log=$logs/$1.log
	shift
	setpriv --pdeathsig TERM env --default-signal "$@" >"$log" 2>&1 &
	running=$!
	wait $running || status=$?
	running=
	if ((status)); then
		failed+=("$name")
		echo "elsewhere: $name: failed with status $status, see $log:"
		grep -E '^test .*FAILED|left behind' "$log" || tail "$log"
	else
		echo "elsewhere: $name: ok in $((SECONDS - begin)) s, not tested: $(grep -c 'not tested' "$log")"
	fi
}

# A directory of links to all programs of the PATH but these.
without() {
	local bin=$work/bin dir
	mkdir "$bin"
	for dir in ${PATH//:/ }; do find -L "$dir" -maxdepth 1 -type f -perm -1 -exec ln -s -t "$bin" {} + 2>/dev/null || :; done
	for program; do rm -f "$bin/$program"; done
	echo "$bin"
}

for name in "${runs[@]}"; do
	case $name in
	neighbours)
		begin_neighbours
		for i in 1 2 3 4 5; do run "neighbours-$i" "$work/suite"; done
		end_neighbours
		;;
	alone)
		begin_neighbours
		run alone tests/alone.sh "$work/suite"
		end_neighbours
		;;
	tmpfs)
		mkdir "$work/a tmpfs"
		mount -t tmpfs tmpfs "$work/a tmpfs"
		TMPDIR="$work/a tmpfs" run tmpfs "$work/suite"
		;;
	nobody)
		mkdir "$work/home"
		as=(setpriv --reuid 65534 --regid 65534 --clear-groups)
		if ! chown 65534:65534 "$work/home" || ! "${as[@]}" test -x "${binaries[0]}"; then
			echo "elsewhere: nobody: not run, as another user cannot be, or cannot execute the tests"
			continue
		fi
		TMPDIR=$work/home HOME=$work/home run nobody "${as[@]}" "$work/suite"
		;;
	bare) PATH=$(without strace tmux perl python3 python) run bare "$work/suite" ;;
	closed) run closed bash -c "exec '$work/suite' <&-" ;;
	ignored) run ignored bash -c "trap '' INT QUIT HUP; exec '$work/suite'" ;;
	given)
		given="umask 077; exec '$work/suite' 3</dev/null 4>&1 5<&0 7>/dev/null"
		NO_COLOR=1 COLUMNS=20 POSIXLY_CORRECT=1 LANGUAGE=de run given env -u TERM bash -c "$given"
		;;
	*.UTF-8)
		if ! locale -a | tr -d - | grep -qix "${name//-/}"; then
			echo "elsewhere: $name: not run, as there is no such locale"
			continue
		fi
		LC_ALL=$name LANG=$name run "$name" "$work/suite"
		;;
	*)
		echo "elsewhere: $name: there is no such run"
		exit 2
		;;
	esac
done

if ((${#failed[@]})); then
	echo "elsewhere: failed: ${failed[*]}"
	exit 1
fi
