//! The TLS handshake, and what its failures mean.

use std::io::{self, ErrorKind};
use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use rustls::pki_types::{ServerName, UnixTime};
use rustls::{AlertDescription, CertificateError, InvalidMessage, PeerMisbehaved};
use tokio::io::BufReader;
use tokio_rustls::TlsConnector;

use super::socket::{First, Io, Socket};
use crate::error::TlsError;
use crate::tls::{Context, Presenter};

/// Read from the socket at once. rustls by itself asks for 4 KiB at a time.
const READ_SIZE: usize = 64 << 10;

/// Makes a TLS session with a server that is who it should be and that speaks HTTP/2; nothing of HTTP/2 is written before.
pub(super) async fn handshake(
    io: Box<dyn Io>,
    context: &Context,
    name: ServerName<'static>,
) -> Result<Socket, TlsError> {
    let (config, presenter) = context.connection();
    let io = BufReader::with_capacity(READ_SIZE, io);
    let connected = TlsConnector::from(config).connect(name, io).await;
    let stream = connected.map_err(|error| failed_handshake(&error, &presenter))?;
    if stream.get_ref().1.alpn_protocol() != Some(b"h2") {
        return Err(TlsError::NoHttp2);
    }
    // With TLS 1.3 the handshake has ended before the server says what it thinks of the client's certificate.
    let judge = move |first: First<'_>| first_after_handshake(first, &presenter);
    Ok(Socket::new(Box::new(stream), Box::new(judge)))
}

/// A socket without TLS.
pub(super) fn plaintext(io: Box<dyn Io>) -> Socket {
    let closed = || {
        let when = "before it said anything; does it want TLS (https://)?".to_owned();
        Some(TlsError::Closed { when })
    };
    let judge = move |first: First<'_>| match first {
        // An alert of TLS; no server begins HTTP/2 with a frame of 1.3 MB.
        Ok([21, 3, ..]) => Some(TlsError::TlsOnly),
        Ok([]) => closed(),
        Err(error) if is_close(error) => closed(),
        Ok(_) | Err(_) => None,
    };
    Socket::new(io, Box::new(judge))
}

fn first_after_handshake(first: First<'_>, presenter: &Presenter) -> Option<TlsError> {
    let closed = || {
        let when = "right after a handshake in which it asked for a client certificate".to_owned();
        presenter.was_asked().then_some(TlsError::Closed { when })
    };
    match first {
        Ok([]) => closed(),
        Ok(_) => None,
        Err(error) => match cause(error) {
            Some(error) => Some(failure(error, presenter)),
            None if is_close(error) => closed(),
            None => None,
        },
    }
}

fn failed_handshake(error: &io::Error, presenter: &Presenter) -> TlsError {
    match cause(error) {
        Some(error) => failure(error, presenter),
        None if is_close(error) && presenter.was_asked() => TlsError::Closed {
            when: "during a TLS handshake in which it asked for a client certificate".to_owned(),
        },
        None if is_close(error) => TlsError::Closed {
            when: "during the TLS handshake; does it speak TLS?".to_owned(),
        },
        None => TlsError::Handshake {
            reason: error.to_string(),
        },
    }
}

/// What rustls says, if it was rustls that failed.
fn cause(error: &io::Error) -> Option<&rustls::Error> {
    error.get_ref()?.downcast_ref()
}

fn is_close(error: &io::Error) -> bool {
    let closed = [
        ErrorKind::UnexpectedEof,
        ErrorKind::ConnectionReset,
        ErrorKind::ConnectionAborted,
        ErrorKind::BrokenPipe,
    ];
    closed.contains(&error.kind())
}

fn failure(error: &rustls::Error, presenter: &Presenter) -> TlsError {
    match error {
        rustls::Error::InvalidCertificate(wrong) => certificate(wrong),
        rustls::Error::AlertReceived(alert) => alerted(*alert, presenter),
        rustls::Error::NoApplicationProtocol
        | rustls::Error::PeerMisbehaved(PeerMisbehaved::SelectedUnofferedApplicationProtocol) => {
            TlsError::NoHttp2
        }
        rustls::Error::InvalidMessage(
            InvalidMessage::InvalidContentType | InvalidMessage::UnknownProtocolVersion,
        ) => TlsError::NotTls,
        rustls::Error::PeerIncompatible(missing) => TlsError::Incompatible {
            reason: format!("{missing:?}"),
        },
        error => TlsError::Handshake {
            reason: error.to_string(),
        },
    }
}

/// What is wrong with the server's certificate.
fn certificate(wrong: &CertificateError) -> TlsError {
    match wrong {
        CertificateError::ExpiredContext { time, not_after } => TlsError::Expired {
            not_after: system_time(*not_after),
            now: system_time(*time),
        },
        CertificateError::NotValidYetContext { time, not_before } => TlsError::NotYetValid {
            not_before: system_time(*not_before),
            now: system_time(*time),
        },
        CertificateError::UnknownIssuer => TlsError::UnknownIssuer,
        CertificateError::NotValidForNameContext {
            expected,
            presented,
        } => TlsError::WrongName {
            expected: expected.to_str().into_owned(),
            names: presented.iter().map(|name| bare(name)).collect(),
        },
        CertificateError::BadSignature => TlsError::BadCertificate {
            reason: "its signature is not that of the CA of this name that the client trusts; was the CA made anew?".to_owned(),
        },
        CertificateError::Other(other) => TlsError::BadCertificate {
            reason: other.to_string(),
        },
        wrong => TlsError::BadCertificate {
            reason: wrong.to_string(),
        },
    }
}

/// The server ended the handshake, or the session at its beginning.
fn alerted(alert: AlertDescription, presenter: &Presenter) -> TlsError {
    use AlertDescription as A;
    let about_certificate = matches!(
        alert,
        A::HandshakeFailure
            | A::NoCertificate
            | A::BadCertificate
            | A::UnsupportedCertificate
            | A::CertificateRevoked
            | A::CertificateExpired
            | A::CertificateUnknown
            | A::UnknownCA
            | A::AccessDenied
            | A::DecryptError
            | A::CertificateRequired
    );
    match alert {
        _ if about_certificate && presenter.was_asked() && !presenter.has_identity() => {
            TlsError::ClientCertificateRequired
        }
        _ if about_certificate && presenter.was_asked() => TlsError::ClientCertificateRefused {
            reason: format!("{alert:?}"),
        },
        A::NoApplicationProtocol => TlsError::NoHttp2,
        A::ProtocolVersion | A::HandshakeFailure | A::InsufficientSecurity => {
            TlsError::Incompatible {
                reason: format!("{alert:?}"),
            }
        }
        alert => TlsError::Handshake {
            reason: format!("the server ended it with {alert:?}"),
        },
    }
}

fn system_time(time: UnixTime) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(time.as_secs())
}

/// `DnsName("a")` and `IpAddress(0::1)` as one writes them.
fn bare(name: &str) -> String {
    let inner = ["DnsName(\"", "IpAddress("]
        .iter()
        .find_map(|prefix| name.strip_prefix(prefix));
    let name = inner.map_or(name, |name| name.trim_end_matches([')', '"']));
    match name.parse::<IpAddr>() {
        Ok(address) => address.to_string(),
        Err(_) => name.to_owned(),
    }
}
