//! Each rule must see what it forbids, and only that: a rule that finds nothing in clean code shows nothing by itself.

use crate::layout;
use crate::rules::{self, Rule};
use crate::source::{Source, mark_test_files};

/// A rule, a file it looks at, and code that breaks the rule.
const BROKEN: &[(Rule, &str, &str)] = &[
    (
        rules::state_machines_are_pure,
        "etcd-core/src/pool/state.rs",
        "use tokio::time::sleep;",
    ),
    (
        rules::state_machines_are_pure,
        "etcd-core/src/watch/state/answers.rs",
        "fn f() { let t = Instant::now(); }",
    ),
    (
        rules::state_machines_are_pure,
        "etcd-core/src/watch/state/answers.rs",
        "fn f(t: Instant) { t.elapsed(); }",
    ),
    (
        rules::only_net_knows_http,
        "etcd-core/src/call.rs",
        "use h2::Reason;",
    ),
    (
        rules::only_net_knows_http,
        "etcd-core/src/pool/link.rs",
        "fn f(e: http::Error) {}",
    ),
    (
        rules::only_net_knows_http,
        "etcd-core/src/call.rs",
        "use tower_service::Service;",
    ),
    (
        rules::only_net_knows_http,
        "etcd-core/src/channel.rs",
        "fn f(status: tonic::Status) {}",
    ),
    (
        rules::only_connect_opens_sockets,
        "etcd-core/src/net/tap.rs",
        "use tokio::net::TcpStream;",
    ),
    (
        rules::only_call_retries,
        "etcd-core/src/kv.rs",
        "fn f() { match decide(&error, true) {} }",
    ),
    (
        rules::only_call_retries,
        "etcd-core/src/watch/mod.rs",
        "fn f() { connection.unary(path) }",
    ),
    (
        rules::tasks_are_spawned_in_few_places,
        "etcd-core/src/watch/hub.rs",
        "fn f() { tokio::spawn(g()); }",
    ),
    (
        rules::tasks_are_spawned_in_few_places,
        "etcd-core/src/client.rs",
        "use std::thread::Builder;",
    ),
    (
        rules::no_wire_crate_in_public,
        "etcd-core/src/error/mod.rs",
        "pub fn status(&self) -> Option<&tonic::Status> {}",
    ),
    (
        rules::no_wire_crate_in_public,
        "etcd-recipes/src/lib.rs",
        "pub use h2::{Reason};",
    ),
    (
        rules::no_wire_crate_in_public,
        "etcd-core/src/net/head.rs",
        "struct A { pub head: http::HeaderMap }",
    ),
    (
        rules::queues_are_bounded_and_locks_short,
        "etcd-core/src/watch/queue.rs",
        "use tokio::sync::mpsc::unbounded_channel;",
    ),
    (
        rules::queues_are_bounded_and_locks_short,
        "etcd-recipes/src/session.rs",
        "use tokio::sync::{watch, Mutex};",
    ),
    (
        rules::nothing_panics,
        "etcd-proto/src/helpers.rs",
        "fn f() { a.b().unwrap(); }",
    ),
    (
        rules::nothing_panics,
        "etcd-core/src/kv.rs",
        "#[allow(clippy::expect_used)] fn f() {}",
    ),
    (
        rules::nothing_panics,
        "etcd-recipes/src/lib.rs",
        "#[cfg(not(test))] fn f() { panic!() }",
    ),
    (
        rules::imports_point_down,
        "etcd-core/src/net/unary.rs",
        "use crate::pool::Pool;",
    ),
    (
        rules::imports_point_down,
        "etcd-core/src/net/unary.rs",
        "use crate::{error::{Error, Result}, watch::Watch};",
    ),
    (
        rules::imports_point_down,
        "etcd-core/src/pool/mod.rs",
        "fn f() { crate::call::run() }",
    ),
    (
        rules::imports_point_down,
        "etcd-core/src/call.rs",
        "use crate::{client::Client};",
    ),
    (
        rules::imports_point_down,
        "etcd-core/src/token.rs",
        "fn f() { crate::call::run() }",
    ),
    (
        rules::recipes_use_only_core,
        "etcd-recipes/src/session.rs",
        "use etcd_proto::mvccpb;",
    ),
    (
        rules::recipes_use_only_core,
        "etcd-recipes/src/lock.rs",
        "use etcd_core::proto::v3lockpb;",
    ),
    (
        rules::recipes_use_only_core,
        "etcd-recipes/Cargo.toml",
        "[dependencies]\netcd-proto.workspace = true\n",
    ),
    (
        layout::functions_are_short,
        "tests/src/lib.rs",
        LONG_FUNCTION,
    ),
    (
        layout::nothing_is_left_over,
        "README.md",
        concat!("TO", "DO: more"),
    ),
    (
        layout::nothing_is_left_over,
        "tests/tests/kv.rs",
        concat!("#[test]\n#[igno", "re]\nfn f() {}"),
    ),
    (
        layout::nothing_is_left_over,
        ".ci/run",
        concat!("cd /ro", "ot/etcd"),
    ),
];

