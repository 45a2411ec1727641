//! `doctor`: which controls hold on this host, and how to get the others.

use supervisor_api::{ControlStatus, Doctor, Mode};

use crate::cli::{DoctorOptions, GlobalOptions};
use crate::client::Client;
use crate::failure::Failure;
use crate::interrupts::Interrupts;
use crate::standalone::Standalone;
use crate::table::{cell, status_cell, table_of, text};
use crate::{console, exit, summary, terminal};

/// `doctor`; the exit status says whether every control is enforced.
pub async fn doctor(options: &DoctorOptions, global: &GlobalOptions) -> Result<u8, Failure> {
    if !options.standalone.standalone {
        return show(&Client::new(global.socket.clone()).doctor().await?, global);
    }
    let mut interrupts = Interrupts::install()?;
    let private = Standalone::start(options.standalone, None, &mut interrupts).await?;
    let report = tokio::select! {
        report = private.client().doctor() => report,
        () = interrupts.next() => Err(Failure::Interrupted("interrupted".to_owned())),
    };
    let ended = private.end().await;
    let status = show(&report?, global)?;
    ended.map(|()| status)
}

fn show(doctor: &Doctor, global: &GlobalOptions) -> Result<u8, Failure> {
    if global.json {
        console::print_json(doctor)?;
    } else if !global.quiet {
        console::print(&describe(doctor))?;
    }
    Ok(if doctor.healthy { exit::SUCCESS } else { exit::FAILED })
}

fn describe(doctor: &Doctor) -> String {
    let mode = match doctor.mode {
        Mode::Strict => "strict: what needs a missing control is refused",
        Mode::BestEffort => "best-effort: the nearest weaker control is used, and reported",
    };
    let mut rows = table_of(&["CONTROL", "STATUS", "BY"]);
    for report in &doctor.controls {
        rows.add_row([cell(&report.control), status_cell(report.status), cell(&report.by)]);
    }
    let mut page = format!(
        "supervisord {}, Linux {}, {mode}\n\n{}\n",
        terminal::name(&doctor.version),
        terminal::name(&doctor.kernel),
        text(&rows),
    );
    page.push_str(summary::controls(&doctor.controls).as_str());
    if doctor.controls.iter().all(|report| report.status == ControlStatus::Enforced) {
        page.push_str("  every control is enforced on this host\n");
    }
    page
}
