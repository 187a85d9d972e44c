//! Which objects ipcls shows, in which order, and how many there are of each state.

use libipc::inventory::{self, Filter, Hidden, Object, State};
use libipc::{Error, Kind, KindAddress};

use super::column::{Column, Context, Row};
use super::details::hiding;

/// What to list.
#[derive(Debug)]
pub struct Choice<'a> {
    /// Only these objects, if there are any.
    pub named: &'a [KindAddress],
    /// Only these kinds.
    pub kinds: &'a [Kind],
    /// Only System V, or only POSIX.
    pub sysv: Option<bool>,
    /// The other conditions.
    pub filter: Filter,
    /// Only what this process holds or waits for.
    pub pid: Option<i32>,
    /// Sort by this column; true for the largest first.
    pub sort: Option<(&'static Column, bool)>,
    /// Whether all processes are looked at.
    pub judged: bool,
}

/// What was seen.
#[derive(Debug)]
pub struct Listing {
    /// The objects.
    pub rows: Vec<Row>,
    /// What could not be listed.
    pub failures: Vec<Error>,
    /// Who could not be looked at.
    pub hidden: Hidden,
}

impl Choice<'_> {
    /// Look at the objects that are wanted.
    pub fn look(&self, context: &Context) -> Listing {
        let (mut objects, failures) = self.objects();
        let kept = |object: &Object| self.sysv.is_none_or(|sysv| object.is_sysv() == sysv);
        objects.retain(|object| kept(object) && self.filter.admits(object));
        let (mut rows, hidden) = self.rows(objects);
        if let Some((column, reverse)) = self.sort {
            rows.sort_by(|one, other| {
                let order = column.value(one, context).compare(&column.value(other, context));
                if reverse { order.reverse() } else { order }
            });
        }
        Listing { rows, failures, hidden }
    }

    fn objects(&self) -> (Vec<Object>, Vec<Error>) {
        if self.named.is_empty() {
            let (mut objects, failures) = inventory::list(self.kinds, self.sysv);
            inventory::sort(&mut objects);
            return (objects, failures);
        }
        let (mut objects, mut failures) = (Vec::new(), Vec::new());
        for found in self.named.iter().map(inventory::find) {
            match found {
                Ok(object) => objects.push(object),
                Err(error) => failures.push(error),
            }
        }
        (objects, failures)
    }

    /// Every process is looked at for a verdict, so only if it is needed.
    fn rows(&self, objects: Vec<Object>) -> (Vec<Row>, Hidden) {
        if !self.judged && self.filter.states.is_empty() && self.pid.is_none() {
            return (objects.into_iter().map(|object| Row { object, verdict: None }).collect(), Hidden::default());
        }
        let (verdicts, hidden) = inventory::judge(&objects, &self.filter.patience());
        let judged = objects.into_iter().zip(verdicts).filter(|(_, verdict)| {
            let takes_part = |pid| {
                let holds = verdict.holders.iter().any(|holder| holder.pid == pid);
                holds || verdict.waiters.iter().any(|waiter| waiter.pid == pid)
            };
            self.filter.accepts(verdict) && self.pid.is_none_or(takes_part)
        });
        (judged.map(|(object, verdict)| Row { object, verdict: Some(verdict) }).collect(), hidden)
    }
}

impl Listing {
    /// How many objects there are, and of each state.
    pub fn counts(&self) -> String {
        let plural = |count: usize, one: &str| format!("{count} {one}{}", if count == 1 { "" } else { "s" });
        let mut words = vec![plural(self.rows.len(), "object")];
        for state in [State::InUse, State::Filling, State::Idle, State::Died, State::Orphan] {
            let is = |row: &&Row| row.verdict.as_ref().is_some_and(|verdict| verdict.state == state);
            match self.rows.iter().filter(is).count() {
                0 => {}
                count if state == State::Orphan => words.push(plural(count, "orphan")),
                count => words.push(format!("{count} {}", state.as_str())),
            }
        }
        words.join(", ")
    }

    /// Who could not be looked at, for a line of its own; None if everybody was.
    pub fn note(&self) -> Option<String> {
        (!self.hidden.is_nobody()).then(|| hiding(&self.hidden))
    }
}
