complete -c ipcls -s o -l output -d 'The columns, in this order' -r -f
complete -c ipcls -l sort -d 'Sort by this column; -COLUMN for the largest first' -r -f
complete -c ipcls -l kind -d 'Only these: shm, ring, lock, mq, sem' -r -f
complete -c ipcls -l api -d 'Only those of this interface: sysv, posix' -r -f -a "sysv\t''
posix\t''"
complete -c ipcls -l user -d 'Only those of this user' -r -f
complete -c ipcls -l older -d 'Only those not used or changed for this long' -r -f
complete -c ipcls -l name -d 'Only those whose address or name matches' -r -f
complete -c ipcls -l pid -d 'Only those that this process holds or waits for' -r -f
complete -c ipcls -l namespace -d 'In the namespaces of this process, as root' -r -f
complete -c ipcls -l watch -d 'Refresh every SECONDS [default: 1]' -r -f
complete -c ipcls -s J -l json -d 'One JSON document'
complete -c ipcls -s r -l raw -d 'Fields separated by blanks, nothing shortened'
complete -c ipcls -s P -l pairs -d 'Lines of COLUMN="value", for eval'
complete -c ipcls -l no-headings -d 'Do not name the columns'
complete -c ipcls -s A -l addresses -d 'Addresses alone, as ipcunlink takes them'
complete -c ipcls -s 0 -l null -d 'With -A, end each with a NUL'
complete -c ipcls -s m -l shmems -d 'Shared memory, as --kind shm'
complete -c ipcls -s q -l queues -d 'Message queues, as --kind mq'
complete -c ipcls -s s -l semaphores -d 'Semaphores, as --kind sem'
complete -c ipcls -l mine -d 'Only your own'
complete -c ipcls -l orphans -d 'Only those that are left over'
complete -c ipcls -l died -d 'Only locks and rings whose holder or writer died'
complete -c ipcls -l idle -d 'Only those that nobody was seen to hold'
complete -c ipcls -l limits -d 'The kernel\'s limits, and what is in use'
complete -c ipcls -l space -d 'What fills /dev/shm, folders and removed files too'
complete -c ipcls -l why -d 'What speaks for and against these being left over'
complete -c ipcls -s h -l help -d 'Print help'
complete -c ipcls -s V -l version -d 'Print version'
