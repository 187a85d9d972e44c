complete -c shmlock -s m -l mode -d 'Mode of a new lock [default: 0600 less the umask]' -r -f
complete -c shmlock -s w -l timeout -d 'Wait no longer than this: 2, .5, 1m30s' -r -f
complete -c shmlock -s E -l busy-status -d 'Status instead of 75 and 124' -r -f
complete -c shmlock -s c -l command -d 'Run this string with sh' -r -f
complete -c shmlock -l fd -d 'Lock for the shell, until its descriptor N is closed' -r -f
complete -c shmlock -l pthread -d 'Lock the robust pthread mutex at OFFSET in a segment' -r -f
complete -c shmlock -s s -l shared -d 'A reader\'s lock: many at once, and no writer'
complete -c shmlock -s n -l nonblock -d 'Do not wait: status 75 instead'
complete -c shmlock -s q -l quiet -d 'No message for 75 and 124'
complete -c shmlock -s v -l verbose -d 'Say how long it has waited'
complete -c shmlock -l strict -d 'End with status 7 if the last holder died inside'
complete -c shmlock -s o -l close -d 'Keep the lock\'s descriptor from the command'
complete -c shmlock -s u -l unlock -d 'With --fd: unlock'
complete -c shmlock -l status -d 'Print who holds the lock and who waits'
complete -c shmlock -s J -l json -d 'With --status: as a JSON object'
complete -c shmlock -l reset -d 'Mark the data as sound after a holder died'
complete -c shmlock -s h -l help -d 'Print help'
complete -c shmlock -s V -l version -d 'Print version'
