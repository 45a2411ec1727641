//! Where in a connection's input the requests begin and end. Heads pass only when they are complete
//! and have been checked; of bodies every byte that frames them is checked as it passes.
//!
//! ```text
//!   head ──length──▶ body ──▶ head          head ──chunks──▶ size ─▶ data ─▶ size … trailers ─▶ head
//!   head ──CONNECT, WebSocket──▶ other (everything passes)
//! ```

use super::head::{self, Following};
use super::violation::Violation;
use crate::limits::{MAX_CHUNK_LINE, MAX_HEAD, MAX_TRAILERS};
use crate::without::without;

/// The place within the input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Within a head of which this many bytes have been searched for its end.
    Head(usize),
    Body(u64),
    Size(SizeLine),
    Data(u64),
    /// After a chunk's data: CR, then LF.
    DataEnd(u8),
    Trailers(Trailers),
    Other,
}

/// Within the line that starts a chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct SizeLine {
    size: u64,
    digits: usize,
    length: usize,
    extension: bool,
    carriage_return: bool,
}

/// Within the lines that end a body in chunks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Trailers {
    length: usize,
    line: usize,
    carriage_return: bool,
    /// Whether the line has a colon yet.
    colon: bool,
}

/// Follows the framing of one connection's input.
#[derive(Debug)]
pub struct Framing {
    place: Place,
    /// What is wrong with a request of which no byte has passed.
    refused: Option<Violation>,
    /// Whether a tunnel may be asked for.
    tunnels: bool,
}

/// Digits of a chunk's size: 2^60 bytes are past any chunk, and no more digits can overflow.
const MAX_SIZE_DIGITS: usize = 15;

impl Framing {
    /// At the start of a connection to a proxy.
    pub fn new() -> Self {
        Self { place: Place::Head(0), refused: None, tunnels: true }
    }

    /// At the start of a connection to anything else.
    pub fn of_a_server() -> Self {
        Self { tunnels: false, ..Self::new() }
    }

    /// Whether the next byte starts a head, given that none of it is waiting.
    pub fn is_between(&self) -> bool {
        matches!(self.place, Place::Head(_))
    }

    /// Whether the bytes are not HTTP any more.
    pub fn is_other(&self) -> bool {
        self.place == Place::Other
    }

    /// What is wrong with the next request, if that is known. All before it has passed whole.
    pub fn refused(&self) -> Option<Violation> {
        self.refused
    }

    /// How many bytes at the front of `bytes` may pass. What is left is the beginning of a head, and
    /// has to be there again, with more behind it, the next time.
    ///
    /// # Errors
    ///
    /// A [`Violation`]; nothing further may pass. Bytes of earlier calls may have. Requests that end
    /// before the one that is at fault pass first, and the next call fails.
    pub fn clear(&mut self, bytes: &[u8]) -> Result<usize, Violation> {
        if let Some(violation) = self.refused {
            return Err(violation);
        }
        if without("framing") {
            return Ok(bytes.len());
        }
        let mut at = 0;
        // Where the last request begins of which no byte has passed before.
        let mut whole = self.is_between().then_some(0);
        while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
            match self.step(rest) {
                Ok(0) => return Ok(at),
                Ok(passed) => at += passed,
                Err(violation) => {
                    self.refused = whole.map(|_| violation);
                    return whole.filter(|whole| *whole > 0).ok_or(violation);
                }
            }
            if self.is_between() {
                whole = Some(at);
            }
        }
        Ok(at)
    }

    fn step(&mut self, rest: &[u8]) -> Result<usize, Violation> {
        let first = rest.first().copied().unwrap_or_default();
        match self.place {
            Place::Other => Ok(rest.len()),
            Place::Head(searched) => self.head(rest, searched),
            Place::Body(left) => {
                let part = shorter(rest, left);
                let left = left - u64::try_from(part).unwrap_or(left);
                self.place = if left == 0 { Place::Head(0) } else { Place::Body(left) };
                Ok(part)
            }
            Place::Size(line) => {
                self.place = line.next(first)?;
                Ok(1)
            }
            Place::Data(left) => {
                let part = shorter(rest, left);
                let left = left - u64::try_from(part).unwrap_or(left);
                self.place = if left == 0 { Place::DataEnd(0) } else { Place::Data(left) };
                Ok(part)
            }
            Place::DataEnd(seen) => {
                self.place = match (seen, first) {
                    (0, b'\r') => Place::DataEnd(1),
                    (1, b'\n') => Place::Size(SizeLine::default()),
                    _ => return Err(Violation::Malformed("a chunk does not end in CR LF")),
                };
                Ok(1)
            }
            Place::Trailers(trailers) => {
                self.place = trailers.next(first)?;
                Ok(1)
            }
        }
    }

    fn head(&mut self, rest: &[u8], searched: usize) -> Result<usize, Violation> {
        const LONG: Violation = Violation::HeadTooLong("the request head is too long");
        if let (true, Some(version @ (4 | 5))) = (self.tunnels, rest.first()) {
            return Err(Violation::Socks(*version));
        }
        let Some(length) = head::length(rest, searched) else {
            if rest.len() >= MAX_HEAD {
                return Err(LONG);
            }
            self.place = Place::Head(rest.len());
            return Ok(0);
        };
        if length > MAX_HEAD {
            return Err(LONG);
        }
        let head = rest.get(..length).unwrap_or_default();
        let following = head::check(head)?;
        if !self.tunnels && head.starts_with(b"CONNECT ") {
            return Err(Violation::Malformed("a tunnel is asked for where there is no proxy"));
        }
        self.place = match following {
            Following::Length(0) => Place::Head(0),
            Following::Length(length) => Place::Body(length),
            Following::Chunks => Place::Size(SizeLine::default()),
            Following::Other => Place::Other,
        };
        Ok(length)
    }
}

