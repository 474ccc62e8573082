//! Commands for working on this workspace: one file per command, one variant per command.
mod codegen;

use clap::Parser;

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Commands for working on this workspace")]
enum Command {
    /// Generate etcd-proto/src/generated from the schema in proto/
    Codegen(codegen::Args),
}

fn main() -> anyhow::Result<()> {
    match Command::parse() {
        Command::Codegen(args) => codegen::run(&args),
    }
}
