//! Reads one gRPC reply off an HTTP/2 stream: response headers, message pieces, trailers.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::RecvStream;
use h2::client::ResponseFuture;
use http::{Response, StatusCode};

use super::grpc::{self, Deframer, Part};
use super::outcome;
use crate::error::{Code, Error};

/// The receiving half of a call or stream.
pub(super) struct Reply {
    phase: Phase,
    deframer: Deframer,
    chunk: Bytes,
    /// A status that came with the response headers.
    early: Option<(Code, String)>,
    /// Anything at all came on this stream.
    received: bool,
}

enum Phase {
    Headers(ResponseFuture),
    Body(RecvStream),
    Over,
}

/// Why no more pieces will come, other than a status of OK.
#[derive(Debug)]
pub(super) enum Ended {
    /// The server's own answer.
    Status(Code, String),
    Http2(h2::Error),
    /// The reply breaks gRPC's rules.
    Bad(String),
}

impl Reply {
    pub(super) fn new(response: ResponseFuture) -> Self {
        Self {
            phase: Phase::Headers(response),
            deframer: Deframer::default(),
            chunk: Bytes::new(),
            early: None,
            received: false,
        }
    }

    /// The next piece; `None` when the server ended the stream with status OK.
    /// Flow-control credit is given back before a piece is returned.
    pub(super) fn poll_part(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Part>, Ended>> {
        loop {
            match self.deframer.next(&mut self.chunk) {
                Ok(Some(part)) => return Poll::Ready(Ok(Some(part))),
                Ok(None) => {}
                Err(malformed) => return Poll::Ready(Err(Ended::Bad(malformed.to_string()))),
            }
            match &mut self.phase {
                Phase::Headers(response) => {
                    let response = ready!(Pin::new(response).poll(cx)).map_err(Ended::Http2)?;
                    self.received = true;
                    self.take_headers(response)?;
                }
                Phase::Body(body) => match ready!(body.poll_data(cx)) {
                    Some(data) => {
                        self.chunk = data.map_err(Ended::Http2)?;
                        body.flow_control()
                            .release_capacity(self.chunk.len())
                            .map_err(Ended::Http2)?;
                    }
                    None => {
                        let trailers = ready!(body.poll_trailers(cx)).map_err(Ended::Http2)?;
                        let status = trailers
                            .as_ref()
                            .and_then(grpc::status)
                            .or(self.early.take());
                        return Poll::Ready(self.finish(status));
                    }
                },
                Phase::Over => return Poll::Ready(Ok(None)),
            }
        }
    }

    /// The error that `ended` is. `written`: a byte of the request reached the kernel.
    pub(super) fn error(&self, ended: Ended, endpoint: &Arc<str>, written: bool) -> Error {
        match ended {
            Ended::Status(code, message) => Error::from_status(endpoint.clone(), code, message),
            Ended::Bad(reason) => Error::protocol(endpoint.clone(), reason),
            Ended::Http2(error) => outcome::error(&error, endpoint, self.received, written),
        }
    }

    fn take_headers(&mut self, response: Response<RecvStream>) -> Result<(), Ended> {
        let (head, body) = response.into_parts();
        if head.status != StatusCode::OK {
            self.phase = Phase::Over;
            return Err(Ended::Bad(format!(
                "HTTP status {} instead of a gRPC reply",
                head.status
            )));
        }
        self.early = grpc::status(&head.headers);
        self.phase = Phase::Body(body);
        Ok(())
    }

    fn finish(&mut self, status: Option<(Code, String)>) -> Result<Option<Part>, Ended> {
        self.phase = Phase::Over;
        match status {
            Some((Code::OK, _)) => match self.deframer.end() {
                Ok(()) => Ok(None),
                Err(malformed) => Err(Ended::Bad(malformed.to_string())),
            },
            Some((code, message)) => Err(Ended::Status(code, message)),
            None => Err(Ended::Bad(
                "the stream ended without a grpc-status".to_owned(),
            )),
        }
    }
}