impl SizeLine {
    fn next(mut self, byte: u8) -> Result<Place, Violation> {
        const BAD: Violation = Violation::Malformed("a chunk's size is malformed");
        self.length += 1;
        if self.length > MAX_CHUNK_LINE {
            return Err(BAD);
        }
        match byte {
            b'\n' if self.carriage_return && self.size == 0 => {
                return Ok(Place::Trailers(Trailers::default()));
            }
            b'\n' if self.carriage_return => return Ok(Place::Data(self.size)),
            _ if self.carriage_return => return Err(BAD),
            b'\r' if self.digits > 0 => self.carriage_return = true,
            b';' if self.digits > 0 => self.extension = true,
            b' '..=b'~' | b'\t' if self.extension => {}
            byte if !self.extension => {
                let digit = char::from(byte).to_digit(16).ok_or(BAD)?;
                self.digits += 1;
                if self.digits > MAX_SIZE_DIGITS {
                    return Err(BAD);
                }
                self.size = self.size << 4 | u64::from(digit);
            }
            _ => return Err(BAD),
        }
        Ok(Place::Size(self))
    }
}

impl Trailers {
    fn next(mut self, byte: u8) -> Result<Place, Violation> {
        const BAD: Violation = Violation::Malformed("the trailers are malformed");
        self.length += 1;
        if self.length > MAX_TRAILERS {
            return Err(Violation::HeadTooLong("the trailers are too long"));
        }
        match byte {
            b'\n' if self.carriage_return && self.line == 0 => return Ok(Place::Head(0)),
            b'\n' if self.carriage_return && !self.colon => return Err(BAD),
            b'\n' if self.carriage_return => {
                (self.line, self.carriage_return, self.colon) = (0, false, false);
            }
            _ if self.carriage_return => return Err(BAD),
            b'\r' => self.carriage_return = true,
            b' ' | b'\t' if self.line == 0 => return Err(BAD),
            0..=8 | 10..=31 | 127 => return Err(BAD),
            byte => {
                self.line += 1;
                self.colon |= byte == b':';
            }
        }
        Ok(Place::Trailers(self))
    }
}

