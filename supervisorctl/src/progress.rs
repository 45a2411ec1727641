//! Progress of transfers, on standard error and only when that is a terminal (which is the library's
//! own rule for its standard error target).

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::terminal;

/// Bytes from which on a transfer takes long enough for a bar to be read.
const WORTH_SHOWING: u64 = 1 << 20;

/// Bytes, rate and what is left, in one line.
const TEMPLATE: &str = "{msg:30!} [{bar:30}] {bytes}/{total_bytes} {bytes_per_sec} {eta}";

/// A bar for so many bytes; invisible if it is not worth showing or was not wanted.
pub fn bar(what: &str, total: u64, wanted: bool) -> ProgressBar {
    if !wanted || total < WORTH_SHOWING {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr());
    bar.set_message(terminal::name(what).into_owned());
    match ProgressStyle::with_template(TEMPLATE) {
        Ok(style) => bar.with_style(style.progress_chars("=> ")),
        Err(_) => bar, // the template is ours, so this is a bar in the library's own style at worst
    }
}
