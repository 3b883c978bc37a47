/// How much of what the app goes on to send may reach the application that was allowed: everything in a tunnel,
/// and in a plain HTTP request its own body and not a byte more, so that a second request on the same connection
/// never reaches the first one's server.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Upstream(Body);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Body {
    Endless,
    Length(u64),
    Chunked(Chunk),
    Over,
    Broken,
}

/// Where in a chunked body (RFC 9112, 7.1) the next byte stands. The grammar is read strictly: a server that is
/// more lenient still sees the end at the same byte.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Chunk {
    Size { size: u64, digits: u8 },
    Extension { size: u64, length: u16 },
    SizeEnd { size: u64 },
    Content { left: u64 },
    ContentReturn,
    ContentEnd,
    TrailerStart { length: u16 },
    Trailer { length: u16 },
    TrailerEnd { length: u16 },
    LastEnd,
}

impl Upstream {
    pub(crate) const ENDLESS: Self = Self(Body::Endless);
    pub(crate) const CHUNKED: Self = Self(Body::Chunked(Chunk::Size { size: 0, digits: 0 }));

    pub(crate) const fn of_length(length: u64) -> Self {
        Self(if length == 0 { Body::Over } else { Body::Length(length) })
    }

    /// How many of `bytes`, from the first, go to the application. The rest is to be read and thrown away.
    #[must_use]
    pub fn pass(&mut self, bytes: &[u8]) -> usize {
        match self.0 {
            Body::Endless => bytes.len(),
            Body::Length(left) => {
                let (passed, left) = within(left, bytes);
                *self = Self::of_length(left);
                passed
            }
            Body::Chunked(_) => self.pass_chunks(bytes),
            Body::Over | Body::Broken => 0,
        }
    }

    /// Whether nothing more will pass.
    pub const fn is_over(&self) -> bool {
        matches!(self.0, Body::Over | Body::Broken)
    }

    /// Whether a chunked body made no sense: the application waits for more and must not get it, so reset both ends.
    pub const fn is_broken(&self) -> bool {
        matches!(self.0, Body::Broken)
    }

    fn pass_chunks(&mut self, bytes: &[u8]) -> usize {
        let mut passed = 0;
        while let Body::Chunked(chunk) = self.0
            && let Some(rest) = bytes.get(passed..)
            && let Some(byte) = rest.first()
        {
            let (count, next) = chunk.skip_content(rest).unwrap_or((1, chunk.next(*byte)));
            self.0 = next;
            passed += if self.is_broken() { 0 } else { count };
        }
        passed
    }
}

impl Chunk {
    fn skip_content(self, bytes: &[u8]) -> Option<(usize, Body)> {
        let Self::Content { left } = self else { return None };
        let (count, left) = within(left, bytes);
        let next = if left == 0 { Self::ContentReturn } else { Self::Content { left } };
        Some((count, Body::Chunked(next)))
    }

    fn next(self, byte: u8) -> Body {
        let next = match self {
            Self::Size { size, digits: 1.. } if byte == b'\r' => Some(Self::SizeEnd { size }),
            Self::Size { size, digits: 1.. } if byte == b';' => Some(Self::Extension { size, length: 0 }),
            Self::Size { size, digits } => Self::longer_size(size, digits, byte),
            Self::Extension { size, .. } if byte == b'\r' => Some(Self::SizeEnd { size }),
            Self::Extension { size, length } => {
                longer(length, MAX_EXTENSION, byte).map(|length| Self::Extension { size, length })
            }
            Self::SizeEnd { size: 0 } => line_feed(byte, Self::TrailerStart { length: 0 }),
            Self::SizeEnd { size } => line_feed(byte, Self::Content { left: size }),
            Self::Content { .. } => None, // skipped in one go
            Self::ContentReturn => (byte == b'\r').then_some(Self::ContentEnd),
            Self::ContentEnd => line_feed(byte, Self::Size { size: 0, digits: 0 }),
            Self::TrailerStart { .. } if byte == b'\r' => Some(Self::LastEnd),
            Self::Trailer { length } if byte == b'\r' => Some(Self::TrailerEnd { length }),
            Self::TrailerStart { length } | Self::Trailer { length } => {
                longer(length, MAX_TRAILERS, byte).map(|length| Self::Trailer { length })
            }
            Self::TrailerEnd { length } => line_feed(byte, Self::TrailerStart { length }),
            Self::LastEnd if byte == b'\n' => return Body::Over,
            Self::LastEnd => None,
        };
        next.map_or(Body::Broken, Body::Chunked)
    }

    fn longer_size(size: u64, digits: u8, byte: u8) -> Option<Self> {
        let digit = char::from(byte).to_digit(16).filter(|_| digits < MAX_DIGITS)?;
        Some(Self::Size { size: size << 4 | u64::from(digit), digits: digits + 1 })
    }
}

/// How many of `bytes` are within `left`, and what is left then.
fn within(left: u64, bytes: &[u8]) -> (usize, u64) {
    let count = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
    (count, left.saturating_sub(u64::try_from(count).unwrap_or(u64::MAX)))
}

