//! A process that is stopped for longer than its lease lives.

use std::process::Stdio;

use etcd_core::LeaseId;
use etcd_tests::cluster::Target;
use etcd_tests::tls::Authority;
use etcd_tests::wait;
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;
use tokio::time::timeout;

use crate::{LIMIT, client, gone};

#[tokio::test]
async fn the_first_thing_a_process_knows_after_it_was_stopped_is_that_its_lease_is_lost() {
    let (direct, _) = client().await;
    let target = Target::get().await.unwrap();
    let dir = tempfile::tempdir().unwrap();
    let mut config = target.endpoints().join(",");
    if config.contains("https:") {
        let ca = dir.path().join("ca.pem");
        std::fs::write(&ca, Authority::shared().unwrap().pem()).unwrap();
        config = format!("{config}?tls_ca_file={}", ca.display());
    }
    let mut holder = Command::new(env!("CARGO_BIN_EXE_lease_holder"))
        .arg(config)
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let pid = holder.id().unwrap();
    let mut lines = BufReader::new(holder.stdout.take().unwrap()).lines();
    let mut line = async || {
        let line = timeout(LIMIT, lines.next_line()).await.unwrap().unwrap();
        line.unwrap()
    };
    let id = LeaseId(line().await.parse().unwrap());
    assert_eq!(line().await, "before: valid");

    // It has stopped itself between two instructions of the thread that its tasks run on.
    wait::until("it is stopped", LIMIT, async || state(pid) == 'T')
        .await
        .unwrap();
    gone(&direct, id).await;
    kill_process(Pid::from_raw(pid as i32).unwrap(), Signal::CONT).unwrap();
    assert_eq!(line().await, "after: lost");
    assert_eq!(line().await, "reason: Deadline");
    assert!(holder.wait().await.unwrap().success());
}

/// The state of a process, as in `ps`.
fn state(pid: u32) -> char {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let (_, after_name) = stat.rsplit_once(") ").unwrap();
    after_name.chars().next().unwrap()
}
