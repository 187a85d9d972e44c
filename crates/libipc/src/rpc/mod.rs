//! Messages that are not lost: a queue that is served by a command.
//!
//! | module | what |
//! | --- | --- |
//! | `claim` | where a message lies from the instant in which the kernel gives it out |
//! | [`Caller`], `peer` | requests that wait for their answers |
//! | `envelope`, `wire`, `answer` | the message of a request; what server and caller say; the server's side |
//! | [`Body`], [`send_spilled`] | a message that is too long for its queue |
//! | [`Of`] | the queue of which a claim or a body is |
//! | `attempt` | the command, run once for a message |
//! | `filter` | a command that is started once and answers lines |
//! | `worker` | takes messages, one after another, until it is to end |
//! | [`Service`] | a queue that is served; `pool` has its workers |
//! | [`Event`] | what is told of the work |
//!
//! A worker is a process of one thread, so that both interfaces can wait in the kernel:
//! a System V queue has no descriptor that could be waited for beside others.
//!
//! Their layouts are published in ipcutils-message(5).

mod answer;
mod attempt;
mod body;
mod call;
mod claim;
mod envelope;
mod filter;
mod of;
mod peer;
mod pool;
mod report;
mod service;
mod tickets;
mod wire;
mod worker;

pub use body::{Body, is_envelope, send_spilled};
pub use call::{CallOptions, Caller, Request};
pub use envelope::is_call;
pub use of::Of;
pub use report::{Event, Reason, Watch};
pub use service::{Options, Service};
