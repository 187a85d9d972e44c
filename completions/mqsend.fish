complete -c mqsend -l max-messages -d 'POSIX: the number of messages it holds' -r -f
complete -c mqsend -l message-size -d 'POSIX: the largest message in bytes' -r -f
complete -c mqsend -s m -l mode -d 'Its permissions [default: 0600 less the umask]' -r -f
complete -c mqsend -s p -l priority -d 'POSIX: 0 to 32767, higher ones first [default: 0]' -r -f
complete -c mqsend -s t -l type -d 'System V: 1 or more [default: 1]' -r -f
complete -c mqsend -l spill -d 'Messages that are too long go through memory' -r -f
complete -c mqsend -s w -l timeout -d 'Wait no longer than this: 2, .5, 1m30s' -r -f
complete -c mqsend -s E -l busy-status -d 'Status instead of 75 and 124' -r -f
complete -c mqsend -s c -l create -d 'Create the queue if it is absent'
complete -c mqsend -s x -l exclusive -d 'Create it, also empty: status 4 if it exists'
complete -c mqsend -l foreign -d 'With -c: also send to a queue of another user'
complete -c mqsend -s n -l nonblock -d 'Do not wait: status 75 instead'
complete -c mqsend -s q -l quiet -d 'No message for 75 and 124'
complete -c mqsend -s l -l lines -d 'Each line of standard input is a message'
complete -c mqsend -s 0 -l null -d 'Each record, ended by a NUL, is a message'
complete -c mqsend -s h -l help -d 'Print help'
complete -c mqsend -s V -l version -d 'Print version'
