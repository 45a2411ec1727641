//! The table of tools: what clients are told of each, and what does it.

use rmcp::RoleServer;
use rmcp::model::{
    CallToolResponse, CallToolResult, ContentBlock, CreateTaskResult, JsonObject, Tool,
    ToolAnnotations,
};
use rmcp::service::RequestContext;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use supervisor_api::{Execution, FileEntry, Interpreter, Session};

use crate::failure::Failure;

use crate::arguments::{
    ListFiles, MoveTo, NewCell, NewSession, Nothing, OneExecution, OneInterpreter, OneSession,
    ReadArtifact, ReadFile, ReadOutput, RemoveFile, Run, Status, WriteFile,
};
use crate::results::{Artifacts, CellAnswer, Files, Piece, RunResult, Sessions, WhyResult};
use crate::server::Server;
use crate::{artifacts, cells, files, long_runs, refusals, runs, schema, sessions};

/// What a tool says.
pub enum Reply<R> {
    /// It is done.
    Told(Told<R>),
    /// It goes on, and can be asked for by its id.
    GoesOn(Box<Execution>),
}

/// An answer: as data, and for whoever reads no data.
pub struct Told<R> {
    /// As data.
    pub data: R,
    /// In words.
    pub words: String,
    /// Pictures and links beside it.
    pub beside: Vec<ContentBlock>,
    /// Whether what was asked for could not be done.
    pub failed: bool,
}

impl<R> Told<R> {
    /// An answer that is data and words.
    pub fn new(data: R, words: impl Into<String>) -> Self {
        Self { data, words: words.into(), beside: Vec::new(), failed: false }
    }
}

impl<R> From<Told<R>> for Reply<R> {
    fn from(told: Told<R>) -> Self {
        Self::Told(told)
    }
}

/// What a tool does, for clients that ask a person before some of it.
#[derive(Debug, Clone, Copy)]
enum Act {
    /// It changes nothing.
    Looks,
    /// It makes something, or puts it elsewhere.
    Adds,
    /// It ends or removes something.
    Ends,
    /// It runs a program, which destroys nothing outside its sandbox and reaches what its policy lets it reach.
    Runs,
}

impl Act {
    fn hints(self) -> ToolAnnotations {
        ToolAnnotations::new()
            .read_only(matches!(self, Act::Looks))
            .destructive(matches!(self, Act::Ends))
            .idempotent(matches!(self, Act::Looks | Act::Ends))
            .open_world(matches!(self, Act::Runs))
    }
}

macro_rules! tools {
    ($($name:literal ($title:literal, $act:ident): $arguments:ty => $result:ty = $function:path, $words:literal;)*) => {
        /// Every tool, in an order that stays.
        pub fn all() -> Vec<Tool> {
            vec![$(
                Tool::new($name, $words, schema::of_arguments::<$arguments>())
                    .with_title($title)
                    .with_annotations(Act::$act.hints())
                    .with_raw_output_schema(schema::of_result::<$result>()),
            )*]
        }

        /// Does what a tool is for; `None` if there is no such tool.
        pub async fn call(
            server: &Server,
            name: &str,
            arguments: JsonObject,
            asked: &RequestContext<RoleServer>,
        ) -> Option<CallToolResponse> {
            let reply = match name {
                $($name => match read::<$arguments>(arguments) {
                    Ok(arguments) => Box::pin($function(server, arguments, asked)).await.and_then(answer::<$result>),
                    Err(failure) => Err(failure),
                },)*
                _ => return None,
            };
            Some(reply.unwrap_or_else(|failure| refusals::told(&failure).into()))
        }
    };
}

