//! Bytes as a model reads them: the beginning and the end of a stream, or a piece from an offset, never more
//! than fits into a conversation.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rmcp::model::ContentBlock;
use supervisor_api::{ExecutionId, Stream, StreamSummary};

use crate::client::Client;
use crate::failure::Failure;

use crate::results::{Excerpt, Gap, Piece};

/// Bytes of the beginning of a stream that come with an answer.
pub const HEAD: u64 = 24 << 10;

/// Bytes of its end.
pub const TAIL: u64 = 8 << 10;

/// Bytes of a piece, if nobody says how many.
pub const PIECE: u64 = 64 << 10;

/// The most bytes of a piece.
pub const PIECE_MAX: u64 = 256 << 10;

/// The most bytes of a picture that is shown.
pub const PICTURE_MAX: u64 = 1 << 20;

/// Pictures that models are shown, by the first bytes.
const PICTURES: [(&[u8], &str); 3] =
    [(b"\x89PNG\r\n\x1a\n", "image/png"), (b"\xff\xd8\xff", "image/jpeg"), (b"GIF8", "image/gif")];

/// The beginning and the end of a stream of an execution.
pub async fn of_stream(
    client: &Client,
    id: ExecutionId,
    selection: Stream,
    kept: StreamSummary,
) -> Result<Excerpt, Failure> {
    of_part(client, id, selection, Gap { from: 0, to: kept.kept }, kept.cut).await
}

/// The beginning and the end of a part of a stream.
pub async fn of_part(
    client: &Client,
    id: ExecutionId,
    selection: Stream,
    part: Gap,
    cut: u64,
) -> Result<Excerpt, Failure> {
    let size = part.to.saturating_sub(part.from);
    if size == 0 {
        return Ok(Excerpt { cut, ..Excerpt::default() });
    }
    if size <= HEAD + TAIL {
        let bytes = client.output_piece(id, selection, part.from, size).await?;
        let text = String::from_utf8_lossy(&bytes).into_owned();
        return Ok(Excerpt { text, size, cut, left_out: None });
    }
    let gap = Gap { from: part.from + HEAD, to: part.to - TAIL };
    let head = client.output_piece(id, selection, part.from, HEAD).await?;
    let tail = client.output_piece(id, selection, gap.to, TAIL).await?;
    let text = format!(
        "{}\n[… {} bytes left out: read_output from offset {} on …]\n{}",
        String::from_utf8_lossy(&head),
        gap.to - gap.from,
        gap.from,
        String::from_utf8_lossy(&tail)
    );
    Ok(Excerpt { text, size, cut, left_out: Some(gap) })
}

/// How many bytes to read of something that a picture may be, if nobody says how many.
pub fn length(asked: Option<u64>) -> u64 {
    asked.unwrap_or(PIECE).clamp(1, PIECE_MAX)
}

/// What kind of picture begins with these bytes.
pub fn picture(bytes: &[u8]) -> Option<&'static str> {
    let known = PICTURES.iter().find(|(signature, _)| bytes.starts_with(signature));
    known.map(|(_, name)| *name)
}

/// A picture beside a piece that has no bytes of its own then.
pub fn shown(bytes: &[u8], media_type: &'static str) -> (Piece, ContentBlock) {
    let piece = Piece {
        text: None,
        base64: None,
        offset: 0,
        next_offset: None,
        size: bytes.len() as u64,
        picture: Some(media_type.to_owned()),
    };
    (piece, ContentBlock::image(STANDARD.encode(bytes), media_type))
}

/// Bytes from an offset of something of this size. A character that is cut in two is left for the next piece.
pub fn piece(mut bytes: Vec<u8>, offset: u64, size: u64) -> Piece {
    if let Err(error) = std::str::from_utf8(&bytes)
        && error.error_len().is_none()
        && error.valid_up_to() > 0
        && offset + (bytes.len() as u64) < size
    {
        bytes.truncate(error.valid_up_to());
    }
    let next = offset.saturating_add(bytes.len() as u64);
    let (text, base64) = match String::from_utf8(bytes) {
        Ok(text) => (Some(text), None),
        Err(error) => (None, Some(STANDARD.encode(error.as_bytes()))),
    };
    let next_offset = (next < size).then_some(next);
    Piece { text, base64, offset, next_offset, size: size.max(next), picture: None }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn pieces_put_together_are_the_whole_text(text in ".{1,80}", length in 4usize..20) {
            let bytes = text.as_bytes();
            let (mut read, mut offset) = (String::new(), 0);
            loop {
                let end = (offset + length).min(bytes.len());
                let piece = piece(bytes[offset..end].to_vec(), offset as u64, bytes.len() as u64);
                read.push_str(&piece.text.expect("it is text"));
                match piece.next_offset {
                    Some(next) => offset = usize::try_from(next).expect("small"),
                    None => break,
                }
            }
            prop_assert_eq!(read, text);
        }
    }

    #[test]
    fn bytes_that_are_no_text_come_in_base64() {
        let piece = piece(vec![0xff, 0xfe], 0, 2);
        assert_eq!((piece.text, piece.base64.as_deref()), (None, Some("//4=")));
    }
}
