complete -c ringcat -l as -d 'Keep the position under this name' -r -f
complete -c ringcat -l forget -d 'Only give up a name and what it has not read' -r -f
complete -c ringcat -l from -d 'oldest, newest or bytes [default: oldest]' -r -f
complete -c ringcat -l count -d 'End after N records, or bytes without -l or -0' -r -f
complete -c ringcat -s w -l timeout -d 'Wait no longer than this: 2, .5, 1m30s' -r -f
complete -c ringcat -s E -l busy-status -d 'Status instead of 75 and 124' -r -f
complete -c ringcat -s f -l follow -d 'At the end of a stream wait for the next'
complete -c ringcat -l wait -d 'Wait until the ring exists'
complete -c ringcat -s B -l binary -d 'Records have their length before them: 4 bytes'
complete -c ringcat -l drain -d 'End when all that is there has been read'
complete -c ringcat -l exec -d 'Run COMMAND for each record, which is its input'
complete -c ringcat -l progress -d 'Draw a bar on stderr if it is a terminal'
complete -c ringcat -l status -d 'Only show the ring: its writer and its readers'
complete -c ringcat -s J -l json -d 'With --status: as JSON'
complete -c ringcat -s n -l nonblock -d 'Do not wait: status 75 instead'
complete -c ringcat -s l -l lines -d 'Write only whole lines'
complete -c ringcat -s 0 -l null -d 'Write only whole records, each ended by a NUL'
complete -c ringcat -s h -l help -d 'Print help'
complete -c ringcat -s V -l version -d 'Print version'
