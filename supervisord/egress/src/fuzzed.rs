//! What holds for all bytes that a payload, an upstream or a name server sends: targets of the fuzzer
//! (tests/fuzz), and of ordinary tests.

mod credentials;
mod http;
mod names;
mod tls;

#[cfg(test)]
#[path = "../../../tests/fuzz/mutations.rs"]
mod mutations;

pub use credentials::{signatures, streams, tokens};
pub use http::{fields, frames, heads, intents};
pub use names::{queries, responses};
pub use tls::hellos;

/// Pieces of the lengths that the first bytes say, so that the fuzzer chooses where its own input is cut.
fn cut(bytes: &[u8]) -> (Vec<usize>, &[u8]) {
    let (lengths, rest) = bytes.split_at(bytes.len().min(4));
    (lengths.iter().map(|length| usize::from(*length) % 64 + 1).collect(), rest)
}

/// The pieces of these lengths, one after the other and from the first again.
fn pieces<'a>(lengths: &[usize], bytes: &'a [u8]) -> Vec<&'a [u8]> {
    let mut rest = bytes;
    let mut pieces = Vec::new();
    for length in lengths.iter().cycle() {
        if rest.is_empty() {
            break;
        }
        let (piece, after) = rest.split_at((*length).min(rest.len()));
        pieces.push(piece);
        rest = after;
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_query_or_response_of_names_says_more_than_was_asked() {
        mutations::hold("dns_queries", 5_000, queries);
        mutations::hold("dns_responses", 5_000, responses);
    }

    #[test]
    fn no_hello_names_another_server_than_the_one_behind_reads() {
        mutations::hold("client_hellos", 5_000, hellos);
    }

    #[test]
    fn no_request_is_read_in_two_ways() {
        mutations::hold("http_heads", 5_000, heads);
    }

    #[test]
    fn no_request_names_two_places_or_goes_on_with_what_was_for_one_hop() {
        mutations::hold("http_intents", 5_000, intents);
        mutations::hold("http_fields", 5_000, fields);
    }

    #[test]
    fn no_frames_are_counted_in_two_ways() {
        mutations::hold("http_frames", 5_000, frames);
    }

    #[test]
    fn no_bytes_hide_a_credential_or_break_out_of_a_signature() {
        mutations::hold("credential_streams", 2_000, streams);
        mutations::hold("credential_signatures", 3_000, signatures);
        mutations::hold("credential_tokens", 5_000, tokens);
    }
}