fn line_feed(byte: u8, next: Chunk) -> Option<Chunk> {
    (byte == b'\n').then_some(next)
}

fn longer(length: u16, limit: u16, byte: u8) -> Option<u16> {
    let is_text = byte == b'\t' || (byte >= b' ' && byte != 0x7f);
    (is_text && length < limit).then_some(length + 1)
}

const MAX_DIGITS: u8 = 15;
const MAX_EXTENSION: u16 = 1024;
const MAX_TRAILERS: u16 = 8192;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Passes `bytes` in pieces of `piece`; gives what reached the application.
    fn passed(mut upstream: Upstream, bytes: &[u8], piece: usize) -> (usize, Upstream) {
        let mut total = 0;
        for part in bytes.chunks(piece.max(1)) {
            total += upstream.pass(part);
        }
        (total, upstream)
    }

    fn check(upstream: Upstream, body: &str, passes: &str, ends: Body) {
        for piece in [1, 2, 3, 7, body.len().max(1)] {
            let (count, upstream) = passed(upstream.clone(), body.as_bytes(), piece);
            assert_eq!(body.get(..count), Some(passes), "{body:?} by {piece}");
            let end = if upstream.is_over() { upstream.0 } else { Body::Endless };
            assert_eq!(end, ends, "{body:?} by {piece}");
        }
    }

    #[test]
    fn a_body_of_known_length_ends_there() {
        check(Upstream::of_length(0), "GET /", "", Body::Over);
        check(Upstream::of_length(5), "helloGET /", "hello", Body::Over);
        check(Upstream::of_length(5), "hell", "hell", Body::Endless);
        check(Upstream::ENDLESS, "anything", "anything", Body::Endless);
    }

    #[test]
    fn a_chunked_body_ends_after_its_last_chunk() {
        let whole = [
            "0\r\n\r\n",
            "5\r\nhello\r\n0\r\n\r\n",
            "A\r\n0123456789\r\n1;a=\"b\"\r\nx\r\n000\r\n\r\n",
            "2\r\n\r\n\r\n0\r\nDigest: a\r\nX: y\r\n\r\n",
        ];
        for body in whole {
            check(Upstream::CHUNKED, body, body, Body::Over);
            check(Upstream::CHUNKED, &format!("{body}GET / HTTP/1.1"), body, Body::Over);
        }
    }

    #[test]
    fn a_chunked_body_that_two_readers_could_read_differently_is_cut_there() {
        let long_extension = format!("5;{}", "a".repeat(2000));
        let long_trailers = format!("0\r\n{}", "a: b\r\n".repeat(3000));
        let rows = [
            ("GET", ""),
            ("\r\n", ""),
            ("-5\r\n", ""),
            ("+5\r\n", ""),
            ("0x5\r\n", "0"),
            ("5 \r\n", "5"),
            ("5\n", "5"),
            ("5\rh", "5\r"),
            ("5;a\nb\r\n", "5;a"),
            ("5;a\rb\r\n", "5;a\r"),
            ("5\r\nhelloX", "5\r\nhello"),
            ("5\r\nhello\n0\r\n", "5\r\nhello"),
            ("5\r\nhello\rX", "5\r\nhello\r"),
            ("0\r\n\n", "0\r\n"),
            ("0\r\na: b\nc", "0\r\na: b"),
            ("0\r\n\rX", "0\r\n\r"),
            ("ffffffffffffffff\r\n", "fffffffffffffff"),
            (long_extension.as_str(), long_extension.get(..2 + 1024).unwrap()),
            (long_trailers.as_str(), long_trailers.get(..3 + 8192 / 4 * 6).unwrap()),
        ];
        for (body, passes) in rows {
            check(Upstream::CHUNKED, body, passes, Body::Broken);
        }
    }

    proptest! {
        #[test]
        fn however_it_is_split_a_body_passes_whole_and_nothing_after_it(
            chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..40), 0..8),
            after in prop::collection::vec(any::<u8>(), 0..20),
            piece in 1..50_usize,
        ) {
            let mut body = Vec::new();
            for chunk in &chunks {
                body.extend(format!("{:x}\r\n", chunk.len()).into_bytes());
                body.extend(chunk);
                body.extend(b"\r\n");
            }
            body.extend(b"0\r\n\r\n");
            let length = body.len();
            body.extend(after);
            let (count, upstream) = passed(Upstream::CHUNKED, &body, piece);
            prop_assert_eq!(count, length);
            prop_assert!(upstream.is_over() && !upstream.is_broken());
        }

        #[test]
        fn arbitrary_bytes_pass_the_same_however_they_are_split(
            bytes in "[0-9a-f;\r\n ]{0,60}", piece in 1..10_usize,
        ) {
            let whole = passed(Upstream::CHUNKED, bytes.as_bytes(), bytes.len());
            prop_assert_eq!(passed(Upstream::CHUNKED, bytes.as_bytes(), piece), whole);
        }
    }
}
