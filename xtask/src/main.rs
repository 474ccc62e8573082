//! Commands for working on this workspace: one file per command, one variant per command.
//!
//! This package depends on none of the workspace's libraries, since it generates code for them; commands that use them run a
//! program of `etcd-tests`.
mod ci;
mod codegen;
mod demo;
mod etcd;
mod examples;
mod fuzz;
mod readme;
mod test;

use clap::Parser;

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Commands for working on this workspace")]
enum Command {
    /// Run everything that must hold before a change is merged
    Ci,
    /// Generate etcd-proto/src/generated from the schema in proto/
    Codegen(codegen::Args),
    /// Show the main job on a real cluster: traffic, a watch and a lease while members are killed and stopped
    Demo(demo::Args),
    /// Run a real etcd cluster in the foreground, until Ctrl-C
    Etcd(etcd::Args),
    /// Build the programs in tests/examples and run each
    Examples,
    /// Run the suites that talk to a real etcd on chosen releases of it, and tell what each of them lacks
    Test(test::Args),
    /// Look for inputs that break what reads the wire (needs a C++ compiler)
    Fuzz(fuzz::Args),
}

fn main() -> anyhow::Result<()> {
    match Command::parse() {
        Command::Ci => ci::run(),
        Command::Codegen(args) => codegen::run(&args),
        Command::Demo(args) => demo::run(&args),
        Command::Etcd(args) => etcd::run(&args),
        Command::Examples => examples::run(),
        Command::Test(args) => test::run(&args),
        Command::Fuzz(args) => fuzz::run(&args),
    }
}
