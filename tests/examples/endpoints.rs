//! Endpoints: where each stands, and calls to a certain one.
//!
//! `cargo run --example endpoints` starts an etcd; `cargo run --example endpoints -- LIST` uses yours.

use std::time::Duration;

use anyhow::Result;
use etcd_core::{Client, EndpointState, Get};
use etcd_tests::example::Etcd;

#[tokio::main]
async fn main() -> Result<()> {
    let etcd = Etcd::given_or_own().await?;
    // One more, at which nobody listens.
    let list = etcd.endpoints().split(',').chain(["http://127.0.0.1:1"]);
    let client = Client::builder().endpoints(list).name("example");
    let client = client.connect().await?;

    println!("{}", client.endpoints());
    for row in client.endpoints().rows() {
        if row.state != EndpointState::Active {
            continue;
        }
        let status = client.endpoint(&*row.endpoint).status().await?;
        println!(
            "{}: etcd {}, {} bytes",
            row.endpoint, status.version, status.db_size
        );
        let own = Get::key("endpoints/a").serializable();
        client.endpoint(&*row.endpoint).get(own).await?;
    }

    // How a call is made is a view of the client.
    let nowhere = client.endpoint("http://127.0.0.1:1");
    let hasty = nowhere.wait_ready(false);
    let patient = nowhere.timeout(Duration::from_millis(300));
    for view in [hasty, patient] {
        if let Err(error) = view.get("endpoints/a").await {
            println!("{error}");
        }
    }
    Ok(())
}
