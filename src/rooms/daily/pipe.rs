//! The socket to a helper: whole messages in, orders and frames out, both bounded.

use std::io;
use std::time::Instant;

use bytes::BytesMut;
use thiserror::Error;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;

use super::wire::{self, MESSAGE_MAX, Malformed, Message, Order};
use crate::media::Frame24k;
use crate::sys::clock;

/// One end of the socket, and what waits at it.
#[derive(Debug)]
pub(super) struct Pipe {
    socket: UnixStream,
    received: BytesMut,
    out: BytesMut,
    heard_at: Instant,
}

/// Why a helper is of no more use.
#[derive(Debug, Error)]
pub(super) enum PipeError {
    #[error("the helper has ended")]
    Ended,
    #[error("the socket to the helper failed: {0}")]
    Io(#[from] io::Error),
    #[error(transparent)]
    Malformed(#[from] Malformed),
    #[error("the helper does not read what it is told")]
    Stuck,
}

impl Pipe {
    pub(super) fn new(socket: UnixStream) -> Self {
        let received = BytesMut::with_capacity(RECEIVED_CAPACITY);
        Self { socket, received, out: BytesMut::new(), heard_at: clock::now() }
    }

    /// When the helper was heard of last.
    pub(super) const fn heard_at(&self) -> Instant {
        self.heard_at
    }

    /// Puts an order behind what waits to be sent.
    pub(super) fn order(&mut self, order: &Order<'_>) -> Result<(), PipeError> {
        wire::put_order(&mut self.out, order);
        if self.out.len() > ORDERS_CAPACITY { Err(PipeError::Stuck) } else { Ok(()) }
    }

    /// The same with a frame of ours; `false` if it had to be skipped.
    pub(super) fn say(&mut self, frame: &Frame24k) -> bool {
        let has_room = self.out.len() < SAID_CAPACITY;
        if has_room {
            wire::put_said(&mut self.out, frame);
        }
        has_room
    }

    /// The helper's next message; sends what waits meanwhile. May be dropped at any time, and
    /// called again.
    pub(super) async fn next(&mut self) -> Result<Message, PipeError> {
        let Self { socket, received, out, heard_at } = self;
        let (mut reader, mut writer) = socket.split();
        loop {
            if let Some(message) = wire::take(received)? {
                return Ok(message);
            }
            received.reserve(READ_BYTES);
            tokio::select! {
                count = reader.read_buf(received) => match count? {
                    0 => return Err(PipeError::Ended),
                    _ => *heard_at = clock::now(),
                },
                sent = writer.write_buf(out), if !out.is_empty() => {
                    sent?;
                }
            }
        }
    }
}

/// Bytes of frames that may wait for a helper that does not read: a third of a second.
///
/// When full: the frame is skipped, which the log tells at DEBUG.
const SAID_CAPACITY: usize = 16_384;

/// Bytes that may wait for it, orders among them.
///
/// When full: the helper is given up.
const ORDERS_CAPACITY: usize = 32_768;

/// Bytes of the helper's that may wait until their message is whole.
///
/// When full: it cannot be, for no message is longer.
const RECEIVED_CAPACITY: usize = MESSAGE_MAX + 4 + READ_BYTES;

/// So much is read at once.
const READ_BYTES: usize = 8192;
