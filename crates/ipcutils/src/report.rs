//! What mqserve tells of its work, as text and as JSON.

use libipc::Address;
use libipc::rpc::{Event, Reason};

use crate::human;

/// An event in words; None for what goes well.
pub fn line(event: &Event<'_>) -> Option<String> {
    Some(match event {
        Event::Taken { .. } | Event::Done { .. } => return None,
        Event::Failed { reason, attempt, pause } => {
            format!("attempt {attempt} failed: {reason}; tried again in {pause:?}")
        }
        Event::Dead { reason, queue, .. } => format!("a message went to {queue}: {reason}"),
        Event::Kept { reason, claim, refused: None, .. } => format!("a message stays in shm:{claim}: {reason}"),
        Event::Kept { reason, claim, refused: Some(error), .. } => {
            format!("a message stays in shm:{claim}: {reason}, and {error}")
        }
        Event::Dropped { reason } => format!("a message is dropped: {reason}"),
        Event::TakenUp { attempts } => format!("a message that a server has left is taken up, attempts: {attempts}"),
        Event::WorkerDied { signal } => format!("a worker was killed by signal {signal}, and is replaced"),
    })
}

/// An event as JSON: what it is not about is left out.
#[derive(serde::Serialize)]
pub struct Logged<'a> {
    time: String,
    event: &'static str,
    address: String,
    /// The worker's process.
    pid: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    attempt: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<usize>,
    /// The priority or type.
    #[serde(skip_serializing_if = "Option::is_none")]
    number: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    call: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    seconds: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pause: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// The dead-letter queue, or the claim.
    #[serde(skip_serializing_if = "Option::is_none")]
    to: Option<&'a str>,
}

impl<'a> Logged<'a> {
    /// An event that happens now.
    pub fn new(address: &Address, event: &Event<'a>) -> Self {
        let (time, pid) = (human::now(), std::process::id());
        let (attempt, bytes, number, call, seconds, pause, reason, to) = Default::default();
        let (address, event_name) = (address.to_string(), name(event));
        let all =
            Logged { time, event: event_name, address, pid, attempt, bytes, number, call, seconds, pause, reason, to };
        let because = |reason: &Reason| Some(reason.to_string());
        match event {
            &Event::Taken { attempt, bytes, number, call } => {
                Logged { attempt: Some(attempt), bytes: Some(bytes), number: Some(number), call: Some(call), ..all }
            }
            &Event::Done { attempt, took } => {
                Logged { attempt: Some(attempt), seconds: Some(took.as_secs_f64()), ..all }
            }
            Event::Failed { attempt, reason, pause } => {
                Logged { attempt: Some(*attempt), pause: Some(pause.as_secs_f64()), reason: because(reason), ..all }
            }
            Event::Dead { attempt, reason, queue } => {
                Logged { attempt: Some(*attempt), reason: because(reason), to: Some(queue), ..all }
            }
            Event::Kept { attempt, reason, claim, .. } => {
                Logged { attempt: Some(*attempt), reason: because(reason), to: Some(claim), ..all }
            }
            Event::Dropped { reason } => Logged { reason: because(reason), ..all },
            Event::TakenUp { attempts } => Logged { attempt: Some(*attempts), ..all },
            Event::WorkerDied { signal } => Logged { reason: Some(format!("signal {signal}")), ..all },
        }
    }
}

fn name(event: &Event<'_>) -> &'static str {
    match event {
        Event::Taken { .. } => "taken",
        Event::Done { .. } => "done",
        Event::Failed { .. } => "failed",
        Event::Dead { .. } => "dead",
        Event::Kept { .. } => "kept",
        Event::Dropped { .. } => "dropped",
        Event::TakenUp { .. } => "taken-up",
        Event::WorkerDied { .. } => "worker-died",
    }
}