tools! {
    "run" ("Run a program", Runs): Run => RunResult = runs::run,
        "Run a program in a fresh sandbox and wait for its end: Python, bash or Node source (`language`, `code`), \
         or a program with arguments (`argv`). Its working directory is the workspace; with `session` that is one \
         that stays. A program that fails is a result (see `outcome`), not an error of this tool. The answer has \
         the beginning (24 KiB) and the end (8 KiB) of each stream; `read_output` reads the rest. Name files to \
         keep in `artifacts`. What the policy refused stands in `refusals`, with what would allow it: if nothing \
         does, go about it without that, and don't try the same again. Cancelling the request ends the program.";
    "status" ("How a program stands", Looks): Status => RunResult = runs::status,
        "How an execution stands, with the output so far; waits up to 60 seconds for its end if asked to.";
    "cancel" ("End a program", Ends): OneExecution => RunResult = runs::cancel,
        "End an execution. The answer comes when nothing of it runs any more.";
    "read_output" ("Read output", Looks): ReadOutput => Piece = runs::read_output,
        "Read one stream of an execution's output from an offset: up to 256 KiB, and where the next piece begins.";
    "why" ("Why it was refused", Looks): OneExecution => WhyResult = refusals::why,
        "What was refused or cut in an execution: by which line of which policy, why, and what would have allowed \
         it. At most 200 refusals.";
    "list_artifacts" ("List artifacts", Looks): OneExecution => Artifacts = artifacts::list,
        "The files that were kept of a finished execution, each with a resource to read it by.";
    "read_artifact" ("Read an artifact", Looks): ReadArtifact => Piece = artifacts::read,
        "Read a file that was kept of an execution, from an offset: up to 256 KiB. PNG, JPEG and GIF pictures up \
         to 1 MiB are shown.";
    "create_session" ("Open a session", Adds): NewSession => Session = sessions::create,
        "Open a session: a workspace that stays, for programs (`run` with `session`), cells and files. Its id is \
         the handle that the other tools take. It is closed by itself when its time is up.";
    "list_sessions" ("List sessions", Looks): Nothing => Sessions = sessions::list,
        "Your open sessions, newest first.";
    "close_session" ("Close a session", Ends): OneSession => Session = sessions::close,
        "Close a session: what runs in it is ended, and its workspace is removed.";
    "run_cell" ("Run a cell", Runs): NewCell => CellAnswer = cells::run,
        "Run code in an interpreter of a session, which keeps variables from cell to cell as a notebook does: \
         Python, bash or Node. The first cell starts it. The last expression's value, tables and figures come \
         with the answer. A cell that is out of time, or whose request is cancelled, is interrupted, and the \
         variables stay.";
    "close_interpreter" ("End an interpreter", Ends): OneInterpreter => Interpreter = cells::close,
        "End an interpreter, and its variables with it. The next cell starts a new one.";
    "list_files" ("List files", Looks): ListFiles => Files = files::list,
        "What a directory of a session's workspace holds: up to 1,000 entries.";
    "read_file" ("Read a file", Looks): ReadFile => Piece = files::read,
        "Read a file of a session's workspace from an offset: up to 256 KiB. PNG, JPEG and GIF pictures up to \
         1 MiB are shown.";
    "write_file" ("Write a file", Adds): WriteFile => FileEntry = files::write,
        "Write a file into a session's workspace, in place of what stands there: text, or bytes in base64.";
    "remove_file" ("Remove a file", Ends): RemoveFile => FileEntry = files::remove,
        "Remove a file or directory of a session's workspace.";
    "move_file" ("Move a file", Adds): MoveTo => FileEntry = files::rename,
        "Move a file or directory within a session's workspace.";
}

fn read<T: DeserializeOwned>(arguments: JsonObject) -> Result<T, Failure> {
    serde_json::from_value(Value::Object(arguments))
        .map_err(|error| Failure::Usage(format!("these arguments can't be: {error}")))
}

fn answer<R: Serialize>(reply: Reply<R>) -> Result<CallToolResponse, Failure> {
    match reply {
        Reply::Told(told) => Ok(result(told)?.into()),
        Reply::GoesOn(execution) => {
            Ok(CreateTaskResult::new(long_runs::describe(&execution)).into())
        }
    }
}

/// An answer as the protocol has it.
pub fn result<R: Serialize>(told: Told<R>) -> Result<CallToolResult, Failure> {
    let data = serde_json::to_value(told.data);
    let data = data.map_err(Failure::misunderstood("write the answer"))?;
    let mut content = vec![ContentBlock::text(told.words)];
    content.extend(told.beside);
    let mut result = CallToolResult::success(content);
    result.structured_content = Some(data);
    result.is_error = Some(told.failed);
    Ok(result)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_tool_has_a_name_of_its_own_and_schemas_of_objects_without_references() {
        let tools = all();
        let names: BTreeSet<_> = tools.iter().map(|tool| tool.name.clone()).collect();
        assert_eq!(names.len(), tools.len());
        for tool in &tools {
            let result = tool.output_schema.as_ref().expect("it says what it answers");
            for schema in [&tool.input_schema, result] {
                assert_eq!(schema["type"], "object", "{}", tool.name);
                let text = serde_json::to_string(schema).expect("it is JSON");
                assert!(!text.contains("$ref") && !text.contains("uint"), "{}: {text}", tool.name);
            }
        }
    }
}
