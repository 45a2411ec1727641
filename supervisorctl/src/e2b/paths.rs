//! Paths as clients write them, and as the workspace has them.

use super::answer::Refusal;

/// Where the workspace stands in a sandbox; it is the home of its user as well.
pub const ROOT: &str = "/workspace";

/// Where clients of E2B think that its user is at home; a link in a sandbox leads from there to the workspace.
const HOME: &str = "/home/user";

/// A path in the workspace, relative to it; `None` is the workspace itself.
pub fn inside(text: &str) -> Result<Option<String>, Refusal> {
    let relative = match text {
        "~" => "",
        _ => match text.strip_prefix("~/") {
            Some(rest) => rest,
            None if text.starts_with('/') => beneath(text).ok_or_else(|| outside(text))?,
            None => text,
        },
    };
    let mut parts = Vec::new();
    for part in relative.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop().ok_or_else(|| outside(text))?;
            }
            part => parts.push(part),
        }
    }
    Ok((!parts.is_empty()).then(|| parts.join("/")))
}

/// The same where the workspace itself is no answer.
pub fn entry(text: &str) -> Result<String, Refusal> {
    inside(text)?.ok_or_else(|| {
        Refusal::invalid(format!("{text:?} is the workspace itself, which stays as it is"))
    })
}

/// A path of the workspace as a client sees it.
pub fn absolute(relative: &str) -> String {
    match relative {
        "" => ROOT.to_owned(),
        relative => format!("{ROOT}/{relative}"),
    }
}

/// The last part of a path.
pub fn name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

fn beneath(text: &str) -> Option<&str> {
    let rest = [ROOT, HOME].iter().find_map(|place| text.strip_prefix(place));
    rest.filter(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn outside(text: &str) -> Refusal {
    Refusal::invalid(format!(
        "{text:?} is not in {ROOT}, which is the one directory that a sandbox keeps and its user's home: use a \
         relative path, or one beneath it"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_of_a_path_in_the_workspace_is_one_and_no_other_is_taken() {
        for (text, expected) in [
            ("a/b", Some("a/b")),
            ("/workspace/a", Some("a")),
            ("~/a", Some("a")),
            ("./a//b/../c/", Some("a/c")),
            ("/workspace", None),
            ("/workspace/", None),
            ("", None),
            ("~", None),
            ("/home/user/a", Some("a")),
            ("/home/user", None),
        ] {
            assert_eq!(inside(text).expect(text).as_deref(), expected, "{text}");
        }
        for text in [
            "/",
            "/etc/passwd",
            "/workspaces/a",
            "..",
            "a/../..",
            "/workspace/../etc",
            "/tmp/a",
            "/home/users",
            "/home/user/../a",
        ] {
            assert!(inside(text).is_err(), "{text}");
        }
        assert!(entry("/workspace").is_err());
    }
}
