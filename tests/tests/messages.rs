//! The messages of etcd's errors, compared with what etcd itself has.
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::collections::HashSet;

use etcd_core::EtcdError;

/// Where a text begins in the program.
fn places<'a>(program: &'a [u8], text: &'a [u8]) -> impl Iterator<Item = usize> + 'a {
    let first = text[0];
    let begins = program
        .iter()
        .enumerate()
        .filter(move |(_, byte)| **byte == first);
    begins
        .map(|(at, _)| at)
        .filter(move |at| program[*at..].starts_with(text))
}

/// A message that is misspelt here would be `Unrecognised` whenever a server sends it.
#[test]
fn every_message_that_is_recognised_is_one_of_etcds_own() {
    let etcd = etcd_bin_vendored::etcd_bin_path().unwrap();
    let program = std::fs::read(etcd).unwrap();
    let prefix = b"etcdserver: ";
    let prefixed: Vec<&[u8]> = places(&program, prefix)
        .map(|at| &program[at + prefix.len()..])
        .collect();
    let is_prefixed = |message: &str| {
        prefixed
            .iter()
            .any(|text| text.starts_with(message.as_bytes()))
    };
    let messages = EtcdError::ALL.iter().map(|error| error.message().unwrap());
    let (of_server, others): (Vec<_>, Vec<_>) = messages.partition(|message| is_prefixed(message));
    assert_eq!(
        of_server.iter().collect::<HashSet<_>>().len(),
        63,
        "but {others:?}"
    );
    // Those of raft and of the server's own locks and elections come without a prefix.
    assert_eq!(others.len(), 4);
    for message in others {
        assert!(
            places(&program, message.as_bytes()).next().is_some(),
            "{message}"
        );
    }
}
