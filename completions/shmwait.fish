complete -c shmwait -l until -d 'Wait until this command of sh succeeds' -r -f
complete -c shmwait -s w -l timeout -d 'Wait no longer than this: 2, .5, 1m30s' -r -f
complete -c shmwait -s E -l busy-status -d 'Status instead of 75 and 124' -r -f
complete -c shmwait -s n -l nonblock -d 'Do not wait: status 75 instead'
complete -c shmwait -s q -l quiet -d 'No message for 75 and 124'
complete -c shmwait -s v -l verbose -d 'Say how long it has waited'
complete -c shmwait -s h -l help -d 'Print help'
complete -c shmwait -s V -l version -d 'Print version'
