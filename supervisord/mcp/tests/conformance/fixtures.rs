//! What the suite expects a server to have: tools, prompts and resources with the answers that they give, read from
//! `fixtures.json`.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde::Deserialize;
use serde_json::{Map, Value, json};

/// What is asked of a client at once, by the names of the answers.
pub type Round = BTreeMap<String, Value>;

/// All of them.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fixtures {
    pub tools: BTreeMap<String, Tool>,
    pub prompts: BTreeMap<String, Prompt>,
    pub resources: BTreeMap<String, Map<String, Value>>,
}

/// A tool, and what comes of a call.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Tool {
    pub about: String,
    pub schema: Value,
    /// What its client has to be able to do.
    pub needs: Option<Value>,
    /// Lines that are logged before the answer.
    pub logs: Vec<String>,
    /// How far it is, told before the answer.
    pub progress: Vec<f64>,
    /// What is asked of its client first, one round after the other.
    pub asks: Vec<Round>,
    /// Whether it knows by a sealed state of the client's which round it is.
    pub seals: bool,
    /// Contents of the answer.
    pub says: Vec<Value>,
    /// The answer is this failure.
    pub fails: Option<String>,
}

/// A prompt, and what comes of asking for it.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Prompt {
    pub about: String,
    pub arguments: Vec<String>,
    pub asks: Vec<Round>,
    pub says: Vec<Value>,
}

/// A resource whose address says what it is about.
pub const TEMPLATE: (&str, &str) = ("test://template/", "/data");

static FIXTURES: LazyLock<Fixtures> = LazyLock::new(|| {
    serde_json::from_str(include_str!("fixtures.json")).expect("they are as they are described")
});

/// All of them.
pub fn all() -> &'static Fixtures {
    &FIXTURES
}

impl Fixtures {
    /// A tool as it is listed.
    pub fn tool(&self, name: &str) -> Option<rmcp::model::Tool> {
        let tool = self.tools.get(name)?;
        read(json!({"name": name, "description": tool.about, "inputSchema": tool.schema}))
    }

    /// The content of a resource.
    pub fn resource(&self, uri: &str) -> Option<Value> {
        let mut content = match self.resources.get(uri) {
            Some(content) => content.clone(),
            None => from_template(uri)?,
        };
        content.insert("uri".to_owned(), uri.into());
        Some(content.into())
    }
}

fn from_template(uri: &str) -> Option<Map<String, Value>> {
    let id = uri.strip_prefix(TEMPLATE.0)?.strip_suffix(TEMPLATE.1)?;
    let data = json!({"id": id, "templateTest": true, "data": format!("Data for ID: {id}")});
    let content = json!({"mimeType": "application/json", "text": data.to_string()});
    content.as_object().cloned()
}

/// A value of the protocol's, written as the protocol has it.
#[track_caller]
pub fn read<T: serde::de::DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).expect("it is as the protocol has it")
}
