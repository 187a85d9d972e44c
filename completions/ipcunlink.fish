complete -c ipcunlink -l namespace -d 'In the namespaces of this process, as root' -r -f
complete -c ipcunlink -l user -d 'With --orphans: only those of this user' -r -f
complete -c ipcunlink -l older -d 'With --orphans: only those not used for this long' -r -f
complete -c ipcunlink -l name -d 'With --orphans: only those whose name matches' -r -f
complete -c ipcunlink -l dry-run -d 'Print what would be removed, and remove nothing'
complete -c ipcunlink -l force -d 'Also remove what somebody holds or waits for'
complete -c ipcunlink -l orphans -d 'Print what ipcls --orphans lists; --yes removes it'
complete -c ipcunlink -l died -d 'With --orphans: also locks and rings of the dead'
complete -c ipcunlink -l yes -d 'Remove the orphans that --older or --name chooses'
complete -c ipcunlink -s 0 -l null -d 'Addresses from standard input as well, ended by NUL'
complete -c ipcunlink -l mine -d 'With --orphans: only your own'
complete -c ipcunlink -s h -l help -d 'Print help'
complete -c ipcunlink -s V -l version -d 'Print version'
