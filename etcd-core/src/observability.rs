//! What a client tells of itself, and under which names: spans and events by [`tracing`](https://docs.rs/tracing), and, with
//! the feature `metrics`, numbers by the facade [`metrics`](https://docs.rs/metrics). This module has no items.
//!
//! Nothing is sent anywhere by this crate: the program installs a subscriber and a recorder, or neither. Keys, values, passwords
//! and tokens are in no span, event or metric, with one exception: events about a watch name the range of keys that it
//! watches. A span that nobody wants costs a look at a flag.
//!
//! # Spans
//!
//! All at level `DEBUG`. The attributes have OpenTelemetry's names for RPC clients, as in the release candidate that its
//! conventions after 1.37 are (`rpc.system.name`, and `rpc.method` with the service in it; before, these were `rpc.system`,
//! `rpc.service` and `rpc.method`).
//!
//! | span | target | what |
//! |---|---|---|
//! | `etcd.call` | `etcd_core::call` | one call of the program's, from its beginning to its end, with every attempt; a scan, a snapshot and a call of a [`Channel`](crate::Channel) until their last reply has come |
//! | `etcd.stream` | `etcd_core::stream` | one stream on one connection: of watches, of lease renewals, or inside a call |
//!
//! | attribute | what |
//! |---|---|
//! | `otel.kind` | `client` |
//! | `otel.name`, `rpc.method` | the RPC, such as `etcdserverpb.KV/Range`; `_OTHER` for a channel's call of a service that is not etcd's; `etcdserverpb.KV/RangeStream` for a scan, also where the server has only `Range` |
//! | `rpc.system.name` | `grpc` |
//! | `rpc.response.status_code` | the status at the end, such as `OK` or `DEADLINE_EXCEEDED`, as the server or the client gave it; absent if it was dropped |
//! | `server.address`, `server.port` | the endpoint of the last attempt: host and port, or the path of a socket |
//! | `error.type` | the variant of [`Error`](crate::Error) that it ended in |
//! | `otel.status_code` | `ERROR` if it failed |
//!
//! # Events
//!
//! | target | message | level | fields |
//! |---|---|---|---|
//! | `etcd_core::call` | `call failed` | `WARN`; `DEBUG` for an answer of etcd's and for a closed client | `rpc.method`, `error.type`, `attempts`, `endpoints` (those on which attempts failed), `elapsed_ms`, `outcome`, `error`: exactly one for a call that fails, but none for a request that is refused before anything is sent |
//! | `etcd_core::endpoint` | `endpoint state` | `INFO` to `Active`, `WARN` from `Active` or `Suspect` to worse, else `DEBUG` | `endpoint`, `from`, `to`, `cause`: `New`, `Connecting`, `Active`, `Suspect`, `Frozen`, `Removed`; what is undone at once may go unsaid |
//! | `etcd_core::connect` | `connect phase` | `DEBUG` | `endpoint`, `phase` (`dns`, `tcp` or `socket`, `tls`, `http2`, `first_reply`), `result` (`ok`, `failed`, `given up`: its time was over, or the client was closed), `elapsed_ms`, `error` |
//! | `etcd_core::token` | `logged in`, `no token` | `DEBUG`, `WARN` | `phase` (`auth`), `elapsed_ms`, `generation` or `error` |
//! | `etcd_core::watch` | `watch state` | `DEBUG` | `range`, `next_revision`, `from`, `to`: `Starting`, `Connected`, `Resuming`, `Parked`, `CatchingUp` |
//! | `etcd_core::lease` | `lease state` | `WARN` to `AtRisk`, and to `Lost` by its deadline or as etcd does not have it; else `DEBUG` | `lease`, `from`, `to` (`Healthy`, `AtRisk`, `Lost`), `reason`, `ttl_s` |
//!
//! Other events, at `DEBUG`, say why something is tried again; they have no promised form. A watch that ends in an error says
//! so at `WARN`. The states of endpoints are those of [`EndpointState`](crate::EndpointState), those of leases those of
//! [`LeaseState`](crate::LeaseState).
//!
//! # Metrics
//!
//! With the feature `metrics`. All clients of a process add up. Histograms are of seconds. `result` is `ok`, the variant of
//! [`Error`](crate::Error), or `dropped` for a call whose future was dropped.
//!
//! | name | kind | labels | what |
//! |---|---|---|---|
//! | `etcd_client_calls_total` | counter | `method`, `result` | calls that have ended |
//! | `etcd_client_call_duration_seconds` | histogram | `method`, `result` | how long they took, with all attempts |
//! | `etcd_client_call_retries_total` | counter | `method` | attempts after the first |
//! | `etcd_client_calls_in_flight` | gauge | | calls that have begun and not ended |
//! | `etcd_client_streams` | gauge | `method` | streams that are open |
//! | `etcd_client_endpoints` | gauge | `state` | endpoints in each state |
//! | `etcd_client_connect_phase_seconds` | histogram | `phase`, `result` | as the events `connect phase`, and `auth` |
//! | `etcd_client_logins_total` | counter | `result` (`ok`, `failed`) | tokens that were asked for |
//! | `etcd_client_watchers` | gauge | `state` | watchers in each state; `Parked` are those whose readers are too slow |
//! | `etcd_client_watch_lag_seconds` | histogram | | how long the oldest change of a batch waited for its reader |
//! | `etcd_client_leases` | gauge | `state` (`Healthy`, `AtRisk`) | leases that are kept alive |
//! | `etcd_client_lease_margin_seconds` | histogram | | how long a lease could still have been relied on when a renewal was confirmed |
//! | `etcd_client_leases_lost_total` | counter | `reason` | leases that are kept alive no longer, by [`LostReason`](crate::LostReason) |
//!
//! # Example
//!
//! ```no_run
//! # async fn run() -> etcd_core::Result<()> {
//! // Any subscriber will do; `tracing-opentelemetry` passes the spans on as they are.
//! let client = etcd_core::Client::connect("10.0.0.1:2379").await?;
//! let work = tracing::info_span!("work");
//! // The calls' spans are children of the span in which they are made.
//! tracing::Instrument::instrument(client.get("k"), work).await?;
//! # Ok(()) }
//! ```
