//! Secrets within JSON.

use std::borrow::Cow;

use serde::Deserialize;
use zeroize::{Zeroize, Zeroizing};

use super::secret::Secret;
use super::source::SourceError;

/// A text, borrowed where it has no escapes, and overwritten where it had to be copied.
#[derive(Deserialize)]
#[serde(transparent)]
pub struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

impl Drop for Text<'_> {
    fn drop(&mut self) {
        if let Cow::Owned(text) = &mut self.0 {
            text.zeroize();
        }
    }
}

impl Text<'_> {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The secret that it is; `what` names it in the error.
    pub fn secret(&self, what: &str) -> Result<Secret, SourceError> {
        let bytes = Zeroizing::new(self.0.as_bytes().to_vec());
        Secret::new(bytes)
            .map_err(|error| SourceError::caused(format!("the {what} can't be used"), error))
    }
}
