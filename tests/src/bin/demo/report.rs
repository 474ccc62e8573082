//! The table at the end.

use crate::gaps::{Phase, longest_gap, slowest};
use crate::ledger::Verdict;
use crate::observe::Events;
use crate::traffic::Log;

pub(crate) struct Facts<'a> {
    pub(crate) log: &'a Log,
    pub(crate) events: &'a Events,
    pub(crate) verdict: &'a Verdict,
    pub(crate) phases: &'a [Phase],
    pub(crate) lease_kept: bool,
}

/// How many things that are wrong are printed; all are counted.
const SHOWN: usize = 10;

/// Prints the table; true if nothing was lost.
pub(crate) fn print(facts: &Facts<'_>) -> bool {
    let Facts {
        log,
        events,
        verdict,
        phases,
        lease_kept,
    } = *facts;
    println!("\noperations");
    row("puts acknowledged", verdict.acknowledged);
    row("puts that failed, NotApplied", verdict.not_applied);
    row("puts that failed, Unknown", verdict.unknown);
    row("  of which were applied", verdict.unknown_applied);
    row("point reads", log.reads.len());
    row("point reads that failed", log.read_errors);
    row("point reads with a wrong value", log.wrong_reads);
    println!("\nin ms: the longest time in which none succeeded, and the slowest that did");
    let head = [
        "reads: none",
        "slowest",
        "puts: none",
        "slowest",
        "watch: none",
    ];
    let head = head.map(|column| format!("{column:>14}")).concat();
    println!("  {:<28}{head}", "");
    for phase in phases {
        let columns = [
            longest_gap(phase, &log.reads),
            slowest(phase, &log.reads),
            longest_gap(phase, &log.writes),
            slowest(phase, &log.writes),
            longest_gap(phase, &events.batches),
        ];
        let columns = columns.map(|time| format!("{:>14.1}", time.as_secs_f64() * 1000.0));
        println!("  {:<28}{}", phase.name, columns.concat());
    }
    println!("\nwatch and lease");
    row("events delivered", verdict.delivered);
    row("events lost", verdict.lost);
    row("events duplicated or out of order", verdict.duplicated);
    row("writes that ended otherwise than told", verdict.wrong.len());
    row("lease kept", if lease_kept { "yes" } else { "NO" });
    for wrong in verdict.wrong.iter().take(SHOWN) {
        println!("  wrong: {wrong}");
    }
    if let Some(reason) = &events.ended {
        println!("  the watch ended: {reason}");
    }
    verdict.is_clean()
        && verdict.acknowledged > 0
        && log.read_errors == 0
        && log.wrong_reads == 0
        && lease_kept
        && events.ended.is_none()
}

fn row(name: &str, value: impl ToString) {
    println!("  {name:<40}{:>10}", value.to_string());
}
