//! One connection of a client: reads its frames, keeps the protocol going, and hands requests to the script.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::time::Instant;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, mpsc};

use super::frame::{self, Frame};
use super::request::Request;
use super::socket::{self, Counted};
use super::stream::{Incoming, Outlet, Output, Sender};
use super::{Goaway, Ping, Reset, STREAMS, Shared};
use crate::lock;
use crate::proxy::Close;

const INITIAL_WINDOW: u32 = 65_535;
const SETTINGS_INITIAL_WINDOW_SIZE: u16 = 4;

/// Serves a connection until either side closes it.
pub(super) async fn serve(shared: Arc<Shared>, socket: TcpStream) -> io::Result<()> {
    socket.set_nodelay(true)?;
    // Linger is a setting of the socket, whichever handle it is set through.
    let socket = socket.into_std()?;
    let handle = TcpStream::from_std(socket.try_clone()?)?;
    let stream = socket::open(&shared, TcpStream::from_std(socket)?).await?;
    let (outlet, outputs) = mpsc::unbounded_channel();
    let index = shared.connected(outlet.clone());
    let (reader, writer) = tokio::io::split(stream);
    let reader = Counted {
        reader,
        shared: shared.clone(),
    };
    let connection = Connection {
        shared: shared.clone(),
        index,
        outlet,
        window: Arc::new(Semaphore::new(INITIAL_WINDOW as usize)),
        initial_window: INITIAL_WINDOW,
        hpack: loona_hpack::Decoder::new(),
        block: None,
        streams: HashMap::new(),
    };
    // Whichever ends first ends the other, and with it the socket.
    tokio::select! {
        _ = connection.read(reader) => {}
        _ = write(outputs, writer, &handle) => {}
    }
    lock(&shared.state).open -= 1;
    Ok(())
}

async fn write(
    mut outputs: mpsc::UnboundedReceiver<Output>,
    mut writer: impl AsyncWrite + Unpin,
    socket: &TcpStream,
) -> io::Result<()> {
    while let Some(output) = outputs.recv().await {
        match output {
            Output::Frame(frame) => {
                writer.write_all(&frame.encode()).await?;
                writer.flush().await?;
            }
            Output::Close(Close::Fin) => return writer.shutdown().await,
            Output::Close(Close::Reset) => return socket.set_zero_linger(),
        }
    }
    Ok(())
}

struct Connection {
    shared: Arc<Shared>,
    index: usize,
    outlet: Outlet,
    window: Arc<Semaphore>,
    initial_window: u32,
    hpack: loona_hpack::Decoder<'static>,
    /// A header block that goes on in CONTINUATION: its HEADERS frame, and the bytes so far.
    block: Option<(Frame, BytesMut)>,
    streams: HashMap<u32, Open>,
}

/// A stream whose client may still send or be sent something.
struct Open {
    request: Request,
    body: BytesMut,
    sender: Sender,
    /// For the streams in the hands of the test; they have no end of request.
    messages: Option<mpsc::UnboundedSender<Bytes>>,
}

impl Connection {
    async fn read(mut self, mut reader: impl AsyncRead + Unpin) -> io::Result<()> {
        self.send(Frame::settings(&self.shared.settings));
        let mut preface = [0; frame::PREFACE.len()];
        reader.read_exact(&mut preface).await?;
        if preface != frame::PREFACE {
            return Err(io::ErrorKind::InvalidData.into());
        }
        loop {
            let frame = frame::read(&mut reader).await?;
            self.receive(frame).ok_or(io::ErrorKind::InvalidData)?;
        }
    }

    fn send(&self, frame: Frame) {
        let _ = self.outlet.send(Output::Frame(frame));
    }

    /// `None` is a client that breaks the protocol.
    fn receive(&mut self, frame: Frame) -> Option<()> {
        match frame.kind {
            frame::SETTINGS => self.settings(&frame),
            frame::HEADERS => {
                let block = frame.content()?;
                self.headers(frame, block.into())?;
            }
            frame::CONTINUATION => {
                let (mut first, mut block) = self.block.take()?;
                first.flags |= frame.flags & frame::END_HEADERS;
                block.extend_from_slice(&frame.payload);
                self.headers(first, block)?;
            }
            frame::DATA => self.data(&frame)?,
            frame::RST_STREAM => self.reset(&frame),
            frame::WINDOW_UPDATE => self.window_update(&frame),
            frame::PING => self.ping(frame),
            frame::GOAWAY => self.goaway(&frame),
            _ => {}
        }
        Some(())
    }

    fn settings(&mut self, frame: &Frame) {
        if frame.has(frame::ACK) {
            return;
        }
        for mut setting in frame.payload.chunks_exact(6) {
            let (id, value) = (setting.get_u16(), setting.get_u32());
            if id == SETTINGS_INITIAL_WINDOW_SIZE {
                let (old, new) = (self.initial_window as usize, value as usize);
                self.initial_window = value;
                for stream in self.streams.values() {
                    stream.sender.window.add_permits(new.saturating_sub(old));
                    stream.sender.window.forget_permits(old.saturating_sub(new));
                }
            }
        }
        self.send(Frame::new(frame::SETTINGS, frame::ACK, 0, Bytes::new()));
    }

