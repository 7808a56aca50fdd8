//! Keeps frames of a WebSocket that are too long from being gathered at all.
//!
//! The parser of actix looks at a frame's length only when it has all of it, so whoever announces a gigabyte could have the daemon hold
//! one. This reads along, headers only, and ends the stream where a longer frame is announced.
use actix_web::dev::Payload;
use actix_web::error::PayloadError;
use actix_web::web::Bytes;
use futures_util::Stream;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

/// Longest header: two bytes, a length of eight, a mask of four.
const HEADER_BYTES_MAX: usize = 14;

/// What a client sends, as long as its frames are short enough.
pub struct ShortFrames {
    payload: Payload,
    frames: Frames,
}

impl ShortFrames {
    pub fn of(payload: Payload, payload_bytes_max: u64) -> Payload {
        Payload::Stream { payload: Box::pin(ShortFrames { payload, frames: Frames::new(payload_bytes_max) }) }
    }
}

impl Stream for ShortFrames {
    type Item = Result<Bytes, PayloadError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let bytes = ready!(Pin::new(&mut self.payload).poll_next(context));
        Poll::Ready(bytes.map(|bytes| {
            let bytes = bytes?;
            if self.frames.are_short(&bytes) { Ok(bytes) } else { Err(PayloadError::Overflow) }
        }))
    }
}

/// Where in which frame the stream is.
struct Frames {
    payload_bytes_max: u64,
    header: [u8; HEADER_BYTES_MAX],
    header_bytes: usize,
    /// Of the payload, still to come.
    rest: u64,
}

impl Frames {
    fn new(payload_bytes_max: u64) -> Frames {
        Frames { payload_bytes_max, header: [0; HEADER_BYTES_MAX], header_bytes: 0, rest: 0 }
    }

    /// Whether all frames that begin in these bytes are, which come next.
    fn are_short(&mut self, mut bytes: &[u8]) -> bool {
        while !bytes.is_empty() {
            if self.rest > 0 {
                let passed = bytes.len().min(usize::try_from(self.rest).unwrap_or(usize::MAX));
                self.rest -= passed as u64;
                bytes = &bytes[passed..];
                continue;
            }
            self.header[self.header_bytes] = bytes[0];
            self.header_bytes += 1;
            bytes = &bytes[1..];
            if let Some(payload) = self.payload() {
                if payload > self.payload_bytes_max {
                    return false;
                }
                (self.header_bytes, self.rest) = (0, payload);
            }
        }
        true
    }

    /// Length of the payload, when the header is complete (RFC 6455, 5.2).
    fn payload(&self) -> Option<u64> {
        let header = &self.header[..self.header_bytes];
        let second = *header.get(1)?;
        let extended = match second & 0x7f {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        let mask = if second & 0x80 != 0 { 4 } else { 0 };
        let length = header.get(2..2 + extended)?;
        if header.len() < 2 + extended + mask {
            return None;
        }
        Some(match extended {
            0 => u64::from(second & 0x7f),
            _ => length.iter().fold(0, |length, byte| length << 8 | u64::from(*byte)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn frame(len: usize, masked: bool) -> Vec<u8> {
        let bit = if masked { 0x80 } else { 0 };
        let mut frame = vec![0x81];
        match len {
            0..126 => frame.push(bit | len as u8),
            126..65_536 => {
                frame.push(bit | 126);
                frame.extend((len as u16).to_be_bytes());
            }
            _ => {
                frame.push(bit | 127);
                frame.extend((len as u64).to_be_bytes());
            }
        }
        frame.extend(vec![0xff; if masked { 4 } else { 0 }]);
        frame.extend(vec![0xff; len]);
        frame
    }

    #[test]
    fn a_long_frame_is_refused_by_its_header() {
        for len in [1_001u64, u64::from(u16::MAX), 1 << 30, u64::MAX] {
            let mut header = vec![0x82, 0xff];
            header.extend(len.to_be_bytes());
            header.extend([0; 4]);
            let mut frames = Frames::new(1_000);
            assert!(frames.are_short(&frame(1_000, true)) && frames.are_short(&header[..13]));
            assert!(!frames.are_short(&header[13..]), "{len}");
        }
    }

    proptest! {
        #[test]
        fn short_frames_pass_however_they_are_cut(
            lens in prop::collection::vec((0usize..70_000, any::<bool>()), 1..6),
            cuts in prop::collection::vec(1usize..9_000, 1..40),
        ) {
            let stream: Vec<u8> = lens.iter().flat_map(|&(len, masked)| frame(len, masked)).collect();
            let longest = lens.iter().map(|(len, _)| *len).max().unwrap_or(0) as u64;
            let pass = |most: u64| {
                let (mut frames, mut rest, mut cuts) = (Frames::new(most), &stream[..], cuts.iter().cycle());
                let mut passes = true;
                while !rest.is_empty() && passes {
                    let (piece, behind) = rest.split_at(rest.len().min(*cuts.next().expect("endless")));
                    passes = frames.are_short(piece);
                    rest = behind;
                }
                passes
            };
            prop_assert!(pass(longest));
            prop_assert!(longest == 0 || !pass(longest - 1));
        }
    }
}
