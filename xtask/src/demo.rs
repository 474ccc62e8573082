//! `cargo xtask demo`: the main job of the workspace, shown on a real cluster. The program is `tests/src/bin/demo`.

use anyhow::Result;

use crate::etcd::program;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Use this cluster (a comma-separated list of endpoints), under a key prefix that is cleaned up, and kill nothing
    #[arg(long, value_name = "LIST")]
    endpoints: Option<String>,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let options = args.endpoints.iter().flat_map(|list| ["--endpoints", list]);
    program("demo", options, None)
}
