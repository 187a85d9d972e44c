complete -c ipcunlink -s h -l help -d 'Print help'
complete -c ipcunlink -s V -l version -d 'Print version'
