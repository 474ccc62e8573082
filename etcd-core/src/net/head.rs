//! The HTTP head of every request to one endpoint.

use std::collections::HashMap;

use http::header::{CONTENT_TYPE, HeaderName, HeaderValue, TE, USER_AGENT};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, Method, Request, Uri, Version};

use super::headers::Headers;
use super::raw::RawHead;
use super::token::Token;

/// Asks the member to refuse, and to end streams, while it knows no leader.
const HAS_LEADER: HeaderName = HeaderName::from_static("hasleader");
/// What etcd reads the token from, before `authorization`, which its gateway fills in.
const TOKEN: HeaderName = HeaderName::from_static("token");

/// What a request carries besides its message.
#[derive(Clone, Debug, Default)]
pub(crate) struct Metadata {
    /// Refuse rather than answer without a leader.
    pub(crate) require_leader: bool,
    /// Who sends it.
    pub(crate) token: Token,
}

/// Builds heads; URIs are parsed once.
#[derive(Debug)]
pub(super) struct Heads {
    scheme: Scheme,
    authority: Authority,
    plain: HeaderMap,
    with_leader: HeaderMap,
    uris: HashMap<&'static str, Uri>,
}

impl Heads {
    pub(super) fn new(scheme: Scheme, authority: Authority, extra: &Headers) -> Self {
        let mut plain = extra.map().clone();
        plain.insert(TE, HeaderValue::from_static("trailers"));
        plain.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        plain.insert(
            USER_AGENT,
            HeaderValue::from_static(concat!("etcd-core/", env!("CARGO_PKG_VERSION"))),
        );
        let mut with_leader = plain.clone();
        with_leader.insert(HAS_LEADER, HeaderValue::from_static("true"));
        Self {
            scheme,
            authority,
            plain,
            with_leader,
            uris: HashMap::new(),
        }
    }

    /// The head of a request for `path`, such as `/etcdserverpb.KV/Range`.
    pub(super) fn request(&mut self, path: &'static str, metadata: &Metadata) -> Request<()> {
        let uri = match self.uris.get(path) {
            Some(uri) => uri.clone(),
            None => {
                let uri = self.uri(PathAndQuery::from_static(path));
                self.uris.insert(path, uri.clone());
                uri
            }
        };
        post(uri, self.headers(metadata))
    }

    /// The head of somebody else's request, whose headers come before ours.
    pub(super) fn raw(&self, head: &RawHead, metadata: &Metadata) -> Request<()> {
        let mut headers = self.headers(metadata);
        head.lay_over(&mut headers);
        post(self.uri(head.path().clone()), headers)
    }

    fn uri(&self, path: PathAndQuery) -> Uri {
        let mut parts = http::uri::Parts::default();
        parts.scheme = Some(self.scheme.clone());
        parts.authority = Some(self.authority.clone());
        parts.path_and_query = Some(path);
        Uri::from_parts(parts).unwrap_or_default()
    }

    fn headers(&self, metadata: &Metadata) -> HeaderMap {
        let headers = if metadata.require_leader {
            &self.with_leader
        } else {
            &self.plain
        };
        let mut headers = headers.clone();
        if let Some(token) = metadata.token.header() {
            headers.insert(TOKEN, token.clone());
        }
        headers
    }
}

fn post(uri: Uri, headers: HeaderMap) -> Request<()> {
    let mut request = Request::new(());
    *request.method_mut() = Method::POST;
    *request.version_mut() = Version::HTTP_2;
    *request.uri_mut() = uri;
    *request.headers_mut() = headers;
    request
}
