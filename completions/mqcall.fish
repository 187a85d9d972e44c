complete -c mqcall -s w -l timeout -d 'Wait at most this long for each call: status 124' -r -f
complete -c mqcall -s E -l busy-status -d 'Use this status instead of 124' -r -f
complete -c mqcall -l retry -d 'Tries after a server died [default: 0]' -r -f
complete -c mqcall -s l -l lines -d 'Each line of standard input is a call'
complete -c mqcall -s 0 -l null -d 'Each record, ended by a NUL, is a call'
complete -c mqcall -s h -l help -d 'Print help'
complete -c mqcall -s V -l version -d 'Print version'