    fn ping(&self, frame: Frame) {
        if frame.has(frame::ACK) {
            return;
        }
        let mut state = lock(&self.shared.state);
        state.pings.push(Ping {
            connection: self.index,
            at: Instant::now(),
        });
        if state.answer_pings {
            self.send(Frame {
                flags: frame::ACK,
                ..frame
            });
        }
    }

    fn goaway(&self, frame: &Frame) {
        let debug =
            String::from_utf8_lossy(frame.payload.get(8..).unwrap_or_default()).into_owned();
        let goaway = Goaway {
            connection: self.index,
            code: frame.number(4),
            debug,
        };
        lock(&self.shared.state).goaways.push(goaway);
    }

    fn window_update(&self, frame: &Frame) {
        let more = frame.number(0) as usize;
        if frame.stream == 0 {
            self.window.add_permits(more);
        } else if let Some(stream) = self.streams.get(&frame.stream) {
            stream.sender.window.add_permits(more);
        }
    }

    fn reset(&mut self, frame: &Frame) {
        let reset = Reset {
            connection: self.index,
            stream: frame.stream,
            code: frame.number(0),
        };
        lock(&self.shared.state).resets.push(reset);
        if let Some(stream) = self.streams.remove(&frame.stream) {
            stream.sender.window.close();
        }
    }

    fn headers(&mut self, first: Frame, block: BytesMut) -> Option<()> {
        if !first.has(frame::END_HEADERS) {
            self.block = Some((first, block));
            return Some(());
        }
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        let fields = self.hpack.decode(&block).ok()?;
        let headers: Vec<_> = fields
            .into_iter()
            .map(|(name, value)| (text(name), text(value)))
            .collect();
        let sender = Sender {
            id: first.stream,
            outlet: self.outlet.clone(),
            window: Arc::new(Semaphore::new(self.initial_window as usize)),
            connection_window: self.window.clone(),
        };
        let path = headers.iter().find(|(name, _)| name == ":path")?.1.clone();
        let request = Request {
            path,
            headers,
            message: Bytes::new(),
            connection: self.index,
            stream: first.stream,
            nth: 0,
            member: self.shared.member,
        };
        let mut open = Open {
            request,
            body: BytesMut::new(),
            sender,
            messages: None,
        };
        if STREAMS.contains(&open.request.path.as_str()) {
            self.hand_over(&mut open);
        }
        self.streams.insert(first.stream, open);
        if first.has(frame::END_STREAM) {
            self.request_ended(first.stream);
        }
        Some(())
    }

    fn hand_over(&self, open: &mut Open) {
        let (sender, messages) = mpsc::unbounded_channel();
        open.messages = Some(sender);
        let request = self.shared.seen(open.request.clone());
        // Nobody may be asking for streams; then this one stays silent.
        let _ = self.shared.streams.send(Incoming {
            request,
            sender: open.sender.clone(),
            messages,
            headers_sent: false,
        });
    }

    fn data(&mut self, frame: &Frame) -> Option<()> {
        let length = frame.payload.len() as u32;
        if length > 0 {
            self.send(Frame::window_update(0, length));
        }
        // A stream that was reset, by either side, while this was under way.
        let Some(open) = self.streams.get_mut(&frame.stream) else {
            return Some(());
        };
        open.body.extend_from_slice(&frame.content()?);
        if let Some(messages) = &open.messages {
            while let Some(message) = split_message(&mut open.body) {
                let _ = messages.send(message);
            }
        }
        if frame.has(frame::END_STREAM) {
            self.request_ended(frame.stream);
        } else if length > 0 {
            self.send(Frame::window_update(frame.stream, length));
        }
        Some(())
    }

    /// The client has said everything: the script's turn.
    fn request_ended(&mut self, stream: u32) {
        let Some(open) = self.streams.get_mut(&stream) else {
            return;
        };
        if open.messages.take().is_some() {
            return;
        }
        let message = split_message(&mut open.body).unwrap_or_default();
        let request = self.shared.seen(Request {
            message,
            ..open.request.clone()
        });
        let (script, sender) = (lock(&self.shared.state).script.clone(), open.sender.clone());
        tokio::spawn(async move { sender.perform(script(&request)).await });
    }
}

/// The first message in `body`, once it is there in full.
fn split_message(body: &mut BytesMut) -> Option<Bytes> {
    let length = u32::from_be_bytes(body.get(1..5)?.try_into().ok()?) as usize;
    if body.len() < 5 + length {
        return None;
    }
    body.advance(5);
    Some(body.split_to(length).freeze())
}
