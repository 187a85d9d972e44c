complete -c shmwake -l all -d 'Wake all who wait, not at least one'
complete -c shmwake -s h -l help -d 'Print help'
complete -c shmwake -s V -l version -d 'Print version'
