//! Methods that a request's query asks to have it taken for: Rails, Laravel, Symfony and their like read them there.

/// The parameters that they read, in small letters and with a hyphen for each other character.
const PARAMETERS: [&str; 9] = [
    "-method",
    "http-method-override",
    "httpmethod",
    "-httpmethod",
    "x-http-method",
    "x-http-method-override",
    "x-httpmethod",
    "x-method",
    "x-method-override",
];

/// What a query says in those parameters, in capitals. What is no text is said as it can be.
pub fn methods_in_query(target: &str) -> impl Iterator<Item = String> {
    let query = target.split_once('?').map_or("", |(_, query)| query);
    let pairs = query.split(['&', ';']).filter_map(|pair| pair.split_once('='));
    let named = pairs.filter(|(name, _)| PARAMETERS.contains(&&*parameter(name)));
    named.map(|(_, value)| String::from_utf8_lossy(&plain(value)).trim().to_ascii_uppercase())
}

/// A name as the most lenient of them compare it: of any case, one of a list as the list, and without what
/// PHP and others take for an underscore.
fn parameter(name: &str) -> String {
    let name = plain(name);
    let list = name.split(|byte| *byte == b'[').next().unwrap_or_default().trim_ascii();
    let hyphen = |byte: &u8| if byte.is_ascii_alphanumeric() { *byte } else { b'-' };
    list.iter().map(|byte| char::from(hyphen(byte).to_ascii_lowercase())).collect()
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
            ("/a?_methods=PUT&method=PUT&_method&[_method]=PUT", &[]),
            ("/a?_METHOD=a&_method[]=b&_method%5B0%5D=c&+_method=d", &["A", "B", "C", "D"]),
            ("/a?X-HTTP-Method-Override=a&x_http_method=b&$method=c", &["A", "B", "C"]),
            ("/a?httpMethod=a&$httpMethod=b&.method=c", &["A", "B", "C"]),
            ("/a?_method=%zz%+1", &["%ZZ% 1"]),
        ] {
            assert_eq!(methods_in_query(target).collect::<Vec<_>>(), found, "{target}");
        }
    }
}
