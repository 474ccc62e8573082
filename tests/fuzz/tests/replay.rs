//! What the fuzzer found once is tried again, and with it inputs that are close to it.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests are tests"
)]

use std::collections::BTreeSet;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use etcd_fuzz::{REPLIES, names, run, target};
use etcd_proto::rpc::{STREAMING, UNARY};

/// How many mutated inputs each target gets, and how long it may take over them.
const MUTATED: usize = 20_000;
const AT_MOST: Duration = Duration::from_secs(3);
/// The corpora are kept small: together, in bytes.
const ALL_CORPORA: usize = 1 << 20;

/// A target's committed inputs, by file name.
fn corpus(name: &str) -> Vec<(String, Vec<u8>)> {
    let directory = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("corpus")
        .join(name);
    let mut inputs = Vec::new();
    for entry in fs::read_dir(&directory).unwrap() {
        let path = entry.unwrap().path();
        let file = path.file_name().unwrap().to_string_lossy().into_owned();
        inputs.push((file, fs::read(&path).unwrap()));
    }
    inputs.sort();
    inputs
}

/// Runs a target; a failure is told with the input, in the form in which it goes into the corpus.
fn try_input(name: &str, data: &[u8], origin: &str) {
    let target = target(name).unwrap();
    if catch_unwind(AssertUnwindSafe(|| run(target, data))).is_err() {
        let file = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-failed"));
        fs::write(&file, data).unwrap();
        panic!(
            "{name} fails for {origin}; the input is in {}",
            file.display()
        );
    }
}

#[test]
fn every_input_that_was_ever_found_is_survived() {
    let mut all = 0;
    for name in names() {
        let corpus = corpus(name);
        assert!(!corpus.is_empty(), "{name} has no corpus");
        for (file, data) in corpus {
            all += data.len();
            try_input(name, &data, &file);
        }
    }
    assert!(
        all <= ALL_CORPORA,
        "{all} bytes: minimise with `cargo xtask fuzz --merge`"
    );
}

#[test]
fn inputs_close_to_those_that_were_found_are_survived() {
    for name in names() {
        let (corpus, start) = (corpus(name), Instant::now());
        // Always the same, so that a failure comes back; other ones are the fuzzer's to find.
        let mut random = fastrand::Rng::with_seed(1);
        for n in 0..MUTATED {
            if start.elapsed() > AT_MOST {
                break;
            }
            let mut data = random.choice(&corpus).unwrap().1.clone();
            for _ in 0..random.usize(1..8) {
                mutate(&mut data, &corpus, &mut random);
            }
            try_input(name, &data, &format!("mutation {n}"));
        }
    }
}

fn mutate(data: &mut Vec<u8>, corpus: &[(String, Vec<u8>)], random: &mut fastrand::Rng) {
    let at = random.usize(..=data.len());
    match random.u8(..6) {
        0 if at < data.len() => data[at] ^= 1 << random.u8(..8),
        1 if at < data.len() => data[at] = *random.choice(&[0, 1, 0x7f, 0x80, 0xff]).unwrap(),
        2 => data.insert(at, random.u8(..)),
        3 if at < data.len() => drop(data.drain(at..(at + random.usize(1..9)).min(data.len()))),
        4 => data.truncate(at),
        _ => {
            let other = &random.choice(corpus).unwrap().1;
            let from = random.usize(..=other.len());
            data.truncate(at);
            data.extend_from_slice(&other[from..]);
        }
    }
}

#[test]
fn the_reply_of_every_rpc_is_a_part_of_the_target_for_messages() {
    let tried: BTreeSet<&str> = REPLIES.iter().map(|(path, _)| *path).collect();
    let unary = UNARY.iter().map(|rpc| rpc.path);
    let rpcs: BTreeSet<&str> = unary.chain(STREAMING.iter().map(|rpc| rpc.path)).collect();
    assert_eq!(tried, rpcs);
    assert_eq!(tried.len(), REPLIES.len());
}

#[test]
fn what_allocates_for_a_claimed_length_is_caught() {
    let greedy = |data: &[u8]| drop(Vec::<u8>::with_capacity(usize::from(data[0]) << 20));
    assert!(catch_unwind(|| run(greedy, &[64])).is_err());
    run(greedy, &[1]);
}
