//! Users: how to make them, and how to be one.
//!
//! `cargo run --example auth` starts an etcd. It takes no other one: it turns authentication on.

use anyhow::{Context, Result};
use etcd_core::{Client, KeyRange, Permission};
use etcd_tests::cluster::Cluster;
use etcd_tests::example::Etcd;

#[tokio::main]
async fn main() -> Result<()> {
    let etcd = Etcd::own(Cluster::builder().args(["--bcrypt-cost=4"])).await?;
    let admin = Client::connect(etcd.endpoints()).await?;
    admin.user_add("root", "r00t").await?;
    admin.role_add("root").await?;
    admin.user_grant_role("root", "root").await?;
    admin.role_add("app").await?;
    let own_keys = Permission::read_write(KeyRange::prefix("auth/app/"));
    admin.role_grant_permission("app", own_keys).await?;
    admin.user_add("svc", "s3cret").await?;
    admin.user_grant_role("svc", "app").await?;
    admin.auth_enable().await?;

    let nobody = admin.get("auth/app/a").await;
    println!("nobody: {}", nobody.err().context("it is on")?);

    // One login for all calls, watches and leases, and another one when etcd wants a new token. A password goes over
    // plaintext only on this machine, unless that is allowed by name.
    let user = |name: &str, password: &str| {
        let builder = Client::builder().endpoints([etcd.endpoints()]);
        builder.credentials(name, password).connect()
    };
    let svc = user("svc", "s3cret").await?;
    svc.put("auth/app/a", "mine").await?;
    println!("svc: {:?}", svc.get("auth/app/a").await?.into_first());
    let denied = svc.put("auth/other", "not mine").await;
    let denied = denied.err().context("that is another one's")?;
    println!("denied: {} ({denied})", denied.is_permission_denied());
    let wrong = user("svc", "guess").await;
    println!("a wrong password: {}", wrong.err().context("it is wrong")?);
    Ok(())
}
