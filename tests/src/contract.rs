//! What is answered, held against what the OpenAPI document says.

use std::collections::HashMap;
use std::sync::OnceLock;

use jsonschema::Validator;
use serde_json::{Value, json};
use supervisor_api::{ControlStatus, Execution, OPERATIONS, openapi_document};

/// Checks a successful answer of an operation.
#[track_caller]
pub fn assert_described(operation: &str, status: u16, media_type: Option<&str>, body: &[u8]) {
    let operation = OPERATIONS.iter().find(|each| each.id == operation).expect("in the table");
    assert_eq!(status, operation.success, "{}", operation.id);
    if let Some(schema) = operation.response {
        assert_eq!(media_type, Some(operation.media_type), "{}", operation.id);
        assert_valid(schema, &serde_json::from_slice(body).expect("JSON"));
    }
}

/// Checks a value against one of the document's schemas.
#[track_caller]
pub fn assert_valid(schema: &str, value: &Value) {
    static VALIDATORS: OnceLock<HashMap<String, Validator>> = OnceLock::new();
    let validator = VALIDATORS.get_or_init(validators).get(schema).expect("in the document");
    if let Err(error) = validator.validate(value) {
        panic!("not a {schema}: {error} in {value}");
    }
}

/// Whether the kernel holds a control of this execution, as its own result says.
#[track_caller]
pub fn is_enforced(execution: &Execution, control: &str) -> bool {
    let line = execution.controls.iter().find(|line| line.control == control);
    line.unwrap_or_else(|| panic!("no {control} in the result of {}", execution.id)).status
        == ControlStatus::Enforced
}

fn validators() -> HashMap<String, Validator> {
    let document = openapi_document("");
    let components = &document["components"];
    let names = components["schemas"].as_object().expect("schemas").keys();
    names
        .map(|name| {
            let reference = format!("#/components/schemas/{name}");
            let schema = json!({"$ref": reference, "components": components});
            (name.clone(), jsonschema::validator_for(&schema).expect("a schema"))
        })
        .collect()
}
