//! Downgrades: asked about, begun, given up.

use etcd_core::{Client, EtcdError};
use etcd_tests::cluster::Cluster;
use etcd_tests::versions::{Version, differs, since};

use crate::{client, etcd};

fn before((major, minor): Version, by: u32) -> String {
    format!("{major}.{}", minor - by)
}

#[tokio::test]
async fn a_downgrade_is_validated_begun_and_cancelled() {
    let cluster = Cluster::start(1).await.unwrap();
    let client = client(&cluster).await;
    let version = cluster.version(0).await.unwrap();

    let valid = client.downgrade_validate(before(version, 1)).await;
    if since((3, 5), version, "Downgrade", valid).is_none() {
        return;
    }
    let two = client.downgrade_validate(before(version, 2)).await;
    assert_eq!(
        etcd(&two.unwrap_err()),
        EtcdError::InvalidDowngradeTargetVersion
    );
    let none = client.downgrade_validate("old").await.unwrap_err();
    assert_eq!(etcd(&none), EtcdError::WrongDowngradeVersionFormat);

    let begun = client.downgrade_enable(before(version, 1)).await;
    if since((3, 6), version, "Downgrade ENABLE", begun).is_none() {
        let cancelled = client.downgrade_cancel().await.unwrap_err();
        assert_eq!(etcd(&cancelled), EtcdError::NoInflightDowngrade);
        return differs("a downgrade that was not begun cannot be cancelled");
    }
    begun_and_cancelled(&client, version).await;
}

async fn begun_and_cancelled(client: &Client, version: Version) {
    let info = client.status().await.unwrap().downgrade_info.unwrap();
    assert!(info.enabled && info.target_version.starts_with(&before(version, 1)));
    let twice = client.downgrade_enable(before(version, 1)).await;
    assert_eq!(etcd(&twice.unwrap_err()), EtcdError::DowngradeInProcess);
    client.downgrade_cancel().await.unwrap();
    let info = client.status().await.unwrap().downgrade_info;
    assert!(info.is_none_or(|info| !info.enabled));
}
