//! Packets in a stream of bytes: each with its length before it (RFC 4571, section 2).

use std::io;

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt as _};

/// The packets of one stream, as they come.
#[derive(Debug)]
pub(super) struct Frames<R> {
    reader: R,
    buffer: BytesMut,
}

impl<R: AsyncRead + Unpin> Frames<R> {
    pub(super) fn new(reader: R) -> Self {
        Self { reader, buffer: BytesMut::new() }
    }

    /// The next packet; `None` at the end of the stream, wherever that is. What is not framed as
    /// it should be is [`io::ErrorKind::InvalidData`]. Nothing is lost when it is not awaited.
    pub(super) async fn next(&mut self) -> io::Result<Option<Bytes>> {
        loop {
            if let Some(packet) = take(&mut self.buffer)? {
                return Ok(Some(packet));
            }
            self.buffer.reserve(READ_AT_ONCE);
            if self.reader.read_buf(&mut self.buffer).await? == 0 {
                return Ok(None);
            }
        }
    }
}

/// Takes the first whole packet off `buffer`. Empty ones keep streams alive, and are passed over.
fn take(buffer: &mut BytesMut) -> io::Result<Option<Bytes>> {
    while let Some((head, rest)) = buffer.split_first_chunk::<HEAD>() {
        let length = usize::from(u16::from_be_bytes(*head));
        if length > PACKET_MAX {
            let what = format!("a frame of {length} bytes");
            return Err(io::Error::new(io::ErrorKind::InvalidData, what));
        }
        let Some(packet) = rest.get(..length) else { return Ok(None) };
        // Copied, since one that waits should not hold on to all that came with it.
        let packet = Bytes::copy_from_slice(packet);
        buffer.advance(HEAD + length);
        if !packet.is_empty() {
            return Ok(Some(packet));
        }
    }
    Ok(None)
}

/// Adds a packet to what is to be written. The engine makes none that is too long to be framed.
pub(super) fn put(buffer: &mut BytesMut, packet: &[u8]) {
    let Ok(length) = u16::try_from(packet.len()) else {
        tracing::debug!(length = packet.len(), "a packet is too long to be framed");
        return;
    };
    buffer.put_u16(length);
    buffer.put_slice(packet);
}

/// The bytes of a length.
const HEAD: usize = 2;

/// The longest packet that is taken, in bytes: as with datagrams, one Ethernet frame's. What is
/// longer is not media.
const PACKET_MAX: usize = super::super::DATAGRAM_MAX;

/// Room that is made for each reading, in bytes: some packets.
const READ_AT_ONCE: usize = 2048;

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt as _;

    use super::*;

    #[tokio::test]
    async fn packets_come_whole_however_the_bytes_are_cut() {
        let mut stream = BytesMut::new();
        put(&mut stream, b"one");
        put(&mut stream, &[7; PACKET_MAX]);
        put(&mut stream, b"three");
        for cut in [1, 2, 3, 700, stream.len()] {
            let (mut writer, reader) = tokio::io::duplex(cut);
            let bytes = stream.clone();
            let writing = async move {
                for piece in bytes.chunks(cut) {
                    writer.write_all(piece).await.unwrap();
                }
            };
            let reading = async {
                let mut frames = Frames::new(reader);
                let mut lengths = Vec::new();
                while let Some(packet) = frames.next().await.unwrap() {
                    lengths.push(packet.len());
                }
                lengths
            };
            let ((), lengths) = tokio::join!(writing, reading);
            assert_eq!(lengths, [3, PACKET_MAX, 5], "in pieces of {cut}");
        }
    }

    #[tokio::test]
    async fn empty_frames_are_passed_over() {
        let mut frames = Frames::new(&[0, 0, 0, 0, 0, 1, b'x', 0, 0][..]);
        assert_eq!(frames.next().await.unwrap(), Some(Bytes::from_static(b"x")));
        assert_eq!(frames.next().await.unwrap(), None);
    }

    #[tokio::test]
    async fn a_frame_that_is_too_long_is_refused_before_it_is_read() {
        let mut frames = Frames::new(&b"GET / HTTP/1.1\r\n"[..]);
        let refused = frames.next().await.unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::InvalidData);
        assert_eq!(refused.to_string(), "a frame of 18245 bytes");
    }

    #[tokio::test]
    async fn half_a_frame_is_none() {
        for stream in [&[][..], &[0], &[0, 3, b'h', b'a']] {
            assert_eq!(Frames::new(stream).next().await.unwrap(), None, "{stream:?}");
        }
    }
}