const LONG_FUNCTION: &str = concat!(
    "fn f() {\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n",
    "\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n}"
);

/// Code that breaks no rule, whatever the rule and the file.
const CLEAN: &[&str] = &[
    "// tokio::spawn, h2, TcpStream, decide, .unwrap()\n/* crate::client /* nested */ panic!() */",
    "const A: &str = \"h2 tokio \\\" panic!()\"; const B: &str = r#\"std::sync::mpsc \"h2\" \"#;",
    "#[cfg(test)]\nmod tests {\n use crate::client::Client;\n fn f() { tokio::spawn(a).unwrap(); }\n}",
    "#[cfg(all(test, loom))] use loom::thread::spawn;",
    "fn f<'a>(c: char) -> bool { c == '\"' || c == '\\'' || c == '{' } fn g(a: fn(u8) -> u8) {}",
    "fn f(h2c: u8, spawned: bool) { a.unwrap_or(0); b.expected(); https::x(); }",
];

#[test]
fn each_rule_sees_what_it_forbids() {
    for (i, (rule, path, code)) in BROKEN.iter().enumerate() {
        assert_eq!(
            rule(&[Source::new(path, code)]).len(),
            1,
            "{i}: {path}: {code}"
        );
    }
}

#[test]
fn no_rule_minds_comments_strings_tests_and_longer_names() {
    for code in CLEAN {
        for (rule, path, _) in BROKEN {
            assert_eq!(
                rule(&[Source::new(path, code)]),
                Vec::<String>::new(),
                "{path}: {code}"
            );
        }
    }
}

#[test]
fn a_module_for_tests_is_test_code_with_all_below_it() {
    let mut sources = [
        ("etcd-core/src/pool/state.rs", "#[cfg(test)]\nmod tests;"),
        (
            "etcd-core/src/pool/state/tests.rs",
            "mod deep;\nfn f() { panic!() }",
        ),
        (
            "etcd-core/src/pool/state/tests/deep.rs",
            "fn f() { panic!() }",
        ),
        (
            "etcd-core/src/pool/state/tests_not.rs",
            "fn f() { panic!() }",
        ),
    ]
    .map(|(path, text)| Source::new(path, text));
    mark_test_files(&mut sources);
    let wrong = rules::nothing_panics(&sources);
    assert!(
        wrong.len() == 1 && wrong[0].contains("tests_not.rs"),
        "{wrong:?}"
    );
}

#[test]
fn a_long_file_is_refused() {
    let lines = |count: usize| Source::new("tests/src/lib.rs", &"\n".repeat(count));
    assert_eq!(layout::files_are_short(&[lines(500)]).len(), 0);
    assert_eq!(layout::files_are_short(&[lines(501)]).len(), 1);
}

#[test]
fn an_entry_at_the_top_is_missed_and_one_too_many_is_seen() {
    let mut agreed: Vec<String> = layout::the_top_level_is_as_agreed(&[])
        .iter()
        .map(|missing| missing.trim_end_matches(": missing").to_owned())
        .collect();
    assert_eq!(layout::the_top_level_is_as_agreed(&agreed).len(), 0);
    agreed.push("notes.txt".into());
    assert_eq!(layout::the_top_level_is_as_agreed(&agreed).len(), 1);
    agreed.retain(|entry| entry != "proto");
    assert_eq!(layout::the_top_level_is_as_agreed(&agreed).len(), 2);
}

#[test]
fn a_scenario_without_a_test_that_runs_is_refused() {
    let tests = concat!(
        "fn helper() {}\n#[test]\nfn good() {}\n#[tokio::test(flavor = \"multi_thread\")]\nasync fn also_good() {}\n",
        "#[test]\n#[igno",
        "re]\nfn skipped() {}\n",
    );
    let wrong = |row: &str| {
        let table = format!(
            "| scenario | given / when / then | test | planted break |\n|---|---|---|---|\n{row}\n"
        );
        let sources = [
            Source::new("tests/SCENARIOS.md", &table),
            Source::new("tests/tests/kv.rs", tests),
        ];
        layout::scenarios_name_real_tests(&sources)
    };
    let clean: [&str; 2] = [
        "| 1 | g | `tests/tests/kv.rs::good` | b |",
        "| 1 | g | `tests/tests/kv.rs::good`<br>`tests/tests/kv.rs::also_good` | b |",
    ];
    for row in clean {
        assert_eq!(wrong(row), Vec::<String>::new(), "{row}");
    }
    for row in [
        "| 1 | g | `tests/tests/kv.rs::helper` | b |",
        "| 1 | g | `tests/tests/kv.rs::absent` | b |",
        "| 1 | g | `tests/tests/absent.rs::good` | b |",
        "| 1 | g | `tests/tests/kv.rs::skipped` | b |",
        "| 1 | g | `tests/tests/kv.rs::good` | |",
        "| 1 | g | `tests/tests/kv.rs::good` |",
        "| 1 | g | good | b |",
    ] {
        assert_eq!(wrong(row).len(), 1, "{row}");
    }
    assert_eq!(layout::scenarios_name_real_tests(&[]).len(), 1);
}
