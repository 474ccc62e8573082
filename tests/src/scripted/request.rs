//! What the server saw, and the answers a healthy etcd would give.

use bytes::Bytes;
use etcd_proto::etcdserverpb::{
    PutRequest, PutResponse, RangeRequest, RangeResponse, ResponseHeader, StatusRequest,
    StatusResponse,
};
use etcd_proto::rpc::Unary;
use prost::Message;

use super::Reply;

/// A request that arrived whole.
#[derive(Debug, Clone)]
pub struct Request {
    /// The RPC, such as `/etcdserverpb.KV/Put`.
    pub path: String,
    /// All header fields in the order they came, pseudo-header fields too.
    pub headers: Vec<(String, String)>,
    /// The first message, without gRPC's prefix.  Empty for the streams of [`Scripted::next_stream`](super::Scripted::next_stream).
    pub message: Bytes,
    /// Which connection it came on, from 0 in the order they were accepted.
    pub connection: usize,
    /// The HTTP/2 stream.
    pub stream: u32,
    /// The how manieth time this path is asked, from 1, on all connections together.
    pub nth: usize,
    pub(super) member: Member,
}

/// Which member of which cluster a server makes believe to be.
#[derive(Debug, Clone, Copy)]
pub(super) struct Member {
    pub(super) id: u64,
    pub(super) leader: u64,
}

impl Request {
    /// The first value of a header field.
    pub fn metadata(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }

    /// The message.
    ///
    /// # Errors
    /// When it is none of type `M`.
    pub fn decode<M: Message + Default>(&self) -> Result<M, prost::DecodeError> {
        M::decode(self.message.clone())
    }

    /// The header of every answer of this member: cluster 1, Raft term 2, revision 1.
    pub fn header(&self) -> ResponseHeader {
        ResponseHeader {
            cluster_id: 1,
            member_id: self.member.id,
            revision: 1,
            raft_term: 2,
            ..Default::default()
        }
    }

    /// The answer of a healthy and empty member to Status, Range and Put, so that a client can connect and work; `Unimplemented` to
    /// everything else.
    pub fn usual(&self) -> Reply {
        let header = Some(self.header());
        if self.path == StatusRequest::PATH {
            let leader = self.member.leader;
            let version = "3.7.2".into();
            Reply::message(&StatusResponse {
                header,
                leader,
                version,
                raft_term: 2,
                raft_index: 2,
                ..Default::default()
            })
        } else if self.path == RangeRequest::PATH {
            Reply::message(&RangeResponse {
                header,
                ..Default::default()
            })
        } else if self.path == PutRequest::PATH {
            Reply::message(&PutResponse {
                header,
                ..Default::default()
            })
        } else {
            Reply::status(12, &format!("unknown method {}", self.path))
        }
    }
}
