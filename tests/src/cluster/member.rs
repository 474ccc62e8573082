//! One etcd process and the shell that sees to it that it does not outlive the test.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};

/// Runs etcd ("$@") as a child, prints its pid, and exits with its status. The inner shell blocks on a pipe whose other end the
/// test process holds: when that closes, for whatever reason, it kills etcd. A parent-death signal would not do: it follows the
/// thread that spawned the child, and test threads end early.
const SUPERVISOR: &str = r#"
exec 3<&0
"$@" </dev/null >&2 3<&- &
etcd=$!
(read -r _ <&3; kill -KILL "$etcd") >/dev/null 2>&1 &
guard=$!
echo "$etcd"
exec >&2 3<&-
wait "$etcd"
status=$?
kill "$guard"
exit "$status"
"#;

/// Removes the cluster's directory ("$1") when the pipe closes; tries again while a member that is being killed still writes to it.
const JANITOR: &str = r#"
read -r _
tries=0
until rm -rf -- "$1" 2>/dev/null || [ "$tries" -ge 100 ]; do
    tries=$((tries + 1))
    sleep 0.1
done
"#;

/// How long a process may take to stop.
const STOP_LIMIT: Duration = Duration::from_secs(5);

/// A running etcd.  Dropping it kills and reaps it.
#[derive(Debug)]
pub(super) struct Process {
    supervisor: Child,
    etcd: Pid,
}

impl Process {
    /// Starts `binary` with `args`; what it prints is appended to `log`.
    pub(super) fn start(binary: &Path, args: &[String], log: &Path) -> Result<Process> {
        let log = OpenOptions::new().create(true).append(true).open(log)?;
        let mut supervisor = shell(SUPERVISOR, "etcd-supervisor", log)
            .arg(binary)
            .args(args)
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start sh")?;
        let mut line = String::new();
        if let Some(stdout) = supervisor.stdout.take() {
            BufReader::new(stdout).read_line(&mut line)?;
        }
        let etcd = line
            .trim()
            .parse()
            .ok()
            .and_then(Pid::from_raw)
            .context("the supervisor gave no pid")?;
        Ok(Process { supervisor, etcd })
    }

    pub(super) fn signal(&mut self, signal: Signal) -> Result<()> {
        // Until the supervisor has ended it has not reaped etcd, so the pid is still etcd's.
        if let Some(status) = self.exited()? {
            bail!("etcd has already ended with {status}");
        }
        kill_process(self.etcd, signal).context("cannot signal etcd")
    }

    /// Stops it, and returns when it has stopped: until then it still answers.
    pub(super) fn stop(&mut self) -> Result<()> {
        self.signal(Signal::STOP)?;
        let start = Instant::now();
        while !self.is_stopped()? {
            ensure!(start.elapsed() < STOP_LIMIT, "etcd has not stopped");
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    fn is_stopped(&self) -> Result<bool> {
        let pid = self.etcd.as_raw_nonzero().to_string();
        let ps = Command::new("ps")
            .args(["-o", "stat=", "-p", &pid])
            .output()
            .context("cannot run ps")?;
        Ok(ps.stdout.starts_with(b"T"))
    }

    /// How etcd ended, if it has.
    pub(super) fn exited(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.supervisor.try_wait()?)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // `wait` closes the pipe, upon which the guard kills etcd; the signal merely saves its wake-up.
        let _ = self.signal(Signal::KILL);
        let _ = self.supervisor.wait();
    }
}

/// Removes a directory when dropped or when this process ends, however it ends.
#[derive(Debug)]
pub(super) struct Janitor(Child);

impl Janitor {
    pub(super) fn start(dir: &Path) -> Result<Janitor> {
        let log = File::options().write(true).open("/dev/null")?;
        Ok(Janitor(
            shell(JANITOR, "etcd-janitor", log)
                .arg(dir)
                .stdout(Stdio::null())
                .spawn()
                .context("cannot start sh")?,
        ))
    }
}

impl Drop for Janitor {
    fn drop(&mut self) {
        let _ = self.0.wait();
    }
}

/// A shell in a process group of its own, so that a Ctrl-C meant for the test does not reach it before its pipe closes.
fn shell(script: &str, name: &str, log: File) -> Command {
    let mut command = Command::new("sh");
    command
        .args(["-c", script, name])
        .stdin(Stdio::piped())
        .stderr(log)
        .process_group(0);
    // etcd refuses to start when a variable of the user's says otherwise than our flags.
    for (key, _) in std::env::vars_os() {
        if key.to_string_lossy().starts_with("ETCD_") && key != "ETCD_UNSUPPORTED_ARCH" {
            command.env_remove(key);
        }
    }
    command
}

/// The binary to run: `ETCD_BIN`, or the one that the crate etcd-bin-vendored brings along.
pub(super) fn default_binary() -> Result<PathBuf> {
    match std::env::var_os("ETCD_BIN") {
        Some(path) => Ok(path.into()),
        None => Ok(etcd_bin_vendored::etcd_bin_path()
            .map_err(|e| anyhow::anyhow!("{e:?}"))?
            .to_owned()),
    }
}

/// The ends of a log, for an error message: a flag it does not know is one of etcd's first lines, before its whole usage text.
pub(super) fn excerpt(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<_> = text.lines().collect();
    if lines.len() <= 20 {
        return lines.join("\n");
    }
    [&lines[..6], &["…"], &lines[lines.len() - 13..]]
        .concat()
        .join("\n")
}

/// Waits without blocking the runtime until the process has ended.
pub(super) async fn ended(mut exited: impl FnMut() -> Result<bool>, limit: Duration) -> Result<()> {
    let start = Instant::now();
    while !exited()? {
        if start.elapsed() > limit {
            bail!("etcd has not ended within {limit:?}");
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    Ok(())
}
