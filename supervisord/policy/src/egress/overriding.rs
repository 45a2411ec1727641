//! Methods that a request's query asks to have it taken for: Rails, Laravel, Symfony and their like read them there.

/// The parameter that they read.
const PARAMETER: &[u8] = b"_method";

/// What a query says in that parameter, in capitals. What is no text is said as it can be.
pub fn methods_in_query(target: &str) -> impl Iterator<Item = String> {
    let query = target.split_once('?').map_or("", |(_, query)| query);
    let pairs = query.split(['&', ';']).filter_map(|pair| pair.split_once('='));
    let named = pairs.filter(|(name, _)| plain(name) == PARAMETER);
    named.map(|(_, value)| String::from_utf8_lossy(&plain(value)).trim().to_ascii_uppercase())
}

/// A name or value without its escapes. What is none stands for itself.
fn plain(text: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let digits = after.get(..2).and_then(|two| str::from_utf8(two).ok());
        let digits = digits.filter(|two| *first == b'%' && !two.starts_with('+'));
        match digits.and_then(|two| u8::from_str_radix(two, 16).ok()) {
            Some(byte) => {
                out.push(byte);
                rest = after.get(2..).unwrap_or_default();
            }
            None => {
                out.push(if *first == b'+' { b' ' } else { *first });
                rest = after;
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_method_in_a_query_is_read_however_it_is_spelt() {
        for (target, found) in [
            ("/a", &[][..]),
            ("/_method=PUT", &[]),
            ("/a?_method=delete", &["DELETE"]),
            ("/a?b=c&%5Fmetho%64=%70ut&_method=+patch", &["PUT", "PATCH"]),
            ("/a?_methods=PUT&method=PUT&_method", &[]),
            ("/a?_method=%zz%+1", &["%ZZ% 1"]),
        ] {
            assert_eq!(methods_in_query(target).collect::<Vec<_>>(), found, "{target}");
        }
    }
}
