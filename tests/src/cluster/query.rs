//! What members say of themselves: leader and metrics.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use futures_util::future::join_all;

use super::{ANSWER_LIMIT, Cluster, START_LIMIT};
use crate::http;

/// How long [`Cluster::wait_leader`] waits for one answer: members that are stopped are asked again and again.
const LOOK: Duration = Duration::from_millis(250);

/// One member's answer to Maintenance/Status.
#[derive(Debug, Clone, Copy)]
struct Status {
    index: usize,
    member_id: u64,
    leader: u64,
    raft_term: u64,
}

impl Cluster {
    /// The member that leads, as the members see it now: of the answers, the one with the highest Raft term counts. Right
    /// after a leader was killed or paused the others still name it; [`wait_leader`](Self::wait_leader) does not.
    ///
    /// # Errors
    /// When no member that answers within 1 s knows a leader, or the one they name did not answer.
    pub async fn leader(&self) -> Result<usize> {
        let answers = self.statuses(ANSWER_LIMIT).await;
        let latest = answers
            .iter()
            .filter(|s| s.leader != 0)
            .max_by_key(|s| s.raft_term)
            .context("no member knows a leader")?;
        let leader = answers
            .iter()
            .find(|s| s.member_id == latest.leader)
            .context("the leader does not answer")?;
        Ok(leader.index)
    }

    /// Waits for a leader that answers and that a majority of all members, itself among them, agrees on.
    ///
    /// # Errors
    /// When there is none within 60 s.
    pub async fn wait_leader(&self) -> Result<usize> {
        let start = Instant::now();
        loop {
            let answers = self.statuses(LOOK).await;
            let elected = answers.iter().find(|candidate| {
                let voters = answers.iter().filter(|s| {
                    s.leader == candidate.member_id && s.raft_term == candidate.raft_term
                });
                candidate.leader == candidate.member_id && voters.count() > self.len() / 2
            });
            match elected {
                Some(leader) => return Ok(leader.index),
                None if start.elapsed() > START_LIMIT => {
                    bail!("no leader within {START_LIMIT:?}, only {answers:?}")
                }
                None => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        }
    }

    /// Everything member `i` exposes at `/metrics`, in Prometheus' text format.
    ///
    /// # Errors
    /// When it does not answer within 1 s.
    pub async fn metrics(&self, i: usize) -> Result<String> {
        http::get_async(self.endpoint(i), "/metrics", ANSWER_LIMIT).await
    }

    /// The sum of the samples of metric `name` on member `i` that have all of `labels`, for example
    /// `metric(0, "grpc_server_started_total", &[("grpc_method", "Range")])`.
    ///
    /// # Errors
    /// When the member does not answer within 1 s, or has no such sample (as opposed to one that is 0).
    pub async fn metric(&self, i: usize, name: &str, labels: &[(&str, &str)]) -> Result<f64> {
        sum(&self.metrics(i).await?, name, labels)
            .with_context(|| format!("member {i} has no metric {name} {labels:?}"))
    }

    /// The id that etcd has given member `i`.
    pub(super) async fn member_id(&self, i: usize) -> Result<u64> {
        let answers = self.statuses(ANSWER_LIMIT).await;
        let answer = answers.iter().find(|s| s.index == i);
        Ok(answer
            .with_context(|| format!("member {i} does not answer"))?
            .member_id)
    }

    /// The status of every member that answers within `limit`.
    async fn statuses(&self, limit: Duration) -> Vec<Status> {
        let asked = (0..self.len()).map(async |index| {
            let json =
                http::post_async(self.endpoint(index), "/v3/maintenance/status", "{}", limit)
                    .await
                    .ok()?;
            let number = |key| http::json_number(&json, key);
            Some(Status {
                index,
                member_id: number("member_id"),
                leader: number("leader"),
                raft_term: number("raft_term"),
            })
        });
        join_all(asked).await.into_iter().flatten().collect()
    }
}

fn sum(text: &str, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
    let labels: Vec<_> = labels
        .iter()
        .map(|(key, value)| format!("{key}=\"{value}\""))
        .collect();
    let samples = text.lines().filter_map(|line| {
        let (series, value) = line.rsplit_once(' ')?;
        let (metric, of) = series.split_once('{').unwrap_or((series, ""));
        let of: Vec<_> = of.trim_end_matches('}').split(',').collect();
        (metric == name && labels.iter().all(|label| of.contains(&label.as_str())))
            .then(|| value.parse().ok())?
    });
    samples.reduce(|a: f64, b: f64| a + b)
}

#[cfg(test)]
mod tests {
    use super::sum;

    #[test]
    fn samples_are_summed_over_the_labels_that_were_not_named() {
        let text = "# HELP a 1\na{m=\"x\",s=\"k\"} 1\na{m=\"x\",s=\"l\"} 2\na{m=\"y\"} 4\nab 8\nb 1.5e+01\n";
        assert_eq!(sum(text, "a", &[("m", "x")]), Some(3.0));
        assert_eq!(sum(text, "a", &[]), Some(7.0));
        assert_eq!(sum(text, "b", &[]), Some(15.0));
        assert_eq!(sum(text, "a", &[("m", "z")]), None);
        assert_eq!(sum(text, "c", &[]), None);
    }
}
