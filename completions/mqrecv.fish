complete -c mqrecv -l max-messages -d 'POSIX: the number of messages it holds' -r -f
complete -c mqrecv -l message-size -d 'POSIX: the largest message in bytes' -r -f
complete -c mqrecv -s m -l mode -d 'Its permissions [default: 0600 less the umask]' -r -f
complete -c mqrecv -s t -l type -d 'System V: the first message of this type' -r -f
complete -c mqrecv -l except -d 'System V: the first of any other type' -r -f
complete -c mqrecv -l up-to -d 'System V: the first of the lowest type up to this' -r -f
complete -c mqrecv -l count -d 'Receive N messages' -r -f
complete -c mqrecv -l truncate -d 'Cut longer messages to N bytes, and say so' -r -f
complete -c mqrecv -s w -l timeout -d 'Wait no longer than this: 2, .5, 1m30s' -r -f
complete -c mqrecv -s E -l busy-status -d 'Status instead of 75 and 124' -r -f
complete -c mqrecv -s c -l create -d 'Create the queue if it is absent'
complete -c mqrecv -s f -l follow -d 'Keep receiving until interrupted'
complete -c mqrecv -l drain -d 'Receive until the queue is empty'
complete -c mqrecv -l peek -d 'System V: copy, and leave the message in the queue'
complete -c mqrecv -l wait-only -d 'POSIX: wait for a message and take none'
complete -c mqrecv -l wait -d 'Wait for the queues to exist'
complete -c mqrecv -s n -l nonblock -d 'Do not wait: status 75 instead'
complete -c mqrecv -s q -l quiet -d 'No message for 75 and 124'
complete -c mqrecv -s v -l verbose -d 'Say each message\'s priority or type, and length'
complete -c mqrecv -s J -l json -d 'One JSON object per message'
complete -c mqrecv -s l -l lines -d 'End each message with a newline'
complete -c mqrecv -s 0 -l null -d 'End each message with a NUL'
complete -c mqrecv -s h -l help -d 'Print help'
complete -c mqrecv -s V -l version -d 'Print version'
