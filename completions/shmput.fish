complete -c shmput -l offset -d 'Where to write to, with -i' -r -f
complete -c shmput -l size -d 'Make it N bytes, the rest zero' -r -f
complete -c shmput -s m -l mode -d 'Permissions [default: as before, or 0600 less the umask]' -r -f
complete -c shmput -s i -l in-place -d 'Write into the existing segment, which keeps its size'
complete -c shmput -s x -l exclusive -d 'Only create: status 4 if it exists'
complete -c shmput -l foreign -d 'Also write to an object of another user'
complete -c shmput -l progress -d 'Draw a bar on stderr if it is a terminal'
complete -c shmput -s h -l help -d 'Print help'
complete -c shmput -s V -l version -d 'Print version'
