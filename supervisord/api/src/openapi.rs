//! The OpenAPI 3.1 document, assembled from the table of operations and the types' own schemas.

use schemars::generate::SchemaSettings;
use schemars::{Schema, SchemaGenerator};
use serde_json::{Map, Value, json};

use crate::operation::IN_PARTS;
use crate::{
    AnswerRequest, ApiError, ApprovalList, ArtifactList, AuditKey, AuditPage, BudgetList, CellList,
    ChangeSet, CreateInterpreter, CreateSession, CreateSnapshot, CredentialList, Doctor, Envelope,
    Event, Execution, ExecutionList, ExtendSession, FileChange, FileEntry, FileList,
    InterpreterList, MakeDirectory, MoveFile, OPERATIONS, Operation, OutputChunk, PROBLEM_JSON,
    Parameter, Place, PolicyList, RAW_BODY, Reloaded, RunCell, SampleList, Session, SessionList,
    State, SubmitRequest, Top, UnpackReport, Verdict,
};
use crate::{InputState, TerminalSize};

/// The document, for this version of the interface.
pub fn document(version: &str) -> Value {
    let mut paths = Map::new();
    for operation in OPERATIONS {
        let path = operation.path.replace("{*", "{");
        let item = paths.entry(path).or_insert_with(|| json!({}));
        if let Value::Object(item) = item {
            item.insert(operation.method.name().to_lowercase(), describe(operation));
        }
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "supervisord",
            "version": version,
            "description": "Runs untrusted programs on one Linux host. The caller is the uid that \
                            the kernel names (SO_PEERCRED); it sees only what is its own.",
        },
        "paths": paths,
        "components": {"schemas": schemas()},
    })
}

fn schemas() -> Value {
    let mut generator = SchemaSettings::draft2020_12()
        .with(|settings| settings.definitions_path = "/components/schemas".into())
        .into_generator();
    for add in ROOTS {
        drop(add(&mut generator)); // the reference to it; the definition stays in the generator
    }
    Value::Object(generator.take_definitions(true))
}

/// The types from which every other one is reached.
const ROOTS: [fn(&mut SchemaGenerator) -> Schema; 39] = [
    SchemaGenerator::subschema_for::<SubmitRequest>,
    SchemaGenerator::subschema_for::<Execution>,
    SchemaGenerator::subschema_for::<ExecutionList>,
    SchemaGenerator::subschema_for::<ArtifactList>,
    SchemaGenerator::subschema_for::<OutputChunk>,
    SchemaGenerator::subschema_for::<Envelope>,
    SchemaGenerator::subschema_for::<AuditPage>,
    SchemaGenerator::subschema_for::<BudgetList>,
    SchemaGenerator::subschema_for::<ApprovalList>,
    SchemaGenerator::subschema_for::<Event>,
    SchemaGenerator::subschema_for::<AnswerRequest>,
    SchemaGenerator::subschema_for::<AuditKey>,
    SchemaGenerator::subschema_for::<Verdict>,
    SchemaGenerator::subschema_for::<Doctor>,
    SchemaGenerator::subschema_for::<Top>,
    SchemaGenerator::subschema_for::<SampleList>,
    SchemaGenerator::subschema_for::<Reloaded>,
    SchemaGenerator::subschema_for::<CredentialList>,
    SchemaGenerator::subschema_for::<PolicyList>,
    SchemaGenerator::subschema_for::<State>,
    SchemaGenerator::subschema_for::<ApiError>,
    SchemaGenerator::subschema_for::<CreateSession>,
    SchemaGenerator::subschema_for::<CreateSnapshot>,
    SchemaGenerator::subschema_for::<ChangeSet>,
    SchemaGenerator::subschema_for::<FileChange>,
    SchemaGenerator::subschema_for::<ExtendSession>,
    SchemaGenerator::subschema_for::<Session>,
    SchemaGenerator::subschema_for::<SessionList>,
    SchemaGenerator::subschema_for::<FileEntry>,
    SchemaGenerator::subschema_for::<FileList>,
    SchemaGenerator::subschema_for::<MoveFile>,
    SchemaGenerator::subschema_for::<MakeDirectory>,
    SchemaGenerator::subschema_for::<UnpackReport>,
    SchemaGenerator::subschema_for::<CellList>,
    SchemaGenerator::subschema_for::<CreateInterpreter>,
    SchemaGenerator::subschema_for::<InputState>,
    SchemaGenerator::subschema_for::<InterpreterList>,
    SchemaGenerator::subschema_for::<RunCell>,
    SchemaGenerator::subschema_for::<TerminalSize>,
];

fn describe(operation: &Operation) -> Value {
    let content = match operation.response {
        Some(name) => json!({operation.media_type: {"schema": reference(name)}}),
        None => json!({operation.media_type: {}}),
    };
    let mut responses = json!({
        operation.success.to_string(): {"description": "Success.", "content": content},
        "4XX": problem("The request was refused."),
        "5XX": problem("The daemon could not do it."),
    });
    if IN_PARTS.contains(&operation.id)
        && let Value::Object(fields) = &mut responses
    {
        let part = json!({"description": "The part that was asked for.", "content": content});
        fields.insert("206".to_owned(), part);
    }
    let mut description = json!({
        "operationId": operation.id,
        "summary": operation.summary,
        "parameters": operation.parameters.iter().map(parameter).collect::<Vec<_>>(),
        "responses": responses,
    });
    if let (Some(name), Value::Object(fields)) = (operation.request, &mut description) {
        let content = match name {
            RAW_BODY => json!({"application/octet-stream": {}}),
            name => json!({"application/json": {"schema": reference(name)}}),
        };
        let body = json!({"required": true, "content": content});
        fields.insert("requestBody".to_owned(), body);
    }
    description
}

fn parameter(parameter: &Parameter) -> Value {
    let place = match parameter.place {
        Place::Path => "path",
        Place::Query => "query",
    };
    let schema: Value = serde_json::from_str(parameter.schema).unwrap_or(Value::Bool(true));
    json!({
        "name": parameter.name,
        "in": place,
        "required": parameter.place == Place::Path,
        "description": parameter.description,
        "schema": schema,
    })
}

fn problem(description: &str) -> Value {
    json!({
        "description": description,
        "content": {PROBLEM_JSON: {"schema": reference("ApiError")}},
    })
}

fn reference(name: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{name}")})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_schema_that_an_operation_names_is_in_the_document() {
        let document = document("0");
        for operation in OPERATIONS {
            let request = operation.request.iter().filter(|name| **name != RAW_BODY);
            for name in request.chain(&operation.response) {
                assert!(document["components"]["schemas"].get(name).is_some(), "{name}");
            }
            for parameter in operation.parameters {
                assert!(
                    serde_json::from_str::<Value>(parameter.schema).is_ok(),
                    "{}",
                    parameter.name
                );
            }
        }
    }
}
