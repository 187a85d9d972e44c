complete -c semop -s c -l create -d 'Create them with these values if absent' -r -f
complete -c semop -s m -l mode -d 'Their permissions [default: 0600 less the umask]' -r -f
complete -c semop -s w -l timeout -d 'Wait no longer than this: 2, .5, 1m30s' -r -f
complete -c semop -s E -l busy-status -d 'Status instead of 75 and 124' -r -f
complete -c semop -l max -d 'Give only up to this value' -r -f
complete -c semop -l barrier -d 'Wait until N processes have arrived here' -r -f
complete -c semop -l set -d 'Set the values, or that of element I: I:VALUE,...' -r -f
complete -c semop -s x -l exclusive -d 'Only create: status 4 if they exist'
complete -c semop -s n -l nonblock -d 'Do not wait: status 75 instead'
complete -c semop -s q -l quiet -d 'No message for 75 and 124'
complete -c semop -s v -l verbose -d 'Say how long it has waited'
complete -c semop -l get -d 'Print the values, one a line'
complete -c semop -s J -l json -d 'With --get: JSON, with waiters and last process'
complete -c semop -s h -l help -d 'Print help'
complete -c semop -s V -l version -d 'Print version'
