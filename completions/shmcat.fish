complete -c shmcat -l offset -d 'Begin at byte N' -r -f
complete -c shmcat -l length -d 'Write at most N bytes' -r -f
complete -c shmcat -s w -l timeout -d 'Wait no longer than this: 2, .5, 500ms, 1m30s' -r -f
complete -c shmcat -s E -l busy-status -d 'Status instead of 75 (being filled), 124 (timeout)' -r -f
complete -c shmcat -l wait -d 'Wait until the segment exists and has been filled'
complete -c shmcat -l zero-copy -d 'Give a pipe the pages themselves, not a copy'
complete -c shmcat -l rm -d 'Remove the segment once all of it has been written'
complete -c shmcat -l progress -d 'Draw a bar on stderr if it is a terminal'
complete -c shmcat -s h -l help -d 'Print help'
complete -c shmcat -s V -l version -d 'Print version'
