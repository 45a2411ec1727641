//! `output`: what a payload wrote, from an offset, as far as it goes or to the end.

use supervisor_api::{Execution, ExecutionId, Stream, StreamSummary};

use crate::cli::{GlobalOptions, OutputOptions, Selection};
use crate::client::Client;
use crate::console;
use crate::failure::Failure;
use crate::reader::OutputReader;
use crate::streams::Streams;
use crate::units::show_size;

/// `output`.
pub async fn output(
    client: &Client,
    options: &OutputOptions,
    global: &GlobalOptions,
) -> Result<(), Failure> {
    let mut reader =
        OutputReader::new(client, options.id, options.stream, options.offset, options.follow);
    if global.json {
        while let Some(chunk) = reader.next().await? {
            console::print_json(&chunk)?;
        }
        return Ok(());
    }
    let mut streams = Streams::new(options.raw);
    while let Some(chunk) = reader.next().await? {
        streams.write(&chunk).await?;
    }
    streams.end().await?;
    if global.quiet {
        return Ok(());
    }
    let execution = client.status(options.id, 0).await?;
    console::notice(&notices(&execution, options.stream, reader.missing()));
    Ok(())
}

/// All that was kept of one stream, in memory.
pub async fn whole(
    client: &Client,
    id: ExecutionId,
    stream: Stream,
    kept: StreamSummary,
) -> Result<Vec<u8>, Failure> {
    let selection = match stream {
        Stream::Stdout => Selection::Stdout,
        Stream::Stderr => Selection::Stderr,
    };
    let mut reader = OutputReader::new(client, id, selection, 0, false);
    let mut bytes = Vec::new();
    while (bytes.len() as u64) < kept.kept {
        let Some(chunk) = reader.next().await? else { break };
        bytes.extend_from_slice(&chunk.data.0);
    }
    Ok(bytes)
}

/// What to say about output that is not there.
pub fn notices(execution: &Execution, selection: Selection, missing: u64) -> String {
    let mut text = String::new();
    let streams = [
        ("standard output", Selection::Stdout, execution.output.stdout.cut),
        ("standard error", Selection::Stderr, execution.output.stderr.cut),
    ];
    for (name, stream, cut) in streams {
        if cut > 0 && (selection == stream || selection == Selection::Both) {
            text.push_str(&format!("{} of {name} were cut by output_bytes\n", show_size(cut)));
        }
    }
    if missing > 0 {
        text.push_str(&format!("{} of output did not arrive\n", show_size(missing)));
    }
    text
}
