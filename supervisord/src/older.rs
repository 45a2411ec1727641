//! What a launcher of the version before can't be asked for. It stays after an upgrade until it is stopped, and what
//! it has no words for is refused when it is submitted, by name.

use supervisor_api::{ApiError, ErrorCode};
use supervisor_launch::{Image, Input, Prepare, Request};

/// Refuses a submission whose sandbox can't be asked for in a version of the wire.
pub fn check(prepare: &Prepare, version: u16) -> Result<(), ApiError> {
    let request = Request::Prepare(*prepare);
    if request.encode(version).is_ok() {
        return Ok(());
    }
    Err(match prepare {
        Prepare { channel: true, .. } => lacks("interpreters"),
        Prepare { input: Input::Terminal { .. }, .. } => lacks("terminals").with_field("terminal"),
        Prepare { input: Input::Open, .. } => {
            lacks("standard input that stays open").with_field("stdin_open")
        }
        Prepare { image: Image::Imported(_), .. } => lacks("images").with_field("image"),
        _ => lacks("sandboxes like this one"),
    })
}

/// It has no such thing.
pub fn lacks(what: &str) -> ApiError {
    let problem = format!("supervisor-launcher is of an earlier version, which has no {what}");
    ApiError::new(ErrorCode::ControlMissing, problem).with_hint(
        "systemctl restart supervisor-launcher, when nothing runs: it ends what does, and the new one starts",
    )
}

#[cfg(test)]
mod tests {
    use supervisor_launch::VERSION;

    use super::*;
    use crate::host::simplest;

    #[test]
    fn what_a_launcher_of_version_2_has_no_words_for_is_refused_by_its_name() {
        for (prepare, name) in [
            (Prepare { channel: true, ..simplest(1) }, "interpreters"),
            (
                Prepare { input: Input::Terminal { rows: 24, columns: 80 }, ..simplest(1) },
                "terminals",
            ),
            (Prepare { input: Input::Open, ..simplest(1) }, "standard input that stays open"),
            (Prepare { image: Image::Imported([1; 32]), ..simplest(1) }, "images"),
            (Prepare { writable_root: true, ..simplest(1) }, "sandboxes like this one"),
            (Prepare { pseudo_terminals: true, ..simplest(1) }, "sandboxes like this one"),
        ] {
            let refusal = check(&prepare, 2).unwrap_err();
            assert_eq!(refusal.code, ErrorCode::ControlMissing);
            assert!(refusal.detail.ends_with(name), "{refusal:?}");
            assert!(check(&prepare, VERSION).is_ok(), "{name}");
        }
        assert!(check(&simplest(1), 2).is_ok());
    }
}
