complete -c ringput -s s -l size -d 'Bytes that a new ring holds [default: 1M]' -r -f
complete -c ringput -l readers -d 'Begin when N readers are there' -r -f
complete -c ringput -l max-lag -d 'Bytes that a named reader holds back while away' -r -f
complete -c ringput -l expire -d 'How long one that is away holds bytes back' -r -f
complete -c ringput -s m -l mode -d 'Mode of a new ring [default: 0600 less the umask]' -r -f
complete -c ringput -s w -l timeout -d 'Wait no longer than this: 2, .5, 1m30s' -r -f
complete -c ringput -s E -l busy-status -d 'Status instead of 75 and 124' -r -f
complete -c ringput -l many -d 'Share the stream with other writers of whole records'
complete -c ringput -l overwrite -d 'Wait for no reader: slow ones lose bytes'
complete -c ringput -l resume -d 'Go on with a stream, ended or not'
complete -c ringput -l restart -d 'Begin a stream though the last has no end'
complete -c ringput -l while-read -d 'End by SIGPIPE when the last reader has gone'
complete -c ringput -l progress -d 'Draw a bar on stderr if it is a terminal'
complete -c ringput -l end -d 'Only mark the end of the stream of --many writers'
complete -c ringput -l position -d 'Only print how many bytes were committed'
complete -c ringput -s B -l binary -d 'Records have their length before them: 4 bytes'
complete -c ringput -l foreign -d 'Also write into a ring of another user'
complete -c ringput -s n -l nonblock -d 'Do not wait: status 75 instead'
complete -c ringput -s q -l quiet -d 'No message for 75 and 124'
complete -c ringput -s l -l lines -d 'Commit only whole lines'
complete -c ringput -s 0 -l null -d 'Commit only whole records, each ended by a NUL'
complete -c ringput -s h -l help -d 'Print help'
complete -c ringput -s V -l version -d 'Print version'
