//! Downgrades: asked about, begun, given up.

use etcd_core::EtcdError;
use etcd_tests::cluster::Cluster;

use crate::{client, etcd};

#[tokio::test]
async fn a_downgrade_is_validated_begun_and_cancelled() {
    let cluster = Cluster::start(1).await.unwrap();
    let client = client(&cluster).await;
    let version = client.status().await.unwrap().version;
    let (major, minor) = version.split_once('.').unwrap();
    let minor: u32 = minor.split('.').next().unwrap().parse().unwrap();
    let before = |by: u32| format!("{major}.{}", minor - by);

    client.downgrade_validate(before(1)).await.unwrap();
    let two = client.downgrade_validate(before(2)).await.unwrap_err();
    assert_eq!(etcd(&two), EtcdError::InvalidDowngradeTargetVersion);
    let none = client.downgrade_validate("old").await.unwrap_err();
    assert_eq!(etcd(&none), EtcdError::WrongDowngradeVersionFormat);

    client.downgrade_enable(before(1)).await.unwrap();
    let info = client.status().await.unwrap().downgrade_info.unwrap();
    assert!(info.enabled && info.target_version.starts_with(&before(1)));
    let twice = client.downgrade_enable(before(1)).await.unwrap_err();
    assert_eq!(etcd(&twice), EtcdError::DowngradeInProcess);
    client.downgrade_cancel().await.unwrap();
    let info = client.status().await.unwrap().downgrade_info;
    assert!(info.is_none_or(|info| !info.enabled));
}
