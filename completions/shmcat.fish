complete -c shmcat -l offset -d 'Begin at byte N' -r -f
complete -c shmcat -l length -d 'Write at most N bytes' -r -f
complete -c shmcat -l size -d 'Wait until it has N bytes; 1 for "not empty"' -r -f
complete -c shmcat -s w -l timeout -d 'Wait no longer than this: 2, .5, 500ms, 1m30s' -r -f
complete -c shmcat -s E -l busy-status -d 'Status instead of 75 (being filled), 124 (timeout)' -r -f
complete -c shmcat -l wait -d 'Wait until the segment exists and has been filled'
complete -c shmcat -l changed -d 'Wait for the next change of a name'
complete -c shmcat -s q -l quiet -d 'No message for 75 and 124'
complete -c shmcat -l raw -d 'Read the bytes of a ring or a lock, too'
complete -c shmcat -l zero-copy -d 'Give a pipe the pages themselves, not a copy'
complete -c shmcat -l rm -d 'Remove the segment once all of it has been written'
complete -c shmcat -l progress -d 'Draw a bar on stderr if it is a terminal'
complete -c shmcat -s h -l help -d 'Print help'
complete -c shmcat -s V -l version -d 'Print version'
