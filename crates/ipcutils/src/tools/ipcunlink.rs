//! ipcunlink: remove shared memory, queues and semaphores.

use libipc::address::{Address, Kind, KindAddress};
use libipc::{mq, sem, shm};

use crate::app::{self, Io, Outcome, Tool};
use crate::args;

/// Remove shared memory, message queues and semaphores
#[derive(clap::Parser, Debug)]
#[command(name = "ipcunlink", version, after_help = args::AFTER_HELP)]
pub struct Args {
    /// As shm:/seg, mq:key:0x2a, sem:id:7, shm:file:PATH
    #[arg(value_name = "KIND:ADDRESS", value_parser = args::kind_address(), required = true)]
    objects: Vec<KindAddress>,
}

impl Tool for Args {
    fn run(self, io: &Io<'_>) -> anyhow::Result<Outcome> {
        let mut statuses = Vec::new();
        for object in &self.objects {
            if let Err(error) = remove(object) {
                io.complain(format_args!("ipcunlink: {}:{error}", object.kind.as_str()));
                statuses.push(app::status(error.kind));
            }
        }
        Ok(app::common(&statuses))
    }
}

fn remove(object: &KindAddress) -> libipc::Result<()> {
    match (object.kind, &object.address) {
        (Kind::Mq, Address::Posix(name)) => mq::posix::remove(name),
        (Kind::Mq, Address::SysV(sysv)) => mq::sysv::remove(sysv),
        (Kind::Sem, Address::Posix(name)) => sem::posix::remove(name),
        (Kind::Sem, Address::SysV(sysv)) => sem::sysv::remove(sysv),
        (_, address) => shm::remove(address, object.kind),
    }
}
