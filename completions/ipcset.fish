complete -c ipcset -s m -l mode -d 'Permissions in octal' -r -f
complete -c ipcset -s o -l owner -d 'Owner, owner and group, or :GROUP alone' -r -f
complete -c ipcset -l size -d 'Size of a POSIX segment or of a file' -r -f
complete -c ipcset -l max-bytes -d 'Bytes that a System V queue holds' -r -f
complete -c ipcset -l force -d 'With --size: also take what somebody maps'
complete -c ipcset -s h -l help -d 'Print help'
complete -c ipcset -s V -l version -d 'Print version'
