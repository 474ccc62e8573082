//! The invariants of the workspace, each as what must not be there. The rules are in `tidy/`, with a mutant for each.

#[path = "tidy/layout.rs"]
mod layout;
#[path = "tidy/mutants.rs"]
mod mutants;
#[path = "tidy/rules.rs"]
mod rules;
#[path = "tidy/source.rs"]
mod source;

use std::fmt;

use self::rules::Rule;

type Result = std::result::Result<(), Wrong>;

/// What is wrong, for whoever reads the output of the test: no backtrace.
struct Wrong(String);

impl fmt::Debug for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<E: fmt::Display> From<E> for Wrong {
    fn from(error: E) -> Self {
        Wrong(error.to_string())
    }
}

fn check(rule: Rule) -> Result {
    say(&rule(source::workspace()?))
}

fn say(wrong: &[String]) -> Result {
    if wrong.is_empty() {
        Ok(())
    } else {
        Err(Wrong(format!("\n  {}", wrong.join("\n  "))))
    }
}

#[test]
fn state_machines_are_pure() -> Result {
    check(rules::state_machines_are_pure)
}

#[test]
fn only_net_knows_http() -> Result {
    check(rules::only_net_knows_http)
}

#[test]
fn only_connect_opens_sockets() -> Result {
    check(rules::only_connect_opens_sockets)
}

#[test]
fn only_call_retries_a_unary_call() -> Result {
    check(rules::only_call_retries)
}

#[test]
fn tasks_are_spawned_in_few_places() -> Result {
    check(rules::tasks_are_spawned_in_few_places)
}

#[test]
fn no_wire_crate_is_in_a_public_signature() -> Result {
    check(rules::no_wire_crate_in_public)
}

#[test]
fn queues_are_bounded_and_locks_short() -> Result {
    check(rules::queues_are_bounded_and_locks_short)
}

#[test]
fn nothing_panics_in_a_library() -> Result {
    check(rules::nothing_panics)
}

#[test]
fn imports_point_down() -> Result {
    check(rules::imports_point_down)
}

#[test]
fn recipes_use_only_core() -> Result {
    check(rules::recipes_use_only_core)
}

/// Prints the files that are getting long: `cargo test --test tidy files -- --nocapture`.
#[test]
fn files_are_short() -> Result {
    let sources = source::workspace()?;
    for source in sources
        .iter()
        .filter(|s| layout::lines(s) > layout::LONG_FILE)
    {
        println!("long: {}: {} lines", source.path, layout::lines(source));
    }
    say(&layout::files_are_short(sources))
}

#[test]
fn functions_are_short() -> Result {
    check(layout::functions_are_short)
}

#[test]
fn nothing_is_left_over() -> Result {
    check(layout::nothing_is_left_over)
}

#[test]
fn the_top_level_is_as_agreed() -> Result {
    let mut entries = Vec::new();
    for entry in std::fs::read_dir(source::root())? {
        entries.push(entry?.file_name().to_string_lossy().into_owned());
    }
    say(&layout::the_top_level_is_as_agreed(&entries))
}

#[test]
fn scenarios_name_tests_that_run() -> Result {
    check(layout::scenarios_name_real_tests)
}
