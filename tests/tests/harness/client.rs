//! A bare HTTP/2 client, which shows what a server really sent.

use std::time::Duration;

use bytes::Bytes;
use etcd_proto::etcdserverpb::PutRequest;
use etcd_proto::rpc::Unary;
use h2::client::{ResponseFuture, SendRequest};
use http::HeaderMap;
use prost::Message;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::timeout;

const LIMIT: Duration = Duration::from_secs(10);

pub(crate) type Client = SendRequest<Bytes>;

/// What a client got for a request.
#[derive(Debug, Default)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: HeaderMap,
}

/// A client's connection to `address`, and the task that runs it: its outcome is how the connection ended.
pub(crate) async fn connect(address: String) -> (Client, JoinHandle<Result<(), h2::Error>>) {
    let socket = TcpStream::connect(address).await.unwrap();
    let (client, connection) = h2::client::handshake(socket).await.unwrap();
    (client, tokio::spawn(connection))
}

pub(crate) fn prefixed(message: &impl Message) -> Bytes {
    let mut bytes = vec![0; 5];
    bytes[1..].copy_from_slice(&(message.encoded_len() as u32).to_be_bytes());
    message.encode(&mut bytes).unwrap();
    bytes.into()
}

pub(crate) fn request(path: &str) -> http::Request<()> {
    let uri = format!("http://localhost{path}");
    http::Request::post(uri)
        .header("content-type", "application/grpc")
        .header("hasleader", "true")
        .body(())
        .unwrap()
}

pub(crate) async fn send(client: &Client, path: &str, body: Bytes) -> ResponseFuture {
    let mut client = client.clone().ready().await.unwrap();
    let (response, mut stream) = client.send_request(request(path), false).unwrap();
    stream.send_data(body, true).unwrap();
    response
}

pub(crate) async fn answer(response: ResponseFuture) -> Result<Answer, h2::Error> {
    timeout(LIMIT, async {
        let (head, mut body) = response.await?.into_parts();
        let mut answer = Answer {
            status: head.status.as_u16(),
            headers: head.headers,
            ..Answer::default()
        };
        while let Some(data) = body.data().await {
            let data = data?;
            body.flow_control().release_capacity(data.len())?;
            answer.body.extend_from_slice(&data);
        }
        answer.trailers = body.trailers().await?.unwrap_or_default();
        Ok(answer)
    })
    .await
    .unwrap()
}

pub(crate) async fn put(client: &Client, key: &str) -> Result<Answer, h2::Error> {
    let message = PutRequest {
        key: key.to_owned().into(),
        ..PutRequest::default()
    };
    answer(send(client, PutRequest::PATH, prefixed(&message)).await).await
}
