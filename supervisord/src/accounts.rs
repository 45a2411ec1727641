//! Names of this host's users and groups. The files are read as they stand (passwd(5), group(5)): the C
//! library would load code for it that this program has no business with, so accounts that come from a
//! directory service are given by number.

use std::fmt;
use std::fs;
use std::io;

const USERS: &str = "/etc/passwd";
const GROUPS: &str = "/etc/group";

/// A name that stands for nobody here.
#[derive(Debug)]
pub struct AccountError {
    what: String,
    cause: Option<io::Error>,
}

impl fmt::Display for AccountError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

impl std::error::Error for AccountError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.cause.as_ref().map(|cause| cause as _)
    }
}

/// The uids of these users.
pub fn uids(names: &[String]) -> Result<Vec<u32>, AccountError> {
    numbers(names, "user", USERS)
}

/// The gids of these groups.
pub fn gids(names: &[String]) -> Result<Vec<u32>, AccountError> {
    numbers(names, "group", GROUPS)
}

fn numbers(names: &[String], kind: &str, path: &str) -> Result<Vec<u32>, AccountError> {
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let text = fs::read_to_string(path)
        .map_err(|cause| AccountError { what: format!("can't read {path}"), cause: Some(cause) })?;
    let unknown = |name: &String| AccountError {
        what: format!("{path} has no {kind} {name:?}; one from elsewhere is given by its number"),
        cause: None,
    };
    names.iter().map(|name| number_in(&text, name).ok_or_else(|| unknown(name))).collect()
}

/// Both files have the name in the first field and the number in the third.
fn number_in(text: &str, name: &str) -> Option<u32> {
    let mut fields = text.lines().map(|line| line.split(':'));
    let mut rest = fields.find_map(|mut fields| (fields.next()? == name).then_some(fields))?;
    rest.nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_found_whole_and_an_unknown_one_is_an_error() {
        let groups = "root:x:0:\nsupervisord-admins:x:987:alice,bob\nadmins:x:5:\nodd:x:\n";
        assert_eq!(number_in(groups, "supervisord-admins"), Some(987));
        assert_eq!(number_in(groups, "admins"), Some(5));
        for nobody in ["supervisord", "alice", "", "odd"] {
            assert_eq!(number_in(groups, nobody), None, "{nobody}");
        }
    }

    #[test]
    fn the_error_names_the_account_and_the_remedy() {
        let error = gids(&["no such group".to_owned()]).unwrap_err().to_string();
        assert!(error.contains("no such group") && error.contains("number"), "{error}");
        assert_eq!(gids(&["root".to_owned()]).unwrap(), [0]);
    }
}
