//! HTTP/2 settings: every number with its reason.

use std::time::Duration;

use h2::client::Builder;

/// Most unary requests and KiB of request bodies that may wait for one connection's task; more callers wait their turn.
pub(crate) const QUEUE_PERMITS: usize = 64 << 10;
/// Bodies above this are handed to h2 only as flow control lets them leave, so that they do not pile up inside it.
pub(crate) const BODY_AT_ONCE: usize = 16 << 10;
/// A connection is replaced, its calls finishing in peace, before HTTP/2's 2^31 stream ids run out.
pub(crate) const RETIRE_AT_STREAM: u32 = 0x7fff_ffff - (1 << 20);

/// The builder of every client connection.
pub(crate) fn builder() -> Builder {
    let mut builder = Builder::new();
    builder
        // A reply is read as soon as it arrives; the window only has to cover bandwidth × delay (4 MiB: 1 Gbit/s × 32 ms).
        .initial_window_size(4 << 20)
        // h2 gives connection credit back when the application releases it; wide enough for many streams at once.
        .initial_connection_window_size(64 << 20)
        // The largest frame etcd may send us; fewer frames cost less. (RFC 9113 allows up to 2^24 - 1.)
        .max_frame_size(1 << 20)
        // A small limit lets one long error message kill the whole connection.
        .max_header_list_size(1 << 20)
        // etcd never pushes.
        .enable_push(false)
        // A burst of small replies is normal for us, and every reply is drained at once: with h2's default budget a
        // burst closed the connection with "too_many_data_frames".
        .data_frame_budget(1 << 30)
        // Dropped calls are normal: with the defaults the 1,024th ends the connection.
        .max_local_error_reset_streams(None)
        // Frames that arrive late for calls we dropped are ignored while h2 remembers the stream; above this it forgets.
        .max_concurrent_reset_streams(1 << 12)
        .reset_stream_duration(Duration::from_secs(10))
        // A server may refuse many requests at once when it shuts down.
        .max_pending_accept_reset_streams(1 << 12)
        // Until the server's SETTINGS arrive.
        .initial_max_send_streams(100);
    builder
}
