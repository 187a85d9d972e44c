//! What another program does to the owner and the mode of a System V object.

use super::{Output, Test};

/// Change the object with this key, or `id:N`, as IPC_SET does it, by `as_user`.
/// `changes` is of `uid=N`, `gid=N` and `mode=0N`, and `kind` of `shm`, `msg` and `sem`.
pub fn set_of(t: &Test, as_user: &str, kind: &str, object: &str, changes: &str) -> Output {
    let script = r#"my ($kind, $object, %set) = map { /^(uid|gid|mode)=(.*)/ ? ($1, $1 eq "mode" ? oct $2 : $2) : $_ } @ARGV;
        my $id = $object =~ /^id:(.*)/ ? $1 : $kind eq "shm" ? shmget(hex $object, 0, 0)
            : $kind eq "msg" ? msgget(hex $object, 0) : semget(hex $object, 0, 0);
        my $ctl = sub { $kind eq "shm" ? shmctl($id, $_[0], $_[1]) : $kind eq "msg" ? msgctl($id, $_[0], $_[1])
            : semctl($id, 0, $_[0], $_[1]) };
        my $stat = ""; $ctl->(2, $stat) // die $!;
        # struct ipc_perm: key, uid, gid, cuid, cgid, mode.
        substr($stat, 4, 4) = pack "L", $set{uid} if exists $set{uid};
        substr($stat, 8, 4) = pack "L", $set{gid} if exists $set{gid};
        substr($stat, 20, 2) = pack "S", $set{mode} if exists $set{mode};
        $ctl->(1, $stat) // die $!"#;
    let command = format!("cd /; exec {as_user} perl -e \"$SCRIPT\" {kind} {object} {changes}");
    t.bash(&command).env("SCRIPT", script).run()
}

/// What shmput does to a segment while it fills it.
pub const HALF_FILLED: &str = "gid=1768973173 mode=011";

/// The same of a segment.
pub fn set(t: &Test, as_user: &str, key: &str, changes: &str) -> Output {
    set_of(t, as_user, "shm", key, changes)
}
