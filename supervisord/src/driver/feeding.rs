//! Standard input that stays open: from the launcher's descriptors to those who send, and its end.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use supervisor_launch::Descriptor;

use crate::input::{End, Input};
use crate::launcher::Sandbox;
use crate::live::Live;
use crate::supervisor::Inner;

/// Standard input, and where it goes as long as that has not been closed.
pub(super) struct Feeding {
    input: Arc<Input>,
    to: Option<OwnedFd>,
}

impl Feeding {
    /// That of a sandbox, if its input stays open.
    pub(super) fn of(sandbox: &mut Sandbox) -> io::Result<Option<Self>> {
        let Some(input) = sandbox.take(Descriptor::Input) else { return Ok(None) };
        let to = match sandbox.get(Descriptor::Terminal) {
            Some(terminal) => Some(terminal.try_clone()?),
            None => sandbox.take(Descriptor::Stdin),
        };
        Ok(Some(Self { input: Input::new(input), to }))
    }

    /// The same for a payload that has yet to be started, with the submission's own bytes first.
    pub(super) fn begin(sandbox: &mut Sandbox, bytes: &[u8]) -> io::Result<Option<Self>> {
        let feeding = Self::of(sandbox)?;
        feeding.as_ref().map(|feeding| feeding.input.begin(bytes)).transpose()?;
        Ok(feeding)
    }

    /// Takes what is sent and passes it on, to its end. Then the launcher lets go of the pipe as well.
    pub(super) async fn feed(self, inner: &Inner, live: &Live) {
        live.input.send_replace(Some(self.input.clone()));
        let Some(to) = self.to else { return };
        match self.input.feed(to).await {
            Ok(End::Complete) => {
                if let Err(error) = inner.launcher.close_input(live.id().bits()).await {
                    tracing::warn!(%error, execution_id = %live.id(), "can't close standard input");
                }
            }
            Ok(End::Unread) => {}
            Err(error) => {
                self.input.hang_up();
                tracing::error!(%error, execution_id = %live.id(), "can't pass on standard input");
            }
        }
    }
}

/// Nobody can send any more.
pub(super) fn end(live: &Live) {
    if let Some(input) = live.input.send_replace(None) {
        input.hang_up();
    }
}