fn shorter(rest: &[u8], left: u64) -> usize {
    usize::try_from(left).unwrap_or(usize::MAX).min(rest.len())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const CHUNKED: &[u8] =
        b"POST /ok HTTP/1.1\r\nHost: up.test\r\nTransfer-Encoding: chunked\r\n\r\n";

    /// What passes of `bytes` in pieces of these sizes, and how it ended.
    fn pass(bytes: &[u8], sizes: impl Iterator<Item = usize>) -> (Vec<u8>, Result<(), Violation>) {
        let (mut framing, mut inbox, mut passed) = (Framing::new(), Vec::new(), Vec::new());
        let mut rest = bytes;
        for size in sizes {
            if rest.is_empty() {
                break;
            }
            let (piece, after) = rest.split_at(size.clamp(1, rest.len()));
            rest = after;
            inbox.extend_from_slice(piece);
            match framing.clear(&inbox) {
                Ok(count) => passed.extend(inbox.drain(..count)),
                Err(violation) => return (passed, Err(violation)),
            }
        }
        (passed, Ok(()))
    }

    #[test]
    fn a_whole_request_passes_before_the_one_behind_it_is_refused() {
        let good: &[u8] = b"PUT /a HTTP/1.1\r\nHost: up.test\r\nContent-Length: 2\r\n\r\nhi";
        let bodies: [&[u8]; 3] = [b"NO\r\n\r\n", b"GET / HTTP/3.0\r\n\r\n", CHUNKED];
        for bad in bodies.map(|bad| [bad, b"x\r\n"].concat()) {
            let both = [good, &bad].concat();
            let mut framing = Framing::new();
            assert_eq!(framing.clear(&both), Ok(good.len()));
            assert!(framing.refused().is_some(), "known before more is read");
            assert!(framing.clear(&both[good.len()..]).is_err());
            let alone = Framing::new().clear(&bad);
            assert!(alone.is_err(), "{alone:?}");
            let mut begun = Framing::new();
            assert_eq!(begun.clear(&both[..good.len() - 1]), Ok(good.len() - 1));
            assert_eq!(begun.clear(&both[good.len() - 1..]), Ok(1));
        }
        let mut within = Framing::new();
        assert_eq!(within.clear(CHUNKED), Ok(CHUNKED.len()));
        assert!(within.clear(b"x\r\n").is_err() && within.refused().is_none());
    }

    fn chunks(body: &str) -> Result<(), Violation> {
        let bytes = [CHUNKED, body.as_bytes()].concat();
        pass(&bytes, std::iter::once(bytes.len())).1
    }

    #[test]
    fn chunks_that_two_servers_could_read_differently_are_refused() {
        for body in [
            "0x0\r\n\r\n",
            "10000000000000000\r\n",
            "0;a=\nb\r\n\r\n",
            "0\n\r\n",
            "\r\n",
            "+1\r\na\r\n",
            "1\r\nab\r\n",
            "1\r\na\n0\r\n\r\n",
            "0\r\n X: a\r\n\r\n",
            "0\r\nX\r\n\r\n",
            "0\r\nX: a\r\nY\r\n\r\n",
            "0\r\nX: \0\r\n\r\n",
            "0\r\n\n",
            "-1\r\n",
            "1 \r\na\r\n",
        ] {
            assert!(chunks(body).is_err(), "{body:?}");
        }
        for body in [
            "0\r\n\r\n",
            "3\r\nabc\r\n0\r\n\r\n",
            "3;x=\"y\"\r\nabc\r\n00\r\nX-Sum: 1\r\n\r\n",
            "aF\r\n",
        ] {
            assert_eq!(chunks(body), Ok(()), "{body:?}");
        }
    }

    #[test]
    fn a_long_head_and_long_trailers_are_refused() {
        let mut head = b"GET / HTTP/1.1\r\n".to_vec();
        head.resize(MAX_HEAD + 1, b'a');
        assert!(matches!(Framing::new().clear(&head), Err(Violation::HeadTooLong(_))));
        let trailers = format!("0\r\nX: {}", "a".repeat(MAX_TRAILERS));
        assert!(matches!(chunks(&trailers), Err(Violation::HeadTooLong(_))));
    }

    #[test]
    fn socks_is_told_by_its_first_byte_where_there_is_a_proxy() {
        assert_eq!(Framing::new().clear(&[5, 1, 0]), Err(Violation::Socks(5)));
        assert_eq!(Framing::new().clear(&[4]), Err(Violation::Socks(4)));
        assert_eq!(Framing::of_a_server().clear(&[5, 1, 0]), Ok(0));
        assert_eq!(Violation::Socks(5).last_words(), [5, 0xff]);
    }

    #[test]
    fn a_tunnel_is_refused_where_there_is_no_proxy() {
        let connect = b"CONNECT up.test:443 HTTP/1.1\r\nHost: up.test\r\n\r\n";
        let mut framing = Framing::of_a_server();
        assert!(framing.clear(connect).is_err());
        assert!(!framing.is_other());
    }

    #[test]
    fn after_connect_everything_passes() {
        let bytes =
            b"CONNECT up.test:443 HTTP/1.1\r\nHost: up.test\r\n\r\n\x16\x03\x01GET nothing\n\n";
        let mut framing = Framing::new();
        assert_eq!(framing.clear(bytes), Ok(bytes.len()));
        assert!(framing.is_other());
    }

    proptest! {
        #[test]
        fn requests_pass_whole_however_they_are_cut(
            bodies in prop::collection::vec((any::<bool>(), prop::collection::vec(any::<u8>(), 0..50)), 1..5),
            sizes in prop::collection::vec(1usize..70, 1..40),
        ) {
            let mut bytes = Vec::new();
            for (chunked, body) in &bodies {
                if *chunked {
                    bytes.extend_from_slice(CHUNKED);
                    for chunk in body.chunks(7) {
                        bytes.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
                        bytes.extend_from_slice(chunk);
                        bytes.extend_from_slice(b"\r\n");
                    }
                    bytes.extend_from_slice(b"0\r\n\r\n");
                } else {
                    let head = format!("PUT / HTTP/1.1\r\nHost: up.test\r\nContent-Length: {}\r\n\r\n", body.len());
                    bytes.extend_from_slice(head.as_bytes());
                    bytes.extend_from_slice(body);
                }
            }
            let (passed, ended) = pass(&bytes, sizes.into_iter().cycle());
            prop_assert_eq!(ended, Ok(()));
            prop_assert_eq!(passed, bytes);
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..300), chunked in any::<bool>()) {
            let bytes = if chunked { [CHUNKED, &bytes].concat() } else { bytes };
            let (passed, _) = pass(&bytes, std::iter::repeat(9));
            prop_assert!(bytes.starts_with(&passed));
        }
    }
}
