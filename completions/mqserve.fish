complete -c mqserve -l max-messages -d 'POSIX: the number of messages it holds' -r -f
complete -c mqserve -l message-size -d 'POSIX: the largest message in bytes' -r -f
complete -c mqserve -s m -l mode -d 'Its permissions [default: 0600 less the umask]' -r -f
complete -c mqserve -s j -l jobs -d 'How many run at once; 0: all processors' -r -f
complete -c mqserve -l retry -d 'How often a message is tried again' -r -f
complete -c mqserve -l dead -d 'The queue for messages that cannot be done' -r -f
complete -c mqserve -l timeout -d 'How long the command may take' -r -f
complete -c mqserve -l count -d 'Take N messages' -r -f
complete -c mqserve -l log -d 'With json: an object for each event' -r -f -a "text\t'A line for what goes wrong'
json\t'A JSON object for each event'"
complete -c mqserve -s w -d 'Status 124 if no message comes for so long' -r -f
complete -c mqserve -s c -l create -d 'Create the queue if it is absent'
complete -c mqserve -l drain -d 'End when the queue is empty and all is done'
complete -c mqserve -s l -l lines -d 'COMMAND runs on, and answers each line with a line'
complete -c mqserve -s n -l nonblock -d 'Do not wait: status 75 without a message'
complete -c mqserve -s h -l help -d 'Print help'
complete -c mqserve -s V -l version -d 'Print version'
