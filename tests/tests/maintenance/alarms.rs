//! Alarms: raised by a database that is full, listed, cleared.

use etcd_core::proto::etcdserverpb::AlarmMember;
use etcd_core::{AlarmType, Client};
use etcd_tests::cluster::Cluster;

use crate::client;

/// Writes to one key until etcd has no space for more; returns the last revision.
async fn fill(client: &Client) -> i64 {
    let value = vec![0; 256 << 10];
    let mut revision = 0;
    loop {
        match client.put("k", &value).await {
            Ok(put) => revision = put.revision(),
            Err(error) => {
                assert!(error.is_no_space(), "{error}");
                return revision;
            }
        }
    }
}

#[tokio::test]
async fn an_alarm_is_listed_and_the_space_serves_again_once_it_is_cleared() {
    let quota = ["--quota-backend-bytes=2097152"];
    let cluster = Cluster::builder().args(quota).start().await.unwrap();
    let client = client(&cluster).await;
    assert!(client.alarm_list().await.unwrap().alarms.is_empty());
    let revision = fill(&client).await;
    let header = client.status().await.unwrap().header.unwrap();
    let raised = AlarmMember {
        member_id: header.member_id,
        alarm: AlarmType::Nospace.into(),
    };
    assert_eq!(client.alarm_list().await.unwrap().alarms, [raised]);

    client.compact(revision).await.unwrap();
    client.defragment().await.unwrap();
    let refused = client.put("k", "v").await.unwrap_err();
    assert!(refused.is_no_space(), "{refused}");
    let cleared = client.alarm_disarm(raised.member_id, raised.alarm()).await;
    assert_eq!(cleared.unwrap().alarms, [raised]);
    assert!(client.alarm_list().await.unwrap().alarms.is_empty());
    client.put("k", "v").await.unwrap();

    fill(&client).await;
    assert_eq!(client.alarm_disarm_all().await.unwrap(), [raised]);
    assert!(client.alarm_list().await.unwrap().alarms.is_empty());
    assert_eq!(client.alarm_disarm_all().await.unwrap(), []);
}
